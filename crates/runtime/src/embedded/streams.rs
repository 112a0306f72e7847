//! Exec, attach and port-forward: the agent's ends of the streams.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::Embedded;
use super::protocol::{self, Reply, Request};
use super::sandboxes::connect;
use super::terminal::Terminal;
use crate::{AttachRequest, Duplex, Error, ExecOutput, ExecRequest, Reader, Result, Session, Writer};

/// Output of a probe or hook that is kept, of each stream: the kubelet's own limit.
const MAX_SYNC_OUTPUT: u64 = 16 << 20;

/// How long output may take to arrive after its process has ended: a child that it left behind may hold it open.
const DRAIN: Duration = Duration::from_secs(1);

/// Both ends of the pipes of a process: ours, and what its shim is sent.
#[derive(Default)]
struct Pipes {
    stdin: Option<Writer>,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    theirs: Vec<OwnedFd>,
}

impl Pipes {
    fn new(stdin: bool, stdout: bool, stderr: bool) -> io::Result<Pipes> {
        let mut pipes = Pipes::default();
        let pipe = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC);
        if stdin {
            let (read, write) = pipe()?;
            pipes.stdin = Some(Box::new(pipe::Sender::from_owned_fd(write)?));
            pipes.theirs.push(read);
        }
        let mut output = |wanted: bool| -> io::Result<Option<Reader>> {
            if !wanted {
                return Ok(None);
            }
            let (read, write) = pipe()?;
            pipes.theirs.push(write);
            Ok(Some(Box::new(pipe::Receiver::from_owned_fd(read)?)))
        };
        let (stdout, stderr) = (output(stdout)?, output(stderr)?);
        (pipes.stdout, pipes.stderr) = (stdout, stderr);
        Ok(pipes)
    }
}

/// What a shim has answered: the connection goes on.
struct Opened {
    connection: std::os::unix::net::UnixStream,
    descriptor: Option<OwnedFd>,
    terminal: bool,
}

impl Embedded {
    async fn open(&self, container_id: &str, request: Request, theirs: Vec<OwnedFd>) -> Result<Opened> {
        let sandbox_id = self.container(container_id, |container| container.record.sandbox_id.clone())?;
        let dir = self.sandbox(&sandbox_id)?.dir;
        self.blocking(move |_| {
            let failed = |error| Error::io("speak to the sandbox's shim", error);
            let connection = connect(&dir).map_err(failed)?;
            let fds: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
            protocol::send(&connection, &request, &fds).map_err(failed)?;
            let (reply, descriptors) = protocol::receive::<Reply>(&connection).map_err(failed)?;
            match reply {
                Reply::Done { terminal } => {
                    connection.set_nonblocking(true).map_err(failed)?;
                    Ok(Opened { connection, descriptor: descriptors.into_iter().next(), terminal })
                }
                Reply::Failed { message } => Err(Error::Start(message)),
                other => Err(Error::Internal(format!("shim has answered {other:?}"))),
            }
        })
        .await
    }

    pub(super) async fn open_exec(&self, container_id: &str, request: ExecRequest) -> Result<Session> {
        let failed = |error| Error::io("exec streams", error);
        if request.command.is_empty() {
            return Err(Error::Config("no command specified".into()));
        }
        let pipes = match request.tty {
            true => Pipes::default(),
            false => Pipes::new(request.stdin, request.stdout, request.stderr).map_err(failed)?,
        };
        let ask = Request::Exec {
            container: container_id.into(),
            command: request.command,
            tty: request.tty,
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
        };
        let opened = self.open(container_id, ask, pipes.theirs).await?;
        let exit = exit_code(opened.connection).map_err(failed)?;
        if let (true, Some(descriptor)) = (opened.terminal, opened.descriptor) {
            let terminal = Terminal::new(descriptor).map_err(failed)?;
            let resize = terminal.resizer();
            let stdin = request.stdin.then(|| Box::new(terminal.clone()) as Writer);
            return Ok(Session { stdin, stdout: Some(Box::new(terminal)), stderr: None, resize, exit });
        }
        Ok(Session {
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            resize: mpsc::channel(1).0,
            exit,
        })
    }

    pub(super) async fn run_to_end(
        &self,
        id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput> {
        let clock = self.inner.config.clock.clone();
        let run = async {
            let request =
                ExecRequest { command: command.into(), stdin: false, stdout: true, stderr: true, tty: false };
            let session = self.open_exec(id, request).await?;
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut reading = Box::pin(async {
                tokio::join!(collect(session.stdout, &mut stdout), collect(session.stderr, &mut stderr));
            });
            let mut exit = session.exit;
            let exit_code = tokio::select! {
                () = &mut reading => exit.await?,
                code = &mut exit => {
                    clock.timeout(DRAIN, &mut reading).await;
                    code?
                }
            };
            drop(reading);
            Ok(ExecOutput { stdout, stderr, exit_code })
        };
        // Dropping the session kills the process.
        clock.timeout(timeout, run).await.unwrap_or(Err(Error::Timeout(timeout)))
    }

    pub(super) async fn open_attach(&self, container_id: &str, request: AttachRequest) -> Result<Session> {
        let failed = |error| Error::io("attach streams", error);
        let (tty, has_stdin) =
            self.container(container_id, |c| (c.record.config.tty, c.record.config.stdin))?;
        let stderr = request.stderr && !tty;
        let pipes = Pipes::new(false, request.stdout, stderr).map_err(failed)?;
        let stdin = request.stdin && has_stdin;
        let ask = Request::Attach { container: container_id.into(), stdin, stdout: request.stdout, stderr };
        let opened = self.open(container_id, ask, pipes.theirs).await?;
        let exit = exit_code(opened.connection).map_err(failed)?;
        let mut session = Session {
            stdin: None,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            resize: mpsc::channel(1).0,
            exit,
        };
        match opened.descriptor {
            Some(descriptor) if opened.terminal => {
                let terminal = Terminal::new(descriptor).map_err(failed)?;
                session.resize = terminal.resizer();
                // Without stdin it is kept for its size alone.
                if stdin {
                    session.stdin = Some(Box::new(terminal));
                } else {
                    session.exit = session.exit.inspect(move |_| drop(terminal)).boxed();
                }
            }
            Some(descriptor) => {
                session.stdin = Some(Box::new(pipe::Sender::from_owned_fd(descriptor).map_err(failed)?));
            }
            None => {}
        }
        Ok(session)
    }

    pub(super) async fn connect_inside(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>> {
        let sandbox = self.sandbox(sandbox_id)?;
        let netns = (!sandbox.record.config.host_network).then(|| sandbox.netns());
        let mut last = None;
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            match connect_in(netns.clone(), SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => last = last.or(Some(error)),
            }
        }
        let error = last.unwrap_or_else(|| io::ErrorKind::NotConnected.into());
        Err(Error::io(format!("connect to port {port} of the Pod"), error))
    }
}

/// The socket stays in the network namespace where it was made; connecting it needs no thread of its own.
async fn connect_in(netns: Option<PathBuf>, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let make = move || -> io::Result<OwnedFd> {
        if let Some(netns) = netns {
            setns(std::fs::File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
        }
        Ok(socket(family, SockType::Stream, flags, None)?)
    };
    let (sender, made) = tokio::sync::oneshot::channel();
    // A thread that has changed its namespace must never be used for anything else.
    std::thread::Builder::new().name("pod-socket".into()).spawn(move || sender.send(make()))?;
    let socket = made.await.map_err(io::Error::other)??;
    tokio::net::TcpSocket::from_std_stream(TcpStream::from(socket)).connect(address).await
}

fn exit_code(
    connection: std::os::unix::net::UnixStream,
) -> io::Result<futures::future::BoxFuture<'static, Result<i32>>> {
    let mut connection = tokio::net::UnixStream::from_std(connection)?;
    let exited = async move {
        match protocol::receive_async::<Reply>(&mut connection).await {
            Ok(Reply::Exited { exit_code }) => Ok(exit_code),
            Ok(other) => Err(Error::Internal(format!("shim has said {other:?}"))),
            Err(error) => Err(Error::io("the sandbox's shim has gone", error)),
        }
    };
    Ok(exited.boxed())
}

async fn collect(stream: Option<Reader>, into: &mut Vec<u8>) {
    let Some(stream) = stream else { return };
    let mut limited: tokio::io::Take<Reader> = AsyncReadExt::take(stream, MAX_SYNC_OUTPUT);
    // What came before an error is still output.
    let _ = limited.read_to_end(into).await;
    discard(limited.into_inner()).await;
}

/// A process that writes on must not be stopped by a full pipe.
async fn discard(mut stream: impl AsyncRead + Unpin) {
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}
