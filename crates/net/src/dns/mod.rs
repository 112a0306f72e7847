//! Cluster DNS, by the Kubernetes DNS specification 1.1.0: Services and Pods from the API, all else from upstream.

mod answer;
mod records;
mod server;
pub(crate) mod service;
mod upstream;

pub use answer::{Reply, answer};
pub use records::{Records, Zone};
pub(crate) use server::Server;
pub use upstream::host_resolvers;
pub(crate) use upstream::upstream;
