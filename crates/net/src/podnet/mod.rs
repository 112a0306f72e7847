//! The Pods' network on this node: a veth pair and a host route for each Pod, one gateway address for all of them,
//! addresses that survive a restart of the agent.
//!
//! The gateway address sits on a bridge without ports. Pods are not plugged into it: on a machine with `br_netfilter`
//! (Docker loads it) bridged packets pass NAT at the wrong layer, and routed ones behave the same everywhere.

pub(crate) mod bridge;
pub(crate) mod forwarding;
pub(crate) mod leases;
pub(crate) mod links;
pub(crate) mod names;
pub(crate) mod pod;

use std::net::Ipv4Addr;

/// Where a Pod is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    pub ip: Ipv4Addr,
    pub gateway: Ipv4Addr,
    /// Length of the prefix on the Pod's interface: 32, since even its neighbours are behind the gateway.
    pub prefix: u8,
}
