//! The rules of ResourceQuotas.

use serde_json::Value;

use super::amounts;
use crate::at::{At, same};
use crate::field::Errors;
use crate::rules::{Rules, Write, facts};

#[derive(Debug)]
pub struct ResourceQuota;

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
const CONFLICTING: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

impl Rules for ResourceQuota {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let root = At::root(obj);
        let (spec, status) = (root.get("spec"), root.get("status"));
        for list in [spec.get("hard"), status.get("hard"), status.get("used")] {
            for (name, amount) in list.entries() {
                amounts::resource_name(name, &amount.path, errs);
                amounts::of_resource(name, &amount, errs);
            }
        }
        scopes(&spec.get("scopes"), errs);
        scope_selector(&spec.get("scopeSelector"), errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj).get("spec").get("scopes"), At::root(old).get("spec").get("scopes"));
        if write == Write::Main && !same(new.value, old.value) {
            errs.bad(&new, "field is immutable");
        }
    }

    facts!(uncounted, returned);
}

fn scopes(at: &At<'_>, errs: &mut Errors) {
    for _ in at.texts().filter(|s| !SCOPES.contains(s)) {
        errs.bad(at, "unsupported scope");
    }
    for pair in CONFLICTING {
        if pair.iter().all(|scope| at.texts().any(|s| s == *scope)) {
            errs.bad(at, "conflicting scopes");
        }
    }
}

fn scope_selector(at: &At<'_>, errs: &mut Errors) {
    let list = at.get("matchExpressions");
    for term in list.items() {
        // The reference gives these at the list's path, without the index.
        let term = At::new(term.value, list.path.clone());
        let (scope, operator, values) = (term.get("scopeName"), term.get("operator"), term.get("values"));
        if !SCOPES.contains(&scope.text()) {
            errs.bad_text(&scope, "unsupported scope");
        }
        let takes_values = ["PriorityClass", "VolumeAttributesClass"].contains(&scope.text());
        if SCOPES.contains(&scope.text()) && !takes_values && operator.text() != "Exists" {
            errs.bad_text(
                &operator,
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            );
        }
        match operator.text() {
            "In" | "NotIn" => {
                if values.is_empty() {
                    let words =
                        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                    errs.required(&values.path, words);
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let words =
                        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                    errs.bad(&values, words);
                }
            }
            _ => errs.bad_text(&operator, "not a valid selector operator"),
        }
    }
}
