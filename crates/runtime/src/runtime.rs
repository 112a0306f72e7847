//! The interface between kubelet and runtime.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::{
    AttachRequest, ContainerConfig, ContainerStatus, Credentials, Duplex, Event, ExecOutput, ExecRequest,
    Filter, Image, PullError, Result, SandboxConfig, SandboxStatus, Session, Stats,
};

/// CRI's RuntimeService and ImageService. Stopping and removing can be repeated: what is already stopped or gone is no
/// error.
#[async_trait]
pub trait Runtime: Send + Sync + std::fmt::Debug {
    /// Name and version for `node.status.nodeInfo.containerRuntimeVersion`, such as `coracle://0.1.0`.
    fn version(&self) -> String;

    /// Changes from now on. A receiver that lags must list again.
    fn events(&self) -> broadcast::Receiver<Event>;

    /// Make a Pod's sandbox with its network; returns its ID.
    async fn run_sandbox(&self, config: SandboxConfig) -> Result<String>;
    /// Kill all its containers and give back its network.
    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<()>;
    /// Stop if need be, then leave nothing of it or of its containers (their logs stay).
    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<()>;
    async fn sandbox_status(&self, sandbox_id: &str) -> Result<SandboxStatus>;
    async fn list_sandboxes(&self, filter: &Filter) -> Result<Vec<SandboxStatus>>;

    /// Make a container in a ready sandbox; returns its ID. Its process does not run yet.
    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String>;
    async fn start_container(&self, container_id: &str) -> Result<()>;
    /// Send the stop signal, then SIGKILL after `grace`; returns when it has stopped.
    async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<()>;
    /// Kill it if need be and forget it. Its log stays.
    async fn remove_container(&self, container_id: &str) -> Result<()>;
    async fn container_status(&self, container_id: &str) -> Result<ContainerStatus>;
    async fn list_containers(&self, filter: &Filter) -> Result<Vec<ContainerStatus>>;
    async fn container_stats(&self, container_id: &str) -> Result<Stats>;

    async fn exec(&self, container_id: &str, request: ExecRequest) -> Result<Session>;
    /// Run to the end and collect the output (capped): for probes and hooks. Killed after `timeout`.
    async fn exec_sync(
        &self,
        container_id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput>;
    async fn attach(&self, container_id: &str, request: AttachRequest) -> Result<Session>;
    /// Connect to `127.0.0.1:port` (or `[::1]`) inside the sandbox.
    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>>;

    /// Returns the image's ID.
    async fn pull_image(
        &self,
        image: &str,
        credentials: Option<&Credentials>,
    ) -> std::result::Result<String, PullError>;
    /// By name, digest or ID; `None` when it is not on the node.
    async fn image_status(&self, image: &str) -> Result<Option<Image>>;
    async fn list_images(&self) -> Result<Vec<Image>>;
    async fn remove_image(&self, image: &str) -> Result<()>;
    /// Take in an OCI layout (directory or tar) or a `docker save` archive; returns the names it brought.
    async fn import_image(&self, archive: &Path) -> Result<Vec<String>>;
}
