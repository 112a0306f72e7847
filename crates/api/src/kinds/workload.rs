//! What all controllers of Pods have in common: a selector, a template, numbers that are counts or percentages.

use serde_json::{Map, Value, json};

use super::core::pod::{defaults, spec, warnings};
use crate::at::At;
use crate::field::Errors;
use crate::meta;
use crate::names;
use crate::object::{at, map_mut};

/// The template's defaults, where there is a template.
pub fn default_template(spec: &mut Map<String, Value>) {
    defaults::template(spec.entry("template").or_insert_with(|| json!({})));
}

/// The warnings about a template, when it is new or has changed.
pub fn template_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let template = At::root(obj).get("spec").get("template");
    if old.is_some_and(|old| at(old, &["spec", "template"]) == template.value) {
        return Vec::new();
    }
    warnings::of_spec(&template.get("spec"))
}

/// A map inside of a spec, made where it is missing.
pub fn inner<'a>(spec: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    map_mut(spec.entry(key).or_insert_with(|| json!({})))
}

/// `spec.selector` must be there, well-formed and not empty.
pub fn selector(spec: &At<'_>, empty: &str, errs: &mut Errors) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        errs.required(&selector.path, "");
        return;
    }
    meta::label_selector(&selector, errs);
    if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
        errs.bad(&selector, empty);
    }
}

/// `spec.template` must be one of Pods that run on and that the selector finds.
pub fn template(spec: &At<'_>, errs: &mut Errors) {
    let template = spec.get("template");
    selector_finds_template(spec, errs);
    spec::template(&template, errs);
    super::core::replication_controller::always_restarts(&template, errs);
}

pub fn selector_finds_template(spec: &At<'_>, errs: &mut Errors) {
    let selector = spec.get("selector");
    let labels = spec.get("template").get("metadata").get("labels");
    let empty = selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty();
    if selector.is_set() && !empty && !meta::selector_matches(selector.value, labels.value) {
        let shown = if labels.is_set() { labels.value.clone() } else { Value::Null };
        errs.invalid(&labels.path, &shown, "`selector` does not match template `labels`");
    }
}

/// No deadline: these Pods run until they are deleted.
pub fn no_deadline(spec: &At<'_>, words: &str, errs: &mut Errors) {
    let deadline = spec.get("template").get("spec").get("activeDeadlineSeconds");
    if deadline.is_set() {
        errs.forbidden(&deadline.path, words);
    }
}

/// A count or a percentage: `1` or `25%`.
pub fn count_or_percent(at: &At<'_>, errs: &mut Errors) {
    match at.value {
        Value::String(text) => errs.bad_texts(at, names::percent(text)),
        _ => errs.nonnegative(at),
    }
}

/// Nothing of the whole: `0` or `0%`.
pub fn is_none_of(v: &Value) -> bool {
    match v {
        Value::String(text) => text.strip_suffix('%').and_then(|n| n.parse::<u64>().ok()) == Some(0),
        other => other.as_i64().unwrap_or(0) == 0,
    }
}

pub fn at_most_all(at: &At<'_>, errs: &mut Errors) {
    let percent = at.text().strip_suffix('%').and_then(|n| n.parse::<u64>().ok());
    if percent.is_some_and(|n| n > 100) {
        errs.bad(at, "must not be greater than 100%");
    }
}

/// The numbers in a status: none negative, none above `whole`.
pub fn counts_within(status: &At<'_>, whole: &str, parts: &[&str], errs: &mut Errors) {
    let all = status.get(whole).int();
    errs.nonnegative(&status.get(whole));
    for part in parts {
        errs.nonnegative(&status.get(part));
    }
    for part in parts.iter().filter(|part| status.get(part).int() > all) {
        errs.bad_int(&status.get(part), format!("cannot be greater than status.{whole}"));
    }
}

/// How often names collided only ever grows.
pub fn collisions_grow(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    let (now, was) = (new.get("collisionCount"), old.get("collisionCount"));
    if now.int() < was.int() {
        errs.bad_int(&now, "cannot be decremented");
    }
}
