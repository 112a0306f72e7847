//! The way to a node's kubelet: its address from its Node object, TLS with this server's client certificate.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::{Status, object};
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::Incoming;
use crate::server::Core;

/// Which of a node's addresses are taken, best first. Names are not: what a name resolves to is not the node's word.
const ADDRESS_TYPES: [&str; 2] = ["InternalIP", "ExternalIP"];
/// The kubelet's port where its Node names none.
const DEFAULT_PORT: u16 = 10250;
/// A kubelet that does not take a connection by then is not there.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Where a node's kubelet listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
}

pub(crate) fn endpoint(core: &Core, node: &str) -> Result<Endpoint, Status> {
    let kind = core.builtin("", "nodes")?;
    let found = core.object("", "nodes", "", node).ok_or_else(|| Status::not_found(kind.resource(), node))?;
    let addresses = object::items(&found, &["status", "addresses"]);
    let pick = |wanted: &str| {
        addresses
            .iter()
            .filter(|a| object::text(a, &["type"]) == wanted)
            .find_map(|a| object::text(a, &["address"]).parse().ok())
    };
    let Some(address) = ADDRESS_TYPES.iter().find_map(|t| pick(t)) else {
        let known: Vec<String> = addresses
            .iter()
            .map(|a| format!("{{{} {}}}", object::text(a, &["type"]), object::text(a, &["address"])))
            .collect();
        let words = format!("no preferred addresses found; known addresses: [{}]", known.join(" "));
        return Err(Status::new(500, "", words));
    };
    let port = object::at(&found, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).as_u64();
    Ok(Endpoint { address, port: port.and_then(|p| u16::try_from(p).ok()).unwrap_or(DEFAULT_PORT) })
}

/// Send one request to the kubelet. Its answer is handed on as it is, whatever it says.
pub(crate) async fn send(
    core: &Core,
    to: Endpoint,
    mut request: Request<Incoming>,
) -> Result<Response<hyper::body::Incoming>, Status> {
    let host = HeaderValue::from_str(&authority(to)).map_err(|e| Status::internal(e.to_string()))?;
    request.headers_mut().insert(HOST, host);
    let failed = |why: String| Status::internal(format!("error dialing backend: {why}"));
    let config = client_config(core).map_err(failed)?;
    let connecting = async {
        let tcp = TcpStream::connect((to.address, to.port)).await?;
        let _ = tcp.set_nodelay(true);
        TlsConnector::from(config).connect(ServerName::IpAddress(to.address.into()), tcp).await
    };
    let tls = match core.clock.timeout(CONNECT_TIME, connecting).await {
        Some(Ok(tls)) => tls,
        Some(Err(e)) => return Err(failed(format!("dial tcp {}: {e}", authority(to)))),
        None => return Err(failed(format!("dial tcp {}: i/o timeout", authority(to)))),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(tls)).await.map_err(|e| failed(e.to_string()))?;
    tokio::spawn(async move {
        if let Err(e) = connection.with_upgrades().await {
            tracing::debug!("connection to a kubelet ended: {e}");
        }
    });
    sender.send_request(request).await.map_err(|e| failed(e.to_string()))
}

fn client_config(core: &Core) -> Result<Arc<rustls::ClientConfig>, String> {
    if let Some(config) = core.kubelet_tls.get() {
        return Ok(config.clone());
    }
    let made = core.pki.kubelet_client_config().map_err(|e| e.to_string())?;
    Ok(core.kubelet_tls.get_or_init(|| made).clone())
}

fn authority(to: Endpoint) -> String {
    match to.address {
        IpAddr::V4(a) => format!("{a}:{}", to.port),
        IpAddr::V6(a) => format!("[{a}]:{}", to.port),
    }
}

/// The container that a stream means: the one named, the annotated default, or the only one there is.
pub(crate) fn container(pod: &Value, asked: &str) -> Result<String, Status> {
    let name = object::name(pod);
    let names = |list: &str| -> Vec<String> {
        let found = object::items(pod, &["spec", list]);
        found.iter().map(|c| object::text(c, &["name"]).to_owned()).collect()
    };
    let main = names("containers");
    let (init, ephemeral) = (names("initContainers"), names("ephemeralContainers"));
    if !asked.is_empty() {
        let known = [&main, &init, &ephemeral].iter().any(|l| l.iter().any(|c| c == asked));
        return if known {
            Ok(asked.to_owned())
        } else {
            Err(Status::bad_request(format!("container {asked} is not valid for pod {name}")))
        };
    }
    if main.len() + init.len() + ephemeral.len() == 1
        || (main.len() == 1 && ephemeral.is_empty() && init.is_empty())
    {
        return main.into_iter().next().ok_or_else(|| {
            Status::bad_request(format!("a container name must be specified for pod {name}"))
        });
    }
    if let Some(chosen) = object::annotation(pod, "kubectl.kubernetes.io/default-container")
        && main.iter().any(|c| c == chosen)
    {
        return Ok(chosen.to_owned());
    }
    if main.len() == 1 {
        return Ok(main[0].clone());
    }
    let mut words =
        format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "));
    if !init.is_empty() {
        words.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    if !ephemeral.is_empty() {
        words.push_str(&format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" ")));
    }
    Err(Status::bad_request(words))
}

/// Percent-encoding for one part of a path or one value of a query.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(b as char),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
