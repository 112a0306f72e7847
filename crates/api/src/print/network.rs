//! Services, endpoints, Ingresses and network policies in tables.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cell::{NONE, UNSET, age, labels, name, number, selector, some_of, string, text_or};
use super::{AGE, Column, Columns, NAME, text as column};
use crate::object::{at, items, text};

/// How many of a list of endpoints, ports or hosts are shown.
const SHOWN: usize = 3;

pub static SERVICE: Columns = Columns {
    columns: &[
        NAME,
        column("Type"),
        column("Cluster-IP"),
        column("External-IP"),
        column("Port(s)"),
        AGE,
        Column::wide("Selector"),
    ],
    cells: |obj, now| {
        vec![
            name(obj),
            string(text(obj, &["spec", "type"])),
            string(text_or(obj, &["spec", "clusterIP"], NONE)),
            string(external_ip(obj)),
            string(service_ports(obj)),
            age(obj, now),
            labels(at(obj, &["spec", "selector"])),
        ]
    },
};

fn external_ip(service: &Value) -> String {
    let mut ips: Vec<&str> =
        items(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    let otherwise = match text(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => NONE,
        "LoadBalancer" => {
            ips.splice(0..0, load_balancer(service));
            "<pending>"
        }
        "ExternalName" => return text(service, &["spec", "externalName"]).to_owned(),
        _ => return super::cell::UNKNOWN.to_owned(),
    };
    if ips.is_empty() { otherwise.to_owned() } else { ips.join(",") }
}

/// The addresses or names of a load balancer, sorted.
fn load_balancer(obj: &Value) -> BTreeSet<&str> {
    let ingress = items(obj, &["status", "loadBalancer", "ingress"]).iter();
    ingress.map(|i| text_or(i, &["ip"], text(i, &["hostname"]))).filter(|a| !a.is_empty()).collect()
}

fn service_ports(service: &Value) -> String {
    let port = |p: &Value| {
        let (port, protocol) = (number(p, &["port"]), text(p, &["protocol"]));
        match number(p, &["nodePort"]) {
            n if n > 0 => format!("{port}:{n}/{protocol}"),
            _ => format!("{port}/{protocol}"),
        }
    };
    let ports: Vec<String> = items(service, &["spec", "ports"]).iter().map(port).collect();
    if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }
}

pub static ENDPOINTS: Columns = Columns {
    columns: &[NAME, column("Endpoints"), AGE],
    cells: |obj, now| vec![name(obj), string(endpoints(obj)), age(obj, now)],
};

fn endpoints(obj: &Value) -> String {
    let mut found = Vec::new();
    let subsets = items(obj, &["subsets"]);
    for subset in subsets {
        let ips = || items(subset, &["addresses"]).iter().map(|a| text(a, &["ip"]));
        let ports = items(subset, &["ports"]);
        if ports.is_empty() {
            found.extend(ips().map(str::to_owned));
        }
        for port in ports {
            let port = number(port, &["port"]);
            found.extend(
                ips().map(
                    |ip| {
                        if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
                    },
                ),
            );
        }
    }
    if subsets.is_empty() { NONE.to_owned() } else { some_of(&found, SHOWN) }
}

pub static ENDPOINT_SLICE: Columns = Columns {
    columns: &[NAME, column("AddressType"), column("Ports"), column("Endpoints"), AGE],
    cells: |obj, now| {
        let port = |p: &Value| match at(p, &["port"]).as_i64() {
            Some(n) => n.to_string(),
            None => text_or(p, &["name"], "*").to_owned(),
        };
        let first =
            |e: &Value| items(e, &["addresses"]).first().and_then(Value::as_str).unwrap_or("").to_owned();
        let ports: Vec<String> = items(obj, &["ports"]).iter().map(port).collect();
        let addresses: Vec<String> = items(obj, &["endpoints"]).iter().map(first).collect();
        let list = |l: &[String]| string(if l.is_empty() { UNSET.to_owned() } else { some_of(l, SHOWN) });
        vec![name(obj), string(text(obj, &["addressType"])), list(&ports), list(&addresses), age(obj, now)]
    },
};

pub static INGRESS: Columns = Columns {
    columns: &[NAME, column("Class"), column("Hosts"), column("Address"), column("Ports"), AGE],
    cells: |obj, now| {
        let rules = items(obj, &["spec", "rules"]);
        let hosts: Vec<&str> = rules.iter().map(|r| text(r, &["host"])).filter(|h| !h.is_empty()).collect();
        let shown = if hosts.is_empty() {
            "*".to_owned()
        } else if hosts.len() > SHOWN {
            format!("{} + {} more...", hosts[..SHOWN].join(","), rules.len() - SHOWN)
        } else {
            hosts.join(",")
        };
        let address = load_balancer(obj).into_iter().collect::<Vec<_>>().join(",");
        let ports = if items(obj, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
        vec![
            name(obj),
            string(text_or(obj, &["spec", "ingressClassName"], NONE)),
            string(shown),
            string(address),
            string(ports),
            age(obj, now),
        ]
    },
};

pub static INGRESS_CLASS: Columns = Columns {
    columns: &[NAME, column("Controller"), column("Parameters"), AGE],
    cells: |obj, now| {
        let parameters = at(obj, &["spec", "parameters"]);
        let shown = if parameters.is_null() {
            NONE.to_owned()
        } else {
            let kind = text(parameters, &["kind"]);
            let group = text(parameters, &["apiGroup"]);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", text(parameters, &["name"]))
        };
        vec![name(obj), string(text(obj, &["spec", "controller"])), string(shown), age(obj, now)]
    },
};

pub static NETWORK_POLICY: Columns = Columns {
    columns: &[NAME, column("Pod-Selector"), AGE],
    cells: |obj, now| {
        let chosen = at(obj, &["spec", "podSelector"]);
        vec![name(obj), selector(chosen), age(obj, now)]
    },
};

pub static SERVICE_CIDR: Columns = Columns {
    columns: &[NAME, column("CIDRs"), AGE],
    cells: |obj, now| {
        let cidrs: Vec<&str> = items(obj, &["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
        vec![name(obj), string(cidrs.join(",")), age(obj, now)]
    },
};

pub static IP_ADDRESS: Columns = Columns {
    columns: &[NAME, column("ParentRef")],
    cells: |obj, _| {
        let parent = at(obj, &["spec", "parentRef"]);
        let parts = ["resource", "group", "namespace", "name"].map(|k| text(parent, &[k]));
        let [resource, group, namespace, parent_name] = parts;
        let dotted = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let shown = match namespace {
            "" => format!("{dotted}/{parent_name}"),
            ns => format!("{dotted}/{ns}/{parent_name}"),
        };
        vec![name(obj), string(shown)]
    },
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::print::Now;
    use crate::print::Print as _;

    #[test]
    fn prints_services_as_recorded() {
        let s = json!({"metadata": {"name": "h"}, "spec": {"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 80, "protocol": "TCP"}]}});
        assert_eq!(
            SERVICE.cells(&s, Now::At(0))[..5],
            ["h", "ClusterIP", "None", "<none>", "80/TCP"].map(Value::from)
        );
        let s = json!({"metadata": {"name": "l"}, "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "externalIPs": ["9.9.9.9"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]},
            "status": {"loadBalancer": {"ingress": [{"hostname": "x"}, {"ip": "1.2.3.4"}]}}});
        assert_eq!(
            SERVICE.cells(&s, Now::At(0))[3..5],
            ["1.2.3.4,x,9.9.9.9", "80:30080/TCP"].map(Value::from)
        );
    }

    #[test]
    fn shows_some_endpoints() {
        let ep = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "::1"}], "ports": [{"port": 1}, {"port": 2}]}]});
        assert_eq!(ENDPOINTS.cells(&ep, Now::At(0))[1], "10.0.0.1:1,[::1]:1,10.0.0.1:2 + 1 more...");
        assert_eq!(ENDPOINTS.cells(&json!({}), Now::At(0))[1], "<none>");
    }
}
