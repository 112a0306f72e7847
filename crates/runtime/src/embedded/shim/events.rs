//! The shim's loop: waiting, and doing what has come.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::exec::Wanted;
use super::{Result, Shim};
use crate::embedded::protocol::{self, Reply, Request};
use crate::embedded::record;
use crate::log::Stream;

/// The agent sends a request at once; whoever does not is not the agent.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Read at a time: what a pipe holds.
const CHUNK: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Listener,
    Children,
    Output(String, Source),
    Exec(i32),
    Attached(usize),
    AttachedOutput(usize),
    Watcher(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Stdout,
    Stderr,
    Terminal,
}

impl Shim {
    /// Until told to shut down, or until the pause process has gone.
    pub(super) fn run(&mut self) -> Result<()> {
        loop {
            for (token, flags) in self.wait()? {
                match token {
                    Token::Listener => {
                        if self.accept()? {
                            return Ok(());
                        }
                    }
                    Token::Children => {
                        if self.reap()? {
                            return Ok(());
                        }
                    }
                    Token::Output(id, source) => drop(self.read_output(&id, source)),
                    Token::Exec(pid) => self.exec_hung_up(pid),
                    // Highest index first (see `wait`), so that removing one leaves the others where they are.
                    Token::AttachedOutput(index) => {
                        if flags.contains(PollFlags::POLLERR) || !self.flush_attached(index) {
                            self.detach(index);
                        }
                    }
                    Token::Attached(index) => self.detach(index),
                    Token::Watcher(index) => drop(self.watchers.swap_remove(index)),
                }
            }
        }
    }

    fn wait(&self) -> Result<Vec<(Token, PollFlags)>> {
        let (tokens, mut fds): (Vec<Token>, Vec<PollFd<'_>>) = self.interests().into_iter().unzip();
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let mut ready: Vec<(Token, PollFlags)> = Vec::new();
        for (token, fd) in tokens.into_iter().zip(&fds) {
            let flags = fd.revents().unwrap_or(PollFlags::empty());
            let same = |seen: &(Token, PollFlags)| match (&seen.0, &token) {
                (
                    Token::Attached(a) | Token::AttachedOutput(a),
                    Token::Attached(b) | Token::AttachedOutput(b),
                ) => a == b,
                _ => false,
            };
            // One thing at a time for an attached one: it may be gone after the first.
            if !flags.is_empty() && !ready.iter().any(same) {
                ready.push((token, flags));
            }
        }
        ready.reverse();
        Ok(ready)
    }

    fn interests(&self) -> Vec<(Token, PollFd<'_>)> {
        fn interest(token: Token, fd: BorrowedFd<'_>, flags: PollFlags) -> (Token, PollFd<'_>) {
            (token, PollFd::new(fd, flags))
        }
        let input = PollFlags::POLLIN;
        let mut all = vec![
            interest(Token::Listener, self.listener.as_fd(), input),
            interest(Token::Children, self.children.as_fd(), input),
        ];
        for (index, watcher) in self.watchers.iter().enumerate() {
            all.push(interest(Token::Watcher(index), watcher.as_fd(), input));
        }
        for (index, attached) in self.attached.iter().enumerate() {
            all.push(interest(Token::Attached(index), attached.connection.as_fd(), input));
            for outlet in [&attached.stdout, &attached.stderr].into_iter().flatten() {
                // Without an interest the kernel still reports a reader that has gone.
                let flags = if outlet.has_pending() { PollFlags::POLLOUT } else { PollFlags::empty() };
                all.push(interest(Token::AttachedOutput(index), outlet.fd.as_fd(), flags));
            }
        }
        for exec in &self.execs {
            all.push(interest(Token::Exec(exec.pid.as_raw()), exec.connection.as_fd(), input));
        }
        for (id, container) in &self.containers {
            let io = &container.io;
            let sources = [
                (&io.stdout, Source::Stdout),
                (&io.stderr, Source::Stderr),
                (&io.terminal, Source::Terminal),
            ];
            for (fd, source) in sources {
                if let Some(fd) = fd {
                    all.push(interest(Token::Output(id.clone(), source), fd.as_fd(), input));
                }
            }
        }
        all
    }

    /// `true`: the sandbox is over.
    fn accept(&mut self) -> Result<bool> {
        let connection = match self.listener.accept() {
            Ok((connection, _)) => connection,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        connection.set_nonblocking(false)?;
        connection.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        connection.set_write_timeout(Some(REQUEST_TIMEOUT))?;
        let Ok((request, fds)) = protocol::receive::<Request>(&connection) else { return Ok(false) };
        if matches!(request, Request::Shutdown) {
            self.shut_down();
            // Whether or not the agent is still there to hear it.
            let _ = protocol::send(&connection, &Reply::Done { terminal: false }, &[]);
            return Ok(true);
        }
        if let Err(failure) = self.answer(connection, request, fds) {
            eprintln!("shim: {failure}");
        }
        Ok(false)
    }

    fn answer(&mut self, connection: UnixStream, request: Request, fds: Vec<OwnedFd>) -> Result<()> {
        let done = Reply::Done { terminal: false };
        match request {
            Request::Start { container } => {
                let reply = match self.start(&container) {
                    Ok(()) => done,
                    Err(failure) => Reply::Failed { message: failure.0 },
                };
                protocol::send(&connection, &reply, &[])?;
            }
            Request::Signal { container, signal } => {
                if let (Some(container), Ok(signal)) =
                    (self.containers.get(&container), Signal::try_from(signal))
                {
                    container.signal(signal);
                }
                protocol::send(&connection, &done, &[])?;
            }
            Request::Exec { container, command, tty, stdin, stdout, stderr } => {
                let wanted = Wanted { tty, streams: [stdin, stdout, stderr] };
                self.exec(connection, &container, command, &wanted, fds)?;
            }
            Request::Attach { container, stdin, stdout, stderr } => {
                let wanted = Wanted { tty: false, streams: [stdin, stdout, stderr] };
                self.attach(connection, &container, &wanted, fds)?;
            }
            Request::Watch => {
                protocol::send(&connection, &done, &[])?;
                self.watchers.push(connection);
            }
            Request::Shutdown => {}
        }
        Ok(())
    }

    /// Tell the agent. It reads the record itself.
    pub(super) fn changed(&mut self, id: &str) {
        let event = Reply::Changed { container: id.into() };
        self.watchers.retain(|watcher| protocol::send(watcher, &event, &[]).is_ok());
    }

    /// Bury whoever has ended. `true`: the sandbox is over, its namespaces are gone.
    fn reap(&mut self) -> Result<bool> {
        while self.children.read_signal()?.is_some() {}
        loop {
            let (pid, exit_code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(false),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if pid == self.pause {
                self.shut_down();
                return Ok(true);
            }
            self.ended(pid, exit_code);
        }
    }

    fn ended(&mut self, pid: Pid, exit_code: i32) {
        if let Some(index) = self.execs.iter().position(|exec| exec.pid == pid) {
            self.execs.swap_remove(index).exited(exit_code);
            return;
        }
        let is_it =
            |container: &super::Container| container.is_running() && container.run.pid == pid.as_raw();
        let found = self.containers.iter().find(|(_, container)| is_it(container)).map(|(id, _)| id.clone());
        if let Some(id) = found {
            self.container_ended(&id, exit_code);
        }
    }

    fn container_ended(&mut self, id: &str, exit_code: i32) {
        let now = self.clock.now();
        let Some(container) = self.containers.get_mut(id) else { return };
        let launch = container.launch.clone();
        container.run.finished_at = Some(now);
        container.run.exit_code = exit_code;
        container.run.reason = match exit_code {
            0 => "Completed",
            137 if self.sandbox.hierarchy.oom_kills(&launch.cgroup) > 0 => "OOMKilled",
            _ => "Error",
        }
        .into();
        // Processes that share a namespace with others outlive the first one; they must not.
        self.tidy(id, &launch);
        for source in [Source::Stdout, Source::Stderr, Source::Terminal] {
            while self.read_output(id, source) {}
            self.close_output(id, source);
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        container.io.stdin = None;
        let run = container.run.clone();
        if let Err(error) = record::write(&self.container_dir(id), record::RUN, &run) {
            eprintln!("shim: record the end of {id}: {error}");
        }
        for attached in self.attached.extract_if(.., |attached| attached.container == id) {
            let mut attached = attached;
            attached.exited(exit_code);
        }
        self.changed(id);
    }

    fn source(&mut self, id: &str, source: Source) -> Option<&mut Option<OwnedFd>> {
        let io = &mut self.containers.get_mut(id)?.io;
        Some(match source {
            Source::Stdout => &mut io.stdout,
            Source::Stderr => &mut io.stderr,
            Source::Terminal => &mut io.terminal,
        })
    }

    /// A piece of output, into the log and to those attached. `false`: there is no more (for the time being).
    fn read_output(&mut self, id: &str, source: Source) -> bool {
        let stream = if source == Source::Stderr { Stream::Stderr } else { Stream::Stdout };
        let mut buffer = vec![0; CHUNK];
        let Some(Some(fd)) = self.source(id, source) else { return false };
        let read = match nix::unistd::read(fd, &mut buffer) {
            Err(Errno::EINTR) => return true,
            Err(Errno::EAGAIN) => return false,
            // A terminal that nobody has open any more says EIO.
            Ok(0) | Err(_) => {
                self.close_output(id, source);
                return false;
            }
            Ok(read) => read,
        };
        if let Some(container) = self.containers.get_mut(id) {
            container.log.write(stream, &buffer[..read]);
        }
        for index in (0..self.attached.len()).rev() {
            let attached = &mut self.attached[index];
            if attached.container == id && !attached.output(stream, &buffer[..read]) {
                self.detach(index);
            }
        }
        true
    }

    fn close_output(&mut self, id: &str, source: Source) {
        if let Some(fd) = self.source(id, source) {
            *fd = None;
        }
        let stream = if source == Source::Stderr { Stream::Stderr } else { Stream::Stdout };
        if let Some(container) = self.containers.get_mut(id) {
            container.log.finish(stream);
        }
    }

    fn flush_attached(&mut self, index: usize) -> bool {
        let attached = &mut self.attached[index];
        [&mut attached.stdout, &mut attached.stderr].into_iter().flatten().all(super::attach::Outlet::flush)
    }

    /// The agent never sends anything after its request: it has hung up.
    fn exec_hung_up(&mut self, pid: i32) {
        if let Some(index) = self.execs.iter().position(|exec| exec.pid.as_raw() == pid) {
            // Its end will be reaped; nobody waits for it.
            self.execs.swap_remove(index).kill();
        }
    }

    /// Kill every container, record how they ended, and let the namespaces go.
    fn shut_down(&mut self) {
        for container in self.containers.values() {
            container.signal(Signal::SIGKILL);
        }
        let running = |shim: &Shim| shim.containers.values().any(super::Container::is_running);
        while running(self) {
            match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.ended(pid, 128 + signal as i32),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        self.sandbox.hierarchy.kill(&self.sandbox.cgroup);
        // Gone already is fine, and so is not being a child any more.
        let _ = kill(self.pause, Signal::SIGKILL);
        let _ = waitpid(self.pause, None);
    }
}
