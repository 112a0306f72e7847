//! The only composition root: what a cluster is made of, started in order and stopped in the reverse order.
//!
//! Nothing else knows more than two parts. Parts that are API clients get one here, as the identity that they run under.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use coracle_api::User;
use coracle_api::catalog::Catalog;
use coracle_apiserver::{Config as ServerConfig, Server};
use coracle_auth::pki::{Pki, ServingNames};
use coracle_auth::tokens::{self, Ref, Tokens};
use coracle_clock::Clock;
use coracle_controllers::{LegacyToken, SigningOrder};
use coracle_store::{EtcdOptions, Store};
use futures::FutureExt;
use kube::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::data_dir::DataDir;
use crate::forks::{Forks, Stock};
use crate::kubeconfig;
use crate::node::{self, Node};
use crate::part::{Part, Peer};

/// The first address of the default service range: what `KUBERNETES_SERVICE_HOST` says.
const SERVICE_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const CLUSTER_DOMAIN: &str = "cluster.local";
/// The kubeconfig's context.
pub(crate) const CONTEXT: &str = "coracle";
/// The scheduler starts again after this, should its watches end.
const RESTART_DELAY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub data_dir: PathBuf,
    pub port: u16,
    pub kubeconfig: Option<PathBuf>,
    pub api_only: bool,
    pub store: Objects,
    /// Where the keys are that several servers of one cluster share.
    pub pki_dir: Option<PathBuf>,
    pub node_name: Option<String>,
    pub extend_tokens: bool,
    pub max_token_seconds: Option<i64>,
}

/// Where the objects are kept.
#[derive(Debug, Clone)]
pub(crate) enum Objects {
    /// In the data directory.
    Disk,
    /// Nowhere.
    Memory,
    /// In an etcd cluster, which other servers may use at the same time.
    Etcd(EtcdOptions),
}

/// A running cluster.
pub(crate) struct Cluster {
    pub kubeconfig: PathBuf,
    /// From the command to ready.
    pub start_time: Duration,
    address: SocketAddr,
    server: Server,
    store: Store,
    serving: Vec<JoinHandle<()>>,
    controllers: Part,
    scheduler: Part,
    forks: Arc<Forks>,
    node: Option<Node>,
    /// Held to the end, so that the next cluster finds a tidy directory.
    _lock: File,
}

pub(crate) async fn start(options: Options) -> anyhow::Result<Cluster> {
    let clock = Clock::system();
    // Before anything is made: a port in use leaves nothing behind.
    let listener = listen(options.port).await?;
    let address = listener.local_addr().context("cannot read the listener's address")?;
    let data_dir = DataDir::open(&options.data_dir)?;
    let lock = data_dir.lock()?;
    let store = open_store(&options, &data_dir, &clock).await?;
    let network = if options.api_only { None } else { Some(node::network(&data_dir, &clock).await?) };
    let gateway = network.as_ref().map(coracle_net::Network::gateway);
    let node_name = options.node_name.clone().unwrap_or_else(host_name);
    let pki = open_pki(&options, &data_dir, gateway, &node_name, &clock)?;

    let tokens = token_config(&options);
    let mut config = ServerConfig::new(store.clone(), pki.clone(), clock.clone());
    config.advertise = Some((gateway.unwrap_or_else(own_address), address.port()));
    config.tokens = tokens.clone();
    let path = options.kubeconfig.clone().unwrap_or_else(|| data_dir.kubeconfig());
    let stock = Stock { pki: pki.clone(), tokens: tokens.clone(), clock: clock.clone() };
    let forks = Forks::new(stock, &path);
    config.forks = Some(forks.clone());
    let server = Server::start(config).await.context("cannot start the API server")?;
    let mut serving = vec![serve(&server, listener)];
    if let Some(gateway) = gateway {
        let inside = SocketAddr::new(IpAddr::V4(gateway), address.port());
        let listener =
            TcpListener::bind(inside).await.with_context(|| format!("cannot listen on {inside}"))?;
        serving.push(serve(&server, listener));
    }

    kubeconfig::write(&path, &pki.kubeconfig(CONTEXT, &format!("https://{address}"), pki.admin()))?;
    let peer = matches!(options.store, Objects::Etcd(_))
        .then(|| Peer { identity: format!("{}_{}", host_name(), Uuid::new_v4()), clock: clock.clone() });
    let controllers = start_controllers(&server, &pki, tokens, &clock, Nodes::Live, peer.as_ref());
    let scheduler = start_scheduler(&server, &clock, peer.as_ref());
    server.tell_of("controller-manager", controllers.health());
    server.tell_of("scheduler", scheduler.health());
    let node = match network {
        Some(network) => {
            let parts = node::Parts {
                network,
                pki: &pki,
                clock: clock.clone(),
                name: node_name,
                data_dir: &data_dir,
            };
            Some(node::start(parts, |user, agent| client(&server, user, agent)).await?)
        }
        None => None,
    };
    let start_time = clock.elapsed();
    Ok(Cluster {
        kubeconfig: path,
        start_time,
        address,
        server,
        store,
        serving,
        controllers,
        scheduler,
        forks,
        node,
        _lock: lock,
    })
}

impl Cluster {
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The forks and the node first, while there is an API to speak to; the store last.
    pub(crate) async fn stop(self, keep_pods: bool) -> anyhow::Result<()> {
        self.forks.stop().await;
        self.scheduler.stop().await;
        let node = match self.node {
            Some(node) => node.stop(keep_pods).await,
            None => Ok(()),
        };
        self.controllers.stop().await;
        self.server.stop().await;
        for task in self.serving {
            let _ = task.await;
        }
        self.store.close().await;
        node
    }
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: is another cluster running? Choose another port with --port")
    })
}

async fn open_store(options: &Options, data_dir: &DataDir, clock: &Clock) -> anyhow::Result<Store> {
    let meta = coracle_apiserver::meta_of(&Catalog::builtin());
    Ok(match &options.store {
        Objects::Memory => Store::memory_with(meta, clock.clone()),
        Objects::Disk => Store::open_with(data_dir.store(), meta, clock.clone()).await?,
        Objects::Etcd(etcd) => Store::etcd(etcd, meta, clock.clone()).await?,
    })
}

fn token_config(options: &Options) -> tokens::Config {
    tokens::Config {
        extend: options.extend_tokens,
        max_expiration: options.max_token_seconds,
        ..tokens::Config::default()
    }
}

fn open_pki(
    options: &Options,
    data_dir: &DataDir,
    gateway: Option<Ipv4Addr>,
    node_name: &str,
    clock: &Clock,
) -> anyhow::Result<Arc<Pki>> {
    let addresses = [Some(SERVICE_IP), gateway].into_iter().flatten().map(IpAddr::V4).collect();
    let names =
        ServingNames { cluster_domain: CLUSTER_DOMAIN.into(), addresses, names: vec![node_name.to_owned()] };
    let pki = match (&options.pki_dir, &options.store) {
        (Some(shared), _) => Pki::open_shared(shared, &data_dir.pki(), &names, clock),
        (None, Objects::Memory) => Pki::memory(&names, clock),
        (None, _) => Pki::open(&data_dir.pki(), &names, clock),
    };
    Ok(Arc::new(pki?))
}

pub(crate) fn serve(server: &Server, listener: TcpListener) -> JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move {
        if let Err(error) = server.serve(listener).await {
            tracing::error!(%error, "the API server stopped serving");
        }
    })
}

/// A client of the server in this process, acting as `user` and called `agent`, which field ownership records.
fn client(server: &Server, user: User, agent: &'static str) -> Client {
    let named =
        tower::ServiceBuilder::new().map_request(move |mut request: http::Request<kube::client::Body>| {
            request.headers_mut().insert(http::header::USER_AGENT, http::HeaderValue::from_static(agent));
            request
        });
    Client::new(named.service(server.local(user)), "default")
}

/// A user by the name that the bootstrap policy binds: a service account or a component of the control plane.
fn component(name: &str) -> User {
    match name.strip_prefix(coracle_api::user::SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) => User::service_account(namespace, account),
        None => User {
            name: name.to_owned(),
            groups: vec![coracle_api::user::AUTHENTICATED.to_owned()],
            ..User::default()
        },
    }
}

/// What stands behind the Node objects of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    Live,
    /// Nothing: nobody reports for them, and nobody is to miss it.
    Records,
}

pub(crate) fn start_controllers(
    server: &Server,
    pki: &Arc<Pki>,
    tokens: tokens::Config,
    clock: &Clock,
    nodes: Nodes,
    peer: Option<&Peer>,
) -> Part {
    const AGENT: &str = "kube-controller-manager/v1.36.0";
    let issuer = Arc::new(Tokens::new(tokens, pki.token_keys(), clock.clone()));
    let (server, pki, clock) = (server.clone(), pki.clone(), clock.clone());
    let own = client(&server, component(coracle_controllers::MANAGER), AGENT);
    Part::start(peer, "kube-controller-manager", own, move || {
        let issuer = issuer.clone();
        let sign = move |token: LegacyToken| {
            let issuer = issuer.clone();
            async move {
                let account = Ref { name: token.account, uid: token.account_uid };
                let issued = issuer.issue_legacy(&token.namespace, &account, &token.secret).await;
                issued.map_err(|e| e.to_string())
            }
            .boxed()
        };
        let ca = pki.clone();
        let certify = move |order: SigningOrder| {
            ca.sign_request(&order.request, &order.usages, order.life).map_err(|e| e.to_string())
        };
        let config = coracle_controllers::Config {
            root_ca: pki.ca_pem().to_owned(),
            sign_legacy_token: Box::new(sign),
            sign_certificate: Box::new(certify),
            nodes_report: nodes == Nodes::Live,
        };
        let running =
            coracle_controllers::start(|user| client(&server, component(user), AGENT), &clock, config);
        async move {
            // They stop when they are dropped.
            let _running = running;
            std::future::pending().await
        }
    })
}

pub(crate) fn start_scheduler(server: &Server, clock: &Clock, peer: Option<&Peer>) -> Part {
    let own = client(server, component(coracle_scheduler::USER), "kube-scheduler/v1.36.0");
    let clock = clock.clone();
    Part::start(peer, "kube-scheduler", own.clone(), move || {
        let (client, clock) = (own.clone(), clock.clone());
        async move {
            loop {
                if let Err(error) = coracle_scheduler::run(client.clone(), clock.clone()).await {
                    tracing::warn!(%error, "the scheduler ended, starting again");
                }
                clock.sleep(RESTART_DELAY).await;
            }
        }
    })
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or_default();
    let name: String =
        name.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '.').collect();
    if name.is_empty() { "coracle".to_owned() } else { name }
}

/// The address that the control plane alone is announced at: the one by which this machine would leave, or loopback.
fn own_address() -> Ipv4Addr {
    // Connecting a datagram socket sends nothing; it only picks a route. 192.0.2.1 is nobody's (RFC 5737).
    let picked = std::net::UdpSocket::bind("0.0.0.0:0")
        .and_then(|s| s.connect("192.0.2.1:9").and_then(|()| s.local_addr()))
        .map(|a| a.ip());
    match picked {
        Ok(IpAddr::V4(ip)) if !ip.is_unspecified() => ip,
        _ => Ipv4Addr::LOCALHOST,
    }
}
