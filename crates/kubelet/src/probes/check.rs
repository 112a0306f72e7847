//! One look at a container: run a command, ask over HTTP, open a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_clock::Clock;
use coracle_runtime::{Error, Runtime};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, ExecAction, GRPCAction, HTTPGetAction, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::grpc;
use super::trust::accept_any_certificate;

/// As much of an answer is shown in an event.
const MAX_OUTPUT: usize = 10 * 1024;

/// What a look at a container found: `Err` holds what the event says.
pub(crate) type Outcome = Result<String, String>;

/// Where the container is.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) container_id: String,
    pub(crate) pod_ip: String,
    pub(crate) container: Container,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Clock,
}

impl Target {
    pub(crate) async fn exec(&self, action: &ExecAction, timeout: Duration) -> Outcome {
        let command = action.command.clone().unwrap_or_default();
        match self.runtime.exec_sync(&self.container_id, &command, timeout).await {
            Ok(output) => {
                let mut text = output.stdout;
                text.extend_from_slice(&output.stderr);
                text.truncate(MAX_OUTPUT);
                let text = String::from_utf8_lossy(&text).into_owned();
                if output.exit_code == 0 { Ok(text) } else { Err(text) }
            }
            Err(Error::Timeout(_)) => Err(format!(
                "command timed out: \"{}\" timed out after {}s",
                command.join(" "),
                timeout.as_secs()
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) async fn tcp(&self, action: &TCPSocketAction, timeout: Duration) -> Outcome {
        let port = port(&self.container, &action.port)?;
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(&self.pod_ip);
        self.connect(host, port, timeout).await.map(|_| String::new())
    }

    pub(crate) async fn grpc(&self, action: &GRPCAction, agent: &str, timeout: Duration) -> Outcome {
        let port = u16::try_from(action.port).map_err(|_| format!("invalid port number: {}", action.port))?;
        let service = action.service.as_deref().unwrap_or_default();
        let authority = format!("{}:{port}", self.pod_ip);
        let call = async {
            let stream = dial(&self.pod_ip, port).await?;
            grpc::check(stream, &authority, service, agent).await
        };
        let late = || {
            format!(
                "timeout: failed to connect service \"{authority}\" within {timeout:?}: context deadline exceeded"
            )
        };
        self.clock.timeout(timeout, call).await.unwrap_or_else(|| Err(late()))
    }

    pub(crate) async fn http(&self, action: &HTTPGetAction, agent: &str, timeout: Duration) -> Outcome {
        let port = port(&self.container, &action.port)?;
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(&self.pod_ip);
        let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let path = action.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let url = format!("{scheme}://{authority}{slash}{path}");
        let got = self.clock.timeout(timeout, self.get(action, agent, &scheme, host, port, &url)).await;
        let (status, body) = match got {
            None => {
                return Err(format!(
                    "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                ));
            }
            Some(Err(error)) => return Err(format!("Get \"{url}\": {error}")),
            Some(Ok(answer)) => answer,
        };
        if (200..400).contains(&status) {
            Ok(body)
        } else {
            Err(format!("HTTP probe failed with statuscode: {status}"))
        }
    }

    async fn get(
        &self,
        action: &HTTPGetAction,
        agent: &str,
        scheme: &str,
        host: &str,
        port: u16,
        url: &str,
    ) -> Result<(u16, String), String> {
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path);
        let headers = action.http_headers.as_deref().unwrap_or_default();
        let has = |name: &str| headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
        if !has("host") {
            request = request.header("host", uri.authority().map_or(host, |authority| authority.as_str()));
        }
        if !has("user-agent") {
            request = request.header("user-agent", agent);
        }
        if !has("accept") {
            request = request.header("accept", "*/*");
        }
        for header in headers {
            request = request.header(header.name.as_str(), header.value.as_str());
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let stream = dial(host, port).await?;
        if scheme == "https" {
            let stream = accept_any_certificate(host, stream).await.map_err(|error| error.to_string())?;
            exchange(stream, request).await
        } else {
            exchange(stream, request).await
        }
    }

    async fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
        match self.clock.timeout(timeout, dial(host, port)).await {
            Some(done) => done,
            None => Err(format!("dial tcp {host}:{port}: i/o timeout")),
        }
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {host}:{port}: {why}")
    })
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<(u16, String), String> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_OUTPUT).collect().await;
        let body =
            body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        Ok((status, body))
    };
    tokio::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        // The connection can end in the same moment as the answer arrives.
        _ = connection => talk.await,
    }
}

/// A port by number, or by the name that the container gives it.
fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|it| it.name.as_deref() == Some(name));
            named.map(|it| it.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("invalid port number: {port:?}"))
}
