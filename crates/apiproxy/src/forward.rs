//! One request: refused, answered from the static directory, or sent upstream as the Pod and streamed back.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kube::client::Body;

use crate::{Shared, path, www};

/// The API server's own limit for a body is 3 MiB.
const BODY_BYTES_MAX: usize = 3 << 20;
/// 3 MiB within this time is slower than any network inside a Pod.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

pub(crate) async fn answer(shared: &Shared, mut request: Request<Incoming>) -> Answer {
    // kubectl's word for every refusal; 0 bytes have gone upstream by then.
    let Some(normal) = path::normal(request.uri().path()) else {
        return text(StatusCode::FORBIDDEN, "Forbidden");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    if let Some((prefix, directory)) = &shared.www
        && let Some(file) = format!("{normal}/").strip_prefix(prefix.as_str())
    {
        return www::serve(directory, file.trim_end_matches('/'));
    }
    if !shared.filter.lets_pass(&parts, &normal) {
        return text(StatusCode::FORBIDDEN, "Forbidden");
    }
    let Some(api_path) =
        normal.strip_prefix(&shared.api_prefix).filter(|p| p.is_empty() || p.starts_with('/'))
    else {
        return text(StatusCode::NOT_FOUND, "404 page not found");
    };
    let Some(uri) = upstream_uri(api_path, parts.uri.query()) else {
        return text(StatusCode::BAD_REQUEST, "Bad Request");
    };
    parts.uri = uri;
    let upgrades = wants_upgrade(&parts.headers);
    strip(&mut parts.headers, upgrades);
    let body = match read(shared, body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let response = match shared.client.send(Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, "the API server cannot be reached");
            return text(StatusCode::BAD_GATEWAY, "Bad Gateway");
        }
    };
    if upgrades && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return tunnel(response, upgrade);
    }
    let (mut parts, body) = response.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    Response::from_parts(parts, body.boxed_unsync())
}

/// The request's body, whole: the API takes no larger one than it would refuse, and a slow one is the caller's problem
/// alone.
async fn read(shared: &Shared, body: Incoming) -> Result<Body, Answer> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    match shared.clock.timeout(BODY_TIMEOUT, whole).await {
        Some(Ok(whole)) => Ok(Body::from(whole.to_bytes())),
        Some(Err(_)) => Err(text(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")),
        None => Err(text(StatusCode::REQUEST_TIMEOUT, "Request Timeout")),
    }
}

fn upstream_uri(path: &str, query: Option<&str>) -> Option<Uri> {
    let path = if path.is_empty() { "/".to_owned() } else { path::encode(path) };
    let whole = query.map_or_else(|| path.clone(), |q| format!("{path}?{q}"));
    whole.parse().ok()
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get(header::CONNECTION).and_then(|v| v.to_str().ok()).unwrap_or("");
    headers.contains_key(header::UPGRADE)
        && connection.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// Join the two upgraded connections until one of them ends. Only a 101 from the API server comes here; any other
/// answer to an upgrade is relayed as a plain answer, and what the caller sends after it is not forwarded.
fn tunnel(mut response: Response<Body>, caller: hyper::upgrade::OnUpgrade) -> Answer {
    let upstream = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        if let (Ok(upstream), Ok(caller)) = tokio::join!(upstream, caller) {
            let (mut upstream, mut caller) = (TokioIo::new(upstream), TokioIo::new(caller));
            let _ = tokio::io::copy_bidirectional(&mut caller, &mut upstream).await;
        }
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, empty())
}

/// Drop what the caller says about who it is, and what only concerns its connection to us.
fn strip(headers: &mut HeaderMap, keep_upgrade: bool) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("impersonate-")
                || name.starts_with("x-remote-")
                || name.starts_with("x-forwarded-")
        })
        .cloned()
        .collect();
    let upgrade = keep_upgrade.then(|| headers.get(header::UPGRADE).cloned()).flatten();
    strip_hop_by_hop(headers);
    for name in
        claims.into_iter().chain([header::AUTHORIZATION, header::COOKIE, header::HOST, header::FORWARDED])
    {
        while headers.remove(&name).is_some() {}
    }
    // A bearer token can hide among the WebSocket subprotocols, too.
    let has_token =
        |v: &header::HeaderValue| v.to_str().is_ok_and(|v| v.contains("base64url.bearer.authorization"));
    if headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().any(has_token) {
        headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    let fixed = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in named.into_iter().chain(fixed) {
        while headers.remove(&name).is_some() {}
    }
}

fn empty() -> UnsyncBoxBody<Bytes, kube::Error> {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

/// A short answer of our own, with Go's line end.
pub(crate) fn text(status: StatusCode, said: &str) -> Answer {
    bytes_answer(status, "text/plain; charset=utf-8", Bytes::from(format!("{said}\n")))
}

pub(crate) fn bytes_answer(status: StatusCode, content_type: &str, body: Bytes) -> Answer {
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_identity_are_dropped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("impersonate-user", "admin"),
            ("impersonate-extra-a", "b"),
            ("x-remote-user", "admin"),
            ("connection", "keep-alive, x-secret"),
            ("x-secret", "1"),
            ("cookie", "a=b"),
            ("accept", "application/json"),
            ("sec-websocket-protocol", "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        strip(&mut headers, false);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
