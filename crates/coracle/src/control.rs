//! The client of a running cluster's `/coracle/v1`, found as kubectl finds it: by flag, environment or home directory.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args as ClapArgs;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use serde_json::Value;
use tower::util::BoxService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use crate::data_dir::DataDir;

const PREFIX: &str = "/coracle/v1/";

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Which cluster is meant.
#[derive(Debug, ClapArgs)]
pub(crate) struct Target {
    /// The cluster's kubeconfig [default: KUBECONFIG, ~/.kube/config, or the one in the data directory]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: its current one]
    #[arg(long)]
    context: Option<String>,
}

pub(crate) struct Control {
    service: BoxService<Request<Body>, Response<Incoming>, BoxError>,
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(BoxError::from).boxed_unsync()
}

pub(crate) fn json(value: &Value) -> Body {
    Full::new(Bytes::from(value.to_string())).map_err(BoxError::from).boxed_unsync()
}

impl Target {
    pub(crate) fn kubeconfig(&self) -> anyhow::Result<Kubeconfig> {
        if let Some(path) = &self.kubeconfig {
            let read = Kubeconfig::read_from(path);
            return read.with_context(|| format!("cannot read the kubeconfig {}", path.display()));
        }
        match Kubeconfig::read() {
            Ok(read) => Ok(read),
            Err(KubeconfigError::FindPath | KubeconfigError::ReadConfig(..)) => {
                let path = DataDir::default_path().join("kubeconfig");
                let why = "there is no kubeconfig: name the cluster's with --kubeconfig";
                Kubeconfig::read_from(&path).context(why)
            }
            Err(error) => Err(error).context("cannot read the kubeconfig"),
        }
    }

    pub(crate) fn context(&self, kubeconfig: &Kubeconfig) -> anyhow::Result<String> {
        let named = self.context.clone().or_else(|| kubeconfig.current_context.clone());
        named.context("the kubeconfig has no current context: name one with --context")
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Control> {
        crate::install_crypto();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(self.kubeconfig()?, &options)
            .await
            .context("cannot use the kubeconfig")?;
        let connector =
            config.rustls_https_connector().context("cannot use the kubeconfig's certificates")?;
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().context("cannot use the kubeconfig's credential")?)
            .map_err(BoxError::from)
            .service(client);
        Ok(Control { service: BoxService::new(service) })
    }
}

impl Control {
    /// A successful answer, or the server's own words.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Body,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(format!("{PREFIX}{path}")).body(body)?;
        let ready = self.service.ready().await.map_err(unreachable)?;
        let response = ready.call(request).await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&text).ok();
        match said.as_ref().and_then(|status| status["message"].as_str()) {
            Some(message) => bail!("{message}"),
            None if status == 404 => bail!("the server knows no {PREFIX}{path}: is it a coracle?"),
            None => bail!("the server answered {status}"),
        }
    }

    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Body) -> anyhow::Result<Value> {
        let answer = self.call(method, path, body).await?.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&answer).context("the server's answer is no JSON")
    }
}

fn unreachable(error: BoxError) -> anyhow::Error {
    anyhow!("cannot reach the cluster: {}", chain(&*error))
}

/// The causes, down to the first: hyper's own words are not the reason.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
