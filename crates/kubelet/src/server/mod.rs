//! The kubelet's HTTPS server: health, and the streams of containers for the API server.

mod access;
pub(crate) mod exec;
mod logs;
mod lookup;
mod port_forward;
mod query;
mod routes;
pub(crate) mod websocket;

use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::kubelet::ServerConfig;

pub(crate) struct Server {
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    allowed: Arc<[String]>,
}

impl Server {
    pub(crate) fn new(shared: Arc<Shared>, config: ServerConfig) -> Server {
        Server { shared, acceptor: TlsAcceptor::from(config.tls), allowed: config.allowed_names.into() }
    }

    /// Until `stop` is cancelled, which also ends its connections.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else { continue };
            let connection = serve_connection(
                Arc::clone(&self.shared),
                self.acceptor.clone(),
                Arc::clone(&self.allowed),
                stream,
            );
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! { () = connection => {} () = stop.cancelled() => {} }
            });
        }
    }
}

async fn serve_connection(
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    allowed: Arc<[String]>,
    stream: TcpStream,
) {
    // Streams carry single key presses.
    let _ = stream.set_nodelay(true);
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "TLS handshake failed"),
    };
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let trusted = peer.is_some_and(|certificate| access::is_allowed(certificate, &allowed));
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(routes::answer(shared, trusted, request).await) }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // An upgrade to WebSocket is an HTTP/1.1 matter.
    builder = builder.http1_only();
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection ended");
    }
}
