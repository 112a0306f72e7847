//! A value together with where it stands in its object: what validation walks with.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::object;

static NOTHING: Value = Value::Null;

/// A place in an object. A field that is missing reads as null, as "", as 0 or as false, as in Go.
#[derive(Debug, Clone)]
pub struct At<'a> {
    pub value: &'a Value,
    pub path: Path,
}

impl<'a> At<'a> {
    pub fn root(value: &'a Value) -> At<'a> {
        At { value, path: Path::root() }
    }

    pub fn new(value: &'a Value, path: Path) -> At<'a> {
        At { value, path }
    }

    pub fn get(&self, key: &str) -> At<'a> {
        At { value: self.peek(key), path: self.path.child(key) }
    }

    /// The field's value without its path.
    pub fn peek(&self, key: &str) -> &'a Value {
        object::member(self.value, key).unwrap_or(&NOTHING)
    }

    pub fn peek_text(&self, key: &str) -> &'a str {
        self.peek(key).as_str().unwrap_or("")
    }

    pub fn peek_true(&self, key: &str) -> bool {
        self.peek(key).as_bool().unwrap_or(false)
    }

    pub fn has(&self, key: &str) -> bool {
        !self.peek(key).is_null()
    }

    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Null, "", [] or {}.
    pub fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(o) => o.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    pub fn int(&self) -> i64 {
        self.value.as_i64().unwrap_or(0)
    }

    pub fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    pub fn len(&self) -> usize {
        self.value.as_array().map_or(0, Vec::len)
    }

    /// The items of a list, each at its index.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let list = self.value.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().enumerate().map(move |(i, value)| At { value, path: path.index(i) })
    }

    /// The entries of a map, each at its key.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        self.value
            .as_object()
            .into_iter()
            .flatten()
            .map(move |(k, value)| (k.as_str(), At { value, path: path.key(k) }))
    }

    /// The texts of a list of strings.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap_or(""))
    }
}

impl Errors {
    /// The text at this place is wrong; a missing one is shown as "".
    pub fn bad_text(&mut self, at: &At<'_>, detail: impl Into<String>) {
        self.invalid(&at.path, &Value::from(at.text()), detail);
    }

    /// The number at this place is wrong; a missing one is shown as 0.
    pub fn bad_int(&mut self, at: &At<'_>, detail: impl Into<String>) {
        self.invalid(&at.path, &Value::from(at.int()), detail);
    }

    pub fn bad(&mut self, at: &At<'_>, detail: impl Into<String>) {
        self.invalid(&at.path, at.value, detail);
    }

    /// Each of the complaints about the text at this place.
    pub fn bad_texts(&mut self, at: &At<'_>, details: Vec<String>) {
        for detail in details {
            self.bad_text(at, detail);
        }
    }

    pub fn bad_ints(&mut self, at: &At<'_>, details: Vec<String>) {
        for detail in details {
            self.bad_int(at, detail);
        }
    }

    /// The text at this place must be one of these. `Required` where it is missing.
    pub fn one_of(&mut self, at: &At<'_>, supported: &[&str]) {
        if at.text().is_empty() {
            self.required(&at.path, "");
        } else {
            self.one_of_if_set(at, supported);
        }
    }

    /// The text at this place must be one of these; also "" is refused unless it is missing or among them.
    pub fn one_of_if_set(&mut self, at: &At<'_>, supported: &[&str]) {
        if at.is_set() && !supported.contains(&at.text()) {
            self.not_supported(&at.path, &Value::from(at.text()), supported);
        }
    }

    /// A number that may not be negative; missing is 0.
    pub fn nonnegative(&mut self, at: &At<'_>) {
        if at.int() < 0 {
            self.bad_int(at, "must be greater than or equal to 0");
        }
    }

    /// A number that must be positive where it is set.
    pub fn positive_if_set(&mut self, at: &At<'_>) {
        if at.is_set() && at.int() <= 0 {
            self.bad_int(at, "must be greater than 0");
        }
    }

    /// The value may not differ from the old one. Null and missing are the same.
    pub fn immutable(&mut self, new: &At<'_>, old: &Value) {
        self.immutable_because(new, old, "field is immutable");
    }

    pub fn immutable_because(&mut self, new: &At<'_>, old: &Value, detail: &str) {
        if !same(new.value, old) {
            self.bad(new, detail);
        }
    }
}

/// Equal as Go's semantic comparison has it: missing, null and empty are one.
pub fn same(a: &Value, b: &Value) -> bool {
    if object::equal(a, b) {
        return true;
    }
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(k, v)| same(v, y.get(k).unwrap_or(&NOTHING)))
                && y.iter().all(|(k, v)| x.contains_key(k) || is_blank(v))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(p, q)| same(p, q)),
        _ => is_blank(a) && is_blank(b),
    }
}

fn is_blank(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        Value::String(s) => s.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
