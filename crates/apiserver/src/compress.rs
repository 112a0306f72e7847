//! Large answers in gzip for who accepts it, compressed piece by piece while they are sent.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderValue, Method, Request, StatusCode};

use crate::body::{Body, Pieces};
use crate::respond::Answer;

/// Less than this is sent as it is, as by the reference: compressing costs more than it saves.
const LEAST_BYTES: usize = 128 * 1024;
/// What is fed to the compressor at a time, some 0.5 ms of work.
const PIECE_BYTES: usize = 64 * 1024;
/// What comes out is gathered up to this size.
const SENT_BYTES: usize = 16 * 1024;
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Whether the answer to a request may be compressed: of reads alone, as in the reference.
pub(crate) fn is_accepted<B>(request: &Request<B>) -> bool {
    let accepted = request.headers().get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    let is_gzip = |coding: &str| {
        let (name, params) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim() == "gzip" && !matches!(params.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    };
    request.method() == Method::GET && accepted.flat_map(|v| v.split(',')).any(is_gzip)
}

/// The answer in gzip if it is large. Streams stay what they are: their ends are not in sight.
pub(crate) fn compress(mut answer: Answer) -> Answer {
    if answer.status() != StatusCode::OK || answer.headers().contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let large = match std::mem::replace(answer.body_mut(), Body::empty()) {
        Body::Whole(whole) if whole.len() > LEAST_BYTES => Ok(Box::new(parts(whole)) as Source),
        Body::Pieces(pieces) => pieces.if_longer_than(LEAST_BYTES),
        small => Err(small),
    };
    match large {
        Err(small) => *answer.body_mut() = small,
        Ok(pieces) => {
            let encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let gzip = Gzip { pieces, encoder: Some(encoder) };
            *answer.body_mut() = Body::Pieces(Pieces::new(None, gzip));
            answer.headers_mut().insert(CONTENT_ENCODING, GZIP);
            answer.headers_mut().append(VARY, HeaderValue::from(ACCEPT_ENCODING));
        }
    }
    answer
}

type Source = Box<dyn Iterator<Item = Bytes> + Send>;

fn parts(mut whole: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!whole.is_empty()).then(|| whole.split_to(PIECE_BYTES.min(whole.len()))))
}

struct Gzip {
    pieces: Source,
    /// `None` once everything has been sent.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Iterator for Gzip {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(piece) = self.pieces.next() else {
                // Writing to memory cannot fail.
                return self.encoder.take()?.finish().ok().map(Bytes::from);
            };
            let encoder = self.encoder.as_mut()?;
            encoder.write_all(&piece).ok()?;
            if encoder.get_ref().len() >= SENT_BYTES {
                return Some(std::mem::take(encoder.get_mut()).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt;

    use super::*;

    fn accepts(value: &str) -> bool {
        is_accepted(&Request::get("/").header(ACCEPT_ENCODING, value).body(()).unwrap())
    }

    #[test]
    fn only_who_accepts_gzip_gets_it() {
        assert!(accepts("gzip") && accepts("deflate, gzip;q=0.5"));
        assert!(!accepts("gzip;q=0") && !accepts("br") && !accepts(""));
        assert!(!is_accepted(&Request::post("/").header(ACCEPT_ENCODING, "gzip").body(()).unwrap()));
    }

    #[tokio::test]
    async fn what_is_large_comes_out_as_it_went_in() {
        let text = |n: usize| (0..n).map(|i| (i * i % 251) as u8).collect::<Vec<u8>>();
        let pieces = |n| Body::Pieces(Pieces::new(None, parts(text(n).into())));
        for (body, n, is_gzip) in [
            (pieces(0), 0, false),
            (pieces(LEAST_BYTES), LEAST_BYTES, false),
            (pieces(LEAST_BYTES + 1), LEAST_BYTES + 1, true),
            (pieces(1 << 20), 1 << 20, true),
            (text(LEAST_BYTES).into(), LEAST_BYTES, false),
            (text(1 << 20).into(), 1 << 20, true),
        ] {
            let answer = compress(http::Response::new(body));
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), is_gzip, "{n}");
            let sent = answer.into_body().collect().await.unwrap().to_bytes();
            let mut got = Vec::new();
            match is_gzip {
                true => drop(GzDecoder::new(&sent[..]).read_to_end(&mut got).unwrap()),
                false => got.extend_from_slice(&sent),
            }
            assert!(got == text(n), "{n}");
        }
    }
}
