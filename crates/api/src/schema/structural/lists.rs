//! Lists that are sets or maps: their items are told apart, and each is there once.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Additional, ListType, Structural};
use crate::codec::encode;
use crate::field::{Errors, Path};

/// Complains about items that are there twice.
pub fn check(schema: &Structural, value: &Value, path: &Path, errs: &mut Errors) {
    match value {
        Value::Object(map) => {
            if let Some(Additional::Schema(of)) = &schema.additional {
                map.iter().for_each(|(key, v)| check(of, v, &path.key(key), errs));
            }
            for (key, v) in map {
                if let Some(of) = schema.properties.get(key) {
                    check_member(of, v, path, key, errs);
                }
            }
        }
        Value::Array(items) => {
            match schema.list {
                Some(ListType::Set) => check_set(items, path, errs),
                Some(ListType::Map) => check_map(schema, items, path, errs),
                _ => {}
            }
            if let Some(of) = &schema.items {
                for (i, item) in items.iter().enumerate().filter(|(_, v)| v.is_object() || v.is_array()) {
                    check(of, item, &path.index(i), errs);
                }
            }
        }
        _ => {}
    }
}

/// Most members are no lists and hold none: their paths need not be made.
fn check_member(of: &Structural, value: &Value, path: &Path, key: &str, errs: &mut Errors) {
    if value.is_object() || value.is_array() {
        check(of, value, &path.child(key), errs);
    }
}

/// Each second one of equal items.
fn doubles<'a>(items: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut doubles = Vec::new();
    for (i, item) in items.enumerate() {
        let key = match item {
            Value::Object(_) | Value::Array(_) => {
                let mut sorted = item.clone();
                sorted.sort_all_objects();
                encode::compact(&sorted)
            }
            scalar => encode::compact(scalar),
        };
        let times = seen.entry(key).or_default();
        *times += 1;
        if *times == 2 {
            doubles.push(i);
        }
    }
    doubles
}

fn check_set(items: &[Value], path: &Path, errs: &mut Errors) {
    if items.len() > 1 {
        doubles(items.iter()).into_iter().for_each(|i| errs.duplicate(&path.index(i), &items[i]));
    }
}

fn check_map(schema: &Structural, items: &[Value], path: &Path, errs: &mut Errors) {
    if let Some((i, item)) = items.iter().enumerate().find(|(_, v)| !v.is_null() && !v.is_object()) {
        errs.invalid(&path.index(i), item, "must be an object for an array of list-type map");
        return;
    }
    if items.len() > 1 {
        let keys: Vec<Value> = items.iter().map(|item| keys(schema, item)).collect();
        doubles(keys.iter()).into_iter().for_each(|i| errs.duplicate(&path.index(i), &keys[i]));
    }
}

/// An item's keys, as an object of them.
fn keys(schema: &Structural, item: &Value) -> Value {
    let present = |key: &crate::kinds::Text| Some((key.to_string(), item.get(&**key)?.clone()));
    let mut keys: Map<String, Value> = schema.list_keys.iter().filter_map(present).collect();
    keys.sort_keys();
    Value::Object(keys)
}

/// The item of the old list that has the same keys; only of a list that is a map can that be told.
pub fn counterpart<'a>(schema: &Structural, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if schema.list != Some(ListType::Map) {
        return None;
    }
    let same = |other: &&Value| {
        other.is_object() && schema.list_keys.iter().all(|key| item.get(&**key) == other.get(&**key))
    };
    old.as_array()?.iter().find(same)
}
