//! What happens to a Service's addresses and ports as it changes.

use serde_json::{Map, Value, json};

use super::{is_externally_accessible, is_headless, needs_health_check};
use crate::at::{At, same};
use crate::field::Errors;
use crate::kinds::core::pod::defaults::children;
use crate::object::{at, items, map_at_mut, text};

/// Bring what the user left out along from the old Service, and drop what the new type has no use for.
pub fn prepare(obj: &mut Value, old: &Value) {
    let before = at(old, &["spec"]);
    keep_allocated(obj, before);
    pair_cluster_ips(obj, before);
    drop_unused(obj, before);
}

fn has_cluster_ip(spec: &Value) -> bool {
    text(spec, &["type"]) != "ExternalName"
}

fn has_node_ports(spec: &Value) -> bool {
    match text(spec, &["type"]) {
        "NodePort" => true,
        "LoadBalancer" => at(spec, &["allocateLoadBalancerNodePorts"]).as_bool() != Some(false),
        _ => false,
    }
}

/// A PUT that leaves addresses and ports out means the ones there are.
fn keep_allocated(obj: &mut Value, before: &Value) {
    let now = at(obj, &["spec"]);
    let (ips, ports) =
        (has_cluster_ip(before) && has_cluster_ip(now), has_node_ports(before) && has_node_ports(now));
    let health = needs_health_check(before) && needs_health_check(now);
    let spec = map_at_mut(obj, &["spec"]);
    if ips {
        keep_if_blank(spec, "clusterIP", before);
        let same_first = spec.get("clusterIP") == before.get("clusterIP");
        if same_first {
            keep_if_blank(spec, "clusterIPs", before);
        }
    }
    if ports {
        for port in children(spec, "ports") {
            let key = |p: &Map<String, Value>| (p.get("protocol").cloned(), p.get("port").cloned());
            let own = key(port);
            let was = items(before, &["ports"]).iter().find(|p| p.as_object().map(&key) == Some(own.clone()));
            if let Some(was) = was.filter(|_| port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0)
            {
                keep_if_blank(port, "nodePort", was);
            }
        }
    }
    if health {
        keep_if_blank(spec, "healthCheckNodePort", before);
    }
}

fn keep_if_blank(map: &mut Map<String, Value>, key: &str, before: &Value) {
    let blank = map.get(key).is_none_or(|v| same(v, &Value::Null) || v.as_i64() == Some(0));
    if let Some(value) = before.get(key).filter(|_| blank) {
        map.insert(key.to_owned(), value.clone());
    }
}

/// Who changes `clusterIP` alone means the first of `clusterIPs` too.
fn pair_cluster_ips(obj: &mut Value, before: &Value) {
    let first = text(obj, &["spec", "clusterIP"]).to_owned();
    let was = text(before, &["clusterIP"]);
    let same_list = same(at(obj, &["spec", "clusterIPs"]), at(before, &["clusterIPs"]));
    if first == was || !same_list {
        return;
    }
    let spec = map_at_mut(obj, &["spec"]);
    if first.is_empty() {
        spec.remove("clusterIPs");
    } else {
        spec.insert("clusterIPs".into(), json!([first]));
    }
}

/// What belonged to the old type goes with it, unless the user has just changed it.
fn drop_unused(obj: &mut Value, before: &Value) {
    let now = at(obj, &["spec"]).clone();
    let unchanged = |key: &str| same(at(&now, &[key]), at(before, &[key]));
    let mut gone: Vec<&str> = Vec::new();
    if has_cluster_ip(before) && !has_cluster_ip(&now) {
        gone.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    if needs_health_check(before) && !needs_health_check(&now) {
        gone.push("healthCheckNodePort");
    }
    let was_balancer = text(before, &["type"]) == "LoadBalancer";
    if was_balancer && text(&now, &["type"]) != "LoadBalancer" {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if is_externally_accessible(before) && !is_externally_accessible(&now) {
        gone.push("externalTrafficPolicy");
    }
    let node_ports = has_node_ports(before) && !has_node_ports(&now) && same_node_ports(&now, before);
    let gone: Vec<&str> = gone.into_iter().filter(|key| unchanged(key)).collect();
    let spec = map_at_mut(obj, &["spec"]);
    for key in gone {
        spec.remove(key);
    }
    if node_ports {
        for port in children(spec, "ports") {
            port.remove("nodePort");
        }
    }
}

fn same_node_ports(now: &Value, before: &Value) -> bool {
    let all = |spec: &Value| -> Vec<i64> {
        let mut ports: Vec<i64> = items(spec, &["ports"])
            .iter()
            .filter_map(|p| at(p, &["nodePort"]).as_i64())
            .filter(|n| *n != 0)
            .collect();
        ports.sort_unstable();
        ports
    };
    all(now).iter().all(|port| all(before).contains(port))
}

pub fn validate(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    if has_cluster_ip(spec.value) && has_cluster_ip(before.value) {
        cluster_ips(&spec, &before, errs);
        ip_families(&spec, &before, errs);
    }
    let both_balancers = [&spec, &before].iter().all(|s| s.peek_text("type") == "LoadBalancer");
    if both_balancers && spec.peek("loadBalancerClass") != before.peek("loadBalancerClass") {
        errs.bad(&spec.get("loadBalancerClass"), "may not change once set");
    }
    let both_checked = needs_health_check(spec.value) && needs_health_check(before.value);
    if both_checked && spec.get("healthCheckNodePort").int() != before.get("healthCheckNodePort").int() {
        errs.forbidden(&spec.get("healthCheckNodePort").path, "field is immutable");
    }
}

fn cluster_ips(spec: &At<'_>, before: &At<'_>, errs: &mut Errors) {
    let (now, was) = (spec.get("clusterIPs"), before.get("clusterIPs"));
    if is_headless(spec.value) && is_headless(before.value) {
        return;
    }
    let bad = |i: usize, words: &str, errs: &mut Errors| errs.invalid(&now.path.index(i), now.value, words);
    let first_changed = was.texts().next().is_some_and(|w| now.texts().next().is_some_and(|n| n != w));
    if now.len() == was.len() {
        for (i, (_, _)) in now.texts().zip(was.texts()).enumerate().filter(|(_, (n, w))| n != w) {
            bad(i, "may not change once set", errs);
        }
    } else if first_changed {
        bad(0, "may not change once set", errs);
    }
    if was.len() > now.len() {
        if now.is_empty() {
            bad(0, "primary clusterIP can not be unset", errs);
        }
        released(spec, now.len(), "secondary clusterIP", errs);
    }
}

fn ip_families(spec: &At<'_>, before: &At<'_>, errs: &mut Errors) {
    if is_headless(spec.value) || is_headless(before.value) {
        return;
    }
    let (now, was) = (spec.get("ipFamilies"), before.get("ipFamilies"));
    let path = now.path.index(0);
    let changed = now.texts().zip(was.texts()).filter(|(n, w)| n != w).count();
    for _ in 0..changed {
        errs.invalid(&path, now.value, "may not change once set");
    }
    if was.len() > now.len() {
        if spec.get("clusterIPs").is_empty() {
            errs.invalid(&path, now.value, "primary ipFamily can not be unset");
        }
        released(spec, now.len(), "secondary ipFamily", errs);
    }
}

/// Who lets go of the second family must say so.
fn released(spec: &At<'_>, left: usize, what: &str, errs: &mut Errors) {
    let policy = spec.get("ipFamilyPolicy");
    if left == 1 && policy.text() != "SingleStack" {
        errs.bad(&policy, format!("must be set to 'SingleStack' when releasing the {what}"));
    }
}
