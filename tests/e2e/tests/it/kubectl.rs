//! Stock kubectl in all that it asks of a server beyond reading and writing: documents, server-side apply, its own patches
//! and dry runs, custom resources.

mod apply;
mod custom;
mod documents;
mod edit;

use coracle_testkit::Cluster;
use serde_json::Value;

fn get(cluster: &Cluster, what: &[&str]) -> Value {
    cluster.kubectl(&[&["get", "-o", "json"], what].concat()).json()
}

/// Who manages an object, as `NAME OPERATION`, with `/SUBRESOURCE` where there is one.
fn managers(cluster: &Cluster, what: &[&str]) -> Vec<String> {
    let found = get(cluster, &[what, &["--show-managed-fields"]].concat());
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = found["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let told = entries.iter().map(|entry| {
        let (name, operation) = (text(entry, "manager"), text(entry, "operation"));
        match &*text(entry, "subresource") {
            "" => format!("{name} {operation}"),
            subresource => format!("{name} {operation}/{subresource}"),
        }
    });
    told.collect()
}

/// What one manager owns, as managed fields write it.
fn owned(cluster: &Cluster, what: &[&str], manager: &str) -> Value {
    let found = get(cluster, &[what, &["--show-managed-fields"]].concat());
    let entries = found["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entry = entries.into_iter().find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}
