//! Nodes in tables.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cell::{NONE, UNKNOWN, age, condition, name, string, text_or};
use super::{AGE, Column, Columns, NAME, text as column};
use crate::object::{at, items, labels, text};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub static NODE: Columns = Columns {
    columns: &[
        NAME,
        column("Status"),
        column("Roles"),
        AGE,
        column("Version"),
        Column::wide("Internal-IP"),
        Column::wide("External-IP"),
        Column::wide("OS-Image"),
        Column::wide("Kernel-Version"),
        Column::wide("Container-Runtime"),
    ],
    cells: |node, now| {
        let info = at(node, &["status", "nodeInfo"]);
        vec![
            name(node),
            string(status(node)),
            string(roles(node)),
            age(node, now),
            string(text(info, &["kubeletVersion"])),
            string(address(node, "InternalIP")),
            string(address(node, "ExternalIP")),
            string(text_or(info, &["osImage"], UNKNOWN)),
            string(text_or(info, &["kernelVersion"], UNKNOWN)),
            string(text_or(info, &["containerRuntimeVersion"], UNKNOWN)),
        ]
    },
};

fn status(node: &Value) -> String {
    let ready = match condition(node, "Ready").map(|c| text(c, &["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = at(node, &["spec", "unschedulable"]) == true;
    format!("{ready}{}", if cordoned { ",SchedulingDisabled" } else { "" })
}

fn roles(node: &Value) -> String {
    let found: BTreeSet<&str> = labels(node)
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => (key == ROLE_LABEL).then_some(value),
        })
        .filter(|role| !role.is_empty())
        .collect();
    if found.is_empty() { NONE.to_owned() } else { found.into_iter().collect::<Vec<_>>().join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let addresses = items(node, &["status", "addresses"]);
    addresses.iter().find(|a| text(a, &["type"]) == kind).map_or(NONE, |a| text(a, &["address"]))
}
