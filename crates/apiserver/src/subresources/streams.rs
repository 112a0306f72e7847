//! pods/exec, attach and portforward: a tunnel to the Pod's kubelet.

use bytes::Bytes;
use coracle_api::{Status, Subresource, object};
use http::Request;
use http_body_util::Empty;

use super::kubelet::{self, escape};
use super::tunnel;
use crate::body::{self, Incoming};
use crate::options::text;
use crate::registry::Call;
use crate::respond::Answer;
use crate::server::Core;

pub(crate) async fn connect(
    core: &Core,
    call: &Call,
    sub: Subresource,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let pod = core.object("", "pods", &call.namespace, &call.name).ok_or_else(|| call.not_found())?;
    let place = format!("{}/{}", escape(&call.namespace), escape(&call.name));
    let path = match sub {
        Subresource::PortForward => format!("/portForward/{place}?{}", ports(call)),
        _ => {
            let container = kubelet::container(&pod, text(&call.query, "container"))?;
            format!("/{}/{place}/{}?{}", sub.name(), escape(&container), stream_options(call))
        }
    };
    let node = object::text(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", call.name)));
    }
    let to = kubelet::endpoint(core, node)?;
    let method = request.method().clone();
    let forward = Request::builder()
        .method(method)
        .uri(path)
        .body(body::incoming(Empty::<Bytes>::new()))
        .map_err(|e| Status::internal(e.to_string()))?;
    tunnel::upgrade(core, to, request, forward).await
}

/// The kubelet has its own names for the streams.
fn stream_options(call: &Call) -> String {
    let mut out = Vec::new();
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if call.query.flag(ours) {
            out.push(format!("{theirs}=1"));
        }
    }
    out.extend(call.query.all("command").map(|c| format!("command={}", escape(c))));
    out.join("&")
}

fn ports(call: &Call) -> String {
    let ports: Vec<String> = call.query.all("ports").map(|p| format!("port={}", escape(p))).collect();
    ports.join("&")
}
