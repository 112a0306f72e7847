//! What the cluster's zone says, prepared from Services and EndpointSlices. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::cidr::Cidr;
use crate::proxy::{SERVICE_NAME, cluster_ips, usable_addresses};

/// What is true of the zone whatever the Services are.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Like `cluster.local`.
    pub domain: Name,
    /// The DNS Service's address, which the zone's own name server has.
    pub dns_ip: Ipv4Addr,
    /// Addresses of the cluster: who has one that is not known here is not asked for elsewhere.
    pub ranges: Vec<Cidr>,
}

/// The zone and its contents at one time.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) zone: Zone,
    /// By namespace and name.
    services: BTreeMap<(String, String), Entry>,
    namespaces: BTreeSet<String>,
    pointers: BTreeMap<Ipv4Addr, BTreeSet<String>>,
    pub(super) serial: u32,
}

/// One Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where an ExternalName Service points.
    pub(super) alias: Option<String>,
    /// Empty for a headless Service.
    pub(super) cluster_ips: Vec<Ipv4Addr>,
    pub(super) ports: Vec<Port>,
    pub(super) endpoints: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    /// In lower case, as in `_tcp`.
    pub(super) protocol: String,
    pub(super) number: u16,
}

/// One address of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) ip: Ipv4Addr,
    /// Its label under the Service's name: the hostname, or the address with dashes.
    pub(super) label: String,
    pub(super) ports: Vec<Port>,
}

impl Records {
    /// `serial` must grow when the contents change.
    pub fn new(zone: Zone, serial: u32, services: &[&Service], slices: &[&EndpointSlice]) -> Records {
        let mut members = members(slices);
        let mut records = Records {
            zone,
            services: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            pointers: BTreeMap::new(),
            serial,
        };
        for service in services {
            let key = (
                service.metadata.namespace.clone().unwrap_or_default(),
                service.metadata.name.clone().unwrap_or_default(),
            );
            let endpoints = members.remove(&key).unwrap_or_default();
            records.add(key, entry(service, endpoints));
        }
        records
    }

    fn add(&mut self, key: (String, String), entry: Entry) {
        let (namespace, name) = &key;
        for ip in &entry.cluster_ips {
            self.pointers.entry(*ip).or_default().insert(format!("{name}.{namespace}.svc"));
        }
        for member in &entry.endpoints {
            let pointer = format!("{}.{name}.{namespace}.svc", member.label);
            self.pointers.entry(member.ip).or_default().insert(pointer);
        }
        self.namespaces.insert(namespace.clone());
        self.services.insert(key, entry);
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.services.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// The names of an address, relative to the zone.
    pub(super) fn names_of(&self, ip: Ipv4Addr) -> impl Iterator<Item = &str> {
        self.pointers.get(&ip).into_iter().flatten().map(String::as_str)
    }
}

fn entry(service: &Service, endpoints: Vec<Member>) -> Entry {
    let Some(spec) = &service.spec else { return Entry::default() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Entry { alias: spec.external_name.clone(), ..Entry::default() };
    }
    let ports = spec.ports.iter().flatten();
    let ports = ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port));
    Entry { alias: None, cluster_ips: cluster_ips(service), ports: ports.collect(), endpoints }
}

fn port(name: Option<&str>, protocol: Option<&str>, number: i32) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_owned(),
        protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
        number: u16::try_from(number).ok()?,
    })
}

fn members(slices: &[&EndpointSlice]) -> BTreeMap<(String, String), Vec<Member>> {
    let mut members: BTreeMap<_, Vec<Member>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let labels = slice.metadata.labels.as_ref();
        let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) else { continue };
        let ports = slice.ports.iter().flatten();
        let ports: Vec<_> =
            ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port?)).collect();
        let key = (slice.metadata.namespace.clone().unwrap_or_default(), service.clone());
        let of_service = members.entry(key).or_default();
        for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
            of_service.extend(usable_addresses(endpoint).map(|ip| Member {
                ip,
                label: endpoint.hostname.clone().unwrap_or_else(|| ip.to_string().replace('.', "-")),
                ports: ports.clone(),
            }));
        }
    }
    for of_service in members.values_mut() {
        of_service.sort_by(|a, b| (a.ip, &a.label).cmp(&(b.ip, &b.label)));
    }
    members
}

/// Whoever wants endpoints that are not ready says so in the Service, and then the slice calls them ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}
