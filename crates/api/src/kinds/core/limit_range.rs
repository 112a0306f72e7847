//! The rules of LimitRanges.

use serde_json::{Map, Value, json};

use super::amounts;
use super::pod::defaults::children;
use crate::at::At;
use crate::field::Errors;
use crate::names;
use crate::object::{map_at_mut, map_mut};
use crate::rules::{Rules, facts};

#[derive(Debug)]
pub struct LimitRange;

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

impl Rules for LimitRange {
    fn default(&self, obj: &mut Value) {
        for limit in children(map_at_mut(obj, &["spec"]), "limits") {
            if limit.get("type").and_then(Value::as_str) == Some("Container") {
                fill(limit, "default", "max");
                fill(limit, "defaultRequest", "default");
                fill(limit, "defaultRequest", "min");
            }
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let mut seen: Vec<&str> = Vec::new();
        for limit in At::root(obj).get("spec").get("limits").items() {
            let kind = limit.get("type");
            check_type(&kind, errs);
            if seen.contains(&kind.text()) {
                errs.duplicate(&kind.path, kind.value);
            }
            seen.push(kind.text());
            check_names(&limit, errs);
            if kind.text() == "PersistentVolumeClaim"
                && !limit.get("min").has("storage")
                && !limit.get("max").has("storage")
            {
                let words = "either minimum or maximum storage value is required, but neither was provided";
                errs.required(&limit.get("limits").path, words);
            }
            compare(&limit, errs);
        }
    }

    facts!(uncounted, upsert);
}

/// What `to` does not say is as `from` says.
fn fill(limit: &mut Map<String, Value>, to: &str, from: &str) {
    let Some(Value::Object(source)) = limit.get(from).cloned() else { return };
    if source.is_empty() {
        return;
    }
    let target = map_mut(limit.entry(to).or_insert_with(|| json!({})));
    for (name, amount) in source {
        target.entry(name).or_insert(amount);
    }
}

fn check_type(kind: &At<'_>, errs: &mut Errors) {
    let said = names::qualified(kind.text());
    if !said.is_empty() {
        errs.bad_texts(kind, said);
    } else if !kind.text().contains('/') && !TYPES.contains(&kind.text()) {
        errs.bad_text(kind, "must be a standard limit type or fully qualified");
    }
}

fn check_names(limit: &At<'_>, errs: &mut Errors) {
    let kind = limit.peek_text("type");
    for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let list = limit.get(list);
        let is_default =
            list.path.as_str().ends_with("default") || list.path.as_str().ends_with("defaultRequest");
        if kind == "Pod" && is_default {
            if !list.is_empty() {
                errs.forbidden(&list.path, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, amount) in list.entries() {
            if ["Pod", "Container"].contains(&kind) {
                amounts::container_resource_name(name, &amount.path, errs);
            } else {
                amounts::resource_name(name, &amount.path, errs);
            }
        }
    }
}

/// min ≤ defaultRequest ≤ default ≤ max. `(low, high, shown, words)`: where `low` is more than `high`, `shown` is wrong.
const ORDER: [(&str, &str, &str, &str); 6] = [
    ("min", "max", "min", "min value {low} is greater than max value {high}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "min value {low} is greater than default request value {high}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "default request value {low} is greater than max value {high}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request value {low} is greater than default limit value {high}",
    ),
    ("min", "default", "default", "min value {low} is greater than default value {high}"),
    ("default", "max", "default", "default value {low} is greater than max value {high}"),
];

fn compare(limit: &At<'_>, errs: &mut Errors) {
    let mut names: Vec<&str> = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
        .iter()
        .flat_map(|list| limit.get(list).entries().map(|(name, _)| name))
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        for (low, high, shown, words) in ORDER {
            let (low, high) = (limit.peek(low).get(name), limit.peek(high).get(name));
            let (Some(low), Some(high)) = (low, high) else { continue };
            if amounts::nano(low) > amounts::nano(high) {
                let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
                let words = words.replace("{low}", &text(low)).replace("{high}", &text(high));
                let bad = limit.peek(shown).get(name).unwrap_or(&Value::Null);
                errs.invalid(&limit.get(shown).path.key(name), bad, words);
            }
        }
        let ratio = limit.peek("maxLimitRequestRatio").get(name).unwrap_or(&Value::Null);
        if amounts::nano(ratio).is_some_and(|n| n < 1_000_000_000) {
            let shown = ratio.as_str().map_or_else(|| ratio.to_string(), str::to_owned);
            let path = limit.get("maxLimitRequestRatio").path.key(name);
            errs.invalid(&path, ratio, format!("ratio {shown} is less than 1"));
        }
    }
}
