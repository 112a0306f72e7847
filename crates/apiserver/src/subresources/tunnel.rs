//! Requests that are handed to another server: the upgrade that becomes a tunnel, and the plain proxy.

use std::time::Duration;

use coracle_api::{Status, object};
use futures::StreamExt;
use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HeaderName, LOCATION, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, BodyStream};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::kubelet::{self, Endpoint, escape};
use crate::body::{self, Body, Incoming};
use crate::registry::Call;
use crate::respond::{self, Answer};
use crate::server::Core;

/// What is between two neighbours only (RFC 9110 §7.6.1), and what proves an identity to this server alone.
const NOT_FORWARDED: [HeaderName; 7] =
    [CONNECTION, UPGRADE, TE, TRAILER, TRANSFER_ENCODING, PROXY_AUTHORIZATION, AUTHORIZATION];
/// A refusal's body that has not come by then is left out.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// Hand an upgrade on; where the other side takes it, copy bytes both ways until either ends. A refusal is relayed and
/// the connection closed, so that nothing more of the client's reaches the other side.
pub(crate) async fn upgrade(
    core: &Core,
    to: Endpoint,
    mut request: Request<Incoming>,
    mut forward: Request<Incoming>,
) -> Result<Answer, Status> {
    if !request.headers().contains_key(UPGRADE) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let client = hyper::upgrade::on(&mut request);
    for (name, value) in request.headers() {
        let wanted =
            *name == CONNECTION || *name == UPGRADE || !NOT_FORWARDED.contains(name) && *name != COOKIE;
        if wanted && *name != http::header::HOST && *name != http::header::CONTENT_LENGTH {
            forward.headers_mut().append(name.clone(), value.clone());
        }
    }
    let answer = kubelet::send(core, to, forward).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return refused(core, answer).await;
    }
    let mut out = Response::new(Body::empty());
    *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *out.headers_mut() = answer.headers().clone();
    let stopping = core.stopping.clone();
    tokio::spawn(async move {
        let (Ok(client), Ok(backend)) = (client.await, hyper::upgrade::on(answer).await) else { return };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        tokio::select! {
            ended = tokio::io::copy_bidirectional(&mut client, &mut backend) => {
                if let Err(e) = ended {
                    tracing::debug!("tunnel ended: {e}");
                }
            }
            () = stopping.cancelled() => {}
        }
    });
    Ok(out)
}

async fn refused(core: &Core, answer: Response<hyper::body::Incoming>) -> Result<Answer, Status> {
    if answer.status().is_redirection() {
        return Err(Status::internal(
            "the backend attempted to redirect this request, which is not permitted",
        ));
    }
    let (parts, body) = answer.into_parts();
    let said = core.clock.timeout(REFUSAL_TIME, body.collect()).await;
    let said = said.and_then(Result::ok).map(|b| b.to_bytes()).unwrap_or_default();
    let mut out = respond::whole(parts.status.as_u16(), "", Body::Whole(said));
    if let Some(kind) = parts.headers.get(http::header::CONTENT_TYPE) {
        out.headers_mut().insert(http::header::CONTENT_TYPE, kind.clone());
    }
    out.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(out)
}

/// nodes/proxy: the kubelet's own API. Proxies to Pods and Services are not served.
pub(crate) async fn proxy(
    core: &Core,
    call: &Call,
    options: &Value,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    if call.kind.plural != "nodes" {
        return Err(Status::service_unavailable(format!(
            "proxying to {} is not supported",
            call.kind.plural
        )));
    }
    if request.headers().contains_key(UPGRADE) {
        return Err(Status::bad_request("upgrades through nodes/proxy are not supported"));
    }
    let to = kubelet::endpoint(core, &call.name)?;
    let path: Vec<String> = object::text(options, &["path"]).split('/').map(escape).collect();
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let uri = format!("/{}{query}", path.join("/").trim_start_matches('/'));
    let method = request.method().clone();
    let headers = end_to_end(request.headers());
    let mut forward = Request::builder()
        .method(method)
        .uri(uri)
        .body(body::incoming(request.into_body()))
        .map_err(|e| Status::internal(e.to_string()))?;
    *forward.headers_mut() = headers;
    let answer = kubelet::send(core, to, forward).await?;
    let (parts, body) = answer.into_parts();
    let chunks = BodyStream::new(body).filter_map(|f| async { f.ok().and_then(|f| f.into_data().ok()) });
    let mut out = Response::new(Body::Stream(Box::pin(chunks)));
    *out.status_mut() = parts.status;
    *out.headers_mut() = end_to_end(&parts.headers);
    // A redirect would have the client go where the node says, with its credential for this server.
    if parts.status.is_redirection() {
        out.headers_mut().remove(LOCATION);
    }
    Ok(out)
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut out = headers.clone();
    for name in &NOT_FORWARDED {
        out.remove(name);
    }
    out.remove(COOKIE);
    out
}
