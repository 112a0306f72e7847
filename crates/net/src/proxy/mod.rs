//! Services: which ports lead to which endpoints (pure), and the nftables rules that say so to the kernel.

pub(crate) mod nft;
mod plan;
mod ruleset;

pub use plan::{Protocol, ServicePort, plan};
pub use ruleset::{Frame, ruleset};
