//! The network of one cluster on this node, from its start to its end without a trace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_clock::Clock;

use crate::Error;
use crate::cidr::Cidr;
use crate::podnet::leases::Leases;
use crate::podnet::links::{Link, Links};
use crate::podnet::names::Names;
use crate::podnet::{PodAddress, bridge, forwarding, pod};
use crate::proxy::{Frame, ServicePort, firewall, nft, ruleset};

#[derive(Clone, Debug)]
pub struct Config {
    /// Distinguishes the clusters of one machine in the names of interfaces and tables; up to six lower-case letters
    /// and digits are shown as they are.
    pub cluster_id: String,
    /// Where to look first for a free range for this node's Pods.
    pub pod_cidr: Cidr,
    pub service_cidr: Cidr,
    /// Like `cluster.local`.
    pub cluster_domain: String,
    pub clock: Clock,
    /// Name servers for everything outside of the cluster; [`crate::host_resolvers`] gives the machine's.
    pub upstreams: Vec<SocketAddr>,
    /// Where addresses in use are remembered across a restart of the agent; `None` forgets them.
    pub state_dir: Option<PathBuf>,
}

/// A handle; clones share one network. Dropping it leaves everything in place, for Pods to run on and a later
/// [`Network::start`] to take over; [`Network::stop`] removes it.
#[derive(Clone, Debug)]
pub struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    names: Names,
    links: Links,
    leases: Mutex<Leases>,
    gateway: Ipv4Addr,
    pods: Cidr,
    mtu: u32,
}

impl Network {
    /// Make, or take over from an earlier run, what Pods need before there is an API: bridge, gateway address,
    /// forwarding, masquerading. Needs root.
    pub async fn start(config: Config) -> Result<Network, Error> {
        let network = Network::begin(config).await?;
        network.open().await.map(|()| network)
    }

    /// The part of [`Network::start`] that an API server waits for: bridge and gateway address. [`Network::open`] is
    /// to follow before there are Pods.
    pub async fn begin(config: Config) -> Result<Network, Error> {
        let names = Names::new(&config.cluster_id);
        let links = Links::open()?;
        let leases = bridge::establish(&links, &names, &config).await?;
        let mtu = uplink_mtu(&links).await?;
        let (gateway, pods) = (leases.gateway(), leases.range());
        let leases = Mutex::new(leases);
        Ok(Network(Arc::new(Inner { config, names, links, leases, gateway, pods, mtu })))
    }

    /// Let Pods' packets through this machine: masquerading, and rules for a firewall that is closed to forwarding.
    pub async fn open(&self) -> Result<(), Error> {
        let frame = self.frame();
        let (programmed, opened) = tokio::join!(self.program(&[]), firewall::open(&frame));
        programmed.and(opened)
    }

    pub fn gateway(&self) -> Ipv4Addr {
        self.0.gateway
    }

    /// The range of this node's Pods.
    pub fn pod_cidr(&self) -> Cidr {
        self.0.pods
    }

    /// The cluster IP of the DNS Service: the tenth of the range.
    pub fn dns_ip(&self) -> Ipv4Addr {
        crate::dns_ip(self.0.config.service_cidr)
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame {
            table: self.0.names.table(),
            bridge: self.0.names.bridge(),
            from_pods: self.0.names.veth_prefix() + "*",
            gateway: self.0.gateway,
            pods: self.0.pods,
            services: self.0.config.service_cidr,
        }
    }

    /// Lead connections to the ports' endpoints, and to nothing that was led to before.
    pub async fn program(&self, ports: &[ServicePort]) -> Result<(), Error> {
        nft::apply(&ruleset(&self.frame(), ports)).await
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connect the network namespace at `netns` as the sandbox's. A second time starts over with the same address.
    pub async fn attach(&self, sandbox: &str, netns: &Path) -> Result<PodAddress, Error> {
        let ip = self.leases().take(sandbox)?;
        let attached = self.connect(sandbox, netns, ip).await;
        if attached.is_err() {
            // The first error is the one to tell.
            let _ = self.detach(sandbox).await;
        }
        attached
    }

    async fn connect(&self, sandbox: &str, netns: &Path, ip: Ipv4Addr) -> Result<PodAddress, Error> {
        let links = &self.0.links;
        let veth = self.0.names.veth(sandbox);
        if let Some(stale) = links.find(&veth).await? {
            links.delete(stale.index).await?;
        }
        let namespace = pod::open(netns)?;
        let link = links.add_veth(&veth, pod::INTERFACE, namespace.as_fd(), self.0.mtu).await?;
        links.set_alias(link.index, &format!("{SANDBOX_ALIAS}{sandbox}")).await?;
        links.up(link.index).await?;
        links.add_host_route(ip, link.index, self.0.gateway).await?;
        forwarding::allow(&veth)?;
        let address = PodAddress { ip, gateway: self.0.gateway, prefix: 32 };
        pod::configure(netns, address, link.mac).await?;
        Ok(address)
    }

    /// Disconnect the sandbox and free its address; no error if it is not connected.
    pub async fn detach(&self, sandbox: &str) -> Result<(), Error> {
        if let Some(veth) = self.0.links.find(&self.0.names.veth(sandbox)).await? {
            self.0.links.delete(veth.index).await?;
        }
        Ok(self.leases().release(sandbox)?)
    }

    /// Note that a sandbox of an earlier run goes on with `ip`.
    pub fn adopt(&self, sandbox: &str, ip: IpAddr) -> Result<(), Error> {
        match ip {
            IpAddr::V4(ip) => Ok(self.leases().adopt(sandbox, ip)?),
            IpAddr::V6(_) => Err(Error::NoRange(self.0.pods)),
        }
    }

    /// Disconnect every sandbox that is not among `running` and free its address.
    pub async fn keep_only(&self, running: &[&str]) -> Result<(), Error> {
        let gone: Vec<_> =
            self.leases().sandboxes().filter(|s| !running.contains(s)).map(str::to_owned).collect();
        for sandbox in gone {
            self.detach(&sandbox).await?;
        }
        sweep_veths(&self.0.links, &self.0.names, running).await
    }

    /// Follow what the machine's network and firewall have become since.
    pub async fn refresh(&self) -> Result<(), Error> {
        firewall::open(&self.frame()).await?;
        bridge::refresh(&self.0.links, &self.0.names, &self.0.config.clock).await
    }

    /// Remove every interface, rule and setting that this network made.
    pub async fn stop(&self) -> Result<(), Error> {
        let Inner { config, names, links, .. } = &*self.0;
        let removed = [
            sweep_veths(links, names, &[]).await,
            bridge::remove(links, names, &config.clock).await,
            nft::remove(&names.table()).await,
            firewall::close(&names.table()).await,
            self.forget(),
        ];
        removed.into_iter().collect()
    }

    fn forget(&self) -> Result<(), Error> {
        let Some(dir) = &self.0.config.state_dir else { return Ok(()) };
        let path = dir.join(bridge::LEASES);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Switch { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Remove what a killed run of the cluster left, except what the sandboxes in `running` still use.
    pub async fn sweep(cluster_id: &str, running: &[&str], clock: &Clock) -> Result<(), Error> {
        let names = Names::new(cluster_id);
        let links = Links::open()?;
        sweep_veths(&links, &names, running).await?;
        if running.is_empty() {
            bridge::remove(&links, &names, clock).await?;
            nft::remove(&names.table()).await?;
            firewall::close(&names.table()).await?;
        }
        Ok(())
    }
}

/// What introduces the sandbox in the alias of a Pod's interface.
const SANDBOX_ALIAS: &str = "coracle sandbox ";

async fn sweep_veths(links: &Links, names: &Names, running: &[&str]) -> Result<(), Error> {
    let kept: Vec<_> = running.iter().map(|sandbox| names.veth(sandbox)).collect();
    let ours =
        |link: &Link| link.name.starts_with(&names.veth_prefix()) && link.alias.starts_with(SANDBOX_ALIAS);
    for link in links.list().await?.into_iter().filter(|link| ours(link) && !kept.contains(&link.name)) {
        links.delete(link.index).await?;
    }
    Ok(())
}

/// The smallest MTU on the way out; packets of Pods must fit it.
async fn uplink_mtu(links: &Links) -> Result<u32, Error> {
    let all = links.list().await?;
    let defaults = links.routes().await?.into_iter().filter(|(to, _)| to.prefix_len() == 0);
    let mtus = defaults.filter_map(|(_, index)| all.iter().find(|l| Some(l.index) == index)).map(|l| l.mtu);
    Ok(mtus.min().unwrap_or(ETHERNET_MTU))
}

/// Where nothing says otherwise.
const ETHERNET_MTU: u32 = 1500;
