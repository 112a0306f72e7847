//! Those who watch a container's output as it comes, and type into it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;

use super::exec::Wanted;
use super::{Failure, Result, Shim, set_nonblocking};
use crate::embedded::protocol::{self, Reply};
use crate::log::Stream;

/// Who falls behind by more is cut off: the container does not wait for its audience.
const MAX_PENDING: usize = 4 << 20;

pub(super) struct Attached {
    pub(super) container: String,
    pub(super) connection: UnixStream,
    pub(super) stdout: Option<Outlet>,
    pub(super) stderr: Option<Outlet>,
    /// When it goes, so does the container's input (`stdinOnce`).
    ends_stdin: bool,
}

pub(super) struct Outlet {
    pub(super) fd: OwnedFd,
    pending: VecDeque<u8>,
}

impl Outlet {
    fn new(fd: OwnedFd) -> Result<Outlet> {
        set_nonblocking(&fd)?;
        Ok(Outlet { fd, pending: VecDeque::new() })
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Write what the reader can take. `false`: it is of no more use.
    pub(super) fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            match nix::unistd::write(&self.fd, front) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::EAGAIN) => return true,
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend(bytes);
        self.flush() && self.pending.len() <= MAX_PENDING
    }
}

impl Attached {
    /// Output of its container. `false`: cut it off.
    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        let outlet = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        outlet.as_mut().is_none_or(|outlet| outlet.push(bytes))
    }

    pub(super) fn exited(&mut self, exit_code: i32) {
        for outlet in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            outlet.flush();
        }
        let _ = protocol::send(&self.connection, &Reply::Exited { exit_code }, &[]);
    }
}

impl Shim {
    pub(super) fn attach(
        &mut self,
        connection: UnixStream,
        id: &str,
        wanted: &Wanted,
        fds: Vec<OwnedFd>,
    ) -> Result<()> {
        let running = self.containers.get(id).filter(|container| container.is_running());
        let Some(container) = running else {
            let message = format!("container {id} is not running");
            return Ok(protocol::send(&connection, &Reply::Failed { message }, &[])?);
        };
        let [stdin, stdout, stderr] = wanted.streams;
        let mut fds = fds.into_iter();
        let mut outlet = |wanted: bool| -> Result<Option<Outlet>> {
            let missing = || Failure("a stream is missing".into());
            if wanted { Outlet::new(fds.next().ok_or_else(missing)?).map(Some) } else { Ok(None) }
        };
        let (stdout, stderr) = (outlet(stdout)?, outlet(stderr)?);
        let io = &container.io;
        // The terminal is also what resizing goes to, so that it is handed out with or without stdin.
        let input = io.terminal.as_ref().or(io.stdin.as_ref().filter(|_| stdin));
        let descriptors: Vec<_> = input.iter().map(|fd| fd.as_fd()).collect();
        protocol::send(&connection, &Reply::Done { terminal: io.terminal.is_some() }, &descriptors)?;
        let ends_stdin = stdin && container.launch.stdin_once;
        self.attached.push(Attached { container: id.into(), connection, stdout, stderr, ends_stdin });
        Ok(())
    }

    pub(super) fn detach(&mut self, index: usize) {
        let attached = self.attached.swap_remove(index);
        if attached.ends_stdin
            && let Some(container) = self.containers.get_mut(&attached.container)
        {
            container.io.stdin = None;
        }
    }
}
