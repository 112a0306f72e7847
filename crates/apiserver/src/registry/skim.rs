//! The little of a stored object that selecting looks at, read without building the rest.
//!
//! A large cluster is read back whole at every start: building all of an object to keep a uid, labels and some fields of
//! it takes 30 µs and leaves the memory it was built in in pieces.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What of `metadata` is kept.
const METADATA: &[&str] = &["name", "uid", "labels", "deletionTimestamp"];
/// The lists that are looked into; the others of a Pod's spec are most of it.
const LISTS: &[&str] = &["podIPs"];
/// Deeper than this nothing is kept: `status.podIPs[0].ip` is what lies deepest.
const DEPTH: usize = 4;

/// Of the object: of `metadata` what selecting needs; of all else the first element of each of [`LISTS`], and nothing
/// that lies deeper than [`DEPTH`]. `Null` of what is no JSON.
pub(super) fn skim(json: &[u8]) -> Value {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Level { left: DEPTH, of: Part::Object }.deserialize(&mut deserializer).unwrap_or(Value::Null)
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Object,
    Metadata,
    Labels,
    List,
    Rest,
}

/// A value that may be so many levels deep.
#[derive(Clone, Copy)]
struct Level {
    left: usize,
    of: Part,
}

impl Level {
    /// What becomes of the value of `key`; `None` where it is not looked at.
    fn under(self, key: &str) -> Option<Level> {
        let of = match self.of {
            Part::Object if key == "metadata" => Part::Metadata,
            Part::Metadata if !METADATA.contains(&key) => return None,
            Part::Metadata if key == "labels" => Part::Labels,
            Part::Labels => Part::Labels,
            _ if LISTS.contains(&key) => Part::List,
            _ => Part::Rest,
        };
        Some(Level { left: self.left.checked_sub(1)?, of })
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let Some(left) = self.left.checked_sub(1).filter(|_| self.of == Part::List) else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let first = list.next_element_seed(Level { left, of: Part::Rest })?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(first.into_iter().collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.under(&key) {
                Some(level) => {
                    let value = map.next_value_seed(level)?;
                    kept.insert(key.into_owned(), value);
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(kept))
    }
}

#[cfg(test)]
mod tests {
    use coracle_api::catalog::Catalog;
    use expect_test::expect;
    use serde_json::json;

    use super::super::select::meta;
    use super::*;

    #[test]
    fn what_is_deep_or_long_is_passed_over() {
        let pod = json!({
            "metadata": {"name": "a", "uid": "u", "labels": {"x": "y"}, "annotations": {"big": "…"},
                         "managedFields": [{"fieldsV1": {"f:spec": {}}}]},
            "spec": {"nodeName": "n", "hostNetwork": true, "containers": [{"name": "c", "env": [{"name": "E"}]}, {}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "::1"}]},
        });
        let kept = skim(pod.to_string().as_bytes());
        expect![[r#"{"metadata":{"name":"a","uid":"u","labels":{"x":"y"}},"spec":{"nodeName":"n","hostNetwork":true,"containers":null},"status":{"phase":"Running","podIPs":[{"ip":"10.0.0.1"}]}}"#]].assert_eq(&kept.to_string());
        assert_eq!(skim(b"{\"a\": "), Value::Null);
    }

    /// An object with a value at every selectable path and beside it.
    fn full(paths: &[coracle_api::kinds::Text]) -> Value {
        let mut object = json!({
            "metadata": {"name": "n", "uid": "u-1", "labels": {"a": "b"}, "deletionTimestamp": "2026-01-01T00:00:00Z",
                         "annotations": {"c": "d"}},
            "status": {"replicas": 3, "succeeded": 2, "podIPs": [{"ip": "10.0.0.1"}, {"ip": "::1"}]},
            "spec": {"unschedulable": true},
        });
        for path in paths {
            let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
            let mut at = &mut object;
            for key in parents.split('.').filter(|key| !key.is_empty()) {
                at = &mut at[key];
            }
            if at[last].is_null() && *path != "status.podIPs" {
                at[last] =
                    if *path == "spec.hostNetwork" { json!(true) } else { json!(format!("at {path}")) };
            }
        }
        object
    }

    #[test]
    fn every_kind_is_selected_after_a_restart_as_before() {
        let mut fields = 0;
        for kind in Catalog::builtin().kinds() {
            let object = full(kind.rules.selectable());
            let skimmed = skim(object.to_string().as_bytes());
            assert_eq!(meta(kind, &skimmed), meta(kind, &object), "{}", kind.kind);
            fields += kind.rules.selectable().len();
        }
        assert!(fields > 20, "{fields}");
    }
}
