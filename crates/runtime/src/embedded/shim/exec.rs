//! Further processes in a running container.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp};
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, fchown};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::launch::{Console, reported};
use super::workload::{Confinement, Workload};
use super::{Failure, Result, Shim, pipe, set_oom_score};
use crate::embedded::protocol::{self, Reply};
use crate::embedded::record;

pub(super) struct Exec {
    pub(super) pid: Pid,
    /// As long as it is open the process may run.
    pub(super) connection: UnixStream,
}

impl Exec {
    pub(super) fn kill(&self) {
        // It leads a session of its own. Gone already is fine.
        let _ = kill(self.pid, Signal::SIGKILL);
    }

    /// The agent may have hung up; then nobody wants to know.
    pub(super) fn exited(&self, exit_code: i32) {
        let _ = protocol::send(&self.connection, &Reply::Exited { exit_code }, &[]);
    }
}

/// Which streams come as descriptors, in this order.
pub(super) struct Wanted {
    pub(super) tty: bool,
    pub(super) streams: [bool; 3],
}

impl Shim {
    pub(super) fn exec(
        &mut self,
        connection: UnixStream,
        id: &str,
        command: Vec<String>,
        wanted: &Wanted,
        fds: Vec<OwnedFd>,
    ) -> Result<()> {
        match self.run_exec(id, command, wanted, fds) {
            Ok((pid, terminal)) => {
                let fds: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
                let exec = Exec { pid, connection };
                if protocol::send(&exec.connection, &Reply::Done { terminal: terminal.is_some() }, &fds)
                    .is_err()
                {
                    exec.kill();
                }
                self.execs.push(exec);
                Ok(())
            }
            Err(failure) => Ok(protocol::send(&connection, &Reply::Failed { message: failure.0 }, &[])?),
        }
    }

    fn run_exec(
        &self,
        id: &str,
        command: Vec<String>,
        wanted: &Wanted,
        fds: Vec<OwnedFd>,
    ) -> Result<(Pid, Option<OwnedFd>)> {
        let container = self.containers.get(id).filter(|container| container.is_running());
        let launch = &container.ok_or_else(|| Failure(format!("container {id} is not running")))?.launch;
        let dir = self.container_dir(id);
        let (process, confinement) = process(&dir, command, wanted.tty)?;
        let process_path = dir.join("exec.json");
        fs::write(&process_path, process.to_string())?;
        let (report, report_end) = pipe()?;
        let workload = Workload { report: Some(report_end.as_raw_fd()), confinement: Some(confinement) };
        let console = wanted.tty.then(|| Console::listen(&dir)).transpose()?;
        let mut builder = ContainerBuilder::new(id.into(), SyscallType::default())
            .with_root_path(self.oci_root())?
            .with_executor(workload);
        if let Some(console) = &console {
            builder = builder.with_console_socket(Some(&console.path));
        } else {
            let [stdin, stdout, stderr] = standard_streams(wanted.streams, fds)?;
            for output in [&stdin, &stdout, &stderr] {
                // So that a user other than root can open /dev/stdout. Not everything that comes as a stream has an owner.
                let _ = fchown(output, Some(Uid::from_raw(launch.uid)), Some(Gid::from_raw(launch.gid)));
            }
            builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
        }
        let built = builder.as_tenant().with_detach(true).with_process(Some(&process_path)).build();
        let _ = fs::remove_file(&process_path);
        let said = reported(report_end, report);
        match (built, said) {
            (Ok(_), Some(failure)) | (Err(_), Some(failure)) => Err(failure),
            (Err(error), None) => Err(error.into()),
            (Ok(pid), None) => {
                let pid = Pid::from_raw(pid.as_raw());
                set_oom_score(pid, launch.oom_score_adj);
                Ok((pid, console.map(Console::accept).transpose()?))
            }
        }
    }
}

fn standard_streams(wanted: [bool; 3], fds: Vec<OwnedFd>) -> Result<[OwnedFd; 3]> {
    let mut fds = fds.into_iter();
    let mut next = |wanted: bool| -> Result<OwnedFd> {
        if wanted {
            return fds.next().ok_or_else(|| Failure("a stream is missing".into()));
        }
        Ok(fs::File::options().read(true).write(true).open("/dev/null")?.into())
    };
    Ok([next(wanted[0])?, next(wanted[1])?, next(wanted[2])?])
}

/// The container's own process with another command, and what confines it.
fn process(bundle: &Path, command: Vec<String>, tty: bool) -> Result<(Value, Confinement)> {
    let spec: Value = record::read(bundle, record::SPEC)?;
    let mut process = spec["process"].clone();
    process["args"] = command.into();
    process["terminal"] = tty.into();
    if tty
        && let Some(env) = process["env"].as_array_mut()
        && !env.iter().any(|variable| variable.as_str().is_some_and(|text| text.starts_with("TERM=")))
    {
        env.push("TERM=xterm".into());
    }
    let seccomp: Option<LinuxSeccomp> = typed(&spec["linux"]["seccomp"])?;
    let mut confinement = Confinement { seccomp, capabilities: None };
    if confinement.seccomp.is_some() && process["noNewPrivileges"] != true {
        confinement.capabilities =
            typed::<LinuxCapabilities>(&process["capabilities"])?.map(|mut capabilities| {
                // What is absent would not be dropped.
                capabilities.set_inheritable(Some(Default::default())).set_ambient(Some(Default::default()));
                capabilities
            });
        process["capabilities"] = with_privileges_to_confine(&process["capabilities"]);
    }
    Ok((process, confinement))
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<Option<T>> {
    if value.is_null() { Ok(None) } else { Ok(Some(serde_json::from_value(value.clone())?)) }
}

/// Loading a filter and lowering the bounding set both need a privilege; [`Confinement`] takes it away again.
fn with_privileges_to_confine(capabilities: &Value) -> Value {
    let own = capabilities["bounding"].as_array().cloned().unwrap_or_default();
    let mut all: BTreeSet<String> = own.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    all.extend(["CAP_SYS_ADMIN".into(), "CAP_SETPCAP".into()]);
    json!({"bounding": all, "effective": all, "permitted": all, "inheritable": [], "ambient": []})
}
