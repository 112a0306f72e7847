//! The API server as a value: what it is made of, how it starts, serves and stops.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use coracle_api::catalog::Catalog;
use coracle_api::schema::Schemas;
use coracle_api::{Kind, Status, User};
use coracle_auth::authn::Authenticator;
use coracle_auth::pki::Pki;
use coracle_auth::tokens::{self, Tokens};
use coracle_auth::{Authorizer, Policy};
use coracle_clock::Clock;
use coracle_store::{Budget, Store, Version};
use futures::future::BoxFuture;
use http::Request;
use http_body::Body as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::addresses::{self, Addresses};
use crate::admission::dynamic::{self, Hooks};
use crate::admission::resource_quota::Turns;
use crate::body::{self, BoxError};
use crate::component_statuses::Components;
use crate::control::{Kept, forks::Forks};
use crate::crd::{self, Definitions};
use crate::metrics::Metrics;
use crate::pipeline::{self, Caller};
use crate::respond::Answer;
use crate::{
    api_services, bootstrap, directory, expiry, kubernetes_service, peers, registry, serving, webhook,
};

/// What a server is made of.
#[derive(Debug)]
pub struct Config {
    pub store: Store,
    pub pki: Arc<Pki>,
    pub clock: Clock,
    /// Where Pods reach this server, for the Endpoints of the Service `kubernetes`. `None` keeps no endpoints.
    pub advertise: Option<(Ipv4Addr, u16)>,
    pub service_cidr: Cidr,
    pub cluster_domain: String,
    pub tokens: tokens::Config,
    /// Whether who shows no credential is `system:anonymous` and not refused.
    pub anonymous: bool,
    /// The reference's 32 768 addresses' worth of ports that NodePort Services get.
    pub node_ports: std::ops::RangeInclusive<u16>,
    /// How long a watcher's connection may take nothing that is to be sent before it is cut.
    pub stalled_watch: Duration,
    /// Who makes forks of this server's cluster; `None` where none can be made.
    pub forks: Option<Arc<dyn Forks>>,
}

/// What the server of a fork has of its own.
#[derive(Debug)]
pub struct ForkConfig {
    pub address: (Ipv4Addr, u16),
    pub forks: Arc<dyn Forks>,
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub base: Ipv4Addr,
    pub bits: u8,
}

impl Config {
    /// A server with the reference's defaults over `store`.
    pub fn new(store: Store, pki: Arc<Pki>, clock: Clock) -> Config {
        Config {
            store,
            pki,
            clock,
            advertise: None,
            service_cidr: Cidr { base: Ipv4Addr::new(10, 96, 0, 0), bits: 12 },
            cluster_domain: "cluster.local".into(),
            tokens: tokens::Config::default(),
            anonymous: true,
            node_ports: 30000..=32767,
            // For so long every event is kept; who is behind further may have to list anew anyway.
            stalled_watch: coracle_store::HISTORY_FRESH,
            forks: None,
        }
    }
}

/// Everything that a request may need.
pub(crate) struct Core {
    pub store: Store,
    /// What is served beside the built-in kinds.
    pub definitions: Arc<Definitions>,
    pub schemas: Schemas,
    pub clock: Clock,
    pub pki: Arc<Pki>,
    pub tokens: Arc<Tokens>,
    pub authenticator: Authenticator,
    pub authorizer: Authorizer,
    directory: Arc<directory::Stored>,
    pub addresses: Addresses,
    pub quota_turns: Turns,
    pub components: Components,
    pub hooks: Arc<Hooks>,
    pub webhooks: webhook::Clients,
    /// How this server proves itself to kubelets; made when the first is called.
    pub kubelet_tls: OnceLock<Arc<rustls::ClientConfig>>,
    pub metrics: Metrics,
    /// What forms of stored objects may take in memory beside their JSON.
    pub forms: Arc<Budget>,
    pub stalled_watch: Duration,
    pub advertise: Option<(Ipv4Addr, u16)>,
    pub forks: Option<Arc<dyn Forks>>,
    /// Snapshots in memory that clients gave names to.
    pub kept: Kept,
    /// A fork has no nodes: nothing runs in its Pods.
    pub is_fork: bool,
    pub stopping: CancellationToken,
    pub ready: AtomicBool,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn catalog(&self) -> Catalog {
        self.definitions.catalog()
    }

    pub(crate) fn has_started(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// A built-in kind that this code itself depends on.
    pub(crate) fn builtin(&self, group: &str, plural: &str) -> Result<Arc<Kind>, Status> {
        let found = self.catalog().find_any_version(group, plural);
        found.ok_or_else(|| Status::internal(format!("the resource {plural} is not served")))
    }

    pub(crate) fn stored(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Version>> {
        let kind = self.builtin(group, plural).ok()?;
        self.store.snapshot().get(&registry::key(&kind, namespace, name))
    }

    pub(crate) fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let version = self.stored(group, plural, namespace, name)?;
        coracle_api::codec::json::reread(&version.json).ok()
    }

    /// The objects of a built-in kind in a namespace; "" is all of them.
    pub(crate) fn objects(&self, group: &str, plural: &str, namespace: &str) -> Result<Vec<Value>, Status> {
        let prefix = registry::prefix(&*self.builtin(group, plural)?, namespace);
        let state = self.store.snapshot();
        Ok(state.range(&prefix, None).filter_map(|v| serde_json::from_slice(&v.json).ok()).collect())
    }
}

/// A running API server. Clones share it.
#[derive(Clone, Debug)]
pub struct Server(Arc<Core>);

impl Server {
    /// Bring up the index of policies, the bootstrap objects and the `kubernetes` Service; then the server is ready.
    pub async fn start(config: Config) -> Result<Server, Status> {
        let catalog = Catalog::builtin();
        config.store.keep_terms();
        let policy = Arc::new(Policy::new());
        let directory = Arc::new(directory::Stored::new(config.store.clone(), &catalog));
        for (prefix, observer) in directory::policy_observers(&catalog, &policy) {
            config.store.observe(&prefix, observer);
        }
        let addresses = Addresses::new(config.service_cidr, config.node_ports.clone());
        config.store.observe(addresses::PREFIX, addresses.observer());
        let hooks = Arc::new(Hooks::default());
        for (prefix, observer) in dynamic::observers(&catalog, &hooks) {
            config.store.observe(&prefix, observer);
        }
        let (definitions, changed) = Definitions::new();
        config.store.observe(crd::PREFIX, definitions.observer());
        let tokens = Arc::new(Tokens::new(config.tokens, config.pki.token_keys(), config.clock.clone()));
        let core = Core {
            authenticator: Authenticator::new(
                &config.pki,
                tokens.clone(),
                directory.clone(),
                config.clock.clone(),
                config.anonymous,
            )
            .map_err(|e| Status::internal(e.to_string()))?,
            authorizer: Authorizer::new(policy, directory.clone()),
            directory,
            definitions,
            schemas: Schemas::builtin(),
            store: config.store,
            clock: config.clock,
            pki: config.pki,
            tokens,
            addresses,
            quota_turns: Turns::default(),
            components: Components::default(),
            hooks,
            webhooks: webhook::Clients::default(),
            kubelet_tls: OnceLock::new(),
            metrics: Metrics::default(),
            forms: Budget::new(registry::forms::KEPT_BYTES),
            stalled_watch: config.stalled_watch,
            advertise: config.advertise,
            forks: config.forks,
            kept: Kept::default(),
            is_fork: false,
            stopping: CancellationToken::new(),
            ready: AtomicBool::new(false),
        };
        let core = Arc::new(core);
        bootstrap::run(&core).await?;
        kubernetes_service::keep(&core).await?;
        addresses::repair::run(&core).await?;
        if core.store.is_shared() {
            peers::start(&core);
        }
        addresses::repair::start(&core);
        api_services::start(&core);
        expiry::start(&core);
        crd::start(&core, changed);
        core.ready.store(true, Ordering::Release);
        Ok(Server(core))
    }

    /// A second server over the state of this moment, as if it had been started on it: who may do what here may do the
    /// same there, and what is written to one is not seen by the other. Costs the same whatever the cluster holds.
    pub fn fork(&self, config: ForkConfig) -> Server {
        let core = &self.0;
        let (state, policy, addresses, hooks, definitions) = core.store.hold(|state| {
            let policy = Arc::new(core.authorizer.policy().fork());
            let hooks = Arc::new(core.hooks.fork());
            (state, policy, core.addresses.fork(), hooks, core.definitions.fork())
        });
        let (definitions, changed) = definitions;
        let store = Store::fork(&state, core.clock.clone());
        for (prefix, observer) in directory::policy_observers(&core.catalog(), &policy) {
            store.follow(&prefix, observer);
        }
        for (prefix, observer) in dynamic::observers(&core.catalog(), &hooks) {
            store.follow(&prefix, observer);
        }
        store.follow(addresses::PREFIX, addresses.observer());
        store.follow(crd::PREFIX, definitions.observer());
        let directory = Arc::new(core.directory.over(store.clone()));
        let fork = Arc::new(Core {
            authenticator: core.authenticator.with_directory(directory.clone()),
            authorizer: core.authorizer.with(policy, directory.clone()),
            directory,
            definitions,
            schemas: core.schemas.clone(),
            store,
            clock: core.clock.clone(),
            pki: core.pki.clone(),
            tokens: core.tokens.clone(),
            addresses,
            quota_turns: Turns::default(),
            components: Components::default(),
            hooks,
            webhooks: webhook::Clients::default(),
            kubelet_tls: OnceLock::new(),
            metrics: Metrics::default(),
            // The two share versions, and so what has been made of them.
            forms: core.forms.clone(),
            stalled_watch: core.stalled_watch,
            advertise: Some(config.address),
            forks: Some(config.forks),
            kept: Kept::default(),
            is_fork: true,
            stopping: CancellationToken::new(),
            ready: AtomicBool::new(true),
        });
        crd::start(&fork, changed);
        Server(fork)
    }

    /// Answer on `listener`, with TLS, until the server stops.
    pub async fn serve(&self, listener: TcpListener) -> Result<(), coracle_auth::pki::Error> {
        let tls = self.0.pki.server_config()?;
        serving::serve(self.0.clone(), listener, tls, self.0.stopping.clone()).await;
        Ok(())
    }

    /// The server for a part of this process that acts as `user`: the same pipeline without TLS and authentication.
    pub fn local(&self, user: User) -> Local {
        Local { core: self.0.clone(), caller: Arc::new(Caller::Local(Arc::new(user))) }
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Have ComponentStatuses tell of a part of the control plane by asking `probe`.
    pub fn tell_of(
        &self,
        component: &'static str,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.components.set(component, Arc::new(probe));
    }

    /// End watches and listeners, and take this server's address out of the Service `kubernetes`.
    pub async fn stop(&self) {
        self.0.ready.store(false, Ordering::Release);
        if !self.0.is_fork {
            kubernetes_service::withdraw(&self.0).await;
        }
        self.0.stopping.cancel();
    }
}

impl From<Arc<Core>> for Server {
    fn from(core: Arc<Core>) -> Server {
        Server(core)
    }
}

/// After an answer as long as this the others come first: who reads a large cluster page by page, and never waits for
/// a network, would keep a thread for half a second. Reading 64 KiB takes some 100 µs.
const LONG_BYTES: u64 = 64 << 10;

/// See [`Server::local`]. A service for `kube::Client::new`.
#[derive(Clone, Debug)]
pub struct Local {
    core: Arc<Core>,
    caller: Arc<Caller>,
}

impl<B> tower::Service<Request<B>> for Local
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Answer, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (core, caller) = (self.core.clone(), self.caller.clone());
        let request = request.map(body::incoming);
        Box::pin(async move {
            let answer = pipeline::answer(core, request, caller).await;
            if answer.body().size_hint().lower() > LONG_BYTES {
                tokio::task::yield_now().await;
            }
            Ok(answer)
        })
    }
}
