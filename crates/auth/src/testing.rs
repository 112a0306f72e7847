//! A cluster's objects as a plain list: what tests of this crate ask instead of an API server.

use std::sync::{Arc, LazyLock, Mutex};

use coracle_api::object::{self, text};
use serde_json::{Value, json};

use crate::authorizer::Authorizer;
use crate::directory::{Directory, Found};
use crate::rbac::Policy;

type Key = (String, String, String);

#[derive(Default, Clone)]
pub(crate) struct Objects {
    objects: Arc<Mutex<Vec<(Key, Value)>>>,
    policy: Arc<Policy>,
}

impl Objects {
    pub(crate) fn put(&self, resource: &str, object: Value) {
        let key: Key = (resource.into(), object::namespace(&object).into(), object::name(&object).into());
        self.policy.apply(resource, &key.1, &key.2, Some(&object));
        let mut objects = self.objects.lock().unwrap();
        objects.retain(|(k, _)| *k != key);
        objects.push((key, object));
    }

    pub(crate) fn remove(&self, resource: &str, namespace: &str, name: &str) {
        self.policy.apply(resource, namespace, name, None);
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.lock().unwrap().retain(|(k, _)| *k != key);
    }

    /// A ClusterRole with the rules, bound to the user.
    pub(crate) fn grant(self, user: &str, rules: Value) -> Objects {
        self.put("clusterroles", json!({"metadata": {"name": user}, "rules": rules}));
        self.put(
            "clusterrolebindings",
            json!({
                "metadata": {"name": user}, "roleRef": {"kind": "ClusterRole", "name": user},
                "subjects": [{"kind": "User", "name": user}],
            }),
        );
        self
    }
}

impl Directory for Objects {
    fn find(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Found> {
        let object = self.object(group, resource, namespace, name)?;
        let deletion = text(&object, &["metadata", "deletionTimestamp"]);
        let deletion = deletion.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
        Some(Found { uid: object::uid(&object).into(), deletion })
    }

    fn object(&self, _group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let objects = self.objects.lock().unwrap();
        objects
            .iter()
            .find(|((r, ns, n), _)| r == resource && ns == namespace && n == name)
            .map(|(_, object)| object.clone())
    }

    fn pods_on(&self, node: &str, namespace: &str) -> Vec<Value> {
        let objects = self.objects.lock().unwrap();
        objects
            .iter()
            .filter(|((r, ns, _), _)| r == "pods" && (namespace.is_empty() || ns == namespace))
            .filter(|(_, pod)| text(pod, &["spec", "nodeName"]) == node)
            .map(|(_, pod)| pod.clone())
            .collect()
    }
}

pub(crate) fn authorizer(objects: &Objects) -> Authorizer {
    // The rules of nodes are the same everywhere, and take longer to read than a small cluster's policy.
    static ANY: LazyLock<Authorizer> =
        LazyLock::new(|| Authorizer::new(Arc::default(), Arc::new(Objects::default())));
    ANY.with(Arc::clone(&objects.policy), Arc::new(objects.clone()))
}
