//! Plain requests: a method, a path, a body; an answer or the server's own refusal.

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use crate::Error;

pub(crate) const JSON: &str = "application/json";
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

/// A request in the making.
pub(crate) struct Call<'a> {
    pub method: Method,
    pub path: String,
    pub query: Vec<(&'a str, String)>,
    pub accept: &'a str,
    pub body: Option<(&'a str, Vec<u8>)>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Call<'a> {
        Call { method, path: path.into(), query: Vec::new(), accept: JSON, body: None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Call<'a> {
        Call::new(Method::GET, path)
    }

    pub(crate) fn query(mut self, key: &'a str, value: impl Into<String>) -> Call<'a> {
        self.query.push((key, value.into()));
        self
    }

    /// Adds the parameter where there is a value.
    pub(crate) fn maybe(self, key: &'a str, value: Option<impl Into<String>>) -> Call<'a> {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    pub(crate) fn accept(mut self, accept: &'a str) -> Call<'a> {
        self.accept = accept;
        self
    }

    pub(crate) fn json(self, body: &Value) -> Call<'a> {
        self.body(JSON, body.to_string().into_bytes())
    }

    pub(crate) fn body(mut self, content_type: &'a str, body: Vec<u8>) -> Call<'a> {
        self.body = Some((content_type, body));
        self
    }

    fn request(self) -> Result<Request<Body>, Error> {
        let mut uri = self.path;
        for (i, (key, value)) in self.query.iter().enumerate() {
            uri.push(if i == 0 { '?' } else { '&' });
            uri.push_str(key);
            uri.push('=');
            uri.push_str(&encode(value));
        }
        let request = Request::builder().method(self.method).uri(uri).header("Accept", self.accept);
        let request =
            request.header("User-Agent", concat!("kubectl/v1.36.0+coracle (", env!("CARGO_PKG_NAME"), ")"));
        let built = match self.body {
            Some((content_type, body)) => request.header("Content-Type", content_type).body(Body::from(body)),
            None => request.body(Body::empty()),
        };
        built.map_err(|e| Error::local(e.to_string()))
    }

    /// The answer's head and body stream, whatever its status.
    pub(crate) async fn send(self, client: &Client) -> Result<Response<Body>, Error> {
        let request = self.request()?;
        let shown = request.uri().path().to_owned();
        client.send(request).await.map_err(|e| unreachable_server(&shown, &e))
    }

    /// The answer's stream; a refusal is an error.
    pub(crate) async fn stream(self, client: &Client) -> Result<Response<Body>, Error> {
        let response = self.send(client).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let bytes = collect(response).await?;
        Err(refusal(code, &bytes))
    }

    pub(crate) async fn text(self, client: &Client) -> Result<String, Error> {
        let bytes = collect(self.stream(client).await?).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) async fn value(self, client: &Client) -> Result<Value, Error> {
        let response = self.stream(client).await?;
        for warning in response.headers().get_all("Warning") {
            // `299 - "text"`
            if let Some(text) = warning.to_str().ok().and_then(|w| w.splitn(3, ' ').nth(2)) {
                eprintln!("Warning: {}", text.trim_matches('"').replace("\\\"", "\""));
            }
        }
        let bytes = collect(response).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::local(format!("the server's answer is no JSON: {e}")))
    }
}

async fn collect(response: Response<Body>) -> Result<bytes::Bytes, Error> {
    let collected = response.into_body().collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|e| Error::local(format!("cannot read the answer: {e}")))
}

fn refusal(code: u16, body: &[u8]) -> Error {
    let status: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let message = match status["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    };
    if code == 401 {
        return Error::local("You must be logged in to the server (Unauthorized)");
    }
    Error::Server { code, reason: status["reason"].as_str().unwrap_or("").to_owned(), message }
}

fn unreachable_server(path: &str, e: &kube::Error) -> Error {
    let mut cause: &dyn std::error::Error = e;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Error::local(format!("cannot reach the API server ({path}): {cause}"))
}

/// Percent-encode a query value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
