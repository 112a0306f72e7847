//! The documents by which a server says what it serves: one a group and version, or all in one (aggregated).

mod aggregated;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use aggregated::{aggregated_core, aggregated_groups};

use crate::catalog::{Catalog, Group, api_version};
use crate::kinds::{GroupVersionKind, Kind};

/// `/api`. `address` is where a client outside may reach the server: `10.0.0.1:6443`.
pub fn api_versions(catalog: &Catalog, address: &str) -> Value {
    let versions = catalog.group("").map_or(&[][..], |g| &g.versions);
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`
pub fn api_group_list(catalog: &Catalog) -> Value {
    let groups: Vec<Value> =
        named_groups(catalog).map(|g| Value::Object(group_fields(g, Map::new()))).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/apps`; none where there is no such group.
pub fn api_group(catalog: &Catalog, group: &str) -> Option<Value> {
    let group = named_groups(catalog).find(|g| g.name == group)?;
    let mut out = Map::new();
    out.insert("kind".into(), json!("APIGroup"));
    out.insert("apiVersion".into(), json!("v1"));
    Some(Value::Object(group_fields(group, out)))
}

/// `/api/v1`, `/apis/apps/v1`; none where there is no such version.
pub fn api_resource_list(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    if !catalog.has_version(group, version) {
        return None;
    }
    let mut out = Map::new();
    out.insert("kind".into(), json!("APIResourceList"));
    if !group.is_empty() {
        out.insert("apiVersion".into(), json!("v1"));
    }
    out.insert("groupVersion".into(), json!(api_version(group, version)));
    let mut resources = Vec::new();
    for kind in catalog.in_version(group, version) {
        resources.push(resource(catalog, &kind));
        resources.extend(subresources(&kind));
    }
    out.insert("resources".into(), Value::Array(resources));
    Some(Value::Object(out))
}

/// The paths of all groups and versions, as `/` lists them.
pub fn paths(catalog: &Catalog) -> Vec<String> {
    let mut out = vec!["/api".to_owned(), "/apis".to_owned()];
    for group in catalog.groups() {
        if !group.name.is_empty() {
            out.push(format!("/apis/{}", group.name));
        }
        out.extend(group.versions.iter().map(|v| version_path(&group.name, v)));
    }
    out.sort();
    out
}

/// `/api/v1`, `/apis/apps/v1`
pub fn version_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

fn named_groups(catalog: &Catalog) -> impl Iterator<Item = &Group> {
    catalog.groups().iter().filter(|g| !g.name.is_empty())
}

fn group_fields(group: &Group, mut out: Map<String, Value>) -> Map<String, Value> {
    let versions: Vec<Value> =
        group.versions.iter().map(|v| json!({"groupVersion": group.api_version(v), "version": v})).collect();
    let preferred = versions.first().cloned().unwrap_or(Value::Null);
    out.insert("name".into(), json!(group.name));
    out.insert("versions".into(), Value::Array(versions));
    out.insert("preferredVersion".into(), preferred);
    out
}

fn resource(catalog: &Catalog, kind: &Arc<Kind>) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), json!(kind.plural));
    out.insert("singularName".into(), json!(kind.singular));
    out.insert("namespaced".into(), json!(kind.is_namespaced()));
    out.insert("kind".into(), json!(kind.kind));
    out.insert("verbs".into(), json!(kind.verbs));
    names(kind, &mut out);
    if !kind.is_virtual() {
        let stored = catalog.stored_as(kind).gvk();
        let version = kind.custom.as_ref().map_or(stored.version, |c| c.storage_version.clone());
        let stored = GroupVersionKind { version, ..stored };
        out.insert("storageVersionHash".into(), json!(storage_version_hash(&stored)));
    }
    Value::Object(out)
}

fn names(kind: &Kind, out: &mut Map<String, Value>) {
    if !kind.short_names.is_empty() {
        out.insert("shortNames".into(), json!(kind.short_names));
    }
    if !kind.categories.is_empty() {
        out.insert("categories".into(), json!(kind.categories));
    }
}

fn subresources(kind: &Kind) -> impl Iterator<Item = Value> {
    sorted(kind).into_iter().map(|sub| {
        let served = kind.served_as(sub);
        let mut out = Map::new();
        out.insert("name".into(), json!(format!("{}/{}", kind.plural, sub.name())));
        out.insert("singularName".into(), json!(""));
        out.insert("namespaced".into(), json!(kind.is_namespaced()));
        if is_foreign(kind, &served) {
            out.insert("group".into(), json!(served.group));
            out.insert("version".into(), json!(served.version));
        }
        out.insert("kind".into(), json!(served.kind));
        out.insert("verbs".into(), json!(sub.verbs()));
        Value::Object(out)
    })
}

fn sorted(kind: &Kind) -> Vec<crate::Subresource> {
    let mut subs = kind.subresources.to_vec();
    subs.sort_by_key(|s| s.name());
    subs
}

fn is_foreign(kind: &Kind, served: &GroupVersionKind) -> bool {
    (&served.group, &served.version) != (&kind.group, &kind.version)
}

/// What tells clients whether two resources are kept in the same form.
fn storage_version_hash(gvk: &GroupVersionKind) -> String {
    let digest = Sha256::digest(format!("{}/{}/{}", gvk.group, gvk.version, gvk.kind));
    STANDARD.encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn hashes_are_the_references() {
        let pods = Catalog::builtin().find("", "v1", "pods").unwrap();
        assert_eq!(storage_version_hash(&pods.gvk()), "xPOwRZ+Yhw8=");
    }

    /// The recording sorts resources by name and masks hashes.
    fn as_recorded(mut list: Value) -> Value {
        let resources = list["resources"].as_array_mut().unwrap();
        resources.sort_by_key(|r| r["name"].as_str().unwrap().to_owned());
        for r in resources {
            if let Some(hash) = r.get_mut("storageVersionHash") {
                *hash = json!("<hash>");
            }
        }
        list
    }

    #[test]
    fn documents_are_as_recorded() {
        let Some(answers) = golden::answers() else { return };
        let catalog = Catalog::builtin();
        let mut checked = 0;
        for group in catalog.groups() {
            for version in &group.versions {
                let case = if group.name.is_empty() { "core".into() } else { group.api_version(version) };
                let Some(answer) = answers.get(&format!("discovery/{case}")) else { continue };
                let got = as_recorded(api_resource_list(&catalog, &group.name, version).unwrap());
                assert_eq!(got.to_string(), answer["body"].to_string(), "{case}");
                checked += 1;
            }
        }
        assert_eq!(checked, 21);
        let apps = api_group(&catalog, "apps").unwrap();
        assert_eq!(apps.to_string(), answers["discovery/one-group"]["body"].to_string());
        let mut preferred: Vec<Value> = api_group_list(&catalog)["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|g| g["preferredVersion"]["groupVersion"].clone())
            .collect();
        preferred.sort_by_key(|v| v.to_string());
        assert_eq!(Value::Array(preferred), answers["discovery/groups"]["body"]["preferred"]);
        assert!(api_group(&catalog, "nope.example.com").is_none() && api_group(&catalog, "").is_none());
        assert!(api_resource_list(&catalog, "apps", "v9").is_none());
    }

    #[test]
    fn aggregated_documents_are_as_recorded() {
        let Some(answers) = golden::answers() else { return };
        let catalog = Catalog::builtin();
        let core = aggregated_core(&catalog);
        let pods = core["items"][0]["versions"][0]["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["resource"] == "pods")
            .unwrap();
        let want = &answers["discovery/aggregated-core"]["body"];
        assert_eq!(pods.to_string(), want["pods"].to_string());
        assert_eq!((&core["kind"], &core["apiVersion"]), (&want["kind"], &want["api"]));
        let groups = aggregated_groups(&catalog);
        let mut apps = groups["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|g| g["metadata"]["name"] == "apps")
            .unwrap()
            .clone();
        apps["versions"][0]["freshness"] = json!("<x>");
        assert_eq!(apps.to_string(), answers["discovery/aggregated-groups"]["body"].to_string());
    }

    #[test]
    fn every_version_has_a_path() {
        let paths = paths(&Catalog::builtin());
        for path in ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"] {
            assert!(paths.iter().any(|p| p == path), "{path}");
        }
    }
}
