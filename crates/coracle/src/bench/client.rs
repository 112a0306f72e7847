//! A plain HTTP/2 client over TLS, so that little besides the server is measured.

use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::access::Access;
use super::valve::{Valve, Valved};

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// The kernel holds so little for a reader that does not read (it doubles this); a usual buffer would hide it for long.
const STALLED_BUFFER: usize = 16 << 10;
/// The largest window that HTTP/2 has.
const WINDOW_MAX: u32 = (1 << 31) - 1;

impl Access {
    pub(crate) async fn connect(&self) -> anyhow::Result<Api> {
        let stream = self.dial().await?;
        self.handshake(stream, &http2::Builder::new(TokioExecutor::new())).await
    }

    /// A connection whose reading can be shut off. Its HTTP/2 windows are as large as can be, so that it is the window of
    /// TCP that closes then.
    pub(crate) async fn connect_to_stall(&self) -> anyhow::Result<(Api, Arc<Valve>)> {
        let tcp = self.dial().await?;
        setsockopt(&tcp, sockopt::RcvBuf, &STALLED_BUFFER)?;
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(WINDOW_MAX).initial_connection_window_size(WINDOW_MAX);
        let valve = Arc::new(Valve::default());
        let api = self.handshake(Valved { tcp, valve: valve.clone() }, &http).await?;
        Ok((api, valve))
    }

    async fn dial(&self) -> anyhow::Result<TcpStream> {
        let to = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(to).await;
        let stream = stream.with_context(|| format!("cannot reach the server {}", self.authority()))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// HTTP/2 over TLS on a connection that there is already.
    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        http: &http2::Builder<TokioExecutor>,
    ) -> anyhow::Result<Api> {
        let tls = TlsConnector::from(self.tls.clone()).connect(self.name.clone(), stream).await;
        let tls = tls.with_context(|| format!("no TLS with the server {}", self.authority()))?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            bail!("the server {} does not speak HTTP/2", self.authority());
        }
        let (sender, connection) = http.handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        let base = format!("https://{}{}", self.authority(), self.prefix);
        Ok(Api { sender, base, headers: self.headers.clone() })
    }
}

/// One connection; any number of requests at a time.
#[derive(Clone)]
pub(crate) struct Api {
    sender: SendRequest<Full<Bytes>>,
    base: String,
    headers: HeaderMap,
}

impl Api {
    async fn send(
        &self,
        method: Method,
        path: &str,
        (accept, kind): (&'static str, &'static str),
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let uri = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(uri).body(Full::new(body))?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let mut sender = self.sender.clone();
        sender.ready().await?;
        Ok(sender.send_request(request).await?)
    }

    /// Status and whole answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        forms: (&'static str, &'static str),
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let response = self.send(method, path, forms, body).await?;
        Ok((response.status(), response.into_body().collect().await?.to_bytes()))
    }

    /// The whole answer to a request, which must have been one of success.
    async fn call(
        &self,
        method: Method,
        path: &str,
        forms: (&'static str, &'static str),
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let (status, answer) = self.ask(method.clone(), path, forms, body).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(answer)
    }

    pub(crate) async fn status(&self, path: &str) -> anyhow::Result<StatusCode> {
        Ok(self.send(Method::GET, path, (JSON, ""), Bytes::new()).await?.status())
    }

    pub(crate) async fn get_bytes(&self, path: &str) -> anyhow::Result<Bytes> {
        self.get_as(JSON, path).await
    }

    pub(crate) async fn get_as(&self, accept: &'static str, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, (accept, ""), Bytes::new()).await
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.get_bytes(path).await?)?)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        self.call(Method::POST, path, (JSON, JSON), body.to_string().into()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        self.call(Method::PUT, path, (JSON, JSON), body.to_string().into()).await
    }

    pub(crate) async fn merge_patch(&self, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        self.call(Method::PATCH, path, (JSON, MERGE_PATCH), body.to_string().into()).await
    }

    /// By a field manager of its own, which takes over fields that others have.
    pub(crate) async fn apply(&self, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        let path = format!("{path}?fieldManager=bench&force=true");
        self.call(Method::PATCH, &path, (JSON, APPLY_PATCH), body.to_string().into()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::DELETE, path, (JSON, ""), Bytes::new()).await
    }

    pub(crate) async fn watch(&self, path: &str) -> anyhow::Result<Watch> {
        let response = self.send(Method::GET, path, (JSON, ""), Bytes::new()).await?;
        let status = response.status();
        if !status.is_success() {
            bail!("GET {path}: {status}");
        }
        Ok(Watch { body: response.into_body(), pending: Vec::new() })
    }
}

/// The events of a watch, one line each.
pub(crate) struct Watch {
    body: Incoming,
    pending: Vec<u8>,
}

impl Watch {
    pub(crate) async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            let more = self.chunk().await?;
            self.pending.extend_from_slice(&more);
        }
    }

    /// Reads on until so many events have come, without looking into them (a client on the same cores must cost little); `arrived` is told of each by its number.
    pub(crate) async fn count(&mut self, events: usize, arrived: impl Fn(usize)) -> anyhow::Result<()> {
        let mut seen = 0;
        while seen < events {
            let lines = memchr::memchr_iter(b'\n', &self.chunk().await?).count();
            (seen..seen + lines).for_each(&arrived);
            seen += lines;
        }
        Ok(())
    }

    async fn chunk(&mut self) -> anyhow::Result<Bytes> {
        loop {
            let frame = self.body.frame().await.context("the watch ended")??;
            if let Ok(data) = frame.into_data() {
                return Ok(data);
            }
        }
    }
}
