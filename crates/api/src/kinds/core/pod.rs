//! The rules of Pods.

pub mod containers;
pub mod defaults;
pub mod dump;
pub mod env;
pub mod image;
pub mod internal;
pub mod internal_types;
pub mod network;
pub mod probes;
pub mod qos;
#[cfg(test)]
mod refusals;
pub mod scheduling;
pub mod security;
pub mod spec;
pub mod update;
pub mod volumes;
pub mod warnings;

use serde_json::{Value, json};

use crate::Subresource;
use crate::at::At;
use crate::field::Errors;
use crate::object::{self, at, map_at_mut, text};
use crate::rules::{Cx, Rules, Write, facts, selectable};

#[derive(Debug)]
pub struct Pod;

/// What a Pod that waits at a gate says of itself.
const GATED: &str = "Scheduling is blocked due to non-empty scheduling gates";

impl Rules for Pod {
    fn default(&self, obj: &mut Value) {
        defaults::pod(obj);
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        let mut status = json!({"phase": "Pending", "qosClass": qos::class(at(obj, &["spec"]))});
        if !object::items(obj, &["spec", "schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": null,
                "reason": "SchedulingGated", "message": GATED,
            }]);
        }
        map_at_mut(obj, &[]).insert("status".into(), status);
    }

    fn prepare_update(&self, _cx: &Cx, obj: &mut Value, old: &Value, write: Write) {
        match write {
            Write::Main => {}
            Write::Status => prepare_status(obj, old),
            Write::Sub(Subresource::EphemeralContainers) => keep_all_but_ephemeral(obj, old),
            Write::Sub(Subresource::Resize) => keep_all_but_resources(obj, old),
            Write::Sub(_) => {}
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let pod = At::root(obj);
        let spec = pod.get("spec");
        mirror(&pod, errs);
        spec::spec(&spec, Some(object::name(obj)), errs);
        spec::only_pods(&spec, errs);
        let is_new = object::resource_version(obj).is_empty();
        let ephemeral = spec.get("ephemeralContainers");
        if is_new && !ephemeral.is_empty() {
            errs.forbidden(&ephemeral.path, "cannot be set on create");
        }
        if is_new && !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
            errs.forbidden(
                &spec.get("nodeName").path,
                "cannot be set until all schedulingGates have been cleared",
            );
        }
    }

    /// A spec that stays as it is was looked at when it came, and what another server let through must not keep its owner
    /// from a label. To look again would be a sixth of an apply's work.
    fn validate_change(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) -> Vec<String> {
        if object::equal(at(obj, &["spec"]), at(old, &["spec"])) {
            mirror(&At::root(obj), errs);
        } else {
            self.validate(obj, errs);
        }
        self.validate_update(obj, old, write, errs);
        Vec::new()
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj), At::root(old));
        match write {
            Write::Main => update::main(&new, &old, errs),
            Write::Status => update::status(&new, &old, errs),
            Write::Sub(Subresource::EphemeralContainers) => update::ephemeral_containers(&new, &old, errs),
            Write::Sub(Subresource::Resize) => update::resize(&new, &old, errs),
            Write::Sub(_) => {}
        }
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        // People do not edit Pods much, and the kubelet reads no warnings.
        if old.is_some() {
            return Vec::new();
        }
        let mut out = Vec::new();
        let said = crate::names::dns1123_label(object::name(obj));
        if !said.is_empty() {
            out.push(format!(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
                said.join(" ")
            ));
        }
        out.extend(warnings::of_spec(&At::root(obj).get("spec")));
        out
    }

    selectable![
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName"
    ];

    fn field(&self, obj: &Value, path: &str) -> String {
        match path {
            "spec.hostNetwork" => at(obj, &["spec", "hostNetwork"]).as_bool().unwrap_or(false).to_string(),
            "status.podIP" | "status.podIPs" => object::items(obj, &["status", "podIPs"])
                .first()
                .map_or(text(obj, &["status", "podIP"]), |ip| text(ip, &["ip"]))
                .to_owned(),
            _ => {
                let keys: Vec<&str> = path.split('.').collect();
                text(obj, &keys).to_owned()
            }
        }
    }

    /// A Pod that no node has, or that has ended, goes at once.
    fn grace_seconds(&self, obj: &Value, asked: Option<i64>) -> Option<i64> {
        let wanted =
            asked.or_else(|| at(obj, &["spec", "terminationGracePeriodSeconds"]).as_i64()).unwrap_or(0);
        let unscheduled = text(obj, &["spec", "nodeName"]).is_empty();
        let ended = ["Failed", "Succeeded"].contains(&text(obj, &["status", "phase"]));
        if unscheduled || ended {
            return Some(0);
        }
        // A negative grace is what the reference reads as "as short as can be".
        Some(if wanted < 0 { 1 } else { wanted })
    }

    facts!(returned);
}

/// A mirror of a static Pod must say which node runs it.
fn mirror(pod: &At<'_>, errs: &mut Errors) {
    let annotation = pod.get("metadata").get("annotations").get(update::MIRROR_ANNOTATION);
    if annotation.is_set() && pod.get("spec").peek_text("nodeName").is_empty() {
        let path = pod.get("metadata").get("annotations").path.key(update::MIRROR_ANNOTATION);
        errs.bad_text(
            &At::new(annotation.value, path),
            "must set spec.nodeName if mirror pod annotation is set",
        );
    }
}

/// A kubelet's report may not change owners, and does not have to repeat the class.
fn prepare_status(obj: &mut Value, old: &Value) {
    let metadata = object::metadata_mut(obj);
    match at(old, &["metadata", "ownerReferences"]) {
        Value::Null => metadata.remove("ownerReferences"),
        owners => metadata.insert("ownerReferences".into(), owners.clone()),
    };
    if text(obj, &["status", "qosClass"]).is_empty() {
        let class = text(old, &["status", "qosClass"]).to_owned();
        if !class.is_empty() {
            map_at_mut(obj, &["status"]).insert("qosClass".into(), class.into());
        }
    }
    keep_observed_generations(obj, old);
}

/// A report that leaves out which generation it has seen keeps the one before.
fn keep_observed_generations(obj: &mut Value, old: &Value) {
    let status = map_at_mut(obj, &["status"]);
    if let Some(seen) = old.get("status").and_then(|s| s.get("observedGeneration")) {
        defaults::set(status, "observedGeneration", seen.clone());
    }
    let mut left: Vec<(&str, &Value)> = object::items(old, &["status", "conditions"])
        .iter()
        .map(|c| (text(c, &["type"]), at(c, &["observedGeneration"])))
        .collect();
    for condition in defaults::children(status, "conditions") {
        let kind = condition.get("type").and_then(Value::as_str).unwrap_or("");
        let Some(i) = left.iter().position(|(old, _)| *old == kind) else { continue };
        let (_, seen) = left.remove(i);
        if !seen.is_null() {
            defaults::set(condition, "observedGeneration", seen.clone());
        }
    }
}

fn keep_all_but_ephemeral(obj: &mut Value, old: &Value) {
    let added = at(obj, &["spec", "ephemeralContainers"]).clone();
    let map = map_at_mut(obj, &[]);
    for key in ["spec", "status"] {
        if let Some(value) = old.get(key) {
            map.insert(key.to_owned(), value.clone());
        }
    }
    let spec = map_at_mut(obj, &["spec"]);
    if added.is_null() {
        spec.remove("ephemeralContainers");
    } else {
        spec.insert("ephemeralContainers".into(), added);
    }
}

fn keep_all_but_resources(obj: &mut Value, old: &Value) {
    let mut kept = old.get("spec").cloned().unwrap_or(Value::Null);
    for list in ["containers", "initContainers"] {
        let new = object::items(obj, &["spec", list]);
        let same_names = new
            .iter()
            .map(|c| text(c, &["name"]))
            .eq(object::items(old, &["spec", list]).iter().map(|c| text(c, &["name"])));
        // Validation refuses other containers; it must see them.
        if !same_names {
            return;
        }
        let containers = kept.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, new) in containers.zip(new) {
            for key in ["resources", "resizePolicy"] {
                if let (Some(container), Some(value)) = (container.as_object_mut(), new.get(key)) {
                    container.insert(key.to_owned(), value.clone());
                }
            }
        }
    }
    let map = map_at_mut(obj, &[]);
    map.insert("spec".into(), kept);
    if let Some(status) = old.get("status") {
        map.insert("status".into(), status.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_spec_that_changes_is_looked_at() {
        let pod = |image: &str, annotations: Value| {
            let containers = json!([{"name": "c", "image": image, "terminationMessagePolicy": "None such"}]);
            let metadata = json!({"name": "p", "resourceVersion": "1", "annotations": annotations});
            json!({"metadata": metadata, "spec": {"containers": containers}})
        };
        let old = pod("a", json!({}));
        let said = |new: &Value| {
            let mut errs = Errors::default();
            Pod.validate_change(new, &old, Write::Main, &mut errs);
            errs.0.iter().map(|e| e.path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(said(&pod("a", json!({"a": "b"}))), [""; 0]);
        let policy = "spec.containers[0].terminationMessagePolicy".to_owned();
        assert!(said(&pod("b", json!({}))).contains(&policy));
        let mirrored = format!("metadata.annotations[{}]", update::MIRROR_ANNOTATION);
        assert!(said(&pod("a", json!({update::MIRROR_ANNOTATION: "m"}))).contains(&mirrored));
    }
}
