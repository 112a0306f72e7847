//! The server that is measured, and the one namespace on it that the measurement makes, uses and removes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use coracle_clock::Clock;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::access::Access;
use super::client::{Api, JSON};
use super::custom;
use super::process::Processes;

/// The label by which a namespace is known to be this run's.
const RUN_LABEL: &str = "bench.coracle/run";
const NAMESPACES: &str = "/api/v1/namespaces";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// A definition whose names nobody has is served in less, by any server.
const ESTABLISHED_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// A server with controllers has made the service account by then; one without never will.
const ACCOUNT_TIMEOUT: Duration = Duration::from_secs(5);
/// After this long an empty namespace is still there only where no controller finishes it.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(10);
/// A slow server deletes 5,000 Pods in less.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) api: Api,
    pub(crate) access: Access,
    /// `None` where nobody said which they are.
    pub(crate) processes: Option<Processes>,
    pub(crate) clock: Clock,
    namespace: String,
    run: String,
}

impl Target {
    pub(crate) async fn foreign(
        kubeconfig: &Path,
        pids: &[i32],
        namespace: &str,
        clock: &Clock,
    ) -> anyhow::Result<Target> {
        let access = Access::read(kubeconfig).await?;
        let processes = if pids.is_empty() { None } else { Some(Processes::new(pids.to_vec())?) };
        let api = access.connect().await?;
        Ok(Target::new(api, access, processes, namespace, clock))
    }

    pub(crate) fn new(
        api: Api,
        access: Access,
        processes: Option<Processes>,
        namespace: &str,
        clock: &Clock,
    ) -> Target {
        let run = format!("{}-{}", std::process::id(), clock.now().as_nanosecond());
        Target { api, access, processes, clock: clock.clone(), namespace: namespace.to_owned(), run }
    }

    /// The same server, another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Target {
        Target { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// A path under the namespace: `pods`, `configmaps/x`.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{NAMESPACES}/{}/{rest}", self.namespace)
    }

    /// The same of a group that is not the core one.
    pub(crate) fn path_in(&self, group: &str, plural: &str) -> String {
        format!("/apis/{group}/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// By which this run knows what is its own.
    pub(crate) fn labels(&self) -> Value {
        json!({RUN_LABEL: self.run})
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        self.processes.as_ref().map(Processes::cpu).transpose()
    }

    pub(crate) fn memory_mib(&self) -> anyhow::Result<Option<f64>> {
        self.processes.as_ref().map(Processes::memory_mib).transpose()
    }

    /// Make the namespace. One that is there already is somebody's, and stays as it is.
    pub(crate) async fn prepare(&self) -> anyhow::Result<()> {
        let name = &self.namespace;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                               "metadata": {"name": name, "labels": self.labels()}});
        let body = Bytes::from(namespace.to_string());
        let (status, answer) = self.api.ask(Method::POST, NAMESPACES, (JSON, JSON), body).await?;
        match status {
            StatusCode::CREATED => self.account().await,
            StatusCode::CONFLICT => bail!(
                "there is a namespace {name} already, and what is in it is not touched: \
                 delete it or choose another with --namespace"
            ),
            _ => bail!("cannot make the namespace {name}: {status}: {}", String::from_utf8_lossy(&answer)),
        }
    }

    /// Pods need a service account. Where no controller makes it, this does.
    async fn account(&self) -> anyhow::Result<()> {
        let account = self.path("serviceaccounts/default");
        let made = async {
            while self.api.get_bytes(&account).await.is_err() {
                self.clock.sleep(POLL).await;
            }
        };
        if self.clock.timeout(ACCOUNT_TIMEOUT, made).await.is_none() {
            let account =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
            self.api.post(&self.path("serviceaccounts"), &account).await?;
        }
        Ok(())
    }

    /// Make a custom resource, and wait until it is served.
    pub(crate) async fn define(&self, definition: &Value) -> anyhow::Result<()> {
        self.api.post(DEFINITIONS, definition).await?;
        let path = self.path_in(custom::GROUP, custom::PLURAL);
        let served = async {
            while self.api.get_bytes(&path).await.is_err() {
                self.clock.sleep(POLL).await;
            }
        };
        let served = self.clock.timeout(ESTABLISHED_TIMEOUT, served).await;
        served.with_context(|| format!("{path} is not served"))
    }

    /// Remove what this run made.
    pub(crate) async fn clean_up(&self) -> anyhow::Result<()> {
        let definition = format!("{DEFINITIONS}/{}", custom::DEFINITION);
        if self.is_ours(&definition).await? {
            self.api.delete(&definition).await?;
        }
        let name = &self.namespace;
        let namespace = format!("{NAMESPACES}/{name}");
        if !self.is_ours(&namespace).await? {
            return Ok(());
        }
        // Where no controller empties a namespace, what is in it would stay for good.
        for kind in ["pods", "configmaps", "serviceaccounts"] {
            self.api.delete(&format!("{}?gracePeriodSeconds=0", self.path(kind))).await?;
        }
        self.api.delete(&namespace).await?;
        if self.clock.timeout(CONTROLLER_TIMEOUT, self.until_gone(&namespace)).await.is_some() {
            return Ok(());
        }
        self.finalize(&namespace).await?;
        let gone = self.clock.timeout(REMOVAL_TIMEOUT, self.until_gone(&namespace)).await;
        gone.with_context(|| format!("the namespace {name} is still being deleted"))
    }

    async fn is_ours(&self, namespace: &str) -> anyhow::Result<bool> {
        let (status, answer) = self.api.ask(Method::GET, namespace, (JSON, ""), Bytes::new()).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let found: Value = serde_json::from_slice(&answer)?;
        Ok(found["metadata"]["labels"][RUN_LABEL] == self.run.as_str())
    }

    async fn until_gone(&self, namespace: &str) {
        while !matches!(
            self.api.ask(Method::GET, namespace, (JSON, ""), Bytes::new()).await,
            Ok((StatusCode::NOT_FOUND, _))
        ) {
            self.clock.sleep(POLL).await;
        }
    }

    /// Do the namespace controller's work where nobody does it: one that works writes conditions while it is not done.
    async fn finalize(&self, namespace: &str) -> anyhow::Result<()> {
        let mut found = self.api.get(namespace).await?;
        if found["status"]["conditions"].is_null() {
            found["spec"]["finalizers"] = json!([]);
            self.api.put(&format!("{namespace}/finalize"), &found).await?;
        }
        Ok(())
    }
}
