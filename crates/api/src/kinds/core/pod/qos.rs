//! How well a Pod's resources are promised: its quality of service class.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::core::amounts;
use crate::object::at;

/// Only these two count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

pub fn class(spec: &Value) -> &'static str {
    if let Some(whole) = spec.get("resources").filter(|r| has_amounts(r)) {
        return of(std::iter::once(whole));
    }
    let containers = ["containers", "initContainers"]
        .iter()
        .filter_map(|list| spec.get(*list)?.as_array())
        .flatten()
        .map(|c| at(c, &["resources"]));
    of(containers)
}

fn has_amounts(resources: &Value) -> bool {
    ["requests", "limits"]
        .iter()
        .any(|kind| at(resources, &[kind]).as_object().is_some_and(|m| !m.is_empty()))
}

fn of<'a>(all: impl Iterator<Item = &'a Value>) -> &'static str {
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    let mut all_limited = true;
    for resources in all {
        add(&mut requests, at(resources, &["requests"]));
        let given = add(&mut limits, at(resources, &["limits"]));
        all_limited &= given == COUNTED.len();
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if all_limited && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Adds what is above zero and counts; gives how many there were.
fn add(sum: &mut BTreeMap<&'static str, i128>, amounts: &Value) -> usize {
    let mut given = 0;
    for name in COUNTED {
        let amount = at(amounts, &[name]);
        if !amounts::is_zero(amount) {
            given += 1;
            let total = sum.entry(name).or_default();
            *total = amounts::plus(amount, *total);
        }
    }
    given
}
