//! A plain HTTP/2 client over TLS, so that little besides the server is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a cluster is and who calls it: the two things that its kubeconfig says.
#[derive(Clone)]
pub(crate) struct Access {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

impl Access {
    pub(crate) fn read(kubeconfig: &Path) -> anyhow::Result<Access> {
        let text = std::fs::read(kubeconfig).context("cannot read the kubeconfig")?;
        let config = coracle_api::codec::yaml::parse(&text).context("cannot parse the kubeconfig")?.value;
        let cluster = &config["clusters"][0]["cluster"];
        let user = &config["users"][0]["user"];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&data(cluster, "certificate-authority-data")?)?)?;
        let certificate = CertificateDer::from_pem_slice(&data(user, "client-certificate-data")?)?;
        let key = PrivateKeyDer::from_pem_slice(&data(user, "client-key-data")?)?;
        let mut tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let server = cluster["server"].as_str().unwrap_or_default();
        let address = server.trim_start_matches("https://").parse();
        let address = address.with_context(|| format!("cannot read the server's address {server:?}"))?;
        Ok(Access { address, tls: Arc::new(tls) })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Api> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let (sender, connection) =
            http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Api { sender, authority: self.address.to_string() })
    }
}

fn data(of: &Value, key: &str) -> anyhow::Result<Vec<u8>> {
    let text = of[key].as_str().with_context(|| format!("the kubeconfig has no {key}"))?;
    Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
}

/// One connection; any number of requests at a time.
#[derive(Clone)]
pub(crate) struct Api {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Api {
    async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.authority))
            .header(header::CONTENT_TYPE, kind)
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))?;
        let mut sender = self.sender.clone();
        sender.ready().await?;
        Ok(sender.send_request(request).await?)
    }

    /// The whole answer to a request, which must have been one of success.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let response = self.send(method.clone(), path, kind, body).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(answer)
    }

    pub(crate) async fn status(&self, path: &str) -> anyhow::Result<StatusCode> {
        Ok(self.send(Method::GET, path, "", Bytes::new()).await?.status())
    }

    pub(crate) async fn get_bytes(&self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, "", Bytes::new()).await
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.get_bytes(path).await?)?)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        self.call(Method::POST, path, "application/json", body.to_string().into()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::DELETE, path, "application/json", Bytes::new()).await
    }

    pub(crate) async fn watch(&self, path: &str) -> anyhow::Result<Watch> {
        let response = self.send(Method::GET, path, "", Bytes::new()).await?;
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

    /// Reads on until so many events have come, without looking into them.
    pub(crate) async fn count(&mut self, events: usize) -> anyhow::Result<()> {
        let mut left = events;
        while left > 0 {
            let lines = self.chunk().await?.iter().filter(|b| **b == b'\n').count();
            left = left.saturating_sub(lines);
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
