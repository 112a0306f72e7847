//! What a Service may say.

use serde_json::{Value, json};

use super::{is_externally_accessible, is_headless, needs_health_check};
use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::endpoints::non_special_ip;
use crate::kinds::core::pod::containers::PROTOCOLS;
use crate::kinds::core::pod::probes::port_number_or_name;
use crate::meta;
use crate::names;

/// The longest that a client may stick to a Pod: a day, in seconds.
const AFFINITY_SECONDS_MAX: i64 = 86_400;
/// One address a family.
const CLUSTER_IPS_MAX: usize = 2;
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub fn service(root: &At<'_>, errs: &mut Errors) {
    let spec = root.get("spec");
    let kind = spec.peek_text("type");
    let headless = is_headless(spec.value);
    let ports = spec.get("ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errs.required(&ports.path, "");
    }
    by_type(&spec, kind, headless, errs);
    let mut seen = Vec::new();
    for port in ports.items() {
        check_port(&port, ports.len() > 1, &mut seen, errs);
    }
    meta::labels(&spec.get("selector"), errs);
    affinity(&spec, errs);
    if kind != "ExternalName" {
        cluster_ips(&spec, errs);
    }
    for ip in spec.get("externalIPs").items() {
        let said = names::ip(ip.text());
        if said.is_empty() {
            non_special_ip(&ip, errs);
        } else {
            errs.bad_texts(&ip, said);
        }
    }
    errs.one_of(&spec.get("type"), &TYPES);
    unique_ports(&ports, kind, errs);
    load_balancer(&spec, kind, errs);
    traffic(&spec, kind, errs);
}

fn by_type(spec: &At<'_>, kind: &str, headless: bool, errs: &mut Errors) {
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let words = format!("may not be set to 'None' for {kind} services");
            errs.invalid(&spec.get("clusterIPs").path.index(0), &Value::from("None"), words);
        }
        "ExternalName" => {
            for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !spec.get(key).is_empty() {
                    errs.forbidden(&spec.get(key).path, "may not be set for ExternalName services");
                }
            }
            let name = spec.get("externalName");
            let cname = name.text().strip_suffix('.').unwrap_or(name.text());
            if cname.is_empty() {
                errs.required(&name.path, "");
            }
            for words in names::dns1123_subdomain(cname).into_iter().filter(|_| !cname.is_empty()) {
                errs.invalid(&name.path, &Value::from(cname), words);
            }
        }
        _ => {}
    }
}

fn check_port<'a>(port: &At<'a>, need_name: bool, seen: &mut Vec<&'a str>, errs: &mut Errors) {
    let name = port.get("name");
    if name.is_empty() {
        if need_name {
            errs.required(&name.path, "");
        }
    } else {
        errs.bad_texts(&name, names::dns1123_label(name.text()));
        if seen.contains(&name.text()) {
            errs.duplicate(&name.path, name.value);
        } else {
            seen.push(name.text());
        }
    }
    let number = port.get("port");
    errs.bad_ints(&number, names::port_number(number.int()));
    errs.one_of(&port.get("protocol"), &PROTOCOLS);
    port_number_or_name(&port.get("targetPort"), errs);
    let app = port.get("appProtocol");
    if app.is_set() {
        errs.bad_texts(&app, names::qualified(app.text()));
    }
}

fn affinity(spec: &At<'_>, errs: &mut Errors) {
    let kind = spec.get("sessionAffinity");
    let config = spec.get("sessionAffinityConfig");
    errs.one_of(&kind, &["ClientIP", "None"]);
    match kind.text() {
        "ClientIP" => {
            let timeout = config.get("clientIP").get("timeoutSeconds");
            if !timeout.is_set() {
                errs.required(&timeout.path, "when session affinity type is ClientIP");
            } else if !(1..=AFFINITY_SECONDS_MAX).contains(&timeout.int()) {
                let words = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                errs.bad_int(&timeout, words);
            }
        }
        "None" if config.is_set() => {
            errs.forbidden(&config.path, "must not be set when session affinity is None");
        }
        _ => {}
    }
}

fn cluster_ips(spec: &At<'_>, errs: &mut Errors) {
    let (first, list) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    if first.is_empty() {
        if !list.is_empty() {
            errs.bad(&list, "must be empty when `clusterIP` is not specified");
        }
    } else if list.is_empty() {
        errs.required(&list.path, "");
    } else if list.texts().next() != Some(first.text()) {
        errs.bad(&list, "first value must match `clusterIP`");
    }
    families(spec, errs);
    if !well_formed(&list, errs) {
        return;
    }
    let is_v6 = |ip: &str| ip.contains(':');
    if list.len() > 1 && list.texts().all(|ip| is_v6(ip) == is_v6(list.texts().next().unwrap_or(""))) {
        errs.bad(&list, "may specify no more than one IP for each IP family");
    }
    if is_headless(spec.value) {
        return;
    }
    for (i, (ip, family)) in list.items().zip(spec.get("ipFamilies").texts()).enumerate() {
        if (family == "IPv6") != is_v6(ip.text()) {
            errs.bad_text(&ip, format!("expected an {family} value as indicated by `ipFamilies[{i}]`"));
        }
    }
}

fn families(spec: &At<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for family in spec.get("ipFamilies").items() {
        errs.one_of_if_set(&family, &["IPv4", "IPv6"]);
        if seen.contains(&family.text()) {
            errs.duplicate(&family.path, family.value);
        }
        seen.push(family.text());
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    errs.one_of_if_set(&spec.get("ipFamilyPolicy"), &policies);
}

/// Whether every address is one; `None` may stand alone.
fn well_formed(list: &At<'_>, errs: &mut Errors) -> bool {
    let before = errs.0.len();
    for (i, ip) in list.items().enumerate() {
        if i == 0 && ip.text() == "None" {
            if list.len() > 1 {
                errs.bad(list, "'None' must be the first and only value");
            }
            continue;
        }
        errs.bad_texts(&ip, names::ip(ip.text()));
    }
    let good = errs.0.len() == before;
    if list.len() > CLUSTER_IPS_MAX {
        errs.bad(list, format!("may only hold up to {CLUSTER_IPS_MAX} values"));
    }
    good
}

fn unique_ports(ports: &At<'_>, kind: &str, errs: &mut Errors) {
    let mut seen: Vec<(&str, i64)> = Vec::new();
    for port in ports.items() {
        let node = port.get("nodePort");
        if node.int() == 0 {
            continue;
        }
        if kind == "ClusterIP" {
            errs.forbidden(&node.path, "may not be used when `type` is 'ClusterIP'");
        }
        let key = (port.peek_text("protocol"), node.int());
        if seen.contains(&key) {
            errs.duplicate(&node.path, node.value);
        }
        seen.push(key);
    }
    seen.clear();
    for port in ports.items() {
        let key = (port.peek_text("protocol"), port.get("port").int());
        if seen.contains(&key) {
            // The reference shows its internal type, with the other fields empty.
            let shown = json!({"Name": "", "Protocol": key.0, "AppProtocol": null, "Port": key.1, "TargetPort": 0, "NodePort": 0});
            errs.duplicate(&port.path, &shown);
        }
        seen.push(key);
    }
}

fn load_balancer(spec: &At<'_>, kind: &str, errs: &mut Errors) {
    const WORDS: &str = "may only be used when `type` is 'LoadBalancer'";
    let ranges = spec.get("loadBalancerSourceRanges");
    if !ranges.is_empty() {
        let path = spec.path.child("LoadBalancerSourceRanges");
        if kind != "LoadBalancer" {
            errs.forbidden(&path, WORDS);
        }
        for (i, range) in ranges.texts().enumerate() {
            for words in names::cidr(range.trim()) {
                errs.invalid(&path.index(i), &Value::from(range.trim()), words);
            }
        }
    }
    let allocate = spec.get("allocateLoadBalancerNodePorts");
    if allocate.is_set() && kind != "LoadBalancer" {
        errs.forbidden(&allocate.path, WORDS);
    }
    let class = spec.get("loadBalancerClass");
    if class.is_set() && kind == "LoadBalancer" {
        errs.bad_texts(&class, names::qualified(class.text()));
    } else if class.is_set() {
        errs.forbidden(&class.path, WORDS);
    }
}

fn traffic(spec: &At<'_>, kind: &str, errs: &mut Errors) {
    let external = spec.get("externalTrafficPolicy");
    if is_externally_accessible(spec.value) {
        errs.one_of(&external, &["Cluster", "Local"]);
    } else if !external.is_empty() {
        errs.bad_text(&external, "may only be set for externally-accessible services");
    }
    let health = spec.get("healthCheckNodePort");
    if health.int() != 0 {
        if needs_health_check(spec.value) {
            errs.bad_ints(&health, names::port_number(health.int()));
        } else {
            let words =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errs.bad_int(&health, words);
        }
    }
    let internal = spec.get("internalTrafficPolicy");
    if !internal.is_set() && ["NodePort", "LoadBalancer", "ClusterIP"].contains(&kind) {
        errs.required(&internal.path, "");
    }
    errs.one_of_if_set(&internal, &["Cluster", "Local"]);
    let distribution = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    errs.one_of_if_set(&spec.get("trafficDistribution"), &distribution);
}

/// `status.loadBalancer` of a Service or an Ingress.
pub fn load_balancer_status(at: &At<'_>, errs: &mut Errors) {
    for ingress in at.get("ingress").items() {
        let (ip, mode, host) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        if !ip.is_empty() {
            errs.bad_texts(&ip, names::ip(ip.text()));
        }
        if mode.is_set() && ip.is_empty() {
            errs.forbidden(&mode.path, "may not be specified when `ip` is not set");
        } else {
            errs.one_of_if_set(&mode, &["Proxy", "VIP"]);
        }
        if !host.is_empty() {
            errs.bad_texts(&host, names::dns1123_subdomain(host.text()));
            if names::ip(host.text()).is_empty() {
                errs.bad_text(&host, "must be a DNS name, not an IP address");
            }
        }
    }
}
