//! What may change in a Pod that exists: by its owner, by its kubelet, by a debugger.

use serde_json::Value;

use super::{dump, qos, scheduling};
use crate::at::{At, same};
use crate::field::{Errors, Path};
use crate::names;
use crate::object::at;

pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// An update of the Pod itself.
pub fn main(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    annotations(new, old, errs);
    let (spec, before) = (new.get("spec"), old.get("spec"));
    for list in ["containers", "initContainers"] {
        if !same_containers(&spec.get(list), &before.get(list), errs) {
            return;
        }
    }
    if !deadline(&spec.get("activeDeadlineSeconds"), before.peek("activeDeadlineSeconds"), errs) {
        return;
    }
    only_added_tolerations(&spec.get("tolerations"), &before.get("tolerations"), errs);
    only_deleted_gates(&spec.get("schedulingGates"), &before.get("schedulingGates"), errs);
    if same(spec.value, before.value) {
        return;
    }
    let masked = masked(spec.value, before.value);
    if !same(&masked, before.value) {
        let diff = dump::diff(before.value, &masked);
        errs.forbidden(
            &spec.path,
            format!("pod updates may not change fields other than {UPDATABLE}\n{diff}"),
        );
    }
}

fn annotations(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    let at_new = new.get("metadata").get("annotations");
    let at_old = old.get("metadata").get("annotations");
    for (key, value) in at_old.entries() {
        if at_new.peek(key) == value.value {
            continue;
        }
        if key.starts_with(APP_ARMOR_ANNOTATION) {
            errs.forbidden(&at_new.path.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR_ANNOTATION {
            errs.forbidden(&at_new.path.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for (key, value) in at_new.entries().filter(|(key, _)| !at_old.has(key)) {
        if key.starts_with(APP_ARMOR_ANNOTATION) {
            errs.forbidden(&value.path, "may not add AppArmor annotations");
        }
        if key == MIRROR_ANNOTATION {
            errs.forbidden(&value.path, "may not add mirror pod annotation");
        }
    }
}

fn same_containers(new: &At<'_>, old: &At<'_>, errs: &mut Errors) -> bool {
    if new.len() != old.len() {
        errs.forbidden(&new.path, "pod updates may not add or remove containers");
        return false;
    }
    true
}

/// A deadline may come, or come nearer. `false` where nothing else is worth checking.
fn deadline(new: &At<'_>, old: &Value, errs: &mut Errors) -> bool {
    if !new.is_set() {
        if !old.is_null() {
            errs.bad(new, "must not update from a positive integer to nil value");
        }
        return true;
    }
    if !(0..=i64::from(i32::MAX)).contains(&new.int()) {
        errs.bad_ints(new, names::in_range(new.int(), 0, i64::from(i32::MAX)));
        return false;
    }
    if old.as_i64().is_some_and(|old| old < new.int()) {
        errs.bad_int(new, "must be less than or equal to previous value");
        return false;
    }
    true
}

fn only_added_tolerations(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    let lasting = |v: &Value| {
        let mut v = v.clone();
        if let Some(map) = v.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        v
    };
    for toleration in old.items() {
        let wanted = lasting(toleration.value);
        if !new.items().any(|n| same(&lasting(n.value), &wanted)) {
            let words = "existing toleration can not be modified except its tolerationSeconds";
            errs.forbidden(&new.path, words);
            return;
        }
    }
    if !same(new.value, old.value) {
        scheduling::tolerations(new, errs);
    }
}

fn only_deleted_gates(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    for gate in new.items() {
        let name = gate.peek_text("name");
        if !old.items().any(|g| g.peek_text("name") == name) {
            let words = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errs.forbidden(&gate.get("name").path, words);
        }
    }
}

/// The new spec with everything that may change as it was.
fn masked(new: &Value, old: &Value) -> Value {
    let mut out = new.clone();
    let Some(map) = out.as_object_mut() else { return out };
    for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        match old.get(key) {
            Some(value) => map.insert(key.to_owned(), value.clone()),
            None => map.remove(key),
        };
    }
    let was_negative = at(old, &["terminationGracePeriodSeconds"]).as_i64().is_some_and(|s| s < 0);
    if was_negative && at(new, &["terminationGracePeriodSeconds"]).as_i64() == Some(1) {
        map.insert(
            "terminationGracePeriodSeconds".into(),
            at(old, &["terminationGracePeriodSeconds"]).clone(),
        );
    }
    for list in ["containers", "initContainers"] {
        let images: Vec<Value> =
            crate::object::items(old, &[list]).iter().map(|c| at(c, &["image"]).clone()).collect();
        let containers = map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, image) in containers.zip(images) {
            if let Some(container) = container.as_object_mut() {
                container.insert("image".into(), image);
            }
        }
    }
    if !crate::object::items(old, &["schedulingGates"]).is_empty() {
        mask_gated(map, old);
    }
    out
}

/// A Pod that waits at a gate may still be told more about its node.
fn mask_gated(map: &mut serde_json::Map<String, Value>, old: &Value) {
    let kept = |key: &str, new: &Value| {
        at(old, &[key]).as_object().is_none_or(|old| old.iter().all(|(k, v)| new.get(k) == Some(v)))
    };
    let selector = map.get("nodeSelector").cloned().unwrap_or(Value::Null);
    if kept("nodeSelector", &selector) {
        match old.get("nodeSelector") {
            Some(value) => map.insert("nodeSelector".into(), value.clone()),
            None => map.remove("nodeSelector"),
        };
    }
    if at(old, &["affinity"]).is_null() {
        let only_node = map
            .get("affinity")
            .and_then(Value::as_object)
            .is_some_and(|a| a.iter().all(|(k, v)| k == "nodeAffinity" || v.is_null()));
        if only_node {
            map.remove("affinity");
        }
    }
}

/// An update of `pods/status`.
pub fn status(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    annotations(new, old, errs);
    let (status, before) = (new.get("status"), old.get("status"));
    for condition in status.get("conditions").items() {
        let kind = condition.peek_text("type");
        if !["PodScheduled", "Ready", "Initialized"].contains(&kind) {
            let path = condition.path.child("Type");
            for words in names::qualified(kind) {
                errs.invalid(&path, &Value::from(kind), words);
            }
        }
    }
    let nominated = status.get("nominatedNodeName");
    if !nominated.is_empty() && nominated.value != before.peek("nominatedNodeName") {
        errs.bad_texts(&nominated, names::dns_subdomain(nominated.text(), false));
    }
    if status.peek_text("qosClass") != before.peek_text("qosClass") {
        errs.bad_text(&status.get("qosClass"), "field is immutable");
    }
    let policy = old.get("spec").peek_text("restartPolicy");
    restarts(&status.get("containerStatuses"), &before.get("containerStatuses"), policy, &[], errs);
    let sidecars: Vec<&str> = old
        .get("spec")
        .get("initContainers")
        .items()
        .filter(|c| c.peek_text("restartPolicy") == "Always")
        .map(|c| c.peek_text("name"))
        .collect();
    let (init, init_before) = (status.get("initContainerStatuses"), before.get("initContainerStatuses"));
    restarts(&init, &init_before, policy, &sidecars, errs);
    let key = "ephemeralContainerStatuses";
    restarts(&status.get(key), &before.get(key), "Never", &[], errs);
    addresses(&status, errs);
}

/// A container that has ended for good may not be running again.
fn restarts(new: &At<'_>, old: &At<'_>, policy: &str, sidecars: &[&str], errs: &mut Errors) {
    if policy == "Always" {
        return;
    }
    for (i, before) in old.items().enumerate() {
        let name = before.peek_text("name");
        let ended = before.get("state").get("terminated");
        let failed = ended.get("exitCode").int() != 0;
        if !ended.is_set() || (failed && policy == "OnFailure") || sidecars.contains(&name) {
            continue;
        }
        let runs_again =
            new.items().any(|n| n.peek_text("name") == name && !n.get("state").has("terminated"));
        if runs_again {
            errs.forbidden(
                &new.path.index(i).child("state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

fn addresses(status: &At<'_>, errs: &mut Errors) {
    for key in ["podIPs", "hostIPs"] {
        let mut seen: Vec<&str> = Vec::new();
        for entry in status.get(key).items() {
            let ip = entry.peek_text("ip");
            for words in names::ip(ip) {
                errs.invalid(&entry.path, &Value::from(ip), words);
            }
            if seen.contains(&ip) {
                errs.duplicate(&entry.path, entry.value);
            }
            seen.push(ip);
        }
    }
}

/// An update of `pods/ephemeralcontainers`: they may be added, nothing else.
pub fn ephemeral_containers(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    if old.get("metadata").get("annotations").has(MIRROR_ANNOTATION) {
        errs.forbidden(&Path::root(), "static pods do not support ephemeral containers");
        return;
    }
    let path = new.path.child("spec.ephemeralContainers");
    let list = new.get("spec").get("ephemeralContainers");
    for before in old.get("spec").get("ephemeralContainers").items() {
        let name = before.peek_text("name");
        match list.items().find(|c| c.peek_text("name") == name) {
            None => {
                errs.forbidden(&path, format!("existing ephemeral containers {name:?} may not be removed\n"))
            }
            Some(now) if !same(now.value, before.value) => {
                let diff = dump::diff_of(dump::EPHEMERAL_CONTAINER, before.value, now.value);
                let words = format!("existing ephemeral containers {name:?} may not be changed\n{diff}");
                errs.forbidden(&path, words);
            }
            Some(_) => {}
        }
    }
}

/// An update of `pods/resize`: amounts of cpu and memory, as long as the Pod's class stays.
pub fn resize(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    if old.get("metadata").get("annotations").has(MIRROR_ANNOTATION) {
        errs.forbidden(&Path::root(), "static pods cannot be resized");
        return;
    }
    let (spec, before) = (new.get("spec"), old.get("spec"));
    if qos::class(spec.value) != qos::class(before.value) {
        let shown = Value::from(qos::class(spec.value));
        errs.invalid(&spec.path, &shown, "Pod QOS Class may not change as a result of resizing");
    }
    for list in ["containers", "initContainers"] {
        if !same_containers(&spec.get(list), &before.get(list), errs) {
            return;
        }
        for (now, was) in spec.get(list).items().zip(before.get(list).items()) {
            resize_container(&now, &was, &spec.path, errs);
        }
    }
}

fn resize_container(now: &At<'_>, was: &At<'_>, spec: &Path, errs: &mut Errors) {
    for kind in ["requests", "limits"] {
        let (new, old) = (now.get("resources").get(kind), was.get("resources").get(kind));
        for (name, amount) in old.entries() {
            if !new.has(name) {
                errs.forbidden(&new.path, format!("resource {kind} cannot be removed"));
            } else if !["cpu", "memory"].contains(&name) && new.peek(name) != amount.value {
                errs.forbidden(spec, "only cpu and memory resources are mutable");
            }
        }
    }
}
