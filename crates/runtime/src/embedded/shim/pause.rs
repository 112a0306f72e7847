//! The pause process: it does nothing but be in the sandbox's namespaces, so that they last.

use std::convert::Infallible;
use std::fs;
use std::io::{Read, Write};

use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};

use super::{Failure, Result, sys};
use crate::SandboxConfig;
use crate::embedded::record::SandboxRecord;

/// What every Pod's network has unless the Pod says otherwise: any user may listen on low ports and send pings, as with
/// containerd 2 and CRI-O.
const DEFAULT_SYSCTLS: &[(&str, &str)] =
    &[("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

pub(super) fn start(sandbox: &SandboxRecord) -> Result<Pid> {
    let (mut report, mut answer) = std::io::pipe()?;
    // SAFETY: the shim has a single thread.
    match unsafe { sys::fork_into(namespaces(&sandbox.config)) }? {
        Some(pid) => {
            drop(answer);
            let mut text = String::new();
            report.read_to_string(&mut text)?;
            match text.as_str() {
                "ok" => Ok(pid),
                "" => Err(Failure("pause process has died".into())),
                error => Err(Failure(error.into())),
            }
        }
        None => {
            drop(report);
            let error = match prepare(&sandbox.config) {
                Ok(()) => {
                    let _ = answer.write_all(b"ok");
                    // Dropping would be too late: the descriptor goes with all the others.
                    std::mem::forget(answer);
                    // SAFETY: this process uses no descriptor from now on.
                    unsafe { sys::close_above_stderr() };
                    match pause(sandbox.config.share_process_namespace) {
                        Ok(never) => match never {},
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let _ = writeln!(std::io::stderr(), "pause: {error}");
            std::process::exit(1)
        }
    }
}

fn namespaces(config: &SandboxConfig) -> CloneFlags {
    let mut flags = CloneFlags::empty();
    if !config.host_network {
        flags |= CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    }
    if !config.host_ipc {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    if config.share_process_namespace {
        flags |= CloneFlags::CLONE_NEWPID;
    }
    flags
}

fn prepare(config: &SandboxConfig) -> Result<()> {
    sys::die_with_parent()?;
    nix::unistd::setsid()?;
    // The agent waits for the end of the shim's standard output, which was copied here.
    super::forget_standard_streams()?;
    sys::reset_signals();
    if !config.host_network {
        sys::loopback_up()?;
        sethostname(&config.hostname)?;
        for (name, value) in DEFAULT_SYSCTLS.iter().filter(|(name, _)| !config.sysctls.contains_key(*name)) {
            // Absent in a kernel without IPv4 or pings.
            let _ = set_sysctl(name, value);
        }
    }
    for (name, value) in &config.sysctls {
        check_sysctl(name, config)?;
        set_sysctl(name, value).map_err(|error| Failure(format!("sysctl {name}={value}: {error}")))?;
    }
    Ok(())
}

/// Only what belongs to a namespace of the sandbox's own: everything else is the machine's.
fn check_sysctl(name: &str, config: &SandboxConfig) -> Result<()> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let network = name.starts_with("net.") && !config.host_network;
    let of_ipc =
        ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|group| name.starts_with(group));
    if plain && !name.contains("..") && (network || (of_ipc && !config.host_ipc)) {
        return Ok(());
    }
    Err(Failure(format!("sysctl {name:?} does not belong to the Pod's namespaces")))
}

fn set_sysctl(name: &str, value: &str) -> std::io::Result<()> {
    fs::write(format!("/proc/sys/{}", name.replace('.', "/")), value)
}

/// Wait for ever; in a process namespace that containers share, also bury the orphans.
fn pause(init: bool) -> Result<Infallible> {
    let _ = fs::write("/proc/self/comm", "pause");
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // A namespace's first process gets only signals that it has asked for, and it has no use for any other.
    signals.thread_block()?;
    loop {
        signals.wait()?;
        while init
            && !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_))
        {
        }
    }
}
