//! From Services and EndpointSlices to ports with their endpoints. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Service, ServicePort as ApiPort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// The label by which a slice names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// `None` for what is not proxied.
    fn parse(name: Option<&str>) -> Option<Protocol> {
        match name {
            None | Some("" | "TCP") => Some(Protocol::Tcp),
            Some("UDP") => Some(Protocol::Udp),
            Some(_) => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One port of one Service and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub namespace: String,
    pub service: String,
    pub protocol: Protocol,
    pub cluster_ips: Vec<Ipv4Addr>,
    pub port: u16,
    pub node_port: Option<u16>,
    /// One client is always led to the same endpoint.
    pub sticky: bool,
    pub endpoints: Vec<(Ipv4Addr, u16)>,
}

/// All ports of all Services that have a cluster IP, in a stable order.
pub fn plan(services: &[&Service], slices: &[&EndpointSlice]) -> Vec<ServicePort> {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        by_service.entry((namespace, name.map_or("", String::as_str))).or_default().push(slice);
    }
    let mut ports: Vec<_> = services
        .iter()
        .flat_map(|service| {
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let slices = by_service.get(&(namespace, name)).map_or(&[][..], Vec::as_slice);
            service_ports(service, namespace, name, slices)
        })
        .collect();
    ports.sort_by(|a, b| key(a).cmp(&key(b)));
    ports
}

fn key(port: &ServicePort) -> (&str, &str, Protocol, u16) {
    (&port.namespace, &port.service, port.protocol, port.port)
}

fn service_ports(
    service: &Service,
    namespace: &str,
    name: &str,
    slices: &[&EndpointSlice],
) -> Vec<ServicePort> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let cluster_ips = cluster_ips(service);
    if cluster_ips.is_empty() || spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let protocol = Protocol::parse(port.protocol.as_deref())?;
            Some(ServicePort {
                namespace: namespace.to_owned(),
                service: name.to_owned(),
                protocol,
                cluster_ips: cluster_ips.clone(),
                port: u16::try_from(port.port).ok()?,
                node_port: port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0),
                sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
                endpoints: endpoints(port, protocol, slices),
            })
        })
        .collect()
}

/// The IPv4 cluster IPs; none for a headless Service.
pub(crate) fn cluster_ips(service: &Service) -> Vec<Ipv4Addr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let parsed: BTreeSet<Ipv4Addr> = all.filter_map(|ip| ip.parse().ok()).collect();
    parsed.into_iter().collect()
}

/// Ready endpoints; where there are none, those that still serve while they terminate.
fn endpoints(port: &ApiPort, protocol: Protocol, slices: &[&EndpointSlice]) -> Vec<(Ipv4Addr, u16)> {
    let wanted = port.name.as_deref().unwrap_or_default();
    let mut ready = BTreeSet::new();
    let mut leaving = BTreeSet::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten().filter(|p| {
            p.name.as_deref().unwrap_or_default() == wanted
                && Protocol::parse(p.protocol.as_deref()) == Some(protocol)
        });
        for target in ports.filter_map(|p| u16::try_from(p.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten() {
                let into = match state(endpoint) {
                    State::Ready => &mut ready,
                    State::Leaving => &mut leaving,
                    State::Unready => continue,
                };
                into.extend(usable_addresses(endpoint).map(|ip| (ip, target)));
            }
        }
    }
    let chosen = if ready.is_empty() { leaving } else { ready };
    chosen.into_iter().collect()
}

enum State {
    Ready,
    /// Terminating, but still answering.
    Leaving,
    Unready,
}

fn state(endpoint: &Endpoint) -> State {
    let conditions = endpoint.conditions.as_ref();
    let is = |condition: Option<bool>, default| condition.unwrap_or(default);
    if conditions.is_none_or(|c| is(c.ready, true)) {
        State::Ready
    } else if conditions.is_some_and(|c| is(c.serving, false) && is(c.terminating, false)) {
        State::Leaving
    } else {
        State::Unready
    }
}

/// An endpoint must not lead to the machine itself by the back door, nor to metadata services: CVE-2021-25740 and its
/// kind are about addresses that whoever wrote the slice could not reach without us.
pub(crate) fn usable_addresses(endpoint: &Endpoint) -> impl Iterator<Item = Ipv4Addr> {
    let parsed = endpoint.addresses.iter().filter_map(|ip| ip.parse::<Ipv4Addr>().ok());
    parsed.filter(|ip| {
        !ip.is_loopback()
            && !ip.is_link_local()
            && !ip.is_unspecified()
            && !ip.is_multicast()
            && !ip.is_broadcast()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn service(name: &str, spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap()
    }

    pub(crate) fn slice(service: &str, ports: Value, endpoints: Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{service}-x"), "namespace": "ns", "labels": {SERVICE_NAME: service}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn check(services: &[Service], slices: &[EndpointSlice], expected: Expect) {
        let ports = plan(&services.iter().collect::<Vec<_>>(), &slices.iter().collect::<Vec<_>>());
        let lines = ports.iter().map(|p| {
            format!(
                "{} {} {:?}:{} node {:?} sticky {} -> {:?}\n",
                p.service,
                p.protocol.as_str(),
                p.cluster_ips,
                p.port,
                p.node_port,
                p.sticky,
                p.endpoints
            )
        });
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn ports_lead_to_ready_endpoints_of_their_name() {
        let services = [
            service(
                "web",
                json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "type": "NodePort",
                       "sessionAffinity": "ClientIP",
                       "ports": [{"name": "http", "port": 80, "nodePort": 30080},
                                 {"name": "dns", "port": 53, "protocol": "UDP"},
                                 {"name": "sctp", "port": 9, "protocol": "SCTP"}]}),
            ),
            service("headless", json!({"clusterIP": "None", "ports": [{"port": 80}]})),
            service("far", json!({"type": "ExternalName", "externalName": "example.com"})),
        ];
        let slices = [slice(
            "web",
            json!([{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}]),
            json!([{"addresses": ["10.244.0.3"]},
                   {"addresses": ["10.244.0.2"], "conditions": {"ready": true}},
                   {"addresses": ["10.244.0.4"], "conditions": {"ready": false}},
                   {"addresses": ["127.0.0.1"]}, {"addresses": ["169.254.169.254"]}]),
        )];
        check(
            &services,
            &slices,
            expect![[r#"
                web tcp [10.96.0.7]:80 node Some(30080) sticky true -> [(10.244.0.2, 8080), (10.244.0.3, 8080)]
                web udp [10.96.0.7]:53 node None sticky true -> [(10.244.0.2, 5353), (10.244.0.3, 5353)]
            "#]],
        );
    }

    #[test]
    fn terminating_endpoints_serve_when_no_other_does() {
        let web = service("web", json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}));
        let leaving = json!({"ready": false, "serving": true, "terminating": true});
        let ports = json!([{"port": 80, "protocol": "TCP"}]);
        let slice = slice(
            "web",
            ports,
            json!([{"addresses": ["10.244.0.2"], "conditions": leaving},
                   {"addresses": ["10.244.0.3"], "conditions": {"ready": false}}]),
        );
        check(
            &[web],
            &[slice],
            expect![[r#"
                web tcp [10.96.0.7]:80 node None sticky false -> [(10.244.0.2, 80)]
            "#]],
        );
    }
}
