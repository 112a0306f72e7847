//! pods/exec, attach and portforward: a tunnel to the Pod's kubelet.

use bytes::Bytes;
use coracle_api::{Status, Subresource, object};
use http::Request;
use http_body_util::Empty;
use serde_json::Value;

use super::kubelet::{self, escape};
use super::tunnel;
use crate::body::{self, Incoming};
use crate::registry::Call;
use crate::respond::Answer;
use crate::server::Core;

pub(crate) async fn connect(
    core: &Core,
    call: &Call,
    sub: Subresource,
    options: &Value,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let pod = core.object("", "pods", &call.namespace, &call.name).ok_or_else(|| call.not_found())?;
    let place = format!("{}/{}", escape(&call.namespace), escape(&call.name));
    let path = match sub {
        Subresource::PortForward => format!("/portForward/{place}?{}", ports(options)),
        _ => {
            let container = kubelet::container(&pod, object::text(options, &["container"]))?;
            format!("/{}/{place}/{}?{}", sub.name(), escape(&container), stream_options(options))
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
fn stream_options(options: &Value) -> String {
    let mut out = Vec::new();
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if options[ours] == true {
            out.push(format!("{theirs}=1"));
        }
    }
    let command = object::items(options, &["command"]).iter().filter_map(Value::as_str);
    out.extend(command.map(|c| format!("command={}", escape(c))));
    out.join("&")
}

fn ports(options: &Value) -> String {
    let ports = object::items(options, &["ports"]).iter().filter_map(Value::as_u64);
    ports.map(|p| format!("port={p}")).collect::<Vec<_>>().join("&")
}
