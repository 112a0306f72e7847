//! The listener: TLS, HTTP/1.1 and HTTP/2, with the limits that keep one client from starving the others.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_auth::Peer;
use coracle_clock::Clock;
use http::{Request, Version};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{self, Body};
use crate::compress;
use crate::pipeline::{self, Caller};
use crate::server::Core;
use crate::socket::Socket;

/// The longest that a client may take to send a request's headers: Go's 32 s default in the reference.
const HEADER_READ_TIME: Duration = Duration::from_secs(32);
/// A TLS handshake that has not ended by then never will.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Streams of one HTTP/2 connection, as the reference since CVE-2023-44487.
const MAX_STREAMS: u32 = 100;
/// Streams that a client may reset before the connection is dropped.
const MAX_PENDING_RESETS: usize = 100;
/// A connection that sends nothing for so long is pinged, and closed when it does not answer in time, as by the
/// reference: a client that is gone or does not read holds its watches for 45 s at most.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(15);
/// What a stream may have waiting for its client: four pieces of a list. A client that opens streams and reads none of
/// them holds 25 MiB a connection at most.
const MAX_UNSENT_BYTES: usize = 256 * 1024;
/// The largest header block of a request: Go's 1 MiB default.
const MAX_HEADER_BYTES: usize = 1024 * 1024;
/// How long requests in flight get to end when the server stops.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// A pause after a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serve until `stop`; returns once every connection has ended or had its time to.
pub(crate) async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let serving = connection(core.clone(), tcp, peer, acceptor.clone(), stop.clone());
                connections.spawn(serving);
            }
            Err(e) => {
                tracing::warn!("cannot accept a connection: {e}");
                core.clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    Clock::system().timeout(DRAIN_TIME, connections.wait()).await;
}

async fn connection(
    core: Arc<Core>,
    tcp: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    stop: CancellationToken,
) {
    // Answers are small and latency is what clients see.
    let _ = tcp.set_nodelay(true);
    let socket = Socket::new(tcp);
    let handshake = Clock::system().timeout(HANDSHAKE_TIME, acceptor.accept(socket.clone())).await;
    let tls = match handshake {
        Some(Ok(tls)) => tls,
        Some(Err(e)) => return tracing::debug!(%peer, "TLS handshake failed: {e}"),
        None => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    let certificates = tls.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
    let caller = Arc::new(Caller::Remote(Peer::new(certificates)));
    let below = socket.clone();
    let strangers = Arc::new(Strangers::until(&stop));
    let counted = strangers.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (core, caller) = (core.clone(), caller.clone());
        let (below, counted) = (below.clone(), counted.clone());
        async move {
            let stall = core.stalled_watch;
            let takes_gzip = compress::is_accepted(&request);
            let is_multiplexed = request.version() == Version::HTTP_2;
            let answer = pipeline::answer(core, request.map(body::incoming), caller).await;
            if matches!(answer.body(), Body::Watch(_)) {
                below.cut_after_stall(stall);
            }
            if is_multiplexed && pipeline::is_to_stranger(&answer) {
                counted.count();
            }
            Ok::<_, Infallible>(if takes_gzip { compress::compress(answer) } else { answer })
        }
    });
    let protocol = protocol();
    let serving = protocol.serve_connection_with_upgrades(TokioIo::new(tls), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = socket.in_turns(serving.as_mut()) => ended,
        () = strangers.ends.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = socket.in_turns(serving) => ended,
                () = strangers.too_many.cancelled() => return tracing::debug!(%peer, "a stranger asked on"),
            }
        }
    };
    if let Err(e) = ended {
        tracing::debug!(%peer, "connection ended: {e}");
    }
}

/// What a connection of HTTP/2 is asked by who shows no good credential. HTTP/2 lets a client ask for more than it pays
/// for; as in the reference since CVE-2023-44487, the first such request is a connection's last. Those that were on their
/// way already are answered, and a client that asks on regardless is cut.
#[derive(Debug)]
struct Strangers {
    asked: AtomicU32,
    /// The first such request, or the server's stop.
    ends: CancellationToken,
    too_many: CancellationToken,
}

impl Strangers {
    fn until(stop: &CancellationToken) -> Strangers {
        Strangers { asked: AtomicU32::new(0), ends: stop.child_token(), too_many: CancellationToken::new() }
    }

    fn count(&self) {
        self.ends.cancel();
        if self.asked.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
            self.too_many.cancel();
        }
    }
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIME)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_UNSENT_BYTES)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIME)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_PENDING_RESETS)
        .max_header_list_size(MAX_HEADER_BYTES as u32);
    builder
}
