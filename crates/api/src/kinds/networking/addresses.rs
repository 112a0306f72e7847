//! The rules of ServiceCIDRs and IPAddresses.

use serde_json::{Value, json};

use crate::at::At;
use crate::cidr::Cidr;
use crate::field::Errors;
use crate::names;
use crate::object::{at, items};
use crate::rules::{Rules, Write, facts};

#[derive(Debug)]
pub struct ServiceCidr;

#[derive(Debug)]
pub struct IpAddress;

/// One block a family.
const CIDRS_MAX: usize = 2;
const ONE_A_FAMILY: &str =
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";

impl Rules for ServiceCidr {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let cidrs = At::root(obj).get("spec").get("cidrs");
        // The reference quotes its internal type here.
        let shown = json!({"CIDRs": cidrs.value});
        if cidrs.is_empty() {
            errs.required(&cidrs.path, "at least one CIDR required");
            return;
        }
        if cidrs.len() > CIDRS_MAX {
            errs.invalid(&cidrs.path, &shown, "may only hold up to 2 values");
            return;
        }
        let families: Vec<Option<bool>> =
            cidrs.texts().map(|c| c.parse::<Cidr>().ok().map(|c| c.address.is_ipv4())).collect();
        if cidrs.len() == CIDRS_MAX && !(families.contains(&Some(true)) && families.contains(&Some(false))) {
            errs.invalid(&cidrs.path, &shown, ONE_A_FAMILY);
            return;
        }
        for cidr in cidrs.items() {
            errs.bad_texts(&cidr, names::canonical_cidr(cidr.text()));
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj).get("spec").get("cidrs"), items(old, &["spec", "cidrs"]));
        if write != Write::Main {
            return;
        }
        match (old.len(), new.len()) {
            // One family may be joined by the other.
            (was, is) if was == is || (was, is) == (1, CIDRS_MAX) => {
                for (cidr, old) in new.items().zip(old) {
                    errs.immutable(&cidr, old);
                }
            }
            _ => errs.bad(&new, "field is immutable"),
        }
    }

    facts!(uncounted);
}

impl Rules for IpAddress {
    fn check_name(&self, name: &str, _prefix: bool) -> Vec<String> {
        names::canonical_ip(name)
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let parent = At::root(obj).get("spec").get("parentRef");
        if !parent.is_set() {
            errs.required(&parent.path, "");
            return;
        }
        let group = parent.get("group");
        if !group.is_empty() {
            errs.bad_texts(&group, names::dns1123_subdomain(group.text()));
        }
        for (key, is_required) in [("resource", true), ("name", true), ("namespace", false)] {
            let field = parent.get(key);
            match field.is_empty() {
                true if is_required => errs.required(&field.path, ""),
                true => {}
                false => errs.bad_texts(&field, names::path_segment(field.text(), false)),
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

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn said(errs: &Errors) -> String {
        errs.0.iter().map(|e| format!("{e}\n")).collect()
    }

    fn check(rules: &dyn Rules, spec: Value, expect: Expect) {
        let mut errs = Errors::default();
        rules.validate(&json!({"spec": spec}), &mut errs);
        expect.assert_eq(&said(&errs));
    }

    #[test]
    fn what_a_service_cidr_may_say() {
        let cidrs = |cidrs: &[&str], expect: Expect| check(&ServiceCidr, json!({"cidrs": cidrs}), expect);
        cidrs(&["10.96.0.0/12", "fd00::/112"], expect![""]);
        cidrs(
            &[],
            expect![[r#"
            spec.cidrs: Required value: at least one CIDR required
        "#]],
        );
        cidrs(
            &["10.0.0.0/8", "fd00::/64", "fd01::/64"],
            expect![[r#"
            spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/8","fd00::/64","fd01::/64"]}: may only hold up to 2 values
        "#]],
        );
        cidrs(
            &["10.0.0.0/8", "11.0.0.0/8"],
            expect![[r#"
            spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/8","11.0.0.0/8"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64
        "#]],
        );
        cidrs(
            &["10.0.0.1/8"],
            expect![[r#"
            spec.cidrs[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length
        "#]],
        );
    }

    #[test]
    fn a_service_cidr_stays_but_for_a_second_family() {
        let check = |old: &[&str], new: &[&str], expect: Expect| {
            let of = |cidrs: &[&str]| json!({"spec": {"cidrs": cidrs}});
            let mut errs = Errors::default();
            ServiceCidr.validate_update(&of(new), &of(old), Write::Main, &mut errs);
            expect.assert_eq(&said(&errs));
        };
        check(&["10.0.0.0/8"], &["10.0.0.0/8", "fd00::/64"], expect![""]);
        check(
            &["10.0.0.0/8"],
            &["11.0.0.0/8"],
            expect![[r#"
            spec.cidrs[0]: Invalid value: "11.0.0.0/8": field is immutable
        "#]],
        );
        check(
            &["10.0.0.0/8"],
            &["11.0.0.0/8", "fd00::/64"],
            expect![[r#"
            spec.cidrs[0]: Invalid value: "11.0.0.0/8": field is immutable
        "#]],
        );
        check(
            &["10.0.0.0/8", "fd00::/64"],
            &["10.0.0.0/8"],
            expect![[r#"
            spec.cidrs: Invalid value: ["10.0.0.0/8"]: field is immutable
        "#]],
        );
    }

    #[test]
    fn an_address_has_a_parent() {
        let parent = |parent: Value, expect: Expect| check(&IpAddress, json!({"parentRef": parent}), expect);
        parent(json!({"resource": "services", "namespace": "a", "name": "b"}), expect![""]);
        parent(
            Value::Null,
            expect![[r#"
            spec.parentRef: Required value
        "#]],
        );
        parent(
            json!({"group": "A", "namespace": "a/b"}),
            expect![[r#"
            spec.parentRef.group: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.parentRef.resource: Required value
            spec.parentRef.name: Required value
            spec.parentRef.namespace: Invalid value: "a/b": may not contain '/'
        "#]],
        );
    }
}
