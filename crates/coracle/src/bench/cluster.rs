//! A cluster to measure: `coracle up` as a child process with a data directory of its own, which ends with its owner.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use coracle_clock::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::access::Access;
use super::client::Api;
use super::process::Processes;
use super::target::Target;

/// A cluster that is not ready by then will not be.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a cluster that starts: short against what is measured.
const POLL: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ApiOnly,
    Node,
}

pub(crate) struct Cluster {
    pub(crate) api: Api,
    pub(crate) access: Access,
    /// When the program was started, by the bench's clock.
    pub(crate) spawned: Duration,
    /// From there to the first 200 of /readyz.
    pub(crate) ready: Duration,
    kind: Kind,
    port: u16,
    process: Process,
    dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start(kind: Kind, clock: &Clock) -> anyhow::Result<Cluster> {
        let dir = tempfile::Builder::new().prefix("coracle-bench-").tempdir()?;
        Cluster::start_in(dir, kind, free_port()?, clock).await
    }

    /// Stop it in the clean way and start it again on what it stored.
    pub(crate) async fn restart(self, clock: &Clock) -> anyhow::Result<Cluster> {
        drop(self.process);
        // Written anew once the server serves.
        std::fs::remove_file(self.dir.path().join("kubeconfig"))?;
        Cluster::start_in(self.dir, self.kind, self.port, clock).await
    }

    async fn start_in(dir: TempDir, kind: Kind, port: u16, clock: &Clock) -> anyhow::Result<Cluster> {
        let kubeconfig = dir.path().join("kubeconfig");
        let mut command =
            Command::new(std::env::current_exe().context("cannot find this program's own file")?);
        command.args(["up", "--port", &port.to_string()]).arg("--data-dir").arg(dir.path().join("data"));
        command.arg("--kubeconfig").arg(&kubeconfig);
        if kind == Kind::ApiOnly {
            command.arg("--api-only");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let spawned = clock.elapsed();
        let mut process = Process(command.spawn().context("cannot start a cluster")?);
        let up = async {
            loop {
                if let Some((access, api)) = probe(&kubeconfig).await {
                    return Ok((access, api, clock.elapsed() - spawned));
                }
                if let Some(status) = process.0.try_wait()? {
                    bail!("the cluster ended while starting: {status}");
                }
                clock.sleep(POLL).await;
            }
        };
        let up = clock.timeout(START_TIMEOUT, up).await;
        let (access, api, ready) = up.context("the cluster did not become ready")??;
        Ok(Cluster { api, access, spawned, ready, kind, port, process, dir })
    }

    pub(crate) fn processes(&self) -> anyhow::Result<Processes> {
        Processes::new(vec![i32::try_from(self.process.0.id())?])
    }

    pub(crate) fn memory_mib(&self) -> anyhow::Result<f64> {
        self.processes()?.memory_mib()
    }

    pub(crate) fn target(&self, namespace: &str, clock: &Clock) -> anyhow::Result<Target> {
        let processes = Some(self.processes()?);
        Ok(Target::new(self.api.clone(), self.access.clone(), processes, namespace, clock))
    }
}

/// A client, once /readyz has said 200 to it.
async fn probe(kubeconfig: &Path) -> Option<(Access, Api)> {
    // Written once the server serves.
    if !kubeconfig.exists() {
        return None;
    }
    let access = Access::read(kubeconfig).await.ok()?;
    let api = access.connect().await.ok()?;
    let status = api.status("/readyz").await.ok()?;
    status.is_success().then_some((access, api))
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Ends with its owner, in the clean way: a cluster that is killed leaves mounts and interfaces.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if let Err(error) = self.0.wait() {
            eprintln!("cannot wait for a cluster's end: {error}");
        }
    }
}
