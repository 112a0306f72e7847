//! The gRPC health check: one call of `grpc.health.v1.Health/Check`, written by hand since it is two fields.

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// `HealthCheckResponse.SERVING`.
const SERVING: u64 = 1;
/// A health answer has a few bytes; anything beyond this is none.
const MAX_ANSWER: usize = 4096;
/// The tag of field 1 as a string, and as a number.
const SERVICE_TAG: u8 = 0x0a;
const STATUS_TAG: u8 = 0x08;

/// A `HealthCheckRequest` in its gRPC frame.
fn request_body(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE_TAG);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The status of a `HealthCheckResponse` in its gRPC frame; absent means 0, unknown.
fn answer_status(frame: &[u8]) -> u64 {
    let Some((&STATUS_TAG, digits)) = frame.get(5..).and_then(<[u8]>::split_first) else { return 0 };
    let mut value = 0;
    for (index, byte) in digits.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Whether the service says that it serves; `Err` holds what the event says.
pub(crate) async fn check(
    stream: TcpStream,
    authority: &str,
    service: &str,
    agent: &str,
) -> Result<String, String> {
    let failed = |error: String| format!("error: health rpc failed: {error}");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(error.to_string()))?;
    let request = Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", agent)
        .body(Full::new(request_body(service)))
        .map_err(|error| failed(error.to_string()))?;
    let call = async {
        let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        let head = code(response.headers());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        let code = body.trailers().and_then(code).or(head).unwrap_or_else(|| "0".to_owned());
        if code != "0" {
            return Err(failed(format!("rpc error: code = {code}")));
        }
        match answer_status(&body.to_bytes()) {
            SERVING => Ok("service healthy".to_owned()),
            other => Err(format!("service unhealthy (responded with \"{}\")", status_name(other))),
        }
    };
    tokio::pin!(call);
    tokio::select! {
        answer = &mut call => answer,
        _ = connection => call.await,
    }
}

fn code(headers: &http::HeaderMap) -> Option<String> {
    headers.get("grpc-status").and_then(|code| code.to_str().ok()).map(str::to_owned)
}

fn status_name(status: u64) -> &'static str {
    match status {
        SERVING => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_protobuf() {
        assert_eq!(&request_body("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request_body("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(answer_status(&[0, 0, 0, 0, 2, 8, 1]), SERVING);
        assert_eq!(answer_status(&[0, 0, 0, 0, 2, 8, 2]), 2);
        assert_eq!(answer_status(&[0, 0, 0, 0, 0]), 0);
        assert_eq!(answer_status(&[]), 0);
    }
}
