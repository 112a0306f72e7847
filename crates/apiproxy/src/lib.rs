//! The sidecar: the API on localhost, with the Pod's own credential.
//!
//! `kubectl proxy`'s flags and defaults without its weak spots. What may pass is decided on the path in its normal
//! form, and that form is what is forwarded, so that no spelling of a path can be let in as one thing and served as
//! another. Whatever identity the caller claims is dropped; only the Pod's own goes upstream.

#![forbid(unsafe_code)]

mod filter;
mod forward;
mod path;
mod www;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_clock::Clock;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::Client;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

pub use filter::{Filter, Rules};

/// Request headers must be in within this time, so that idle or trickling connections cannot pile up.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections served at once: far above what the containers of one Pod open, far below what would hurt it.
const CONNECTIONS_MAX: usize = 1024;
/// After a failed accept (descriptors ran out): long enough for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("invalid regular expression in --{flag}: {source}")]
    Pattern { flag: &'static str, source: Box<regex::Error> },
    #[error("--api-prefix must begin with /: {0}")]
    Prefix(String),
}

#[derive(Debug, Clone)]
pub struct Options {
    pub address: IpAddr,
    pub port: u16,
    pub unix_socket: Option<PathBuf>,
    /// Serve the API under this path.
    pub api_prefix: String,
    /// Serve this directory under `www_prefix`.
    pub www: Option<PathBuf>,
    pub www_prefix: String,
    pub rules: Rules,
    pub disable_filter: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8001,
            unix_socket: None,
            api_prefix: "/".to_owned(),
            www: None,
            www_prefix: "/static/".to_owned(),
            rules: Rules::default(),
            disable_filter: false,
        }
    }
}

/// A proxy that listens but does not serve yet, so that its address can be told.
#[derive(Debug)]
pub struct Bound {
    listener: Listener,
    shared: Arc<Shared>,
    clock: Clock,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) filter: Filter,
    pub(crate) api_prefix: String,
    pub(crate) www: Option<(String, PathBuf)>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("filter", &self.filter).finish_non_exhaustive()
    }
}

/// Listen as the options say.
pub async fn bind(client: Client, options: &Options, clock: Clock) -> Result<Bound, Error> {
    if !options.api_prefix.starts_with('/') {
        return Err(Error::Prefix(options.api_prefix.clone()));
    }
    let filter = if options.disable_filter { Filter::off() } else { Filter::new(&options.rules)? };
    let shared = Shared {
        client,
        clock: clock.clone(),
        filter,
        api_prefix: options.api_prefix.trim_end_matches('/').to_owned(),
        www: options.www.clone().map(|dir| (format!("/{}/", options.www_prefix.trim_matches('/')), dir)),
    };
    let listener = match &options.unix_socket {
        Some(path) => Listener::Unix(listen_unix(path)?),
        None => {
            let address = SocketAddr::new(options.address, options.port);
            let failed = |source| Error::Listen { address: address.to_string(), source };
            Listener::Tcp(TcpListener::bind(address).await.map_err(failed)?)
        }
    };
    Ok(Bound { listener, shared: Arc::new(shared), clock })
}

/// A socket that only its owner can use: bound under a private name and mode, then moved into place.
fn listen_unix(path: &std::path::Path) -> Result<UnixListener, Error> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| Error::Listen { address: path.display().to_string(), source };
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(failed)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)?;
    Ok(listener)
}

impl Bound {
    /// Where it listens, as a user would write it.
    pub fn address(&self) -> String {
        match &self.listener {
            Listener::Tcp(l) => l.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Listener::Unix(l) => {
                let address = l.local_addr().ok();
                address.and_then(|a| a.as_pathname().map(|p| p.display().to_string())).unwrap_or_default()
            }
        }
    }

    /// Serve until the future is dropped.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // The semaphore is never closed, so a place always comes free.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream: Result<Box<dyn Stream>, std::io::Error> = match &self.listener {
                Listener::Tcp(l) => l.accept().await.map(|(s, _)| Box::new(s) as Box<dyn Stream>),
                Listener::Unix(l) => l.accept().await.map(|(s, _)| Box::new(s) as Box<dyn Stream>),
            };
            match stream {
                Ok(stream) => {
                    let shared = self.shared.clone();
                    tokio::spawn(async move {
                        serve_connection(shared, stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn serve_connection(shared: Arc<Shared>, stream: Box<dyn Stream>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, std::convert::Infallible>(forward::answer(&shared, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}
