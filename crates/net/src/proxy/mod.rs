//! Services: which ports lead to which endpoints (pure), and the nftables rules that say so to the kernel.

pub(crate) mod firewall;
pub(crate) mod nft;
mod plan;
mod ruleset;

#[cfg(test)]
pub(crate) use plan::tests as fixtures;
pub use plan::{Protocol, ServicePort, plan};
pub(crate) use plan::{SERVICE_NAME, cluster_ips, usable_addresses};
pub use ruleset::{Frame, ruleset};
