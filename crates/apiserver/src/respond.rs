//! Answers: status lines, headers and the writing of values in the negotiated format.

use bytes::Bytes;
use coracle_api::Status;
use coracle_api::codec::{self, protobuf};
use coracle_api::schema::Schemas;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use crate::negotiate::{Format, Syntax};

pub type Answer = Response<Body>;

/// An answer with a body of one media type.
pub fn whole(code: u16, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !content_type.is_empty() {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    answer
}

pub fn text(code: u16, words: impl Into<String>) -> Answer {
    whole(code, "text/plain; charset=utf-8", words.into())
}

/// A path that nothing serves.
pub fn page_not_found() -> Answer {
    text(404, "404 page not found\n")
}

/// A value in the client's format; what has no message is JSON to those who ask for protobuf, too.
pub fn value(code: u16, v: &Value, format: Format) -> Answer {
    if format.syntax == Syntax::Protobuf {
        return match protobuf::encode(&Schemas::builtin(), v) {
            Some(body) => uncached(code, format, body),
            None => value(code, v, Format { syntax: Syntax::Json, ..format }),
        };
    }
    uncached(code, format, encode(v, format))
}

/// A body that is encoded in the client's format.
pub fn uncached(code: u16, format: Format, body: impl Into<Body>) -> Answer {
    let mut answer = whole(code, format.content_type(), body);
    never_cache(&mut answer);
    answer
}

/// Objects may change at any moment.
pub fn never_cache(answer: &mut Answer) {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
}

/// An object that is already encoded as JSON.
pub fn stored(code: u16, json: &Bytes, format: Format) -> Answer {
    if format.syntax == Syntax::Json && !format.pretty {
        let mut line = Vec::with_capacity(json.len() + 1);
        line.extend_from_slice(json);
        line.push(b'\n');
        return uncached(code, format, line);
    }
    match codec::json::reread(json) {
        Ok(v) => value(code, &v, format),
        Err(e) => status(&Status::internal(format!("stored object is no JSON: {e}")), format),
    }
}

fn encode(v: &Value, format: Format) -> Vec<u8> {
    match (format.syntax, format.pretty) {
        (Syntax::Yaml, _) => codec::yaml::encode(v).into_bytes(),
        (_, true) => codec::encode::pretty(v),
        (_, false) => {
            let mut out = codec::encode::compact(v);
            out.push(b'\n');
            out
        }
    }
}

pub fn status(s: &Status, format: Format) -> Answer {
    let mut answer = value(s.code, &s.to_value(), format);
    let wait = s.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    if wait > 0 {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    answer
}

/// `299 - "…"`, as the Warning header of RFC 7234. Words that no header may hold are left out.
pub fn add_warnings(answer: &mut Answer, warnings: &[String]) {
    for w in warnings {
        let quoted: String = w
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] })
            .collect();
        if let Ok(v) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            answer.headers_mut().append(http::header::WARNING, v);
        }
    }
}
