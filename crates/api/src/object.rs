//! Reading and writing the parts that every object has, on a plain JSON value.

use serde_json::{Map, Value};

static NOTHING: Value = Value::Null;

/// The value at `path`, or null.
pub fn at<'a>(v: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(v, |v, k| v.get(k)).unwrap_or(&NOTHING)
}

/// The string at `path`, or "".
pub fn text<'a>(v: &'a Value, path: &[&str]) -> &'a str {
    at(v, path).as_str().unwrap_or("")
}

/// The items of the list at `path`, or none.
pub fn items<'a>(v: &'a Value, path: &[&str]) -> &'a [Value] {
    at(v, path).as_array().map_or(&[], Vec::as_slice)
}

/// The object's own map. A value that is no object becomes an empty one.
pub fn map_mut(v: &mut Value) -> &mut Map<String, Value> {
    if !v.is_object() {
        *v = Value::Object(Map::new());
    }
    match v {
        Value::Object(m) => m,
        _ => unreachable!("made an object above"),
    }
}

/// The map at `path`, made where it is missing.
pub fn map_at_mut<'a>(v: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut v = v;
    for k in path {
        v = map_mut(v).entry(*k).or_insert(Value::Null);
    }
    map_mut(v)
}

pub fn metadata(v: &Value) -> &Value {
    at(v, &["metadata"])
}

pub fn metadata_mut(v: &mut Value) -> &mut Map<String, Value> {
    map_at_mut(v, &["metadata"])
}

pub fn name(v: &Value) -> &str {
    text(v, &["metadata", "name"])
}

pub fn namespace(v: &Value) -> &str {
    text(v, &["metadata", "namespace"])
}

pub fn uid(v: &Value) -> &str {
    text(v, &["metadata", "uid"])
}

pub fn resource_version(v: &Value) -> &str {
    text(v, &["metadata", "resourceVersion"])
}

pub fn is_deleting(v: &Value) -> bool {
    !text(v, &["metadata", "deletionTimestamp"]).is_empty()
}

/// The labels as pairs; a label that is no string is left out.
pub fn labels(v: &Value) -> impl Iterator<Item = (&str, &str)> {
    pairs(at(v, &["metadata", "labels"]))
}

pub fn annotation<'a>(v: &'a Value, key: &str) -> Option<&'a str> {
    at(v, &["metadata", "annotations"]).get(key).and_then(Value::as_str)
}

/// The string entries of a map value.
pub fn pairs(v: &Value) -> impl Iterator<Item = (&str, &str)> {
    v.as_object().into_iter().flatten().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
}
