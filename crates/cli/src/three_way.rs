//! `kubectl apply` on the client's side: what to send so that the live object becomes what the manifest says.
//!
//! Fields of the last applied manifest that the new one lacks are removed; fields that the new one sets are set; all
//! else (defaults, status, other people's work) stays.

use serde_json::{Map, Value};

pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The merge patch, or `None` where the live object already is as wanted.
pub(crate) fn patch(last: Option<&Value>, wanted: &Value, live: &Value) -> Option<Value> {
    diff(last.unwrap_or(&Value::Null), wanted, live)
}

fn diff(last: &Value, wanted: &Value, live: &Value) -> Option<Value> {
    let (Value::Object(new), Value::Object(old)) = (wanted, live) else {
        return (!covers(wanted, live)).then(|| overlay(wanted, live));
    };
    let mut out = Map::new();
    for (key, value) in new {
        match old.get(key) {
            None if value.is_null() => {}
            None => drop(out.insert(key.clone(), value.clone())),
            Some(live) => {
                if let Some(change) = diff(&last[key], value, live) {
                    out.insert(key.clone(), change);
                }
            }
        }
    }
    for key in last.as_object().into_iter().flatten().map(|(k, _)| k) {
        if !new.contains_key(key) && old.contains_key(key) {
            out.insert(key.clone(), Value::Null);
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// Whether the live value already says all that the wanted one says.
fn covers(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(new), Value::Object(old)) => {
            new.iter().all(|(k, v)| old.get(k).map_or(v.is_null(), |live| covers(v, live)))
        }
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(a, b)| covers(a, b))
        }
        (a, b) => a == b || is_empty(a) && is_empty(b),
    }
}

fn is_empty(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// A list to send whole: each wanted item over the live item of the same name, so that defaults in it survive.
fn overlay(wanted: &Value, live: &Value) -> Value {
    match (wanted, live) {
        (Value::Object(new), Value::Object(old)) => {
            let mut out = old.clone();
            for (key, value) in new {
                let merged = old.get(key).map_or_else(|| value.clone(), |live| overlay(value, live));
                out.insert(key.clone(), merged);
            }
            Value::Object(out)
        }
        (Value::Array(new), Value::Array(old)) => new
            .iter()
            .map(|item| {
                match item.get("name").and_then(|name| old.iter().find(|o| o.get("name") == Some(name))) {
                    Some(live) => overlay(item, live),
                    None => item.clone(),
                }
            })
            .collect(),
        _ => wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_manifest_twice_changes_nothing() {
        let wanted = json!({"rules": [{"verbs": ["get"]}], "metadata": {"name": "a"}});
        let live = json!({"rules": [{"verbs": ["get"]}], "metadata": {"name": "a", "uid": "1"}});
        assert_eq!(patch(Some(&wanted), &wanted, &live), None);
    }

    #[test]
    fn what_was_dropped_goes_what_others_set_stays() {
        let last = json!({"data": {"a": "1", "b": "2"}});
        let wanted = json!({"data": {"a": "9"}});
        let live = json!({"data": {"a": "1", "b": "2", "theirs": "3"}});
        assert_eq!(patch(Some(&last), &wanted, &live), Some(json!({"data": {"a": "9", "b": null}})));
    }

    #[test]
    fn a_list_item_keeps_its_defaults() {
        let wanted = json!({"containers": [{"name": "c", "image": "i:2"}]});
        let live = json!({"containers": [{"name": "c", "image": "i:1", "imagePullPolicy": "IfNotPresent"}]});
        assert_eq!(
            patch(Some(&wanted), &wanted, &live),
            Some(json!({"containers": [{"name": "c", "image": "i:2", "imagePullPolicy": "IfNotPresent"}]}))
        );
    }
}
