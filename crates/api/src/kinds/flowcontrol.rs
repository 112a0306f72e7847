//! The rules of flowcontrol.apiserver.k8s.io: who waits for whom.

use serde_json::{Value, json};

use super::core::pod::defaults::{child, set, set_pointer};
use super::workload::inner;
use crate::at::At;
use crate::field::Errors;
use crate::names;
use crate::object::map_at_mut;
use crate::rules::Rules;

#[derive(Debug)]
pub struct FlowSchema;

#[derive(Debug)]
pub struct PriorityLevelConfiguration;

/// Lower goes first; this is where a schema stands that does not say.
const PRECEDENCE: i64 = 1000;
const PRECEDENCE_MAX: i64 = 10_000;
/// The share of the server that a level gets where it does not say.
const SHARES: i64 = 30;

impl Rules for FlowSchema {
    fn default(&self, obj: &mut Value) {
        set(map_at_mut(obj, &["spec"]), "matchingPrecedence", PRECEDENCE);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        let precedence = spec.get("matchingPrecedence");
        errs.bad_ints(&precedence, names::in_range(precedence.int(), 1, PRECEDENCE_MAX));
        let level = spec.get("priorityLevelConfiguration").get("name");
        if level.is_empty() {
            errs.required(&level.path, "must reference a priority level");
        } else {
            errs.bad_texts(&level, names::dns_subdomain(level.text(), false));
        }
        let method = spec.get("distinguisherMethod");
        if method.is_set() {
            errs.one_of(&method.get("type"), &["ByNamespace", "ByUser"]);
        }
        for rule in spec.get("rules").items() {
            let subjects = rule.get("subjects");
            if subjects.is_empty() {
                errs.required(&subjects.path, "subjects must contain at least one value");
            }
            for subject in subjects.items() {
                let kind = subject.get("kind");
                let kinds = ["Group", "ServiceAccount", "User"];
                if !kinds.contains(&kind.text()) {
                    errs.not_supported(&kind.path, &Value::from(kind.text()), &kinds);
                }
            }
            if rule.get("resourceRules").is_empty() && rule.get("nonResourceRules").is_empty() {
                let words = "at least one of resourceRules and nonResourceRules has to be non-empty";
                errs.required(&rule.path, words);
            }
        }
    }
}

impl Rules for PriorityLevelConfiguration {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        match spec.get("type").and_then(Value::as_str) {
            Some("Exempt") => {
                let exempt = inner(spec, "exempt");
                set_pointer(exempt, "nominalConcurrencyShares", 0);
                set_pointer(exempt, "lendablePercent", 0);
            }
            Some("Limited") => {
                if let Some(limited) = child(spec, "limited") {
                    set_pointer(limited, "nominalConcurrencyShares", SHARES);
                    set_pointer(limited, "lendablePercent", 0);
                    queuing(inner(limited, "limitResponse"));
                }
            }
            _ => {}
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
        match kind.text() {
            "Exempt" if limited.is_set() => {
                errs.forbidden(&limited.path, "must be nil if the type is not Limited");
            }
            "Limited" if !limited.is_set() => {
                errs.required(&limited.path, "must not be empty when type is Limited");
            }
            "Limited" if exempt.is_set() => {
                errs.forbidden(&exempt.path, "must be nil if the type is Limited");
            }
            "Exempt" | "Limited" => {}
            _ => {
                let shown = Value::from(kind.text());
                errs.not_supported(&kind.path, &shown, &["Exempt", "Limited"]);
            }
        }
        for level in [limited, exempt] {
            let (shares, lendable) = (level.get("nominalConcurrencyShares"), level.get("lendablePercent"));
            if shares.int() < 0 {
                errs.bad_int(&shares, "must be a non-negative integer");
            }
            errs.bad_ints(&lendable, names::in_range(lendable.int(), 0, 100));
        }
    }
}

fn queuing(response: &mut serde_json::Map<String, Value>) {
    if response.get("type").and_then(Value::as_str) != Some("Queue") {
        return;
    }
    let queuing = response.entry("queuing").or_insert_with(|| json!({}));
    if let Some(queuing) = queuing.as_object_mut() {
        set(queuing, "handSize", 8);
        set(queuing, "queues", 64);
        set(queuing, "queueLengthLimit", 50);
    }
}
