//! Where a Pod may run: tolerations, affinity, topology spread, gates.

use serde_json::Value;

use super::internal;
use crate::at::At;
use crate::field::Errors;
use crate::meta;
use crate::names;

pub const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
/// The heaviest preference.
const WEIGHT_MAX: i64 = 100;

pub fn tolerations(at: &At<'_>, errs: &mut Errors) {
    for toleration in at.items() {
        let (key, operator, effect) =
            (toleration.get("key"), toleration.get("operator"), toleration.get("effect"));
        if !key.is_empty() {
            errs.bad_texts(&key, names::qualified(key.text()));
        } else if operator.text() != "Exists" {
            let words =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errs.bad_text(&operator, words);
        }
        if toleration.has("tolerationSeconds") && effect.text() != "NoExecute" {
            errs.bad_text(&effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        operator_and_value(&operator, toleration.peek_text("value"), errs);
        if !effect.is_empty() {
            errs.one_of(&effect, &TAINT_EFFECTS);
        }
    }
}

fn operator_and_value(operator: &At<'_>, value: &str, errs: &mut Errors) {
    let shown = Value::from(value);
    match operator.text() {
        "Equal" | "" => {
            let said = names::label_value(value);
            if !said.is_empty() {
                errs.invalid(&operator.path, &shown, said.join(";"));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                errs.invalid(&operator.path, &shown, "value must be empty when `operator` is 'Exists'");
            }
        }
        _ => errs.not_supported(&operator.path, operator.value, &["Equal", "Exists"]),
    }
}

pub fn taints(at: &At<'_>, errs: &mut Errors) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in at.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        errs.bad_texts(&key, names::qualified(key.text()));
        let said = names::label_value(value.text());
        if !said.is_empty() {
            errs.bad_text(&value, said.join(";"));
        }
        errs.one_of(&effect, &TAINT_EFFECTS);
        if seen.contains(&(key.text(), effect.text())) {
            errs.duplicate(&taint.path, &internal::value(internal::TAINT, taint.value));
            if let Some(error) = errs.0.last_mut() {
                error.detail = "taints must be unique by key and effect pair".to_owned();
            }
        }
        seen.push((key.text(), effect.text()));
    }
}

pub fn affinity(at: &At<'_>, errs: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let node = at.get("nodeAffinity");
    if node.has(REQUIRED) {
        node_selector(&node.get(REQUIRED), errs);
    }
    for term in node.get(PREFERRED).items() {
        weight(&term, errs);
        node_selector_term(&term.get("preference"), false, errs);
    }
    for kind in [at.get("podAffinity"), at.get("podAntiAffinity")] {
        for term in kind.get(REQUIRED).items() {
            pod_term(&term, errs);
        }
        for term in kind.get(PREFERRED).items() {
            weight(&term, errs);
            pod_term(&term.get("podAffinityTerm"), errs);
        }
    }
}

fn weight(term: &At<'_>, errs: &mut Errors) {
    let weight = term.get("weight");
    if !(1..=WEIGHT_MAX).contains(&weight.int()) {
        errs.bad_int(&weight, "must be in the range 1-100");
    }
}

pub fn node_selector(at: &At<'_>, errs: &mut Errors) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        errs.required(&terms.path, "must have at least one node selector term");
    }
    for term in terms.items() {
        node_selector_term(&term, true, errs);
    }
}

fn node_selector_term(at: &At<'_>, check_values: bool, errs: &mut Errors) {
    for term in at.get("matchExpressions").items() {
        node_expression(&term, errs);
        for value in term.get("values").items().filter(|_| check_values) {
            errs.bad_texts(&value, names::label_value(value.text()));
        }
    }
    for term in at.get("matchFields").items() {
        node_field(&term, errs);
    }
}

fn node_expression(term: &At<'_>, errs: &mut Errors) {
    let values = term.get("values");
    match term.peek_text("operator") {
        "Gt" | "Lt" if values.len() != 1 => {
            errs.required(&values.path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "Gt" | "Lt" => {}
        _ if meta::set_operator(term, errs) => {}
        _ => errs.bad_text(&term.get("operator"), "not a valid selector operator"),
    }
    let key = term.get("key");
    errs.bad_texts(&key, names::qualified(key.text()));
}

fn node_field(term: &At<'_>, errs: &mut Errors) {
    let (values, key) = (term.get("values"), term.get("key"));
    if !["In", "NotIn"].contains(&term.peek_text("operator")) {
        errs.bad_text(&term.get("operator"), "not a valid selector operator");
    } else if values.len() != 1 {
        let words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
        errs.required(&values.path, words);
    }
    if key.text() != "metadata.name" {
        errs.bad_text(&key, "not a valid field selector key");
        return;
    }
    for value in values.items() {
        errs.bad_texts(&value, names::dns_subdomain(value.text(), false));
    }
}

fn pod_term(at: &At<'_>, errs: &mut Errors) {
    meta::label_selector(&at.get("labelSelector"), errs);
    meta::label_selector(&at.get("namespaceSelector"), errs);
    for name in at.get("namespaces").texts() {
        for words in names::dns_label(name, false) {
            errs.invalid(&at.path.child("namespace"), &Value::from(name), words);
        }
    }
    for keys in [at.get("matchLabelKeys"), at.get("mismatchLabelKeys")] {
        if !keys.is_empty() && !at.has("labelSelector") {
            errs.forbidden(&keys.path, "must not be specified when labelSelector is not set");
            continue;
        }
        for key in keys.items() {
            errs.bad_texts(&key, names::qualified(key.text()));
        }
    }
    for key in at.get("matchLabelKeys").items() {
        if at.get("mismatchLabelKeys").texts().any(|k| k == key.text()) {
            errs.bad_text(&key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
    let topology = at.get("topologyKey");
    if topology.is_empty() {
        errs.required(&topology.path, "can not be empty");
    }
    errs.bad_texts(&topology, names::qualified(topology.text()));
}

pub fn topology_spread(at: &At<'_>, errs: &mut Errors) {
    let constraints: Vec<At<'_>> = at.items().collect();
    for (i, constraint) in constraints.iter().enumerate() {
        spread_constraint(constraint, errs);
        let pair =
            |c: &At<'_>| format!("{{{}, {}}}", c.peek_text("topologyKey"), c.peek_text("whenUnsatisfiable"));
        let own = pair(constraint);
        if constraints[i + 1..].iter().any(|other| pair(other) == own) {
            errs.duplicate(&constraint.path.child("{topologyKey, whenUnsatisfiable}"), &Value::from(own));
        }
        meta::label_selector(&constraint.get("labelSelector"), errs);
    }
}

fn spread_constraint(at: &At<'_>, errs: &mut Errors) {
    let (skew, domains, action) = (at.get("maxSkew"), at.get("minDomains"), at.get("whenUnsatisfiable"));
    if skew.int() <= 0 {
        errs.bad_int(&skew, "must be greater than zero");
    }
    if at.peek_text("topologyKey").is_empty() {
        errs.required(&at.get("topologyKey").path, "can not be empty");
    }
    if !["DoNotSchedule", "ScheduleAnyway"].contains(&action.text()) {
        let shown = Value::from(action.text());
        errs.not_supported(&action.path, &shown, &["DoNotSchedule", "ScheduleAnyway"]);
    }
    if domains.is_set() {
        if domains.int() <= 0 {
            errs.bad_int(&domains, "must be greater than zero");
        }
        if action.text() != "DoNotSchedule" {
            let words =
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", action.text());
            errs.bad_int(&domains, words);
        }
    }
    errs.one_of_if_set(&at.get("nodeAffinityPolicy"), &["Honor", "Ignore"]);
    errs.one_of_if_set(&at.get("nodeTaintsPolicy"), &["Honor", "Ignore"]);
    spread_label_keys(at, errs);
}

fn spread_label_keys(at: &At<'_>, errs: &mut Errors) {
    let keys = at.get("matchLabelKeys");
    let selector = at.get("labelSelector");
    if !keys.is_empty() && !selector.is_set() {
        errs.forbidden(&keys.path, "must not be specified when labelSelector is not set");
    }
    for key in keys.items() {
        errs.bad_texts(&key, names::qualified(key.text()));
        let in_labels = selector.peek("matchLabels").get(key.text()).is_some();
        let in_terms =
            selector.get("matchExpressions").items().any(|term| term.peek_text("key") == key.text());
        if in_labels || in_terms {
            errs.bad_text(&key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

pub fn gates(at: &At<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for gate in at.items() {
        let name = gate.peek_text("name");
        for words in names::qualified(name) {
            errs.invalid(&gate.path, &Value::from(name), words);
        }
        if seen.contains(&name) {
            errs.duplicate(&gate.path, &Value::from(name));
        }
        seen.push(name);
    }
}
