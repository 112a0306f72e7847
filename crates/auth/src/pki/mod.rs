//! The cluster's keys and certificates: made once, kept in a private directory or in memory.

mod authority;
mod files;
mod kubeconfig;
mod sign;
mod tls;
mod token_keys;
pub mod webhook;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use coracle_api::user::{MASTERS, NODE_PREFIX, NODES};
use coracle_clock::Clock;
use rustls_pki_types::CertificateDer;

use authority::{Authority, Purpose};
pub use files::Files;
pub(crate) use tls::ClientChains;
pub use token_keys::{PublicKey, TokenKeys};

/// The first address of the default Service range, which every Pod calls.
pub const DEFAULT_SERVICE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("making the {what}: {why}")]
    Make { what: &'static str, why: String },
}

impl Error {
    fn make(what: &'static str) -> impl Fn(&dyn fmt::Display) -> Error {
        move |why| Error::Make { what, why: why.to_string() }
    }
}

/// The common name under which the API server calls kubelets, as the reference's usual setup has it.
pub const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";

/// What the API server's certificate must name besides the fixed names.
#[derive(Debug, Clone, Default)]
pub struct ServingNames {
    /// Empty means `cluster.local`.
    pub cluster_domain: String,
    /// Service and node addresses. [`DEFAULT_SERVICE_ADDRESS`] and the loopback ones are always there.
    pub addresses: Vec<IpAddr>,
    pub names: Vec<String>,
}

impl ServingNames {
    pub(crate) fn all_names(&self) -> Vec<String> {
        let domain = if self.cluster_domain.is_empty() { "cluster.local" } else { &self.cluster_domain };
        let mut all: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
                .map(String::from)
                .into();
        all.push(format!("kubernetes.default.svc.{domain}"));
        all.extend(self.names.iter().cloned());
        all.sort();
        all.dedup();
        all
    }

    pub(crate) fn all_addresses(&self) -> Vec<IpAddr> {
        let mut all =
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST), DEFAULT_SERVICE_ADDRESS];
        all.extend(&self.addresses);
        all.sort();
        all.dedup();
        all
    }
}

/// A certificate and its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate_pem: String,
    pub key_pem: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// Everything that a cluster's TLS and tokens rest on. Cheap to clone.
#[derive(Clone)]
pub struct Pki(Arc<Inner>);

struct Inner {
    authority: Authority,
    serving: Pair,
    admin: Pair,
    token_keys: Arc<TokenKeys>,
    clock: Clock,
    /// Made when the first server asks for it, shared by all.
    server_config: OnceLock<Arc<rustls::ServerConfig>>,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

impl Pki {
    /// Load what is in `directory` and make what is missing. The token key may still be in the making afterwards.
    pub fn open(directory: &Path, serving: &ServingNames, clock: &Clock) -> Result<Pki, Error> {
        let files = Files::open(directory)?;
        Pki::load(&files, &files, serving, clock)
    }

    /// For one of several servers of a cluster: the authority, the admin's certificate and the token keys are those in
    /// `shared`, the serving certificate is its own, in `directory`.
    pub fn open_shared(
        shared: &Path,
        directory: &Path,
        serving: &ServingNames,
        clock: &Clock,
    ) -> Result<Pki, Error> {
        let files = Files::open(shared)?;
        let one_at_a_time = files.lock()?;
        let pki = Pki::load(&files, &Files::open(directory)?, serving, clock)?;
        // Whoever comes next must find this key, and not make another.
        pki.0.token_keys.made().map_err(|why| Error::Make { what: "token key", why })?;
        drop(one_at_a_time);
        Ok(pki)
    }

    fn load(files: &Files, own: &Files, serving: &ServingNames, clock: &Clock) -> Result<Pki, Error> {
        let mut made: Vec<(&str, Pair)> = Vec::new();
        let authority = match files.read_pair("ca")? {
            Some(pair) => Authority::load(pair).map_err(|why| files.damaged("ca.crt", why))?,
            None => {
                let authority = Authority::make(clock)?;
                made.push(("ca", authority.pair().clone()));
                authority
            }
        };
        let token_keys = TokenKeys::open(files.clone())?;
        let mut made_own: Vec<(&str, Pair)> = Vec::new();
        let serving_pair = match own.read_pair("apiserver")? {
            Some(pair) if authority.still_serves(&pair, serving, clock) => pair,
            _ => {
                let pair = authority.serving(serving, clock)?;
                made_own.push(("apiserver", pair.clone()));
                pair
            }
        };
        let admin = match files.read_pair("admin")? {
            Some(pair) if authority.still_good(&pair, clock) => pair,
            _ => {
                let pair = authority.client("kubernetes-admin", &[MASTERS], clock)?;
                made.push(("admin", pair.clone()));
                pair
            }
        };
        if own == files {
            // One wait for the disk.
            made.append(&mut made_own);
        }
        for (files, made) in [(files, &made), (own, &made_own)] {
            files.write_pairs(&made.iter().map(|(name, pair)| (*name, pair)).collect::<Vec<_>>())?;
        }
        Ok(Pki::assemble(authority, serving_pair, admin, token_keys, clock))
    }

    /// The same without a disk.
    pub fn memory(serving: &ServingNames, clock: &Clock) -> Result<Pki, Error> {
        let token_keys = TokenKeys::memory();
        let authority = Authority::make(clock)?;
        let serving = authority.serving(serving, clock)?;
        let admin = authority.client("kubernetes-admin", &[MASTERS], clock)?;
        Ok(Pki::assemble(authority, serving, admin, token_keys, clock))
    }

    fn assemble(authority: Authority, serving: Pair, admin: Pair, keys: TokenKeys, clock: &Clock) -> Pki {
        Pki(Arc::new(Inner {
            authority,
            serving,
            admin,
            token_keys: Arc::new(keys),
            clock: clock.clone(),
            server_config: OnceLock::new(),
        }))
    }

    /// The CA's certificate: `ca.crt` of every Pod and `certificate-authority-data` of every kubeconfig.
    pub fn ca_pem(&self) -> &str {
        &self.0.authority.pair().certificate_pem
    }

    pub fn ca_der(&self) -> &CertificateDer<'static> {
        self.0.authority.der()
    }

    pub fn token_keys(&self) -> Arc<TokenKeys> {
        Arc::clone(&self.0.token_keys)
    }

    /// A client certificate for any user, of at most two groups.
    pub fn client_pair(&self, name: &str, groups: &[&str]) -> Result<Pair, Error> {
        self.0.authority.client(name, groups, &self.0.clock)
    }

    /// A node's client certificate: `O=system:nodes, CN=system:node:NAME`.
    pub fn node_client_pair(&self, node: &str) -> Result<Pair, Error> {
        self.client_pair(&format!("{NODE_PREFIX}{node}"), &[NODES])
    }

    /// A node's serving certificate, `system:node:NAME` too, for the kubelet's HTTPS server.
    pub fn node_serving_pair(&self, node: &str, addresses: &[IpAddr]) -> Result<Pair, Error> {
        let names = vec![node.to_owned(), "localhost".to_owned()];
        let purpose = Purpose::Server { names, addresses: addresses.to_vec() };
        self.0.authority.issue(&format!("{NODE_PREFIX}{node}"), &[NODES], purpose, &self.0.clock)
    }

    /// The administrator's.
    pub fn admin(&self) -> &Pair {
        &self.0.admin
    }

    /// TLS for the API server: h2 and http/1.1, client certificates optional. Whether one is good is decided by
    /// [`crate::authn::Authenticator`], so that a bad one earns a 401 and not a broken handshake.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        if let Some(config) = self.0.server_config.get() {
            return Ok(config.clone());
        }
        let made = tls::api_server(&self.0.authority, &self.0.serving)?;
        Ok(self.0.server_config.get_or_init(|| made).clone())
    }

    /// TLS for the kubelet's own server: a client certificate of this CA is required.
    pub fn kubelet_server_config(
        &self,
        node: &str,
        addresses: &[IpAddr],
    ) -> Result<Arc<rustls::ServerConfig>, Error> {
        tls::kubelet_server(&self.0.authority, &self.node_serving_pair(node, addresses)?)
    }

    /// TLS with which the API server calls kubelets, as [`KUBELET_CLIENT`] of system:masters.
    pub fn kubelet_client_config(&self) -> Result<Arc<rustls::ClientConfig>, Error> {
        tls::client(&self.0.authority, &self.client_pair(KUBELET_CLIENT, &[MASTERS])?)
    }

    /// A kubeconfig with everything inline; `server` is `https://host:port`.
    pub fn kubeconfig(&self, context: &str, server: &str, pair: &Pair) -> String {
        kubeconfig::with_certificate(context, server, self.ca_pem(), pair)
    }

    /// A kubeconfig that carries a bearer token.
    pub fn kubeconfig_with_token(&self, context: &str, server: &str, token: &str) -> String {
        kubeconfig::with_token(context, server, self.ca_pem(), token)
    }

    pub(crate) fn client_chains(&self) -> Result<ClientChains, Error> {
        ClientChains::new(&self.0.authority)
    }
}

#[cfg(test)]
mod tests;
