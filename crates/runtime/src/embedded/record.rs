//! What is kept on disk about sandboxes and containers, so that any later agent can take over.
//!
//! ```text
//! STATE/SANDBOX/sandbox.json            SandboxRecord, by the agent
//!               shim.json shim.sock     ShimRecord, by the shim
//!               resolv.conf hostname shm/
//!               c/CONTAINER/container.json launch.json config.json   by the agent
//!                           run.json                                 RunRecord, by the shim
//! ROOT/containers/CONTAINER/upper work  the container's own files
//!                           layers      of its image; they stay when the image is removed
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup::Hierarchy;
use super::spec::Staged;
use crate::{ContainerConfig, PodAddress, SandboxConfig};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) id: String,
    pub(crate) config: SandboxConfig,
    pub(crate) created_at: Timestamp,
    pub(crate) address: PodAddress,
    /// Below the root of the hierarchies; its containers are below it.
    pub(crate) cgroup: String,
    /// Where shims themselves are.
    pub(crate) shims_cgroup: String,
    pub(crate) hierarchy: Hierarchy,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShimRecord {
    pub(crate) shim_pid: i32,
    /// The process that holds the namespaces.
    pub(crate) pause_pid: i32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) id: String,
    pub(crate) sandbox_id: String,
    pub(crate) config: ContainerConfig,
    pub(crate) created_at: Timestamp,
    pub(crate) image_ref: String,
    pub(crate) log_path: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) stop_signal: i32,
}

/// What the shim needs to start a container, besides its specification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) layers_dir: PathBuf,
    /// The uppermost first.
    pub(crate) layers: Vec<String>,
    /// Where the container's process starts; made when the image lacks it.
    #[serde(default)]
    pub(crate) cwd: PathBuf,
    /// For `upper` and `work`; beside `layers_dir`, so that mount options stay short.
    pub(crate) writable: PathBuf,
    pub(crate) staged: Vec<Staged>,
    pub(crate) log_path: PathBuf,
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) cgroup: String,
    pub(crate) oom_score_adj: i32,
}

/// How a container's process fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunRecord {
    pub(crate) pid: i32,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
}

pub(crate) const SANDBOX: &str = "sandbox.json";
pub(crate) const SHIM: &str = "shim.json";
pub(crate) const CONTAINER: &str = "container.json";
pub(crate) const LAUNCH: &str = "launch.json";
pub(crate) const SPEC: &str = "config.json";
pub(crate) const RUN: &str = "run.json";
pub(crate) const SOCKET: &str = "shim.sock";

pub(crate) fn container_dir(sandbox_dir: &Path, container_id: &str) -> PathBuf {
    sandbox_dir.join("c").join(container_id)
}

/// Replace a record as a whole. Not synced: these live as long as the processes they describe, which do not survive a
/// power failure either.
pub(crate) fn write(dir: &Path, name: &str, record: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(record)?;
    let temporary = dir.join(format!(".{name}"));
    fs::write(&temporary, text)?;
    fs::rename(temporary, dir.join(name))
}

pub(crate) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<T> {
    let text = fs::read(dir.join(name))?;
    serde_json::from_slice(&text).map_err(|error| io::Error::other(format!("{:?}: {error}", dir.join(name))))
}
