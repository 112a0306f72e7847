//! The embedded runtime: images, sandboxes and containers without a daemon of somebody else.
//!
//! This process (the agent) keeps no state of its own that is not on disk or in a shim: it can be killed and started
//! again while containers run on.

mod cgroup;
mod containers;
mod exe;
mod images;
mod protocol;
mod record;
mod sandboxes;
pub mod shim;
mod spec;
mod streams;
mod sys;
mod terminal;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use coracle_clock::Clock;
use tokio::sync::{broadcast, watch};

use self::cgroup::Hierarchy;
use self::containers::Container;
use self::exe::ShimProgram;
use self::images::{Images, Registries, StoreError};
use self::sandboxes::Sandbox;
use crate::{
    AttachRequest, ContainerConfig, ContainerStatus, Credentials, Duplex, Error, Event, EventKind,
    ExecOutput, ExecRequest, Filter, Image, PodNetwork, PullError, Result, Runtime, SandboxConfig,
    SandboxStatus, Session, Stats,
};

pub use self::images::{Limits, image_name_error};

/// Events a receiver may fall behind by before it must list again: many Pods starting at once.
const EVENTS: usize = 4096;

#[derive(Clone, Debug)]
pub struct Config {
    /// For what lives as long as the machine is up: sandboxes and their shims. Removed when empty is no harm.
    pub state_dir: PathBuf,
    /// For images and containers' own files. Not on an overlay file system.
    pub root_dir: PathBuf,
    /// Program and first arguments of a shim; it must call [`shim::main`] with the argument that follows.
    pub shim: Vec<OsString>,
    pub network: Arc<dyn PodNetwork>,
    pub clock: Clock,
    /// Name of the control group above all of this runtime's; unique to the cluster.
    pub cgroup_parent: String,
    /// Offer the machine's own userland as the image `coracle.local/host`.
    pub host_image: bool,
    /// Speak plain HTTP with registries on a loopback address.
    pub plain_http_loopback: bool,
    pub limits: Limits,
}

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Embedded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    images: Arc<Images>,
    hierarchy: Hierarchy,
    program: ShimProgram,
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
    /// Ticks whenever a container's state has changed.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Container>,
}

impl Embedded {
    /// Open the stores and take over what an earlier agent has left running. Needs root.
    pub async fn new(config: Config) -> Result<Embedded> {
        for dir in [&config.state_dir, &config.root_dir] {
            make_private(dir)?;
        }
        let images = Images::open(&config.root_dir, config.limits, config.host_image).map_err(internal)?;
        let hierarchy = Hierarchy::detect().map_err(|error| Error::io("find control groups", error))?;
        let program = ShimProgram::new(&config.shim).map_err(|error| Error::io("shim program", error))?;
        let inner = Inner {
            config,
            images: Arc::new(images),
            hierarchy,
            program,
            state: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            changed: watch::channel(()).0,
        };
        let embedded = Embedded { inner: Arc::new(inner) };
        embedded.adopt().await?;
        Ok(embedded)
    }

    /// Stop and remove everything, as at the end of a cluster.
    pub async fn remove_all(&self) -> Result<()> {
        for sandbox in self.list_sandboxes(&Filter::default()).await? {
            self.remove_sandbox(&sandbox.id).await?;
        }
        self.inner.hierarchy.remove(&self.inner.config.cgroup_parent);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, sandbox_id: &str, container_id: Option<&str>, kind: EventKind) {
        let event = Event { sandbox_id: sandbox_id.into(), container_id: container_id.map(Into::into), kind };
        // Nobody listening is fine.
        let _ = self.inner.events.send(event);
        self.inner.changed.send_replace(());
    }

    /// Do blocking work with a clone of this, off the event loop.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Embedded) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .map_err(|error| Error::io("runtime task", error))?
    }
}

fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Error::io(format!("make {dir:?}"), error))
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

/// 256 random bits, as container IDs are everywhere.
fn new_id() -> Result<String> {
    let mut bytes = [0; 32];
    let mut source =
        std::fs::File::open("/dev/urandom").map_err(|error| Error::io("open /dev/urandom", error))?;
    std::io::Read::read_exact(&mut source, &mut bytes)
        .map_err(|error| Error::io("read /dev/urandom", error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[async_trait]
impl Runtime for Embedded {
    fn version(&self) -> String {
        concat!("coracle://", env!("CARGO_PKG_VERSION")).into()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    async fn run_sandbox(&self, config: SandboxConfig) -> Result<String> {
        self.make_sandbox(config).await
    }

    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<()> {
        self.end_sandbox(sandbox_id).await
    }

    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<()> {
        self.forget_sandbox(sandbox_id).await
    }

    async fn sandbox_status(&self, sandbox_id: &str) -> Result<SandboxStatus> {
        let state = self.state();
        let found = state.sandboxes.get(sandbox_id).map(Sandbox::status);
        found.ok_or_else(|| Error::NotFound { what: "sandbox", id: sandbox_id.into() })
    }

    async fn list_sandboxes(&self, filter: &Filter) -> Result<Vec<SandboxStatus>> {
        let all: Vec<_> = self.state().sandboxes.values().map(Sandbox::status).collect();
        Ok(all.into_iter().filter(|status| filter.matches(&status.id, &status.id, &status.labels)).collect())
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        let sandbox_id = sandbox_id.to_owned();
        self.blocking(move |this| this.make_container(&sandbox_id, config)).await
    }

    async fn start_container(&self, container_id: &str) -> Result<()> {
        let id = container_id.to_owned();
        self.blocking(move |this| this.launch_container(&id)).await
    }

    async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<()> {
        self.end_container(container_id, grace).await
    }

    async fn remove_container(&self, container_id: &str) -> Result<()> {
        self.forget_container(container_id).await
    }

    async fn container_status(&self, container_id: &str) -> Result<ContainerStatus> {
        self.container(container_id, Container::status)
    }

    async fn list_containers(&self, filter: &Filter) -> Result<Vec<ContainerStatus>> {
        let all: Vec<_> = self.state().containers.values().map(Container::status).collect();
        Ok(all
            .into_iter()
            .filter(|status| filter.matches(&status.id, &status.sandbox_id, &status.labels))
            .collect())
    }

    async fn container_stats(&self, container_id: &str) -> Result<Stats> {
        let cgroup = self.container(container_id, |container| container.record.cgroup.clone())?;
        self.inner.hierarchy.stats(&cgroup).map_err(|error| Error::io("read control group", error))
    }

    async fn exec(&self, container_id: &str, request: ExecRequest) -> Result<Session> {
        self.open_exec(container_id, request).await
    }

    async fn exec_sync(
        &self,
        container_id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput> {
        self.run_to_end(container_id, command, timeout).await
    }

    async fn attach(&self, container_id: &str, request: AttachRequest) -> Result<Session> {
        self.open_attach(container_id, request).await
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>> {
        self.connect_inside(sandbox_id, port).await
    }

    async fn pull_image(&self, image: &str, credentials: Option<&Credentials>) -> Result<String, PullError> {
        let registries = Registries { plain_http_loopback: self.inner.config.plain_http_loopback };
        self.inner.images.pull(image, credentials, registries).await
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        let image = image.to_owned();
        self.blocking(move |this| match this.inner.images.status(&image) {
            // What is no name of an image is not on the node.
            Err(StoreError::Name(_)) => Ok(None),
            other => other.map_err(internal),
        })
        .await
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        self.blocking(|this| this.inner.images.list().map_err(internal)).await
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let image = image.to_owned();
        self.blocking(move |this| this.inner.images.remove(&image).map_err(internal)).await
    }

    async fn import_image(&self, archive: &Path) -> Result<Vec<String>> {
        let archive = archive.to_owned();
        self.blocking(move |this| this.inner.images.import(&archive).map_err(internal)).await
    }
}
