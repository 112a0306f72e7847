//! pods/log: what a container has printed, from its kubelet.

use bytes::Bytes;
use coracle_api::field::{Errors, Path};
use coracle_api::{Status, object};
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, BodyStream, Empty};
use serde_json::json;

use super::kubelet::{self, escape};
use crate::body::{self, Body};
use crate::options::{integer, text};
use crate::registry::Call;
use crate::respond::{self, Answer};
use crate::server::Core;

/// The options that the kubelet knows too, by the same names.
const PASSED_ON: [&str; 8] = [
    "follow",
    "previous",
    "timestamps",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "limitBytes",
    "insecureSkipTLSVerifyBackend",
];

pub(crate) async fn get(core: &Core, call: &Call) -> Result<Answer, Status> {
    check(call)?;
    let pod = core.object("", "pods", &call.namespace, &call.name).ok_or_else(|| call.not_found())?;
    let container = kubelet::container(&pod, text(&call.query, "container"))?;
    let node = object::text(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return Ok(respond::whole(204, "", Body::empty()));
    }
    let to = kubelet::endpoint(core, node)?;
    let options: Vec<String> = PASSED_ON
        .iter()
        .filter(|name| !text(&call.query, name).is_empty())
        .map(|name| format!("{name}={}", escape(text(&call.query, name))))
        .collect();
    let path = format!(
        "/containerLogs/{}/{}/{}?{}",
        escape(&call.namespace),
        escape(&call.name),
        escape(&container),
        options.join("&")
    );
    let request = Request::get(path)
        .body(body::incoming(Empty::<Bytes>::new()))
        .map_err(|e| Status::internal(e.to_string()))?;
    relay(kubelet::send(core, to, request).await?).await
}

async fn relay(answer: http::Response<hyper::body::Incoming>) -> Result<Answer, Status> {
    let code = answer.status().as_u16();
    if code != 200 {
        let said = answer.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let words = String::from_utf8_lossy(&said).trim().to_owned();
        return Err(match code {
            404 => Status::new(
                404,
                "NotFound",
                format!("the server could not find the requested resource ({words})"),
            ),
            400 => Status::bad_request(words),
            _ => Status::internal(words),
        });
    }
    let lines = BodyStream::new(answer.into_body())
        .filter_map(|frame| async { frame.ok().and_then(|f| f.into_data().ok()) });
    Ok(respond::whole(200, "text/plain", Body::Stream(Box::pin(lines))))
}

fn check(call: &Call) -> Result<(), Status> {
    let mut errs = Errors::default();
    for (name, least) in [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)] {
        if let Some(n) = integer(&call.query, name)?.filter(|n| *n < least) {
            let words =
                if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
            errs.invalid(&Path::new(name), &json!(n), words);
        }
    }
    if !text(&call.query, "sinceSeconds").is_empty() && !text(&call.query, "sinceTime").is_empty() {
        errs.forbidden(&Path::root(), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", &call.name, &errs)) }
}
