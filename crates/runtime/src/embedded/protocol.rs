//! The words between agent and shim: JSON each way, with file descriptors attached.
//!
//! Streams never pass through the shim as messages: the agent sends the pipe ends that a process is to have, and gets
//! back the terminal that it was given.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

/// A command line may have 2 MiB (the kernel's ARG_MAX), more when escaped.
const MAX_MESSAGE: usize = 8 << 20;

/// Standard streams of a process are the most that one message carries.
const MAX_DESCRIPTORS: usize = 3;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// → `Done`, or `Failed`.
    Start {
        container: String,
    },
    Signal {
        container: String,
        signal: i32,
    },
    /// With as many descriptors as there are `true`s among stdin, stdout and stderr (none with a tty).
    /// → `Done` (with the terminal when there is a tty), then `Exited`. Hanging up before kills the process.
    Exec {
        container: String,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// With descriptors for stdout and stderr. → `Done` with stdin or the terminal when there is one, then `Exited`.
    Attach {
        container: String,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// → `Done`, then `Changed` whenever a container's RunRecord has changed.
    Watch,
    /// Kill everything, → `Done`, end.
    Shutdown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// `terminal`: the attached descriptor is one.
    Done {
        terminal: bool,
    },
    Failed {
        message: String,
    },
    Exited {
        exit_code: i32,
    },
    Changed {
        container: String,
    },
}

/// A message is its length (four bytes, big-endian) and its JSON. Descriptors come with the first byte.
pub(crate) fn send(stream: &UnixStream, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let frame = frame(message)?;
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let sent =
        sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&frame)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    (&mut &*stream).write_all(&frame[sent..])
}

fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

/// Blocks until a whole message is there (or the stream's timeout is over).
pub(crate) fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut length = [0; 4];
    let (filled, fds) = receive_start(stream, &mut length)?;
    if filled == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    (&mut &*stream).read_exact(&mut length[filled..])?;
    let mut body = vec![0; checked_length(length)?];
    (&mut &*stream).read_exact(&mut body)?;
    Ok((serde_json::from_slice(&body).map_err(io::Error::other)?, fds))
}

/// The same, without descriptors, for the agent's own event loop.
pub(crate) async fn receive_async<T: DeserializeOwned>(stream: &mut tokio::net::UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut body = vec![0; checked_length(length)?];
    stream.read_exact(&mut body).await?;
    serde_json::from_slice(&body).map_err(io::Error::other)
}

fn checked_length(length: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > MAX_MESSAGE {
        return Err(io::Error::other("message is too long"));
    }
    Ok(length)
}

/// A single descriptor, whatever comes with it (libcontainer's way to hand over a terminal).
pub(crate) fn receive_descriptor(stream: &UnixStream) -> io::Result<OwnedFd> {
    let (_, fds) = receive_start(stream, &mut [0; 64])?;
    fds.into_iter().next().ok_or_else(|| io::Error::other("no descriptor came"))
}

fn receive_start(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([i32; MAX_DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = loop {
        match recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(nix::errno::Errno::EINTR) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just installed these descriptors for us; nobody else owns them.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_long_message_arrives_whole_with_its_descriptor() {
        let (near, far) = UnixStream::pair().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let command = vec!["x".repeat(1 << 20)];
        let request = Request::Exec {
            container: "c".into(),
            command: command.clone(),
            tty: false,
            stdin: true,
            stdout: false,
            stderr: false,
        };
        let sender = std::thread::spawn(move || send(&near, &request, &[reader.as_fd()]));
        let (received, fds) = receive::<Request>(&far).unwrap();
        sender.join().unwrap().unwrap();
        let Request::Exec { command: received, .. } = received else { panic!("{received:?}") };
        assert_eq!(received, command);
        writer.write_all(b"hi").unwrap();
        drop(writer);
        let mut text = String::new();
        std::fs::File::from(fds.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
    }

    #[test]
    fn hanging_up_is_an_error() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(near);
        assert_eq!(receive::<Reply>(&far).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
