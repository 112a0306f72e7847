//! A cluster to measure: `coracle up` as a child process with a data directory of its own, which ends with its owner.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use coracle_clock::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tempfile::TempDir;

use super::client::{Access, Api};

/// A cluster that is not ready by then will not be.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a cluster that starts: short against what is measured.
const POLL: Duration = Duration::from_millis(1);
/// The kernel counts CPU time in hundredths of a second unless it says otherwise.
const USUAL_TICKS: i64 = 100;

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
    process: Process,
    _dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start(kind: Kind, clock: &Clock) -> anyhow::Result<Cluster> {
        let dir = tempfile::Builder::new().prefix("coracle-bench-").tempdir()?;
        let kubeconfig = dir.path().join("kubeconfig");
        let mut command =
            Command::new(std::env::current_exe().context("cannot find this program's own file")?);
        command
            .args(["up", "--port", &free_port()?.to_string()])
            .arg("--data-dir")
            .arg(dir.path().join("data"));
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
        Ok(Cluster { api, access, spawned, ready, process, _dir: dir })
    }

    /// Resident memory now.
    pub(crate) fn memory_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<f64>().ok());
        Ok(kib.context("the kernel does not say how much memory the cluster uses")? / 1024.0)
    }

    /// CPU time that the cluster's process has used so far, in user and kernel mode.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        // The program's name, in parentheses, can hold anything; utime and stime are the 14th and 15th field.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(USUAL_TICKS);
        Ok(Duration::from_secs_f64(ticks as f64 / a_second as f64))
    }
}

/// A client, once /readyz has said 200 to it.
async fn probe(kubeconfig: &Path) -> Option<(Access, Api)> {
    // Written once the server serves.
    let access = Access::read(kubeconfig).ok()?;
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
