//! The rules of networking.k8s.io.

pub mod addresses;
pub mod ingress;
pub mod network_policy;
