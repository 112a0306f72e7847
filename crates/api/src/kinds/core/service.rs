//! The rules of Services, apart from the allocation of addresses and node ports.

mod change;
pub mod checks;

use serde_json::{Map, Value, json};

use super::pod::defaults::{children, set, set_pointer};
use crate::at::At;
use crate::field::Errors;
use crate::object::{at, items, map_at_mut, map_mut, text};
use crate::rules::{Cx, Rules, Write, facts, selectable};

#[derive(Debug)]
pub struct Service;

/// How long a client sticks to a Pod where its Service says nothing: three hours, in seconds.
const AFFINITY_SECONDS: i64 = 10_800;
/// What a headless Service has for an address.
pub const HEADLESS: &str = "None";

impl Rules for Service {
    fn default(&self, obj: &mut Value) {
        let kind = {
            let spec = map_at_mut(obj, &["spec"]);
            affinity(spec);
            set(spec, "type", "ClusterIP");
            for port in children(spec, "ports") {
                set(port, "protocol", "TCP");
                let number = port.get("port").cloned().unwrap_or_else(|| json!(0));
                set(port, "targetPort", number);
            }
            spec.get("type").and_then(Value::as_str).unwrap_or("").to_owned()
        };
        let external = is_externally_accessible(at(obj, &["spec"]));
        let spec = map_at_mut(obj, &["spec"]);
        if external {
            set(spec, "externalTrafficPolicy", "Cluster");
        }
        if ["NodePort", "LoadBalancer", "ClusterIP"].contains(&kind.as_str()) {
            set_pointer(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            set_pointer(spec, "allocateLoadBalancerNodePorts", true);
            ingress_modes(obj);
        }
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        map_mut(obj).insert("status".into(), json!({"loadBalancer": {}}));
        let first = text(obj, &["spec", "clusterIP"]).to_owned();
        if !first.is_empty() && items(obj, &["spec", "clusterIPs"]).is_empty() {
            map_at_mut(obj, &["spec"]).insert("clusterIPs".into(), json!([first]));
        }
    }

    fn prepare_update(&self, _cx: &Cx, obj: &mut Value, old: &Value, write: Write) {
        if write == Write::Main {
            change::prepare(obj, old);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        checks::service(&At::root(obj), errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj), At::root(old));
        match write {
            Write::Main => change::validate(&new, &old, errs),
            Write::Status => checks::load_balancer_status(&new.get("status").get("loadBalancer"), errs),
            Write::Sub(_) => {}
        }
    }

    selectable!["spec.clusterIP", "spec.type"];

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let spec = at(obj, &["spec"]);
        let mut out = Vec::new();
        if old.is_none() && !text(spec, &["loadBalancerIP"]).is_empty() {
            out.push("spec.loadBalancerIP is deprecated".to_owned());
        }
        if text(spec, &["type"]) == "ExternalName" && !items(spec, &["externalIPs"]).is_empty() {
            out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
        }
        if text(spec, &["type"]) != "ExternalName" && !text(spec, &["externalName"]).is_empty() {
            out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
        }
        out
    }

    facts!(uncounted, upsert, label_name, returned);
}

fn affinity(spec: &mut Map<String, Value>) {
    set(spec, "sessionAffinity", "None");
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            let timeout = spec
                .get("sessionAffinityConfig")
                .map_or(&Value::Null, |config| at(config, &["clientIP", "timeoutSeconds"]));
            if timeout.is_null() {
                let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
                spec.insert("sessionAffinityConfig".into(), config);
            }
        }
        _ => {}
    }
}

/// An address that a load balancer announces is reached as a virtual address unless it says otherwise.
fn ingress_modes(obj: &mut Value) {
    let balancer = obj.get_mut("status").and_then(|s| s.get_mut("loadBalancer"));
    for ingress in balancer.and_then(Value::as_object_mut).into_iter().flat_map(|b| children(b, "ingress")) {
        if ingress.get("ip").and_then(Value::as_str).is_some_and(|ip| !ip.is_empty()) {
            set_pointer(ingress, "ipMode", "VIP");
        }
    }
}

/// Whether anyone outside of the cluster can reach it.
pub fn is_externally_accessible(spec: &Value) -> bool {
    let kind = text(spec, &["type"]);
    ["NodePort", "LoadBalancer"].contains(&kind)
        || kind == "ClusterIP" && !items(spec, &["externalIPs"]).is_empty()
}

pub fn needs_health_check(spec: &Value) -> bool {
    text(spec, &["type"]) == "LoadBalancer" && text(spec, &["externalTrafficPolicy"]) == "Local"
}

pub fn is_headless(spec: &Value) -> bool {
    matches!(items(spec, &["clusterIPs"]), [only] if only == HEADLESS)
}
