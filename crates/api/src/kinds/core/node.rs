//! The rules of Nodes.

use serde_json::Value;

use super::amounts;
use super::pod::{defaults, scheduling};
use crate::Subresource;
use crate::at::At;
use crate::field::{Errors, Path};
use crate::names;
use crate::object::{at, map_at_mut};
use crate::rules::{Rules, Write, facts, selectable};

#[derive(Debug)]
pub struct Node;

impl Rules for Node {
    fn default(&self, obj: &mut Value) {
        let capacity = at(obj, &["status", "capacity"]).clone();
        if !capacity.is_null() {
            defaults::set_pointer(map_at_mut(obj, &["status"]), "allocatable", capacity);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let node = At::root(obj);
        let spec = node.get("spec");
        // The reference gives complaints about taints below `metadata`.
        scheduling::taints(&At::new(spec.peek("taints"), Path::new("metadata.taints")), errs);
        for kind in ["capacity", "allocatable"] {
            let list = node.get("status").get(kind);
            for (name, amount) in list.entries() {
                amounts::of_resource(name, &At::new(amount.value, list.path.child(name)), errs);
            }
        }
        let cidrs = spec.get("podCIDRs");
        for cidr in cidrs.items() {
            errs.bad_texts(&cidr, names::cidr(cidr.text()));
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if matches!(write, Write::Sub(Subresource::Proxy)) {
            return;
        }
        let (node, old) = (At::root(obj), At::root(old));
        let mut seen: Vec<&Value> = Vec::new();
        for address in node.get("status").get("addresses").items() {
            if seen.contains(&address.value) {
                errs.duplicate(&address.path, address.value);
            }
            seen.push(address.value);
        }
        let (spec, before) = (node.get("spec"), old.get("spec"));
        if !before.get("podCIDRs").is_empty() && spec.peek("podCIDRs") != before.peek("podCIDRs") {
            let words = "node updates may not change podCIDR except from \"\" to valid";
            errs.forbidden(&spec.get("podCIDRs").path, words);
        }
        if !before.peek_text("providerID").is_empty() && spec.peek("providerID") != before.peek("providerID")
        {
            let words = "node updates may not change providerID except from \"\" to valid";
            errs.forbidden(&spec.get("providerID").path, words);
        }
    }

    selectable!["spec.unschedulable"];

    fn field(&self, obj: &Value, _path: &str) -> String {
        at(obj, &["spec", "unschedulable"]).as_bool().unwrap_or(false).to_string()
    }

    facts!(uncounted, whole);
}
