//! The nftables ruleset of a cluster, as JSON for `nft -j -f -`. Pure.
//!
//! One table holds all of it and is replaced as a whole, so that no packet sees half a change. Client addresses are
//! kept; only a Pod that reaches itself through a Service, and what leaves the cluster, is masqueraded.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::ServicePort;
use crate::cidr::Cidr;

/// What the rules of one cluster are about, besides its Services.
#[derive(Clone, Debug)]
pub struct Frame {
    pub table: String,
    /// The interface of the gateway address, on which the machine would look for Services.
    pub bridge: String,
    /// The interfaces to Pods, as a pattern.
    pub from_pods: String,
    pub gateway: Ipv4Addr,
    pub pods: Cidr,
    pub services: Cidr,
}

/// A transaction that replaces the cluster's table, whether or not there is one.
pub fn ruleset(frame: &Frame, ports: &[ServicePort]) -> Value {
    let mut script = Script { table: frame.table.clone(), commands: remove(&frame.table) };
    let table = json!({"table": {"family": "ip", "name": frame.table}});
    script.commands.push(json!({"add": table}));
    let key = ["ipv4_addr", "inet_proto", "inet_service"];
    script.add("map", "services", json!({"type": key, "map": "verdict"}));
    script.add("map", "nodeports", json!({"type": key[1..], "map": "verdict"}));
    script.add("set", "hairpin", json!({"type": ["ipv4_addr", "ipv4_addr"]}));
    script.nat_chains(frame);
    script.filter_chains(frame);
    for port in ports.iter().filter(|port| !port.endpoints.is_empty()) {
        script.service(port);
    }
    let own: BTreeSet<_> =
        ports.iter().flat_map(|p| p.endpoints.iter().map(|(ip, _)| ip.to_string())).collect();
    script.elements("hairpin", own.iter().map(|ip| json!({"concat": [ip, ip]})).collect());
    json!({"nftables": script.commands})
}

/// A transaction that leaves no table of that name.
pub(crate) fn removal(table: &str) -> Value {
    json!({"nftables": remove(table)})
}

/// Adding first makes the deletion right where there is nothing to delete.
fn remove(table: &str) -> Vec<Value> {
    let table = json!({"table": {"family": "ip", "name": table}});
    vec![json!({"add": table}), json!({"delete": table})]
}

struct Script {
    table: String,
    commands: Vec<Value>,
}

impl Script {
    fn add(&mut self, what: &str, name: &str, mut body: Value) {
        body["family"] = json!("ip");
        body["table"] = json!(self.table);
        body["name"] = json!(name);
        self.commands.push(json!({"add": {what: body}}));
    }

    fn base_chain(&mut self, name: &str, kind: &str, hook: &str, prio: i32) {
        self.add("chain", name, json!({"type": kind, "hook": hook, "prio": prio, "policy": "accept"}));
    }

    fn rule(&mut self, chain: &str, expr: Vec<Value>) {
        let rule = json!({"family": "ip", "table": self.table, "chain": chain, "expr": expr});
        self.commands.push(json!({"add": {"rule": rule}}));
    }

    fn elements(&mut self, of: &str, elem: Vec<Value>) {
        if !elem.is_empty() {
            self.add("element", of, json!({"elem": elem}));
        }
    }

    fn nat_chains(&mut self, frame: &Frame) {
        // Priorities as iptables and kube-proxy have them: destination NAT at -100, source NAT at 100.
        self.base_chain("nat-prerouting", "nat", "prerouting", -100);
        self.rule(
            "nat-prerouting",
            vec![is(meta("iifname"), "==", json!(frame.from_pods)), lookup_service()],
        );
        self.rule("nat-prerouting", vec![to_this_machine(), lookup_node_port()]);
        self.base_chain("nat-output", "nat", "output", -100);
        self.rule("nat-output", vec![lookup_service()]);
        let loopback = is(ip("daddr"), "!=", prefix(Cidr::around([127, 0, 0, 0].into(), 8)));
        self.rule("nat-output", vec![loopback, to_this_machine(), lookup_node_port()]);
        self.base_chain("nat-postrouting", "nat", "postrouting", 100);
        let to_itself = is(json!({"concat": [ip("saddr"), ip("daddr")]}), "==", json!("@hairpin"));
        self.rule("nat-postrouting", vec![to_itself, json!({"snat": {"addr": frame.gateway.to_string()}})]);
        let from_pod = is(ip("saddr"), "==", prefix(frame.pods));
        let outside = is(meta("oifname"), "!=", json!(frame.from_pods));
        self.rule("nat-postrouting", vec![from_pod, outside, json!({"masquerade": null})]);
    }

    fn filter_chains(&mut self, frame: &Frame) {
        self.base_chain("filter-forward", "filter", "forward", 0);
        self.refuse("filter-forward", frame, &is(meta("iifname"), "==", json!(frame.from_pods)));
        self.base_chain("filter-output", "filter", "output", 0);
        self.refuse("filter-output", frame, &is(meta("oifname"), "==", json!(frame.bridge)));
        // A Pod that reaches itself through a Service is not to be told of a shorter way.
        let to_pods = is(meta("oifname"), "==", json!(frame.from_pods));
        let kind = json!({"payload": {"protocol": "icmp", "field": "type"}});
        self.rule("filter-output", vec![to_pods, is(kind, "==", json!("redirect")), json!({"drop": null})]);
    }

    /// Refuse what still has a Service's address after NAT: there is no such port, or no endpoint behind it.
    fn refuse(&mut self, chain: &str, frame: &Frame, way: &Value) {
        let untranslated = is(ip("daddr"), "==", prefix(frame.services));
        let tcp = is(meta("l4proto"), "==", json!("tcp"));
        // The kernel sends few ICMP errors a second to one client, and who gets none waits for a time-out.
        let reset = json!({"reject": {"type": "tcp reset"}});
        self.rule(chain, vec![way.clone(), untranslated.clone(), tcp, reset]);
        self.rule(chain, vec![way.clone(), untranslated, json!({"reject": null})]);
    }

    fn service(&mut self, port: &ServicePort) {
        let protocol = port.protocol.as_str();
        let name = format!("{}/{}/{protocol}/{}", port.namespace, port.service, port.port);
        let chain = format!("svc/{name}");
        self.add("chain", &chain, json!({}));
        if let [only] = port.endpoints[..] {
            self.rule(&chain, translate(protocol, only));
        } else {
            let mut choices = Vec::new();
            for (n, endpoint) in port.endpoints.iter().enumerate() {
                let target = format!("ep/{name}/{}/{}", endpoint.0, endpoint.1);
                self.add("chain", &target, json!({}));
                self.rule(&target, translate(protocol, *endpoint));
                choices.push(json!([n, goto(&target)]));
            }
            let key = choice(port.sticky, choices.len());
            self.rule(&chain, vec![json!({"vmap": {"key": key, "data": {"set": choices}}})]);
        }
        let target = goto(&chain);
        let entries = port.cluster_ips.iter().map(|ip| {
            let key = json!({"concat": [ip.to_string(), protocol, port.port]});
            json!([key, target])
        });
        self.elements("services", entries.collect());
        let node = port.node_port.map(|node| json!([{"concat": [protocol, node]}, target]));
        self.elements("nodeports", node.into_iter().collect());
    }
}

/// A number below `count`: a new one for every connection, or always the same for one client.
fn choice(sticky: bool, count: usize) -> Value {
    if sticky {
        json!({"jhash": {"mod": count, "expr": ip("saddr")}})
    } else {
        json!({"numgen": {"mode": "random", "mod": count}})
    }
}

fn translate(protocol: &str, (ip, port): (Ipv4Addr, u16)) -> Vec<Value> {
    let is_protocol = is(meta("l4proto"), "==", json!(protocol));
    vec![is_protocol, json!({"dnat": {"addr": ip.to_string(), "port": port}})]
}

fn goto(chain: &str) -> Value {
    json!({"goto": {"target": chain}})
}

fn is(left: Value, op: &str, right: Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

fn ip(field: &str) -> Value {
    json!({"payload": {"protocol": "ip", "field": field}})
}

fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

fn prefix(range: Cidr) -> Value {
    json!({"prefix": {"addr": range.addr().to_string(), "len": range.prefix_len()}})
}

fn to_this_machine() -> Value {
    is(json!({"fib": {"result": "type", "flags": ["daddr"]}}), "==", json!("local"))
}

fn protocol_and_port() -> [Value; 2] {
    [meta("l4proto"), json!({"payload": {"protocol": "th", "field": "dport"}})]
}

fn lookup_service() -> Value {
    let [protocol, port] = protocol_and_port();
    json!({"vmap": {"key": {"concat": [ip("daddr"), protocol, port]}, "data": "@services"}})
}

fn lookup_node_port() -> Value {
    json!({"vmap": {"key": {"concat": protocol_and_port()}, "data": "@nodeports"}})
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::proxy::Protocol;

    fn frame() -> Frame {
        Frame {
            table: "coracle-t".into(),
            bridge: "cor-t".into(),
            from_pods: "vt-*".into(),
            gateway: [10, 244, 0, 1].into(),
            pods: "10.244.0.0/24".parse().unwrap(),
            services: "10.96.0.0/12".parse().unwrap(),
        }
    }

    fn port(endpoints: &[(&str, u16)]) -> ServicePort {
        ServicePort {
            namespace: "ns".into(),
            service: "web".into(),
            protocol: Protocol::Tcp,
            cluster_ips: vec![[10, 96, 0, 7].into()],
            port: 80,
            node_port: Some(30080),
            sticky: false,
            endpoints: endpoints.iter().map(|(ip, port)| (ip.parse().unwrap(), *port)).collect(),
        }
    }

    /// What a Service adds to the frame.
    fn added(port: ServicePort) -> String {
        let bare = ruleset(&frame(), &[]);
        let full = ruleset(&frame(), &[port]);
        let bare = bare["nftables"].as_array().unwrap();
        let lines = full["nftables"].as_array().unwrap().iter().filter(|command| !bare.contains(command));
        lines
            .map(|line| line["add"].to_string().replace(r#","family":"ip","table":"coracle-t""#, "") + "\n")
            .collect()
    }

    #[test]
    fn one_endpoint_is_led_to_at_once() {
        expect![[r#"
            {"chain":{"family":"ip","table":"coracle-t","name":"svc/ns/web/tcp/80"}}
            {"rule":{"family":"ip","table":"coracle-t","chain":"svc/ns/web/tcp/80","expr":[{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"dnat":{"addr":"10.244.0.2","port":8080}}]}}
            {"element":{"elem":[[{"concat":["10.96.0.7","tcp",80]},{"goto":{"target":"svc/ns/web/tcp/80"}}]],"name":"services"}}
            {"element":{"elem":[[{"concat":["tcp",30080]},{"goto":{"target":"svc/ns/web/tcp/80"}}]],"name":"nodeports"}}
            {"element":{"elem":[{"concat":["10.244.0.2","10.244.0.2"]}],"name":"hairpin"}}
        "#]].assert_eq(&added(port(&[("10.244.0.2", 8080)])));
    }

    #[test]
    fn several_endpoints_take_turns() {
        expect![[r#"
            {"chain":{"family":"ip","table":"coracle-t","name":"svc/ns/web/tcp/80"}}
            {"chain":{"family":"ip","table":"coracle-t","name":"ep/ns/web/tcp/80/10.244.0.2/8080"}}
            {"rule":{"family":"ip","table":"coracle-t","chain":"ep/ns/web/tcp/80/10.244.0.2/8080","expr":[{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"dnat":{"addr":"10.244.0.2","port":8080}}]}}
            {"chain":{"family":"ip","table":"coracle-t","name":"ep/ns/web/tcp/80/10.244.0.3/8080"}}
            {"rule":{"family":"ip","table":"coracle-t","chain":"ep/ns/web/tcp/80/10.244.0.3/8080","expr":[{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"dnat":{"addr":"10.244.0.3","port":8080}}]}}
            {"rule":{"family":"ip","table":"coracle-t","chain":"svc/ns/web/tcp/80","expr":[{"vmap":{"key":{"numgen":{"mode":"random","mod":2}},"data":{"set":[[0,{"goto":{"target":"ep/ns/web/tcp/80/10.244.0.2/8080"}}],[1,{"goto":{"target":"ep/ns/web/tcp/80/10.244.0.3/8080"}}]]}}}]}}
            {"element":{"elem":[[{"concat":["10.96.0.7","tcp",80]},{"goto":{"target":"svc/ns/web/tcp/80"}}]],"name":"services"}}
            {"element":{"elem":[[{"concat":["tcp",30080]},{"goto":{"target":"svc/ns/web/tcp/80"}}]],"name":"nodeports"}}
            {"element":{"elem":[{"concat":["10.244.0.2","10.244.0.2"]},{"concat":["10.244.0.3","10.244.0.3"]}],"name":"hairpin"}}
        "#]].assert_eq(&added(port(&[("10.244.0.2", 8080), ("10.244.0.3", 8080)])));
    }

    #[test]
    fn a_sticky_port_chooses_by_client() {
        let sticky = ServicePort { sticky: true, ..port(&[("10.244.0.2", 8080), ("10.244.0.3", 8080)]) };
        assert!(
            added(sticky).contains(
                r#""key":{"jhash":{"mod":2,"expr":{"payload":{"protocol":"ip","field":"saddr"}}}}"#
            )
        );
    }

    #[test]
    fn a_port_without_endpoints_is_left_to_be_refused() {
        assert_eq!(added(port(&[])), "");
    }
}
