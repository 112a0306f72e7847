//! The bodies that go in and out: a response that is whole, pieced together from stored bytes, or streamed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use coracle_api::Status;
use coracle_store::Version;
use futures::stream::{BoxStream, StreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, whoever sent it.
pub type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// The most that a request body may hold: 3 MiB, the reference's limit (etcd's 1.5 MiB twice, for JSON overhead).
pub const MAX_REQUEST_BYTES: usize = 3 * 1024 * 1024;

/// Pieces of a list are joined up to this size, so that a page of small objects costs few writes and a huge list never
/// stands in memory a second time.
const PIECE_BYTES: usize = 64 * 1024;

/// A response's body.
pub enum Body {
    Whole(Bytes),
    List(ListBody),
    Stream(BoxStream<'static, Bytes>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Whole(b) => write!(f, "Whole({} bytes)", b.len()),
            Body::List(l) => write!(f, "List({} bytes)", l.left),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Body {
    pub fn empty() -> Body {
        Body::Whole(Bytes::new())
    }
}

impl From<Vec<u8>> for Body {
    fn from(v: Vec<u8>) -> Body {
        Body::Whole(v.into())
    }
}

impl From<String> for Body {
    fn from(s: String) -> Body {
        Body::Whole(s.into())
    }
}

/// A list's header, its items as they are stored, and its end.
#[derive(Debug)]
pub struct ListBody {
    head: Bytes,
    items: VecDeque<Arc<Version>>,
    /// Bytes that every stored item starts with and that a list's items do not repeat: `{"kind":…,"apiVersion":…,`.
    strip: Bytes,
    tail: &'static [u8],
    first: bool,
    left: u64,
}

impl ListBody {
    /// `tail` closes what `head` opened.
    pub fn new(head: Vec<u8>, items: Vec<Arc<Version>>, strip: Bytes, tail: &'static [u8]) -> ListBody {
        let commas = items.len().saturating_sub(1);
        let held: usize = items.iter().map(|v| item_len(v, &strip)).sum();
        let left = (head.len() + held + commas + tail.len()) as u64;
        ListBody { head: head.into(), items: items.into(), strip, tail, first: true, left }
    }

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES.min(self.left as usize));
        piece.put(std::mem::take(&mut self.head));
        while piece.len() < PIECE_BYTES {
            let Some(item) = self.items.pop_front() else { break };
            if !std::mem::take(&mut self.first) {
                piece.put_u8(b',');
            }
            put_item(&mut piece, &item, &self.strip);
        }
        if self.items.is_empty() {
            piece.put(std::mem::take(&mut self.tail));
        }
        self.left -= piece.len() as u64;
        Some(piece.freeze())
    }
}

/// An item loses the kind and version that the list's own name says.
fn item_len(v: &Version, strip: &[u8]) -> usize {
    if !strip.is_empty() && v.json.starts_with(strip) { v.json.len() - strip.len() + 1 } else { v.json.len() }
}

fn put_item(out: &mut BytesMut, v: &Version, strip: &[u8]) {
    if !strip.is_empty() && v.json.starts_with(strip) {
        out.put_u8(b'{');
        out.put(&v.json[strip.len()..]);
    } else {
        out.put(&v.json[..]);
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Body::Whole(b) => (!b.is_empty()).then(|| std::mem::take(b)),
            Body::List(l) => l.next(),
            Body::Stream(s) => match s.poll_next_unpin(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(next.map(|b| Ok(Frame::data(b))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(b) => b.is_empty(),
            Body::List(l) => l.left == 0,
            Body::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(b) => SizeHint::with_exact(b.len() as u64),
            Body::List(l) => SizeHint::with_exact(l.left),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

/// Any body as the pipeline reads it.
pub fn incoming<B>(body: B) -> Incoming
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// The whole of a request's body, or the refusal of one that is too large or breaks off.
pub async fn read(mut body: Incoming) -> Result<Bytes, Status> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Status::bad_request(format!("unable to read the request body: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > MAX_REQUEST_BYTES {
            let words = format!("Request entity too large: limit is {MAX_REQUEST_BYTES}");
            return Err(Status::too_large(words));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
