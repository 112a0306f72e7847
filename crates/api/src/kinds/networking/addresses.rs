//! The rules of ServiceCIDRs and IPAddresses.

use std::net::IpAddr;

use serde_json::Value;

use crate::at::{At, same};
use crate::field::Errors;
use crate::names;
use crate::object::at;
use crate::rules::{Rules, Write, facts};

#[derive(Debug)]
pub struct ServiceCidr;

#[derive(Debug)]
pub struct IpAddress;

/// One block a family.
const CIDRS_MAX: usize = 2;

impl Rules for ServiceCidr {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let cidrs = At::root(obj).get("spec").get("cidrs");
        if cidrs.is_empty() {
            errs.required(&cidrs.path, "at least one CIDR required");
            return;
        }
        if cidrs.len() > CIDRS_MAX {
            errs.bad(&cidrs, "may only hold up to 2 values");
            return;
        }
        for cidr in cidrs.items() {
            errs.bad_texts(&cidr, names::cidr(cidr.text()));
        }
        let v6 = cidrs.texts().filter(|c| c.contains(':')).count();
        if cidrs.len() == CIDRS_MAX && v6 != 1 {
            errs.bad(
                &cidrs,
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            );
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj).get("spec").get("cidrs"), at(old, &["spec", "cidrs"]));
        if write == Write::Main && !same(new.value, old) {
            errs.bad(&new, "field is immutable");
        }
    }
}

impl Rules for IpAddress {
    fn check_name(&self, name: &str, _prefix: bool) -> Vec<String> {
        match name.parse::<IpAddr>() {
            Err(_) => vec![format!("{name:?} is not a valid IP address")],
            Ok(ip) if ip.to_string() != name => vec!["must be a canonical format IP address".to_owned()],
            Ok(_) => Vec::new(),
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let parent = At::root(obj).get("spec").get("parentRef");
        if !parent.is_set() {
            errs.required(&parent.path, "");
            return;
        }
        for key in ["resource", "name"] {
            if parent.peek_text(key).is_empty() {
                errs.required(&parent.get(key).path, "");
            }
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            errs.immutable(&At::root(obj).get("spec").get("parentRef"), at(old, &["spec", "parentRef"]));
        }
    }

    facts!(uncounted);
}
