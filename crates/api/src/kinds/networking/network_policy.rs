//! The rules of NetworkPolicies.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::pod::defaults::{children, set_pointer};
use crate::meta;
use crate::names;
use crate::object::map_at_mut;
use crate::rules::Rules;

#[derive(Debug)]
pub struct NetworkPolicy;

impl Rules for NetworkPolicy {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        for direction in ["ingress", "egress"] {
            for rule in children(spec, direction) {
                for port in children(rule, "ports") {
                    set_pointer(port, "protocol", "TCP");
                }
            }
        }
        if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let has_egress = spec.get("egress").and_then(Value::as_array).is_some_and(|e| !e.is_empty());
            let types = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".into(), types);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        meta::label_selector(&spec.get("podSelector"), errs);
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec.get(direction).items() {
                for port in rule.get("ports").items() {
                    check_port(&port, errs);
                }
                for peer in rule.get(peers).items() {
                    check_peer(&peer, errs);
                }
            }
        }
        let types = spec.get("policyTypes");
        if types.len() > 2 {
            errs.bad(&types, "may not specify more than two policyTypes");
            return;
        }
        for kind in types.items() {
            errs.one_of_if_set(&kind, &["Ingress", "Egress"]);
        }
    }
}

fn check_port(at: &At<'_>, errs: &mut Errors) {
    errs.one_of_if_set(&at.get("protocol"), &["TCP", "UDP", "SCTP"]);
    let (port, end) = (at.get("port"), at.get("endPort"));
    match port.value {
        Value::Null if end.is_set() => {
            errs.bad_int(&end, "may not be specified when `port` is not specified");
        }
        Value::Null => {}
        Value::String(name) => {
            if end.is_set() {
                errs.bad_int(&end, "may not be specified when `port` is non-numeric");
            }
            errs.bad_texts(&port, names::port_name(name));
        }
        _ => {
            errs.bad_ints(&port, names::port_number(port.int()));
            if end.is_set() {
                if end.int() < port.int() {
                    errs.bad_int(&end, "must be greater than or equal to `port`");
                }
                errs.bad_ints(&end, names::port_number(end.int()));
            }
        }
    }
}

fn check_peer(at: &At<'_>, errs: &mut Errors) {
    let (pods, namespaces, block) = (at.get("podSelector"), at.get("namespaceSelector"), at.get("ipBlock"));
    meta::label_selector(&pods, errs);
    meta::label_selector(&namespaces, errs);
    if block.is_set() {
        ip_block(&block, errs);
    }
    let selects = pods.is_set() || namespaces.is_set();
    if !selects && !block.is_set() {
        errs.required(&at.path, "must specify a peer");
    } else if selects && block.is_set() {
        errs.forbidden(&at.path, "may not specify both ipBlock and another peer");
    }
}

fn ip_block(at: &At<'_>, errs: &mut Errors) {
    let whole = at.get("cidr");
    if whole.is_empty() {
        errs.required(&whole.path, "");
        return;
    }
    errs.bad_texts(&whole, names::cidr(whole.text()));
    for except in at.get("except").items() {
        let said = names::cidr(except.text());
        if said.is_empty() && !is_strictly_inside(except.text(), whole.text()) {
            errs.bad_text(&except, "must be a strict subset of `cidr`");
        }
        errs.bad_texts(&except, said);
    }
}

fn block(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    Some((address.parse().ok()?, bits.parse().ok()?))
}

fn is_strictly_inside(inner: &str, outer: &str) -> bool {
    let (Some((inner, inner_bits)), Some((outer, outer_bits))) = (block(inner), block(outer)) else {
        return true;
    };
    let head = |value: u128, width: u32| value.checked_shr(width - outer_bits).unwrap_or(0);
    let contains = match (inner, outer) {
        (IpAddr::V4(a), IpAddr::V4(b)) => head(u32::from(a).into(), 32) == head(u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => head(a.into(), 128) == head(b.into(), 128),
        _ => false,
    };
    contains && inner_bits > outer_bits
}
