//! Which path does what.

use std::sync::Arc;

use bytes::Bytes;
use coracle_runtime::{AttachRequest, ExecRequest, Filter, SandboxState};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::sync::mpsc;

use super::exec::{self, Purpose};
use super::logs::{Log, Options};
use super::lookup::{self, Refusal};
use super::query::{Query, decode};
use super::{port_forward, websocket};
use crate::Shared;
use crate::pod::{UID_LABEL, spec};

/// Pieces of a log that may wait for a slow client.
const QUEUE: usize = 4;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;
type Answer = Result<Response<Body>, Refusal>;

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

pub(crate) async fn answer(shared: Arc<Shared>, trusted: bool, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if parts == ["healthz"] {
        return plain(StatusCode::OK, "ok");
    }
    if !trusted {
        return plain(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let answer = match parts.as_slice() {
        ["pods"] => Ok(pods(&shared)),
        ["containerLogs", namespace, pod, container] => {
            logs(&shared, namespace, pod, container, &query).await
        }
        // The UID in between is the longer form of the path.
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            exec(&shared, (namespace, pod, container), &query, request).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            attach(&shared, (namespace, pod, container), &query, request).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            forward(&shared, namespace, pod, &query, request).await
        }
        _ => Err((StatusCode::NOT_FOUND, "404 page not found\n".to_owned())),
    };
    answer.unwrap_or_else(|(status, text)| plain(status, text))
}

fn pods(shared: &Shared) -> Response<Body> {
    let items: Vec<_> =
        shared.all_pods().iter().filter_map(|pod| serde_json::to_value(&**pod).ok()).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    let mut response = Response::new(full(list.to_string()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn logs(shared: &Arc<Shared>, namespace: &str, pod: &str, container: &str, query: &Query) -> Answer {
    let pod = lookup::pod(shared, namespace, pod)?;
    if spec::find(&pod, container).is_none() {
        let text = format!("container \"{container}\" not found in pod \"{}\"\n", spec::name(&pod));
        return Err((StatusCode::NOT_FOUND, text));
    }
    let options =
        Options::parse(query, shared.clock.now()).map_err(|text| (StatusCode::UNPROCESSABLE_ENTITY, text))?;
    let id = lookup::logged(&pod, container, options.previous)?;
    let internal = |error: coracle_runtime::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let status = shared.runtime.container_status(&id).await.map_err(internal)?;
    if !status.log_path.exists() {
        let text = format!("failed to try resolving symlinks in path \"{}\"", status.log_path.display());
        return Err((StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    let (sender, mut pieces) = mpsc::channel(QUEUE);
    let log = Log { shared: Arc::clone(shared), container_id: id, path: status.log_path };
    tokio::spawn(log.send(options, sender));
    let stream = futures::stream::poll_fn(move |cx| {
        pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    });
    let mut response = plain(StatusCode::OK, "");
    *response.body_mut() = BodyExt::boxed(StreamBody::new(stream));
    Ok(response)
}

type Names<'a> = (&'a str, &'a str, &'a str);

fn running(shared: &Shared, (namespace, pod, container): Names<'_>) -> Result<String, Refusal> {
    let pod = lookup::pod(shared, namespace, pod)?;
    lookup::running(&pod, container)
}

async fn exec(shared: &Arc<Shared>, names: Names<'_>, query: &Query, request: Request<Incoming>) -> Answer {
    let id = running(shared, names)?;
    let tty = query.is_set("tty");
    let wanted = ExecRequest {
        command: query.all("command"),
        stdin: query.is_set("stdin") || query.is_set("input"),
        stdout: query.is_set("stdout") || query.is_set("output"),
        stderr: (query.is_set("stderr") || query.is_set("error")) && !tty,
        tty,
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        let text = "you must specify at least 1 of stdin, stdout, stderr".to_owned();
        return Err((StatusCode::BAD_REQUEST, text));
    }
    let (response, protocol, socket) = websocket::upgrade(request)?.split();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let Ok(socket) = socket.await else { return };
        let command = wanted.command.clone();
        let session = shared.runtime.exec(&id, wanted).await;
        let clock = shared.clock.clone();
        let session = session.unwrap_or_else(failed);
        exec::connect(socket, protocol, session, Purpose::Exec, command, clock).await;
    });
    Ok(response)
}

async fn attach(shared: &Arc<Shared>, names: Names<'_>, query: &Query, request: Request<Incoming>) -> Answer {
    let id = running(shared, names)?;
    let wanted = AttachRequest {
        stdin: query.is_set("stdin") || query.is_set("input"),
        stdout: query.is_set("stdout") || query.is_set("output"),
        stderr: (query.is_set("stderr") || query.is_set("error")) && !query.is_set("tty"),
    };
    let (response, protocol, socket) = websocket::upgrade(request)?.split();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let Ok(socket) = socket.await else { return };
        let session = shared.runtime.attach(&id, wanted).await.unwrap_or_else(failed);
        exec::connect(socket, protocol, session, Purpose::Attach, Vec::new(), shared.clock.clone()).await;
    });
    Ok(response)
}

/// A session that ended before it began: its error reaches the client on the error channel.
fn failed(error: coracle_runtime::Error) -> coracle_runtime::Session {
    let (resize, _) = mpsc::channel(1);
    let exit = Box::pin(std::future::ready(Err(error)));
    coracle_runtime::Session { stdin: None, stdout: None, stderr: None, resize, exit }
}

async fn sandbox(shared: &Shared, pod: &Pod) -> Result<String, Refusal> {
    let labels = [(UID_LABEL.to_owned(), spec::uid(pod).to_owned())].into();
    let found =
        shared.runtime.list_sandboxes(&Filter { labels, ..Filter::default() }).await.unwrap_or_default();
    let ready = found.into_iter().find(|sandbox| sandbox.state == SandboxState::Ready);
    let missing = || (StatusCode::NOT_FOUND, format!("pod not found (\"{}\")", spec::name(pod)));
    ready.map(|sandbox| sandbox.id).ok_or_else(missing)
}

async fn forward(
    shared: &Arc<Shared>,
    namespace: &str,
    pod: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let pod = lookup::pod(shared, namespace, pod)?;
    let sandbox = sandbox(shared, &pod).await?;
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    let asked = [query.all("port"), query.all("ports")].concat();
    let mut ports = Vec::new();
    for text in asked.iter().flat_map(|text| text.split(',')) {
        let port = text.parse().ok().filter(|port: &u16| *port > 0);
        ports.push(port.ok_or_else(|| bad(format!("invalid port \"{text}\"")))?);
    }
    if ports.is_empty() || ports.len() > port_forward::MAX_PORTS {
        return Err(bad("query parameter \"port\" is required".to_owned()));
    }
    let (response, _, socket) = websocket::upgrade(request)?.split();
    let runtime = Arc::clone(&shared.runtime);
    tokio::spawn(async move {
        if let Ok(socket) = socket.await {
            port_forward::forward(socket, runtime, sandbox, ports).await;
        }
    });
    Ok(response)
}
