//! Starting a container, and what is known of it until its end.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use libcontainer::container::Container as Oci;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, fchown};

use super::output::Log;
use super::workload::Workload;
use super::{Failure, Result, Shim, pipe, rootfs, set_nonblocking};
use crate::embedded::protocol;
use crate::embedded::record::{self, Launch, RunRecord};

pub(super) struct Container {
    pub(super) launch: Launch,
    pub(super) run: RunRecord,
    pub(super) io: Io,
    pub(super) log: Log,
}

/// This side of a container's standard streams.
#[derive(Default)]
pub(super) struct Io {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// The terminal is both input and output.
    pub(super) terminal: Option<OwnedFd>,
}

/// The container's side.
#[derive(Default)]
struct Theirs {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Container {
    pub(super) fn is_running(&self) -> bool {
        self.run.pid != 0 && self.run.finished_at.is_none()
    }

    pub(super) fn signal(&self, signal: Signal) {
        if self.is_running() {
            // Gone already is fine.
            let _ = kill(Pid::from_raw(self.run.pid), signal);
        }
    }
}

impl Shim {
    pub(super) fn container_dir(&self, id: &str) -> PathBuf {
        record::container_dir(&self.dir, id)
    }

    pub(super) fn oci_root(&self) -> PathBuf {
        self.dir.join("oci")
    }

    /// Start a container; when that fails, the reason is its end.
    pub(super) fn start(&mut self, id: &str) -> Result<()> {
        if self.containers.contains_key(id) {
            return Err(Failure("container has been started already".into()));
        }
        let dir = self.container_dir(id);
        let launch: Launch = record::read(&dir, record::LAUNCH)?;
        let log = Log::open(&launch.log_path, &self.clock)
            .map_err(|error| Failure(format!("log file {:?}: {error}", launch.log_path)))?;
        let mut run = RunRecord::default();
        let result = self.launch(id, &dir, &launch);
        let now = self.clock.now();
        let mut io = Io::default();
        let answer = match result {
            Ok((pid, ours)) => {
                (run.pid, run.started_at) = (pid.as_raw(), Some(now));
                io = ours;
                Ok(())
            }
            Err(failure) => {
                run.finished_at = Some(now);
                // As containerd has it for a program that never ran.
                run.exit_code = 128;
                run.reason = "StartError".into();
                run.message.clone_from(&failure.0);
                self.tidy(id, &launch);
                Err(failure)
            }
        };
        record::write(&dir, record::RUN, &run)?;
        self.containers.insert(id.into(), Container { launch, run, io, log });
        self.changed(id);
        answer
    }

    /// What the kernel and libcontainer keep of a container that has ended.
    pub(super) fn tidy(&self, id: &str, launch: &Launch) {
        self.sandbox.hierarchy.kill(&launch.cgroup);
        self.sandbox.hierarchy.remove(&launch.cgroup);
        let _ = fs::remove_dir_all(self.oci_root().join(id));
    }

    fn launch(&self, id: &str, dir: &Path, launch: &Launch) -> Result<(Pid, Io)> {
        let (mut io, theirs) = streams(launch)?;
        let console = launch.tty.then(|| Console::listen(dir)).transpose()?;
        let (report, report_end) = pipe()?;
        fs::create_dir_all(self.oci_root())?;
        let workload = Workload { report: Some(report_end.as_raw_fd()), confinement: None };
        let built = {
            let _assembled = rootfs::assemble(&self.host_mounts, launch, dir)?;
            self.build(id, dir, theirs, console.as_ref(), workload)
        };
        let mut container = match built {
            Ok(container) => container,
            Err(failure) => return Err(reported(report_end, report).unwrap_or(failure)),
        };
        let pid = container.pid().ok_or_else(|| Failure("container has no process".into()))?;
        let pid = Pid::from_raw(pid.as_raw());
        if let Some(console) = console {
            io.terminal = Some(console.accept()?);
        }
        for fd in [&io.stdout, &io.stderr, &io.terminal].into_iter().flatten() {
            set_nonblocking(fd)?;
        }
        super::set_oom_score(pid, launch.oom_score_adj);
        container.start()?;
        match reported(report_end, report) {
            None => Ok((pid, io)),
            Some(failure) => Err(failure),
        }
    }

    fn build(
        &self,
        id: &str,
        dir: &Path,
        theirs: Theirs,
        console: Option<&Console>,
        workload: Workload,
    ) -> Result<Oci> {
        let mut builder = ContainerBuilder::new(id.into(), SyscallType::default())
            .with_root_path(self.oci_root())?
            .with_executor(workload);
        if let Some(console) = console {
            builder = builder.with_console_socket(Some(&console.path));
        }
        if let Some(stdin) = theirs.stdin {
            builder = builder.with_stdin(stdin);
        }
        if let (Some(stdout), Some(stderr)) = (theirs.stdout, theirs.stderr) {
            builder = builder.with_stdout(stdout).with_stderr(stderr);
        }
        Ok(builder.as_init(dir).with_systemd(false).with_detach(true).build()?)
    }
}

fn streams(launch: &Launch) -> Result<(Io, Theirs)> {
    let (mut io, mut theirs) = (Io::default(), Theirs::default());
    if launch.tty {
        return Ok((io, theirs));
    }
    // Owned by the container's user, so that it can open /dev/stdout.
    let own = |fd: &OwnedFd| fchown(fd, Some(Uid::from_raw(launch.uid)), Some(Gid::from_raw(launch.gid)));
    let output = || -> Result<(OwnedFd, OwnedFd)> {
        let (read, write) = pipe()?;
        own(&write)?;
        Ok((read, write))
    };
    let ((stdout, out), (stderr, err)) = (output()?, output()?);
    (io.stdout, theirs.stdout) = (Some(stdout), Some(out));
    (io.stderr, theirs.stderr) = (Some(stderr), Some(err));
    if launch.stdin {
        let (read, write) = pipe()?;
        own(&read)?;
        (io.stdin, theirs.stdin) = (Some(write), Some(read));
    } else {
        theirs.stdin = Some(File::open("/dev/null")?.into());
    }
    Ok((io, theirs))
}

/// Where libcontainer sends the terminal that it has made inside of the container.
pub(super) struct Console {
    listener: UnixListener,
    pub(super) path: PathBuf,
}

impl Console {
    pub(super) fn listen(dir: &Path) -> Result<Console> {
        // libcontainer changes into another directory before it connects; a path through our own descriptor is valid
        // everywhere and short enough for a socket address.
        let path = dir.join("console.sock");
        let _ = fs::remove_file(&path);
        std::env::set_current_dir(dir)?;
        let listener = UnixListener::bind("console.sock");
        std::env::set_current_dir("/")?;
        Ok(Console { listener: listener?, path })
    }

    pub(super) fn accept(self) -> Result<OwnedFd> {
        let (stream, _): (UnixStream, _) = self.listener.accept()?;
        let terminal = protocol::receive_descriptor(&stream)?;
        fs::remove_file(&self.path)?;
        Ok(terminal)
    }
}

/// What the process itself has said about why it could not become the program. Waits until it either has.
pub(super) fn reported(report_end: OwnedFd, report: OwnedFd) -> Option<Failure> {
    drop(report_end);
    let mut text = String::new();
    File::from(report).read_to_string(&mut text).ok()?;
    if text.is_empty() { None } else { Some(Failure(text)) }
}
