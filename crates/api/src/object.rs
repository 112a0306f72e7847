//! Reading and writing the parts that every object has, on a plain JSON value.

use serde_json::{Map, Value};

static NOTHING: Value = Value::Null;

/// A map of no more members than this is looked through: sixteen names, most of which differ in length, take 12 ns, and
/// hashing one takes 24. Nearly all maps are shorter.
const SCANNED_MEMBERS: usize = 16;

/// The value of `key`, if `v` is a map that has one.
pub fn member<'a>(v: &'a Value, key: &str) -> Option<&'a Value> {
    find(v.as_object()?, key)
}

/// As [`Map::get`].
pub fn find<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    if map.len() > SCANNED_MEMBERS {
        return map.get(key);
    }
    map.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// As [`Map::get_mut`].
pub fn find_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Value> {
    if map.len() > SCANNED_MEMBERS {
        return map.get_mut(key);
    }
    map.iter_mut().find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// Whether two values are the same; the order of members says nothing. As `==`, but faster: see [`alike`].
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => alike(a, b, |_, a, b| equal(a, b)),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => a == b,
    }
}

/// Whether two maps have the same members, and those values of which `same` says so. Two states of an object have mostly
/// the same members in the same order, which takes no hashing to find out.
pub fn alike(
    a: &Map<String, Value>,
    b: &Map<String, Value>,
    same: impl Fn(&str, &Value, &Value) -> bool,
) -> bool {
    let mut beside = b.iter();
    a.len() == b.len()
        && a.iter().all(|(key, a)| match beside.next() {
            Some((name, b)) if name == key => same(key, a, b),
            _ => b.get(key).is_some_and(|b| same(key, a, b)),
        })
}

/// The value at `path`, or null.
pub fn at<'a>(v: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(v, |v, key| member(v, key)).unwrap_or(&NOTHING)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_in_short_maps_and_long_ones() {
        for n in [0, 1, SCANNED_MEMBERS, SCANNED_MEMBERS + 1] {
            let map = Value::Object((0..n).map(|i| (format!("k{i}"), json!(i))).collect());
            assert!((0..n).all(|i| member(&map, &format!("k{i}")) == Some(&json!(i))));
            assert_eq!(member(&map, "k"), None);
        }
        assert_eq!(member(&json!("text"), "k"), None);
    }

    #[test]
    fn the_order_of_members_makes_no_difference() {
        let a = json!({"x": 1, "y": {"p": [1, {"q": null}], "r": "s"}});
        for (b, same) in [
            (json!({"x": 1, "y": {"p": [1, {"q": null}], "r": "s"}}), true),
            (json!({"y": {"r": "s", "p": [1, {"q": null}]}, "x": 1}), true),
            (json!({"x": 1, "y": {"p": [{"q": null}, 1], "r": "s"}}), false),
            (json!({"x": 1, "y": {"p": [1, {"q": null}], "s": "r"}}), false),
            (json!({"x": 1, "y": {"p": [1, {"q": null}], "r": "s"}, "z": 0}), false),
            (json!({"x": 2, "y": {"p": [1, {"q": null}], "r": "s"}}), false),
            (json!({"y": {"p": [1, {}], "r": "s"}, "x": 1}), false),
        ] {
            assert_eq!((equal(&a, &b), equal(&b, &a), a == b), (same, same, same), "{b}");
        }
    }
}
