//! Starts and stops the node agent.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_clock::Clock;
use coracle_runtime::{ContainerState, Filter, Runtime};
use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::node::{Identity, Registration, machine, resources};
use crate::objects::ApiObjects;
use crate::pod::dns;
use crate::pods::Pods;
use crate::recorder::Recorder;
use crate::server::Server;
use crate::shared::{PODS, Shared};
use crate::volumes::{Memory, Tokens};

/// Containers have this long to stop by themselves when everything is removed at once.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Pods wait at most this long for the first list of Services, which their environment names.
const SERVICES_WAIT: Duration = Duration::from_secs(5);

/// The kubelet's own HTTPS server.
#[derive(Clone)]
pub struct ServerConfig {
    /// Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Must ask for a client certificate and verify it.
    pub tls: Arc<rustls::ServerConfig>,
    /// Common names of client certificates that are let in.
    pub allowed_names: Vec<String>,
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub struct Config {
    /// Acts as `system:node:NAME`, group `system:nodes`.
    pub client: kube::Client,
    pub runtime: Arc<dyn Runtime>,
    pub clock: Clock,
    pub node_name: String,
    /// The address at which the API server and other nodes reach this node.
    pub node_ip: IpAddr,
    /// Added to the labels that every node has.
    pub labels: BTreeMap<String, String>,
    /// The addresses that Pods of this node get, when the kubelet is to write them into the Node.
    pub pod_cidr: Option<String>,
    pub max_pods: u32,
    /// Volumes and other files of Pods.
    pub root_dir: PathBuf,
    /// Container logs, as `NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log`.
    pub log_dir: PathBuf,
    /// The node's resolver configuration.
    pub resolv_conf: PathBuf,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// Whether volumes in memory are tmpfs mounts (which need privileges) or plain directories.
    pub mount_tmpfs: bool,
    pub server: ServerConfig,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("node_name", &self.node_name).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    #[error("cannot make {0}: {1}")]
    Directory(PathBuf, std::io::Error),
}

/// A running node agent.
#[derive(Debug)]
pub struct Kubelet {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Ends the workers of the Pods and everything else.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Kubelet {
    /// Binds the server, registers the node as ready and begins to live its Pods. Returns once the node is registered.
    pub async fn start(config: Config) -> Result<Kubelet, StartError> {
        for dir in [&config.root_dir.join(PODS), &config.log_dir] {
            std::fs::create_dir_all(dir).map_err(|error| StartError::Directory(dir.clone(), error))?;
        }
        let listen = config.server.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Listen(listen, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let machine = machine::machine(&config.root_dir);
        let (recorder, events) =
            Recorder::new(config.client.clone(), config.node_name.clone(), config.clock.clone());
        until(&tasks, &stop, events);
        let writer = Writer::default();
        let services = writer.as_reader();
        until(&tasks, &stop, follow_services(config.client.clone(), writer));
        let identity = Identity {
            machine,
            labels: config.labels.clone(),
            pod_cidr: config.pod_cidr.clone(),
            max_pods: config.max_pods,
            port: address.port(),
        };
        let server = config.server.clone();
        let shared = Arc::new(share(config, recorder, services, &identity));
        until(&tasks, &stop, Server::new(Arc::clone(&shared), server).serve(listener, stop.clone()));
        let mut registration = Registration::new(Arc::clone(&shared), identity);
        registration.register().await;
        until(&tasks, &stop, registration.keep_alive());
        let pods = Pods::new(Arc::clone(&shared), tasks.clone(), stop.clone());
        let waiting = Arc::clone(&shared);
        until(&tasks, &stop, async move {
            // Without Services containers still start, only with fewer variables.
            let _ = waiting.clock.timeout(SERVICES_WAIT, waiting.services.wait_until_ready()).await;
            pods.run().await;
        });
        Ok(Kubelet { shared, address, stop, tasks })
    }

    /// Where the HTTPS server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the agent and leaves the Pods running.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends the agent and removes every Pod from the node, so that nothing is left behind. The API is not told.
    pub async fn drain_and_remove_all(&self) {
        self.stop().await;
        let runtime = &self.shared.runtime;
        let containers = runtime.list_containers(&Filter::default()).await.unwrap_or_default();
        let running = containers.iter().filter(|it| it.state == ContainerState::Running);
        let stopped = join_all(running.map(|it| runtime.stop_container(&it.id, DRAIN_GRACE))).await;
        let sandboxes = runtime.list_sandboxes(&Filter::default()).await.unwrap_or_default();
        let removed = join_all(sandboxes.iter().map(|it| runtime.remove_sandbox(&it.id))).await;
        for error in stopped.into_iter().chain(removed).filter_map(Result::err) {
            tracing::warn!(%error, "cannot remove a Pod");
        }
        for entry in std::fs::read_dir(self.shared.root_dir.join(PODS)).into_iter().flatten().flatten() {
            self.shared.clean_up_directory(&entry.file_name().to_string_lossy());
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn until(tasks: &TaskTracker, stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! { () = work => {} () = stop.cancelled() => {} }
    });
}

async fn follow_services(client: kube::Client, writer: Writer<Service>) {
    let stream = watcher(Api::<Service>::all(client), watcher::Config::default()).default_backoff();
    let mut stream = pin!(reflector::reflector(writer, stream));
    while let Some(event) = stream.next().await {
        if let Err(error) = event {
            tracing::warn!(%error, "cannot watch Services");
        }
    }
}

fn share(
    config: Config,
    recorder: Recorder,
    services: reflector::Store<Service>,
    identity: &Identity,
) -> Shared {
    let allocatable: BTreeMap<String, Quantity> =
        serde_json::from_value(resources(&identity.machine, identity.max_pods)).unwrap_or_default();
    Shared {
        objects: Arc::new(ApiObjects::new(config.client.clone())),
        client: config.client,
        runtime: config.runtime,
        clock: config.clock,
        node_name: config.node_name,
        host_ip: config.node_ip.to_string(),
        root_dir: config.root_dir,
        log_dir: config.log_dir,
        resolv_conf: config.resolv_conf,
        cluster: dns::Cluster {
            servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
            domain: config.cluster_domain,
        },
        tokens: Tokens::default(),
        recorder,
        services,
        memory: if config.mount_tmpfs { Memory::Mounted } else { Memory::Disk },
        allocatable,
        memory_bytes: identity.machine.memory_bytes,
        pods: Mutex::new(HashMap::new()),
    }
}
