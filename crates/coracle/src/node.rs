//! The node on this machine: network, runtime and kubelet, put together.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_trait::async_trait;
use coracle_api::User;
use coracle_auth::pki::Pki;
use coracle_clock::Clock;
use coracle_kubelet::Kubelet;
use coracle_net::Network;
use coracle_runtime::embedded::{self, Embedded};
use coracle_runtime::{Filter, PodAddress, PodNetwork, Runtime};
use kube::Client;
use tokio::task::JoinHandle;

use crate::data_dir::DataDir;

/// Where to look for a free /24 for this node's Pods, and the range of the Services: Kubernetes' usual ones.
const POD_CIDR: &str = "10.244.0.0/16";
const SERVICE_CIDR: &str = "10.96.0.0/12";
const CLUSTER_DOMAIN: &str = "cluster.local";
/// The reference kubelet's default.
const PODS_MAX: u32 = 110;
/// The identity of the network's own part, which reads Services and publishes the cluster's DNS.
const NETWORK_USER: &str = "system:kube-proxy";

/// What a node is made from.
pub(crate) struct Parts<'a> {
    pub network: Network,
    pub pki: &'a Arc<Pki>,
    pub clock: Clock,
    pub name: String,
    pub data_dir: &'a DataDir,
}

pub(crate) struct Node {
    kubelet: Kubelet,
    runtime: Embedded,
    network: Network,
    networking: JoinHandle<()>,
}

/// The part of the network that needs no API yet: a gateway for the API server to listen on.
pub(crate) async fn network(data_dir: &DataDir, clock: &Clock) -> anyhow::Result<Network> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "a node needs root for namespaces, mounts and interfaces: run with sudo, or without a node with --api-only"
        );
    }
    let config = coracle_net::Config {
        cluster_id: data_dir.cluster_id(),
        pod_cidr: POD_CIDR.parse()?,
        service_cidr: SERVICE_CIDR.parse()?,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        clock: clock.clone(),
        upstreams: coracle_net::host_resolvers(),
        state_dir: Some(data_dir.network()),
    };
    Network::begin(config).await.context("cannot make the Pod network")
}

pub(crate) async fn start(
    parts: Parts<'_>,
    client: impl Fn(User, &'static str) -> Client,
) -> anyhow::Result<Node> {
    let Parts { network, pki, clock, name, data_dir } = parts;
    let pods = Arc::new(Pods(network.clone()));
    let runtime = Embedded::new(runtime_config(data_dir, pods, &clock)?);
    let (opened, runtime) = tokio::join!(network.open(), runtime);
    opened.context("cannot make the Pod network")?;
    let runtime = runtime.context("cannot start the runtime")?;
    let running = runtime.list_sandboxes(&Filter::default()).await?;
    let ids: Vec<&str> = running.iter().map(|s| s.id.as_str()).collect();
    network.keep_only(&ids).await.context("cannot clean up the Pod network")?;
    let networking = {
        let (network, client) = (network.clone(), client(network_user(), "kube-proxy/v1.36.0"));
        tokio::spawn(async move {
            if let Err(error) = network.run(client, std::future::pending()).await {
                tracing::error!(%error, "Services and cluster DNS stopped");
            }
        })
    };
    let address = IpAddr::V4(network.gateway());
    let tls =
        pki.kubelet_server_config(&name, &[address]).context("cannot make the kubelet's certificate")?;
    let kubelet = Kubelet::start(coracle_kubelet::Config {
        client: client(User::node(&name), "kubelet/v1.36.0"),
        runtime: Arc::new(runtime.clone()),
        clock,
        node_ip: address,
        labels: std::collections::BTreeMap::new(),
        pod_cidr: Some(network.pod_cidr().to_string()),
        max_pods: PODS_MAX,
        root_dir: data_dir.kubelet(),
        log_dir: data_dir.logs(),
        resolv_conf: Path::new("/etc/resolv.conf").to_owned(),
        cluster_dns: vec![IpAddr::V4(network.dns_ip())],
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        mount_tmpfs: true,
        server: coracle_kubelet::ServerConfig {
            listen: SocketAddr::new(address, 0),
            tls,
            allowed_names: vec![coracle_auth::pki::KUBELET_CLIENT.to_owned()],
        },
        node_name: name,
    })
    .await
    .context("cannot start the kubelet")?;
    Ok(Node { kubelet, runtime, network, networking })
}

/// The network's parts act as kube-proxy does, and as the DNS add-on's installer.
fn network_user() -> User {
    User {
        name: NETWORK_USER.to_owned(),
        groups: vec![coracle_api::user::MASTERS.to_owned(), coracle_api::user::AUTHENTICATED.to_owned()],
        ..User::default()
    }
}

impl Node {
    /// Leave nothing behind; with `keep_pods`, leave Pods and their network as they are.
    pub(crate) async fn stop(self, keep_pods: bool) -> anyhow::Result<()> {
        if keep_pods {
            self.kubelet.stop().await;
            self.networking.abort();
            return Ok(());
        }
        self.kubelet.drain_and_remove_all().await;
        self.networking.abort();
        let removed = self.runtime.remove_all().await.context("cannot remove every Pod");
        self.network.stop().await.context("cannot remove the Pod network")?;
        removed
    }
}

/// The images of a data directory, with or without a cluster that runs on it.
pub(crate) async fn images(data_dir: &DataDir, clock: &Clock) -> anyhow::Result<Embedded> {
    let mut config = runtime_config(data_dir, Arc::new(coracle_runtime::NoNetwork), clock)?;
    // No sandboxes are looked for here: those are the running cluster's.
    config.state_dir = data_dir.runtime().join("no-sandboxes");
    Embedded::new(config).await.context("cannot open the image store")
}

fn runtime_config(
    data_dir: &DataDir,
    network: Arc<dyn PodNetwork>,
    clock: &Clock,
) -> anyhow::Result<embedded::Config> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(embedded::Config {
        state_dir: data_dir.runtime().join("sandboxes"),
        root_dir: data_dir.images(),
        shim: vec![program.into_os_string(), OsString::from("shim")],
        network,
        clock: clock.clone(),
        cgroup_parent: format!("coracle-{}", data_dir.cluster_id()),
        host_image: true,
        plain_http_loopback: true,
        limits: embedded::Limits::default(),
    })
}

/// The Pod network as the runtime knows it.
#[derive(Debug)]
struct Pods(Network);

#[async_trait]
impl PodNetwork for Pods {
    async fn attach(&self, sandbox_id: &str, netns: &Path) -> Result<PodAddress, String> {
        let attached = self.0.attach(sandbox_id, netns).await.map_err(|e| e.to_string())?;
        Ok(PodAddress { ips: vec![IpAddr::V4(attached.ip)] })
    }

    async fn detach(&self, sandbox_id: &str) -> Result<(), String> {
        self.0.detach(sandbox_id).await.map_err(|e| e.to_string())
    }
}
