//! The socket below a connection's TLS: what a connection writes in one turn leaves in one write.
//!
//! HTTP/2 writes and flushes every frame of every stream on its own. With a hundred watches on a connection that was a
//! hundred writes an event, each a system call of some 5 µs; now they are gathered until the connection has nothing
//! more to do.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// As much as is gathered before it is written anyway: four pieces of a list, what one write to the kernel takes well.
const GATHERED_BYTES: usize = 256 * 1024;
/// A connection that is idle keeps a buffer up to this size, and gives a larger one back.
const KEPT_BYTES: usize = 4 * 1024;

/// Clones share the socket: one belongs to the TLS stream, one to the turns.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    tcp: TcpStream,
    gathered: Vec<u8>,
    /// How much of `gathered` has been written.
    written: usize,
    /// Whether a turn's end writes; else every write does, since who ends without a flush has said its last.
    in_turns: bool,
}

impl Inner {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            match ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.gathered[self.written..])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.written += n,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        self.written = 0;
        self.gathered.clear();
        self.gathered.shrink_to(KEPT_BYTES);
        Poll::Ready(Ok(()))
    }

    fn make_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.len() >= GATHERED_BYTES { self.drain(cx) } else { Poll::Ready(Ok(())) }
    }
}

impl Socket {
    /// A socket that writes at once, as a handshake needs it.
    pub(crate) fn new(tcp: TcpStream) -> Socket {
        Socket(Arc::new(Mutex::new(Inner { tcp, gathered: Vec::new(), written: 0, in_turns: false })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Have the kernel end the connection once its client has taken nothing for that long while something was to be
    /// sent. A client that cannot be reached and one that does not read look the same.
    pub(crate) fn cut_after_stall(&self, limit: Duration) {
        let milliseconds = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        if let Err(e) = setsockopt(&self.inner().tcp, TcpUserTimeout, &milliseconds) {
            tracing::debug!("cannot limit a watcher's stall: {e}");
        }
    }

    /// Drive `connection`, which writes to this socket, in turns.
    pub(crate) async fn in_turns<F: Future>(&self, mut connection: Pin<&mut F>) -> F::Output {
        self.inner().in_turns = true;
        let mut has_waited = false;
        std::future::poll_fn(|cx| {
            // Once round the queue: other streams that are ready now, say all watchers of an event, come first and
            // share the write.
            has_waited = !has_waited;
            if has_waited {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let polled = connection.as_mut().poll(cx);
            let mut inner = self.inner();
            // From here on, whoever took the connection over (a WebSocket) flushes for itself.
            inner.in_turns = polled.is_pending();
            // An error comes back from the connection's next write or read.
            let _ = inner.drain(cx);
            polled
        })
        .await
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        ready!(inner.make_room(cx))?;
        bufs.iter().for_each(|buf| inner.gathered.extend_from_slice(buf));
        if !inner.in_turns {
            // What the kernel does not take now, the next write, flush or shutdown brings. An error comes back from
            // those: these bytes are accepted.
            let _ = inner.drain(cx);
        }
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        if inner.in_turns { Poll::Ready(Ok(())) } else { inner.drain(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.drain(cx))?;
        Pin::new(&mut inner.tcp).poll_shutdown(cx)
    }
}
