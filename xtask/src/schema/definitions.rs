//! The OpenAPI definitions, as far as they are facts: no prose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Definitions(BTreeMap<String, Value>);

pub(crate) fn read(file: &Path) -> Result<Definitions> {
    let mut all: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let defs = all["$defs"].as_object_mut().context("the file has $defs")?;
    Ok(Definitions(std::mem::take(defs).into_iter().collect()))
}

impl Definitions {
    pub(crate) fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// The definitions that `roots` are made of, themselves included, and all of apimachinery's.
    pub(crate) fn closure(&self, roots: &[String]) -> BTreeSet<&str> {
        let mut todo: Vec<&str> = roots.iter().filter_map(|r| self.key(r)).collect();
        todo.extend(self.0.keys().filter(|k| k.starts_with("io.k8s.apimachinery.")).map(String::as_str));
        let mut seen = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if seen.insert(name) {
                references(&self.0[name], &mut |r| todo.extend(self.key(r)));
            }
        }
        seen
    }

    fn key(&self, name: &str) -> Option<&str> {
        self.0.get_key_value(name).map(|(k, _)| k.as_str())
    }
}

fn references<'a>(v: &'a Value, found: &mut impl FnMut(&'a str)) {
    match v {
        Value::Object(map) => {
            if let Some(name) = reference(v) {
                found(name);
            }
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

/// The definition that a property refers to.
pub(crate) fn reference(v: &Value) -> Option<&str> {
    v["$ref"].as_str()?.rsplit('/').next()
}

/// The type of a property, without the `null` that the wheel adds to every optional one.
pub(crate) fn type_of(v: &Value) -> &str {
    match &v["type"] {
        Value::String(s) => s,
        Value::Array(a) => a.iter().filter_map(Value::as_str).find(|t| *t != "null").unwrap_or(""),
        _ => "",
    }
}
