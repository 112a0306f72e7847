//! The rules of Endpoints, and which addresses may stand behind a Service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::pod::containers::PROTOCOLS;
use super::pod::defaults::{children, set};
use crate::at::At;
use crate::field::Errors;
use crate::names;
use crate::object::map_mut;
use crate::rules::{Rules, facts};

#[derive(Debug)]
pub struct Endpoints;

impl Rules for Endpoints {
    fn default(&self, obj: &mut Value) {
        for subset in children(map_mut(obj), "subsets") {
            for port in children(subset, "ports") {
                set(port, "protocol", "TCP");
            }
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        for subset in At::root(obj).get("subsets").items() {
            let (ready, waiting) = (subset.get("addresses"), subset.get("notReadyAddresses"));
            if ready.is_empty() && waiting.is_empty() {
                errs.required(&subset.path, "must specify `addresses` or `notReadyAddresses`");
            }
            for address in ready.items().chain(waiting.items()) {
                check_address(&address, errs);
            }
            let ports = subset.get("ports");
            for port in ports.items() {
                check_port(&port, ports.len() > 1, errs);
            }
        }
    }

    fn deprecation(&self) -> Option<&str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    facts!(uncounted, upsert);
}

fn check_address(at: &At<'_>, errs: &mut Errors) {
    let ip = at.get("ip");
    errs.bad_texts(&ip, names::ip(ip.text()));
    let hostname = at.get("hostname");
    if !hostname.is_empty() {
        errs.bad_texts(&hostname, names::dns1123_label(hostname.text()));
    }
    let node = at.get("nodeName");
    if node.is_set() {
        errs.bad_texts(&node, names::dns_subdomain(node.text(), false));
    }
    non_special_ip(&ip, errs);
}

fn check_port(port: &At<'_>, need_name: bool, errs: &mut Errors) {
    let name = port.get("name");
    if name.is_empty() && need_name {
        errs.required(&name.path, "");
    } else if !name.is_empty() {
        errs.bad_texts(&name, names::dns1123_label(name.text()));
    }
    let number = port.get("port");
    errs.bad_ints(&number, names::port_number(number.int()));
    errs.one_of(&port.get("protocol"), &PROTOCOLS);
    let app = port.get("appProtocol");
    if app.is_set() {
        errs.bad_texts(&app, names::qualified(app.text()));
    }
}

/// Loopback and link-local addresses mean another machine to everyone who reads them.
pub fn non_special_ip(at: &At<'_>, errs: &mut Errors) {
    let Ok(ip) = at.text().parse::<IpAddr>() else {
        errs.bad_text(at, "must be a valid IP address");
        return;
    };
    if ip.is_unspecified() {
        errs.bad_text(at, format!("may not be unspecified ({})", at.text()));
    }
    if ip.is_loopback() {
        errs.bad_text(at, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (unicast, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == Ipv4Addr::new(224, 0, 0, 0).octets()[..3]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), is_link_local_multicast(ip)),
    };
    if unicast {
        errs.bad_text(at, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        errs.bad_text(at, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

fn is_link_local_multicast(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xff0f == 0xff02
}
