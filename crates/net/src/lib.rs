//! The network of a node: Pods on a bridge, Services in nftables, names by DNS.
//!
//! [`Network::start`] does what needs no API; [`Network::run`] follows Services and EndpointSlices; [`Network::stop`]
//! leaves the machine as it was.

#![forbid(unsafe_code)]

mod cidr;
pub mod dns;
mod follow;
mod network;
mod podnet;
pub mod proxy;

use std::net::Ipv4Addr;
use std::path::PathBuf;

pub use cidr::{Cidr, ParseCidrError};
pub use dns::host_resolvers;
pub use network::{Config, Network};
pub use podnet::PodAddress;
pub use podnet::leases::LeaseError;

/// By convention the API server has the first address of the Service range and DNS the tenth.
const DNS_OFFSET: u32 = 10;

/// The cluster IP of the DNS Service in a Service range.
pub fn dns_ip(service_cidr: Cidr) -> Ipv4Addr {
    service_cidr.nth(DNS_OFFSET).unwrap_or(service_cidr.addr())
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no range of addresses around {0} is free on this machine")]
    NoRange(Cidr),
    #[error("netlink: {0}")]
    Netlink(#[source] std::io::Error),
    #[error("{what}: {source}")]
    Link { what: String, source: rtnetlink::Error },
    #[error("{0} has vanished")]
    Vanished(String),
    #[error("network namespace {}: {source}", path.display())]
    Namespace { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Switch { path: PathBuf, source: std::io::Error },
    #[error("{0:?} is not a domain")]
    Domain(String),
    #[error("cannot listen for DNS: {0}")]
    Dns(#[source] std::io::Error),
    #[error(transparent)]
    Api(Box<kube::Error>),
    #[error("nftables: {0}")]
    Rules(String),
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Error {
    fn link(what: &'static str) -> impl Fn(rtnetlink::Error) -> Error {
        move |source| Error::Link { what: what.to_owned(), source }
    }
}
