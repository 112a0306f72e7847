//! What the printers share: reading an object's fields as cells.

use serde_json::{Map, Value};

use super::duration::{self, Now};
use crate::object::{at, items, pairs, text};
use crate::selector::LabelSelector;

pub const NONE: &str = "<none>";
pub const UNSET: &str = "<unset>";
pub const UNKNOWN: &str = "<unknown>";

pub fn string(s: impl Into<String>) -> Value {
    Value::String(s.into())
}

pub fn name(obj: &Value) -> Value {
    string(crate::object::name(obj))
}

/// The string at `path`, or `otherwise` where it is empty or missing.
pub fn text_or<'a>(obj: &'a Value, path: &[&str], otherwise: &'a str) -> &'a str {
    match text(obj, path) {
        "" => otherwise,
        found => found,
    }
}

/// The whole number at `path`; what is missing is 0.
pub fn number(obj: &Value, path: &[&str]) -> i64 {
    at(obj, path).as_i64().unwrap_or(0)
}

pub fn count(obj: &Value, path: &[&str]) -> Value {
    let found = at(obj, path);
    Value::from(found.as_array().map_or_else(|| found.as_object().map_or(0, Map::len), Vec::len))
}

/// A string or number as it is written; `otherwise` where there is none.
pub fn shown_or(obj: &Value, path: &[&str], otherwise: &str) -> String {
    match at(obj, path) {
        Value::Null => otherwise.to_owned(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// Seconds since the epoch of an RFC 3339 time, whole or in microseconds.
pub fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// How long ago a time was; `<unknown>` without one.
pub fn ago(time: &str, now: Now) -> String {
    seconds(time).map_or_else(|| UNKNOWN.to_owned(), |then| duration::since(then, now))
}

pub fn age(obj: &Value, now: Now) -> Value {
    string(ago(text(obj, &["metadata", "creationTimestamp"]), now))
}

/// `True`, `False` or `<unset>`.
pub fn flag(v: &Value) -> Value {
    string(match v.as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    })
}

/// A map of labels as a selector prints.
pub fn labels(map: &Value) -> Value {
    let mut found: Vec<String> = pairs(map).map(|(k, v)| format!("{k}={v}")).collect();
    found.sort_unstable();
    string(if found.is_empty() { NONE.to_owned() } else { found.join(",") })
}

/// A label selector object as it prints.
pub fn selector(selector: &Value) -> Value {
    string(match LabelSelector::from_object(selector) {
        Ok(s) if s.requirements().is_empty() => NONE.to_owned(),
        Ok(s) => s.to_string(),
        Err(_) => "<error>".to_owned(),
    })
}

/// The names and the images of a Pod template's containers.
pub fn containers(template_spec: &Value) -> [Value; 2] {
    let join = |key| {
        let found: Vec<&str> =
            items(template_spec, &["containers"]).iter().map(|c| text(c, &[key])).collect();
        string(found.join(","))
    };
    [join("name"), join("image")]
}

/// The first `max` of a list, and how many more there are.
pub fn some_of(list: &[String], max: usize) -> String {
    let shown = list[..list.len().min(max)].join(",");
    if list.len() > max { format!("{shown} + {} more...", list.len() - max) } else { shown }
}

/// The `status` of the condition of a type.
pub fn condition<'a>(obj: &'a Value, kind: &str) -> Option<&'a Value> {
    items(obj, &["status", "conditions"]).iter().find(|c| text(c, &["type"]) == kind)
}

pub fn has_true_condition(obj: &Value, kind: &str) -> bool {
    condition(obj, kind).is_some_and(|c| text(c, &["status"]) == "True")
}
