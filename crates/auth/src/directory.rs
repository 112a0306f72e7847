//! What this crate asks of the cluster's objects; the API server answers from its store.

use serde_json::Value;

/// Proof that an object exists, and which one of its name it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub uid: String,
    /// `metadata.deletionTimestamp` in unix seconds.
    pub deletion: Option<i64>,
}

/// Answers must be of the newest acknowledged state: revocation depends on them.
pub trait Directory: Send + Sync + 'static {
    /// The object's identity. `namespace` is empty for cluster-scoped resources; `resource` is the plural.
    fn find(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Found>;

    /// The whole object.
    fn object(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value>;

    /// The Pods with `spec.nodeName` equal to `node`, in one namespace or (empty) in all of them.
    fn pods_on(&self, node: &str, namespace: &str) -> Vec<Value>;

    fn service_account(&self, namespace: &str, name: &str) -> Option<Found> {
        self.find("", "serviceaccounts", namespace, name)
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Found> {
        self.find("", "pods", namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Found> {
        self.find("", "secrets", namespace, name)
    }

    fn node(&self, name: &str) -> Option<Found> {
        self.find("", "nodes", "", name)
    }
}
