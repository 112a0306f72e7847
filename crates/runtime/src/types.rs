//! The nouns of the runtime interface: configuration that goes in, status and streams that come out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::{PodAddress, Result};

/// A Pod sandbox: the namespaces and the cgroup that a Pod's containers share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxConfig {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub attempt: u32,
    /// Empty with `host_network`.
    pub hostname: String,
    /// Container log paths are relative to it. Made when absent.
    pub log_directory: PathBuf,
    pub dns: Dns,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    /// One PID namespace for all containers of the Pod, with the pause process as its process 1.
    pub share_process_namespace: bool,
    pub sysctls: BTreeMap<String, String>,
    /// Limits of the Pod as a whole.
    pub resources: Resources,
}

/// Written to the `resolv.conf` of every container of the sandbox. With all of it empty the
/// node's own file is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub cpu_shares: Option<u64>,
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<u64>,
    pub memory_limit: Option<i64>,
    pub pids_limit: Option<i64>,
    pub oom_score_adj: Option<i32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    pub name: String,
    pub attempt: u32,
    /// As the Pod names it; must be present on the node.
    pub image: String,
    /// Pod `command`: replaces the image's entrypoint (and drops its cmd).
    pub command: Vec<String>,
    /// Pod `args`: replaces the image's cmd.
    pub args: Vec<String>,
    /// The image's when empty.
    pub working_dir: String,
    /// Added to the image's, in order; later ones win.
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Relative to the sandbox's log directory.
    pub log_path: PathBuf,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
    pub resources: Resources,
    pub security: SecurityContext,
    /// The image's when absent, else SIGTERM.
    pub stop_signal: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// On the node. A directory or a file; must exist.
    pub host_path: PathBuf,
    /// In the container; made when absent.
    pub container_path: PathBuf,
    /// Below `host_path`, resolved without ever leaving it, whatever symlinks the volume holds. Made (as a directory)
    /// when absent and the volume is writable.
    pub sub_path: Option<PathBuf>,
    pub readonly: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    None,
    HostToContainer,
    Bidirectional,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    /// Of `r`, `w`, `m`.
    pub permissions: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityContext {
    /// `None`: the image's user.
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    pub privileged: bool,
    pub read_only_rootfs: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
    pub seccomp: Seccomp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile file on the node.
    Localhost(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    Ready,
    NotReady,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxStatus {
    pub id: String,
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub attempt: u32,
    pub state: SandboxState,
    pub created_at: Timestamp,
    /// Empty with the host's network.
    pub address: PodAddress,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    /// Its shim is gone without having said how it ended.
    Unknown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub id: String,
    pub sandbox_id: String,
    pub name: String,
    pub attempt: u32,
    pub state: ContainerState,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// 128 + signal when killed by one.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`; empty until it has exited.
    pub reason: String,
    pub message: String,
    /// As the Pod named it.
    pub image: String,
    /// `name@sha256:…` when known, else the image's ID.
    pub image_ref: String,
    /// Of the container's first process on the node; 0 when not running.
    pub pid: i32,
    /// Absolute.
    pub log_path: PathBuf,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub mounts: Vec<Mount>,
}

/// Which sandboxes or containers to list; `None` matches all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub id: Option<String>,
    pub sandbox_id: Option<String>,
    pub labels: BTreeMap<String, String>,
}

impl Filter {
    /// Whether something with these identities and labels is wanted.
    pub fn matches(&self, id: &str, sandbox_id: &str, labels: &BTreeMap<String, String>) -> bool {
        self.id.as_deref().is_none_or(|wanted| wanted == id)
            && self.sandbox_id.as_deref().is_none_or(|wanted| wanted == sandbox_id)
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// Something happened to a container or sandbox; ask for its status to learn what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub sandbox_id: String,
    /// `None`: the sandbox itself.
    pub container_id: Option<String>,
    pub kind: EventKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created,
    Started,
    Stopped,
    Deleted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `sha256:…`, the digest of its configuration.
    pub id: String,
    /// `docker.io/library/busybox:1.36`
    pub tags: Vec<String>,
    /// `docker.io/library/busybox@sha256:…`
    pub digests: Vec<String>,
    /// On disk, in bytes.
    pub size: u64,
    /// The image's numeric user, when it names one by number.
    pub uid: Option<i64>,
    /// The image's user, when it names one by name.
    pub username: String,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Since the container was started.
    pub cpu_nanos: u64,
    pub memory_usage: u64,
    /// Usage without the inactive page cache: what eviction and `kubectl top` go by.
    pub memory_working_set: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// With a tty there is no stderr of its own.
    pub tty: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachRequest {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_code: i32,
}

pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The streams of an exec or attach. Dropping all of it ends the session: an exec's process is killed, an attached
/// container goes on.
#[expect(missing_debug_implementations, reason = "streams have nothing to show")]
pub struct Session {
    /// Shut it down (or drop it) to send end of file.
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    pub stderr: Option<Reader>,
    /// The size of the terminal, whenever it changes.
    pub resize: mpsc::Sender<TerminalSize>,
    /// Exit code of the exec's process, or of the attached container. Read the streams to their end as well: the
    /// exit can come before the last bytes.
    pub exit: BoxFuture<'static, Result<i32>>,
}
