//! The rules of discovery.k8s.io: EndpointSlices.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::core::endpoints::non_special_ip;
use super::core::pod::containers::PROTOCOLS;
use super::core::pod::defaults::{children, set, set_pointer};
use crate::at::At;
use crate::field::Errors;
use crate::meta;
use crate::names;
use crate::object::{at, map_mut};
use crate::rules::{Rules, Write};

#[derive(Debug)]
pub struct EndpointSlice;

/// The bounds of one slice: what a watcher is asked to read at a time.
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;
const HINTS_MAX: usize = 8;

impl Rules for EndpointSlice {
    fn default(&self, obj: &mut Value) {
        for port in children(map_mut(obj), "ports") {
            set_pointer(port, "name", "");
            set(port, "protocol", "TCP");
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let slice = At::root(obj);
        errs.one_of(&slice.get("addressType"), &["FQDN", "IPv4", "IPv6"]);
        endpoints(&slice, errs);
        ports(&slice.get("ports"), errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            errs.immutable(&At::root(obj).get("addressType"), at(old, &["addressType"]));
        }
    }
}

fn endpoints(slice: &At<'_>, errs: &mut Errors) {
    let list = slice.get("endpoints");
    if list.len() > ENDPOINTS_MAX {
        errs.too_many(&list.path, list.len(), ENDPOINTS_MAX);
        return;
    }
    for endpoint in list.items() {
        let addresses = endpoint.get("addresses");
        if addresses.is_empty() {
            errs.required(&addresses.path, "must contain at least 1 address");
        } else if addresses.len() > ADDRESSES_MAX {
            errs.too_many(&addresses.path, addresses.len(), ADDRESSES_MAX);
        }
        for address in addresses.items() {
            check_address(&address, slice.peek_text("addressType"), errs);
        }
        let (node, host) = (endpoint.get("nodeName"), endpoint.get("hostname"));
        if node.is_set() {
            errs.bad_texts(&node, names::dns_subdomain(node.text(), false));
        }
        meta::labels(&endpoint.get("deprecatedTopology"), errs);
        if host.is_set() {
            errs.bad_texts(&host, names::dns1123_label(host.text()));
        }
        hints(&endpoint.get("hints"), errs);
    }
}

fn check_address(at: &At<'_>, kind: &str, errs: &mut Errors) {
    match kind {
        "IPv4" => {
            if at.text().parse::<Ipv4Addr>().is_err() {
                errs.bad_text(at, "must be a valid IPv4 address");
            }
            non_special_ip(at, errs);
        }
        "IPv6" => {
            if at.text().parse::<Ipv6Addr>().is_err() {
                errs.bad_text(at, "must be a valid IPv6 address");
            }
            non_special_ip(at, errs);
        }
        "FQDN" => {
            let name = at.text().strip_suffix('.').unwrap_or(at.text());
            let said = names::dns1123_subdomain(name);
            if name.is_empty() {
                errs.required(&at.path, "");
            } else if !said.is_empty() {
                errs.invalid(&at.path, &Value::from(name), said.join(","));
            } else if !name.contains('.') {
                let words = "should be a domain with at least two segments separated by dots";
                errs.invalid(&at.path, &Value::from(name), words);
            }
        }
        _ => {}
    }
}

fn hints(at: &At<'_>, errs: &mut Errors) {
    for kind in ["forZones", "forNodes"] {
        let list = at.get(kind);
        if list.len() > HINTS_MAX {
            errs.too_many(&list.path, list.len(), HINTS_MAX);
            continue;
        }
        let mut seen: Vec<&str> = Vec::new();
        for hint in list.items() {
            let name = hint.get("name");
            if seen.contains(&name.text()) {
                errs.duplicate(&name.path, name.value);
            }
            seen.push(name.text());
            errs.bad_texts(&name, names::label_value(name.text()));
        }
    }
}

fn ports(at: &At<'_>, errs: &mut Errors) {
    if at.len() > PORTS_MAX {
        errs.too_many(&at.path, at.len(), PORTS_MAX);
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for port in at.items() {
        let (name, app) = (port.get("name"), port.get("appProtocol"));
        if !name.is_empty() {
            errs.bad_texts(&name, names::dns1123_label(name.text()));
        }
        if seen.contains(&name.text()) {
            errs.duplicate(&name.path, &Value::from(name.text()));
        }
        seen.push(name.text());
        errs.one_of(&port.get("protocol"), &PROTOCOLS);
        if port.has("port") {
            let number = port.get("port");
            errs.bad_ints(&number, names::in_range(number.int(), 0, 65535));
        }
        if app.is_set() {
            errs.bad_texts(&app, names::qualified(app.text()));
        }
    }
}
