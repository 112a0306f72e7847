//! Aggregated discovery (`apidiscovery.k8s.io/v2`): one document for the core group, one for all others.

use serde_json::{Map, Value, json};

use super::{is_foreign, names, sorted};
use crate::catalog::{Catalog, Group};
use crate::kinds::{GroupVersionKind, Kind};

/// `/api`, to a client that accepts `as=APIGroupDiscoveryList`.
pub fn aggregated_core(catalog: &Catalog) -> Value {
    list(catalog, |g| g.name.is_empty())
}

/// `/apis`, to a client that accepts `as=APIGroupDiscoveryList`.
pub fn aggregated_groups(catalog: &Catalog) -> Value {
    list(catalog, |g| !g.name.is_empty())
}

fn list(catalog: &Catalog, wanted: impl Fn(&Group) -> bool) -> Value {
    let items: Vec<Value> =
        catalog.groups().iter().filter(|g| wanted(g)).map(|g| group(catalog, g)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn group(catalog: &Catalog, group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let kinds = catalog.in_version(&group.name, version);
            let resources: Vec<Value> = kinds.iter().map(|k| resource(k)).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn resource(kind: &Kind) -> Value {
    let mut out = Map::new();
    out.insert("resource".into(), json!(kind.plural));
    out.insert("responseKind".into(), response_kind(kind, &kind.gvk()));
    out.insert("scope".into(), json!(if kind.is_namespaced() { "Namespaced" } else { "Cluster" }));
    out.insert("singularResource".into(), json!(kind.singular));
    out.insert("verbs".into(), json!(kind.verbs));
    names(kind, &mut out);
    let subresources: Vec<Value> = sorted(kind)
        .into_iter()
        .map(|sub| {
            let served = response_kind(kind, &kind.served_as(sub));
            json!({"subresource": sub.name(), "responseKind": served, "verbs": sub.verbs()})
        })
        .collect();
    if !subresources.is_empty() {
        out.insert("subresources".into(), Value::Array(subresources));
    }
    Value::Object(out)
}

/// Group and version are left empty where they are the resource's own.
fn response_kind(kind: &Kind, served: &GroupVersionKind) -> Value {
    if is_foreign(kind, served) {
        json!({"group": served.group, "version": served.version, "kind": served.kind})
    } else {
        json!({"group": "", "version": "", "kind": served.kind})
    }
}
