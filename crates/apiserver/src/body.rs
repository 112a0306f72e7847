//! The bodies that go in and out: a response that is whole, pieced together from stored bytes, or streamed.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coracle_api::Status;
use coracle_clock::Clock;
use futures::stream::{BoxStream, StreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, whoever sent it.
pub type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// The most that a request body may hold: 3 MiB, the reference's limit (etcd's 1.5 MiB twice, for JSON overhead).
pub const MAX_REQUEST_BYTES: usize = 3 * 1024 * 1024;

/// How long a request may take to arrive: the reference's `--request-timeout`.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// A response's body.
pub enum Body {
    Whole(Bytes),
    Pieces(Pieces),
    Stream(BoxStream<'static, Bytes>),
    /// As [`Body::Stream`], of events: its client must keep up.
    Watch(BoxStream<'static, Bytes>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Whole(b) => write!(f, "Whole({} bytes)", b.len()),
            Body::Pieces(p) => p.fmt(f),
            Body::Stream(_) => f.write_str("Stream"),
            Body::Watch(_) => f.write_str("Watch"),
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

/// A body that is made piece by piece while it is sent, so that it never stands in memory as a whole.
pub struct Pieces {
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
    /// How many bytes are to come, where that is known.
    left: Option<u64>,
}

impl Pieces {
    pub fn new(length: Option<u64>, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Pieces {
        Pieces { pieces: Box::new(pieces), left: length }
    }

    /// The pieces, if there are more than so many bytes of them; else the body as it is.
    pub(crate) fn if_longer_than(
        mut self,
        least: usize,
    ) -> Result<Box<dyn Iterator<Item = Bytes> + Send>, Body> {
        let length = self.left;
        let (mut first, mut seen) = (Vec::new(), 0);
        while seen <= least
            && length.is_none_or(|length| length > least as u64)
            && let Some(piece) = self.pieces.next()
        {
            seen += piece.len();
            first.push(piece);
        }
        let all = first.into_iter().chain(self.pieces);
        if seen > least { Ok(Box::new(all)) } else { Err(Body::Pieces(Pieces::new(length, all))) }
    }

    fn next(&mut self) -> Option<Bytes> {
        let piece = self.pieces.next()?;
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        Some(piece)
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pieces({:?} bytes left)", self.left)
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
            Body::Pieces(p) => p.next(),
            Body::Stream(s) | Body::Watch(s) => match s.poll_next_unpin(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(next.map(|b| Ok(Frame::data(b))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(b) => b.is_empty(),
            Body::Pieces(p) => p.left == Some(0),
            Body::Stream(_) | Body::Watch(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(b) => SizeHint::with_exact(b.len() as u64),
            Body::Pieces(p) => p.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Body::Stream(_) | Body::Watch(_) => SizeHint::default(),
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

/// The whole of a request's body, or the refusal of one that is too large, too slow or breaks off.
pub async fn read(body: Incoming) -> Result<Bytes, Status> {
    let too_slow = || Status::timeout("request did not complete within the allotted timeout", 0);
    // In real time: a client is no part of the cluster, whose clock may be stepped.
    Clock::system().timeout(REQUEST_TIME, whole(body)).await.unwrap_or_else(|| Err(too_slow()))
}

async fn whole(mut body: Incoming) -> Result<Bytes, Status> {
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
