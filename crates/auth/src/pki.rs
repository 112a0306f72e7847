//! The cluster's keys and certificates: made once, kept in a private directory or in memory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_clock::Clock;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is damaged: {why}")]
    Damaged { path: PathBuf, why: String },
    #[error("making {what}: {why}")]
    Make { what: &'static str, why: String },
}

/// What the API server's certificate must name besides the fixed names.
#[derive(Debug, Clone, Default)]
pub struct ServingNames {
    pub cluster_domain: String,
    pub addresses: Vec<IpAddr>,
    pub names: Vec<String>,
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate_pem: String,
    pub key_pem: String,
}

/// The keys of service account tokens: one signs, several verify.
#[derive(Debug)]
pub struct TokenKeys {}

#[derive(Clone)]
pub struct Pki {
    token_keys: Arc<TokenKeys>,
}

impl Pki {
    /// Load what is in `directory` and make what is missing.
    pub fn open(directory: &Path, serving: &ServingNames, clock: &Clock) -> Result<Pki, Error> {
        let _ = directory;
        Pki::memory(serving, clock)
    }

    pub fn memory(serving: &ServingNames, clock: &Clock) -> Result<Pki, Error> {
        let _ = (serving, clock);
        Ok(Pki { token_keys: Arc::new(TokenKeys {}) })
    }

    pub fn ca_pem(&self) -> &str {
        ""
    }

    pub fn token_keys(&self) -> Arc<TokenKeys> {
        Arc::clone(&self.token_keys)
    }

    /// TLS for the API server: h2 and http/1.1, client certificates optional; whether one is good is decided by
    /// [`crate::authn::Authenticator`], so that a bad one earns a 401 and not a broken handshake.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        Err(Error::Make { what: "server configuration", why: String::new() })
    }

    /// TLS for the kubelet's own server: client certificates of this CA are required.
    pub fn kubelet_server_config(
        &self,
        node: &str,
        addresses: &[IpAddr],
    ) -> Result<Arc<rustls::ServerConfig>, Error> {
        let _ = (node, addresses);
        Err(Error::Make { what: "server configuration", why: String::new() })
    }

    /// TLS with which the API server calls kubelets.
    pub fn kubelet_client_config(&self) -> Result<Arc<rustls::ClientConfig>, Error> {
        Err(Error::Make { what: "client configuration", why: String::new() })
    }

    /// A client certificate for any user, signed by the CA.
    pub fn client_pair(&self, name: &str, groups: &[&str]) -> Result<Pair, Error> {
        let _ = (name, groups);
        Err(Error::Make { what: "client certificate", why: String::new() })
    }

    /// The administrator's.
    pub fn admin(&self) -> &Pair {
        unreachable!("in work")
    }

    /// A kubeconfig with everything inline; `server` is `https://host:port`.
    pub fn kubeconfig(&self, context: &str, server: &str, pair: &Pair) -> String {
        let _ = (context, server, pair);
        String::new()
    }
}
