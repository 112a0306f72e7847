//! The roles and bindings that every cluster starts with, and how they are kept up to date.
//!
//! `policy.txt` holds the facts; its head says how to read them.

mod policy;
mod reconcile;

pub(crate) use policy::node_rules;
pub use policy::{Subject, objects};
pub use reconcile::{Reconciled, reconcile};

/// Users and service accounts that parts of the program act as; `policy.txt` gives each its rights.
pub mod users {
    pub const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
    pub const SCHEDULER: &str = "system:kube-scheduler";
    pub const PROXY: &str = "system:kube-proxy";

    /// The service account of a controller, such as `replicaset-controller`.
    pub fn controller(name: &str) -> String {
        format!("system:serviceaccount:kube-system:{name}")
    }
}

#[cfg(test)]
mod tests;
