//! The shim: one process for each Pod sandbox that owns its namespaces, starts its containers, writes their logs and
//! records how they end. It goes on when the agent does not.
//!
//! It has a single thread (libcontainer forks and goes on in the child, as does the pause process) and waits in `poll`
//! for its socket, its containers' output and its children's end.

mod attach;
mod events;
mod exec;
mod launch;
mod output;
mod pause;
mod rootfs;
mod workload;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use coracle_clock::Clock;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, fork, setsid};

use super::record::{self, SandboxRecord, ShimRecord};
use super::sys;
use launch::Container;

/// Killed last of all when memory runs out; containerd's shims have the same.
const OOM_SCORE: &str = "-998";

/// The hidden role `shim`: `args` is the sandbox's directory. Returns the exit code. Must be called before any thread
/// is started.
pub fn main(args: &[OsString]) -> i32 {
    let [dir] = args else {
        eprintln!("usage: shim SANDBOX_DIRECTORY");
        return 2;
    };
    // SAFETY: there is one thread.
    match unsafe { fork() } {
        // The agent waits for this process; the shim itself is nobody's child from now on.
        Ok(ForkResult::Parent { .. }) => 0,
        Ok(ForkResult::Child) => match serve(Path::new(dir)) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("shim: {error}");
                1
            }
        },
        Err(error) => {
            eprintln!("shim: fork: {error}");
            1
        }
    }
}

/// What went wrong, in words for the Pod's status.
#[derive(Debug)]
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        Failure(text)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

type Result<T, E = Failure> = std::result::Result<T, E>;

struct Shim {
    dir: PathBuf,
    sandbox: SandboxRecord,
    clock: Clock,
    /// Where volumes and layers are looked up; containers get copies of it.
    host_mounts: File,
    pause: Pid,
    listener: UnixListener,
    children: SignalFd,
    containers: BTreeMap<String, Container>,
    execs: Vec<exec::Exec>,
    attached: Vec<attach::Attached>,
    watchers: Vec<UnixStream>,
}

fn serve(dir: &Path) -> Result<()> {
    setsid()?;
    // Whatever the agent had open when it started this process is not for a Pod to hold.
    // SAFETY: nothing has been opened yet.
    unsafe { sys::close_above_stderr() };
    let sandbox: SandboxRecord = record::read(dir, record::SANDBOX)?;
    sandbox.hierarchy.join(&sandbox.shims_cgroup)?;
    set_oom_score("self", OOM_SCORE);
    let pause = pause::start(&sandbox)?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // A terminal's or a service manager's farewell to the agent is not for containers.
    for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        signals.add(ignored);
    }
    signals.thread_block()?;
    let children = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    std::env::set_current_dir(dir)?;
    let listener = UnixListener::bind(record::SOCKET)?;
    std::env::set_current_dir("/")?;
    listener.set_nonblocking(true)?;
    let ready = ShimRecord { shim_pid: std::process::id().cast_signed(), pause_pid: pause.as_raw() };
    record::write(dir, record::SHIM, &ready)?;
    say_ready()?;
    let mut shim = Shim {
        dir: dir.into(),
        sandbox,
        clock: Clock::system(),
        host_mounts: File::open("/proc/self/ns/mnt")?,
        pause,
        listener,
        children,
        containers: BTreeMap::new(),
        execs: Vec::new(),
        attached: Vec::new(),
        watchers: Vec::new(),
    };
    shim.run()
}

/// The agent reads standard output until its end.
fn say_ready() -> Result<()> {
    io::stdout().write_all(b"ready\n")?;
    io::stdout().flush()?;
    forget_standard_streams()
}

/// Standard error stays: it is the shim's own log.
fn forget_standard_streams() -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stdin(&null)?;
    Ok(())
}

/// `process`: a number, or `self`. By way of libcontainer it would be set on this process first, and only a privilege
/// that not every machine's root has could lower it again.
fn set_oom_score(process: impl std::fmt::Display, score: impl std::fmt::Display) {
    // For the same reason the score may stay higher than it should be; the process may also have ended.
    let _ = fs::write(format!("/proc/{process}/oom_score_adj"), score.to_string());
}

fn set_nonblocking(fd: &impl AsFd) -> Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}
