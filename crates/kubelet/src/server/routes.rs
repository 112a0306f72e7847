//! Which path does what.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;

use crate::Shared;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

pub(crate) async fn answer(shared: Arc<Shared>, trusted: bool, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts == ["healthz"] {
        return plain(StatusCode::OK, "ok");
    }
    if !trusted {
        return plain(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    match parts.as_slice() {
        ["pods"] => pods(&shared),
        _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn pods(shared: &Shared) -> Response<Body> {
    let items: Vec<_> =
        shared.all_pods().iter().filter_map(|pod| serde_json::to_value(&**pod).ok()).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    let mut response = Response::new(full(list.to_string()));
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
