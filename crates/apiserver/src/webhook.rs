//! Calling webhooks: who they are, how they are reached, and what goes wrong with that, in the words of Go's client.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_api::field::go_quote;
use coracle_api::object;
use coracle_auth::pki::webhook;
use futures::FutureExt;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{ServerName, UnixTime};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::registry;
use crate::server::Core;

/// Connections to one webhook that are kept while nobody uses them. More than a few are not needed at once for long.
const IDLE_MAX: usize = 16;
/// The longest answer that is read: an object of the largest size that etcd takes, several times over.
const ANSWER_MAX: usize = 16 << 20;

/// How many CA bundles are kept parsed. A cluster has a few; the bound is for those that replace theirs day by day.
const BUNDLES_MAX: usize = 256;

/// What Go says where time has run out.
const LATE: &str = "context deadline exceeded";

type Sender = SendRequest<Full<Bytes>>;
/// Where a connection goes, under what name, and who vouches for it.
type Key = (String, String, [u8; 32]);

/// Connections to webhooks that can be used again, and what it took to make them.
#[derive(Default)]
pub(crate) struct Clients {
    idle: Mutex<HashMap<Key, Vec<Sender>>>,
    tls: Mutex<HashMap<[u8; 32], Arc<rustls::ClientConfig>>>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// A webhook as its configuration describes it (`clientConfig`).
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// `host:port` as the request names it.
    authority: String,
    host: String,
    path: String,
    to: To,
    ca: Result<Vec<u8>, String>,
}

#[derive(Debug, Clone)]
enum To {
    /// `host:port`
    Host(String),
    Service {
        namespace: String,
        name: String,
        port: u16,
    },
}

impl Endpoint {
    pub(crate) fn read(config: &Value) -> Endpoint {
        let bundle = STANDARD.decode(object::text(config, &["caBundle"])).map_err(|e| e.to_string());
        let service = object::at(config, &["service"]);
        if service.is_object() {
            let (name, namespace) = (object::text(service, &["name"]), object::text(service, &["namespace"]));
            let port = object::at(service, &["port"]).as_u64().and_then(|p| u16::try_from(p).ok());
            let port = port.unwrap_or(443);
            let host = format!("{name}.{namespace}.svc");
            return Endpoint {
                authority: format!("{host}:{port}"),
                host,
                path: format!("/{}", object::text(service, &["path"]).trim_start_matches('/')),
                to: To::Service { namespace: namespace.to_owned(), name: name.to_owned(), port },
                ca: bundle,
            };
        }
        let url = object::text(config, &["url"]);
        let rest = url.strip_prefix("https://").unwrap_or(url);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "443"),
        };
        Endpoint {
            authority: authority.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            path: path.to_owned(),
            to: To::Host(format!("{host}:{port}")),
            ca: bundle,
        }
    }

    /// Sends `body` and gives back what was answered, or why nothing was.
    pub(crate) async fn post(&self, core: &Core, body: &Value, timeout: Duration) -> Result<Value, String> {
        let seconds = timeout.as_secs();
        let path = if self.path.is_empty() && seconds > 0 { "/" } else { &self.path };
        let url = format!("https://{}{path}?timeout={seconds}s", self.authority);
        let failed = |why: String| format!("Post {}: {why}", go_quote(&url));
        let answering = AtomicBool::new(false);
        let calling = async {
            let target = format!("{path}?timeout={seconds}s");
            let answer = self.send(core, target, body.to_string().into()).await.map_err(failed)?;
            answering.store(true, Ordering::Relaxed);
            answer.read(core).await.map_err(unread)
        };
        // On the heap by itself: the future of every request has room for all that it may wait for, and with this it was
        // twice as large.
        let calling = calling.boxed();
        let (status, bytes) = match core.clock.timeout(timeout, calling).await {
            Some(answered) => answered?,
            None if answering.load(Ordering::Relaxed) => return Err(unread(LATE.to_owned())),
            None => return Err(failed(LATE.to_owned())),
        };
        if !status.is_success() {
            return Err(refused(status, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|e| {
            format!(
                "couldn't get version/kind; json parse error: {e}; answer was {}",
                go_quote(&String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
            )
        })
    }

    async fn send(&self, core: &Core, path: String, body: Bytes) -> Result<Answer, String> {
        let address = self.address(core)?;
        let ca = self.ca.as_ref().map_err(|e| format!("unable to load root certificates: {e}"))?;
        let print: [u8; 32] = Sha256::digest(ca).into();
        let key = (address, self.host.clone(), print);
        let request = || {
            Request::post(path.as_str())
                .header(HOST, &self.authority)
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "application/json, */*")
                .body(Full::new(body.clone()))
                .map_err(|e| e.to_string())
        };
        while let Some(mut sender) = core.webhooks.take(&key) {
            // A connection that the other side has closed meanwhile has not seen the request: another one is tried.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.send_request(request()?).await {
                Ok(response) => return Ok(Answer { key, sender, response }),
                Err(e) if e.is_canceled() || e.is_closed() || e.is_incomplete_message() => {}
                Err(e) => return Err(unanswered(&e)),
            }
        }
        let config = core.webhooks.config(print, ca)?;
        let mut sender = self.connect(&key.0, config).await?;
        let response = sender.send_request(request()?).await.map_err(|e| unanswered(&e))?;
        Ok(Answer { key, sender, response })
    }

    async fn connect(&self, address: &str, config: Arc<rustls::ClientConfig>) -> Result<Sender, String> {
        let tcp = TcpStream::connect(address).await.map_err(|e| dialled(address, &e))?;
        let _ = tcp.set_nodelay(true);
        let name = ServerName::try_from(self.host.clone()).map_err(|e| e.to_string())?;
        let tls = TlsConnector::from(config).connect(name, tcp).await;
        let tls = tls.map_err(|e| handshake(&e, &self.host))?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(|e| e.to_string())?;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!("connection to a webhook ended: {e}");
            }
        });
        Ok(sender)
    }

    /// Where to connect to. A Service is reached at one of its endpoints: this server's machine need not be a node.
    fn address(&self, core: &Core) -> Result<String, String> {
        match &self.to {
            To::Host(address) => Ok(address.clone()),
            To::Service { namespace, name, port } => service(core, namespace, name, *port),
        }
    }
}

fn service(core: &Core, namespace: &str, name: &str, port: u16) -> Result<String, String> {
    let found = core.object("", "services", namespace, name);
    let found = found.ok_or_else(|| format!("service {} not found", go_quote(name)))?;
    if object::text(&found, &["spec", "type"]) == "ExternalName" {
        return Ok(format!("{}:{port}", object::text(&found, &["spec", "externalName"])));
    }
    let ports = object::items(&found, &["spec", "ports"]);
    let port = ports
        .iter()
        .find(|p| p["port"].as_u64() == Some(port.into()))
        .ok_or_else(|| format!("no service port {port} found for service {}", go_quote(name)))?;
    let port_name = object::text(port, &["name"]);
    let kind = core.builtin("discovery.k8s.io", "endpointslices").map_err(|e| e.message)?;
    let (state, prefix) = (core.store.snapshot(), registry::prefix(&kind, namespace));
    let slices = state
        .range(&prefix, None)
        .filter_map(|v| serde_json::from_slice::<Value>(&v.json).ok())
        .filter(|s| object::text(s, &["metadata", "labels", "kubernetes.io/service-name"]) == name);
    for slice in slices {
        let ports = object::items(&slice, &["ports"]);
        let to = ports.iter().find(|p| object::text(p, &["name"]) == port_name);
        let Some(to) = to.and_then(|p| p["port"].as_u64()) else { continue };
        let ready = |e: &&Value| object::at(e, &["conditions", "ready"]) != &Value::Bool(false);
        let mut endpoints = object::items(&slice, &["endpoints"]).iter().filter(ready);
        let address = endpoints.find_map(|e| e["addresses"][0].as_str()?.parse::<IpAddr>().ok());
        if let Some(address) = address {
            return Ok(std::net::SocketAddr::new(address, u16::try_from(to).unwrap_or(0)).to_string());
        }
    }
    Err(format!("no endpoints available for service {}", go_quote(name)))
}

/// An answer that has begun.
struct Answer {
    key: Key,
    sender: Sender,
    response: http::Response<hyper::body::Incoming>,
}

impl Answer {
    async fn read(self, core: &Core) -> Result<(StatusCode, Bytes), String> {
        let status = self.response.status();
        let body = Limited::new(self.response.into_body(), ANSWER_MAX).collect().await;
        let bytes = body
            .map_err(|e| match e.downcast_ref::<hyper::Error>() {
                Some(e) if e.is_incomplete_message() => "unexpected EOF".to_owned(),
                _ => e.to_string(),
            })?
            .to_bytes();
        core.webhooks.keep(self.key, self.sender);
        Ok((status, bytes))
    }
}

impl Clients {
    fn take(&self, key: &Key) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = idle.get_mut(key)?;
        senders.retain(|s| !s.is_closed());
        let taken = senders.pop();
        if senders.is_empty() {
            idle.remove(key);
        }
        taken
    }

    fn keep(&self, key: Key, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that their servers have closed are forgotten here, so that nothing is kept of webhooks that are gone.
        idle.retain(|_, senders| {
            senders.retain(|s| !s.is_closed());
            !senders.is_empty()
        });
        let senders = idle.entry(key).or_default();
        if !sender.is_closed() && senders.len() < IDLE_MAX {
            senders.push(sender);
        }
    }

    fn config(&self, print: [u8; 32], ca: &[u8]) -> Result<Arc<rustls::ClientConfig>, String> {
        let known = self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(&print).cloned();
        if let Some(config) = known {
            return Ok(config);
        }
        let config = webhook::client_config(ca)?;
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= BUNDLES_MAX {
            known.clear();
        }
        known.insert(print, config.clone());
        Ok(config)
    }
}

fn dialled(address: &str, e: &io::Error) -> String {
    let why = match e.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => e.to_string(),
    };
    format!("dial tcp {address}: {why}")
}

/// What Go says where the other side went without a word, or without the one by which TLS ends.
fn unanswered(e: &hyper::Error) -> String {
    let source = std::error::Error::source(e).and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => "EOF".to_owned(),
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        _ if e.is_incomplete_message() || e.is_canceled() || e.is_closed() => "EOF".to_owned(),
        _ => e.to_string(),
    }
}

/// What the reference's client says of an answer that broke off.
fn unread(why: String) -> String {
    format!("unexpected error when reading response body. Please retry. Original error: {why}")
}

/// What Go says of a handshake that failed.
fn handshake(e: &io::Error, host: &str) -> String {
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(bad)) => {
            format!("tls: failed to verify certificate: x509: {}", certificate(bad, host))
        }
        // Who speaks something else than TLS where a webhook is expected speaks HTTP.
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        _ if e.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => e.to_string(),
    }
}

/// What Go says of a certificate that it does not take.
fn certificate(bad: &rustls::CertificateError, host: &str) -> String {
    use rustls::CertificateError as Bad;
    const TIME: &str = "certificate has expired or is not yet valid";
    match bad {
        Bad::UnknownIssuer | Bad::BadSignature => "certificate signed by unknown authority".to_owned(),
        Bad::ExpiredContext { time, not_after } => {
            format!("{TIME}: current time {} is after {}", rfc3339(*time), rfc3339(*not_after))
        }
        Bad::NotValidYetContext { time, not_before } => {
            format!("{TIME}: current time {} is before {}", rfc3339(*time), rfc3339(*not_before))
        }
        Bad::Expired | Bad::NotValidYet => TIME.to_owned(),
        Bad::NotValidForNameContext { presented, .. } => misnamed(presented, host),
        other => other.to_string(),
    }
}

/// `presented` are names as `DnsName("a.example")`, addresses as `IpAddress(127.0.0.1)`.
fn misnamed(presented: &[String], host: &str) -> String {
    let of = |kind: &str| -> Vec<&str> {
        let inner = presented.iter().filter_map(|name| name.strip_prefix(kind)?.strip_suffix(')'));
        inner.map(|name| name.trim_start_matches('(').trim_matches('"')).collect()
    };
    let is_address = host.parse::<IpAddr>().is_ok();
    let valid = of(if is_address { "IpAddress" } else { "DnsName" });
    match (valid.is_empty(), is_address) {
        (true, true) => {
            format!("cannot validate certificate for {host} because it doesn't contain any IP SANs")
        }
        (true, false) => format!("certificate is not valid for any names, but wanted to match {host}"),
        (false, _) => format!("certificate is valid for {}, not {host}", valid.join(", ")),
    }
}

fn rfc3339(at: UnixTime) -> String {
    let second = i64::try_from(at.as_secs()).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    second.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the reference's client says of an answer that is no success.
fn refused(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    match status.as_u16() {
        404 => "the server could not find the requested resource".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => "forbidden".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
        500.. => {
            let shown = if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() };
            format!("an error on the server ({}) has prevented the request from succeeding", go_quote(&shown))
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}
