//! Bringing a bootstrap object up to date without taking anything away.

use coracle_api::object::{annotation, at, items, map_at_mut, pairs};
use serde_json::{Value, json};

use crate::escalation;
use crate::rbac::Rule;

/// Set to "false" on an object, it keeps what its owner made of it.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What to write so that an object is as it must at least be.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciled {
    Unchanged,
    Create(Value),
    Update(Value),
    /// The roleRef differs, which cannot be updated: delete and create.
    Recreate(Value),
}

/// Adds what is missing, keeps what is more, and leaves alone what says `autoupdate: "false"`.
pub fn reconcile(existing: Option<&Value>, wanted: &Value) -> Reconciled {
    let Some(existing) = existing else { return Reconciled::Create(wanted.clone()) };
    if annotation(existing, AUTOUPDATE) == Some("false") {
        return Reconciled::Unchanged;
    }
    let mut out = existing.clone();
    for part in ["labels", "annotations"] {
        for (key, value) in pairs(at(wanted, &["metadata", part])) {
            if at(existing, &["metadata", part, key]).is_null() {
                map_at_mut(&mut out, &["metadata", part]).insert(key.to_owned(), json!(value));
            }
        }
    }
    if at(wanted, &["roleRef"]).is_object() {
        if ["kind", "name"].iter().any(|k| at(existing, &["roleRef", k]) != at(wanted, &["roleRef", k])) {
            return Reconciled::Recreate(wanted.clone());
        }
        append(&mut out, "subjects", missing_subjects(existing, wanted));
    } else {
        append(&mut out, "rules", missing_rules(existing, wanted));
        let selectors = |v: &Value| items(v, &["aggregationRule", "clusterRoleSelectors"]).to_vec();
        let had = selectors(existing);
        let missing: Vec<Value> = selectors(wanted).into_iter().filter(|s| !had.contains(s)).collect();
        if !missing.is_empty() {
            append(map_value(&mut out, "aggregationRule"), "clusterRoleSelectors", missing);
        }
    }
    if out == *existing { Reconciled::Unchanged } else { Reconciled::Update(out) }
}

fn map_value<'a>(v: &'a mut Value, key: &str) -> &'a mut Value {
    map_at_mut(v, &[]).entry(key).or_insert_with(|| json!({}))
}

fn append(v: &mut Value, key: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    let list = map_at_mut(v, &[]).entry(key).or_insert(Value::Null);
    match list {
        Value::Array(list) => list.extend(more),
        _ => *list = Value::Array(more),
    }
}

fn missing_rules(existing: &Value, wanted: &Value) -> Vec<Value> {
    let rules = |v: &Value| items(v, &["rules"]).iter().map(Rule::parse).collect::<Vec<_>>();
    escalation::missing(&rules(existing), &rules(wanted)).iter().map(Rule::to_value).collect()
}

fn missing_subjects(existing: &Value, wanted: &Value) -> Vec<Value> {
    let same = |a: &Value, b: &Value| {
        ["kind", "name", "namespace"]
            .iter()
            .all(|k| a.get(k).unwrap_or(&Value::Null) == b.get(k).unwrap_or(&Value::Null))
    };
    let had = items(existing, &["subjects"]);
    items(wanted, &["subjects"]).iter().filter(|s| !had.iter().any(|h| same(h, s))).cloned().collect()
}
