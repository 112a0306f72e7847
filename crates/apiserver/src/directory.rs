//! The cluster's objects as `auth` asks for them, and the policy that follows them.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_api::catalog::Catalog;
use coracle_auth::{Directory, Found, Policy, rbac};
use coracle_store::{Event, Observer, Store, Term, Version};
use serde_json::Value;

/// Answers from the store's present: what was acknowledged is seen.
pub(crate) struct Stored {
    store: Store,
    /// Storage names by (group, plural).
    storage: Arc<HashMap<(String, String), String>>,
}

impl Stored {
    pub(crate) fn new(store: Store, catalog: &Catalog) -> Stored {
        let storage = catalog
            .kinds()
            .map(|k| ((k.group.to_string(), k.plural.to_string()), k.storage.to_string()))
            .collect();
        Stored { store, storage: Arc::new(storage) }
    }

    /// The same kinds in another store.
    pub(crate) fn over(&self, store: Store) -> Stored {
        Stored { store, storage: self.storage.clone() }
    }

    fn version(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Version>> {
        let storage = self.storage.get(&(group.to_owned(), resource.to_owned()))?;
        let key = if namespace.is_empty() {
            format!("/registry/{storage}/{name}")
        } else {
            format!("/registry/{storage}/{namespace}/{name}")
        };
        self.store.snapshot().get(&key)
    }
}

impl Directory for Stored {
    fn find(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Found> {
        let version = self.version(group, resource, namespace, name)?;
        Some(Found { uid: version.meta.uid.clone(), deletion: version.meta.deletion_timestamp })
    }

    fn object(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        serde_json::from_slice(&self.version(group, resource, namespace, name)?.json).ok()
    }

    fn pods_on(&self, node: &str, namespace: &str) -> Vec<Value> {
        let prefix = if namespace.is_empty() {
            "/registry/pods/".to_owned()
        } else {
            format!("/registry/pods/{namespace}/")
        };
        let state = self.store.snapshot();
        let found = state.find(&[Term::Field("spec.nodeName", node)], &prefix, None);
        found
            .unwrap_or_else(|| state.range(&prefix, None).collect())
            .into_iter()
            .filter(|v| v.meta.field("spec.nodeName") == Some(node))
            .filter_map(|v| serde_json::from_slice(&v.json).ok())
            .collect()
    }
}

/// What has `policy` follow the roles and bindings in a store, each with its prefix: a grant is in force before its write
/// is acknowledged.
pub(crate) fn policy_observers(catalog: &Catalog, policy: &Arc<Policy>) -> Vec<(String, Observer)> {
    let kinds = catalog.kinds().filter(|k| k.group == rbac::GROUP);
    let observers = kinds.map(|kind| {
        let (policy, plural) = (policy.clone(), kind.plural.clone());
        let prefix = format!("/registry/{}/", kind.storage);
        let inside = prefix.clone();
        let apply = move |event: &Event| {
            let place = event.key.strip_prefix(&*inside).unwrap_or_default();
            let (namespace, name) = place.rsplit_once('/').unwrap_or(("", place));
            let now = event.now.as_ref().and_then(|v| serde_json::from_slice::<Value>(&v.json).ok());
            policy.apply(&plural, namespace, name, now.as_ref());
        };
        (prefix, Box::new(apply) as Observer)
    });
    observers.collect()
}
