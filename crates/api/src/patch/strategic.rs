//! Strategic merge patch: a merge patch whose lists merge by key, with directives (`$patch`, `$retainKeys`,
//! `$setElementOrder/…`, `$deleteFromPrimitiveList/…`).

use serde_json::{Map, Value};

use super::facts::Facts;
use super::order::{self, arrange};
use super::{Decoded, PatchError};
use crate::field::go_quote;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Reads a strategic merge patch, which must be an object.
pub fn decode(bytes: &[u8]) -> Result<Decoded<Map<String, Value>>, PatchError> {
    super::decode_object(bytes).map_err(PatchError::Malformed)
}

/// Applies a strategic merge patch to an object.
pub fn apply<F: Facts>(facts: F, doc: &mut Value, patch: Map<String, Value>) -> Result<(), PatchError> {
    let original = std::mem::take(crate::object::map_mut(doc));
    *doc = Value::Object(merge_map(Some(facts), original, patch)?);
    Ok(())
}

type Object = Map<String, Value>;

fn merge_map<F: Facts>(
    facts: Option<F>,
    mut original: Object,
    mut patch: Object,
) -> Result<Object, PatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.shift_remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Map::new()),
            _ => Err(bad_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    merge_ordered_lists(facts, &mut original, &mut patch)?;
    for (key, change) in patch {
        let (key, deletes) = match key.strip_prefix(DELETE_FROM) {
            Some(list) => (list.to_owned(), true),
            None => (key, false),
        };
        if change.is_null() {
            original.shift_remove(&key);
            continue;
        }
        let below = facts.and_then(|f| f.field(&key));
        let Some(slot) = original.get_mut(&key) else {
            if !deletes && let Some(new) = without_directives(change) {
                original.insert(key, new);
            }
            continue;
        };
        match (std::mem::take(slot), change) {
            (Value::Object(old), Value::Object(change)) => {
                *slot = Value::Object(merge_map(below, old, change)?);
            }
            (Value::Array(old), Value::Array(change)) => {
                *slot = Value::Array(merge_list_at(below, old, change, deletes)?);
            }
            (old, _) if deletes => *slot = old,
            (_, change) => *slot = without_directives(change).unwrap_or(Value::Null),
        }
    }
    Ok(original)
}

fn bad_directive(directive: &Value, patch: &Object) -> PatchError {
    let quoted = directive.as_str().map_or_else(|| format!("%!q({directive})"), go_quote);
    PatchError::Internal(format!("unknown patch type: {quoted} in map: {}", go_map(patch)))
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::Internal(format!("map: {} does not contain declared merge key: {key}", go_print(item)))
}

/// A new value as it is stored: without nulls, directives and items that a directive deletes.
fn without_directives(v: Value) -> Option<Value> {
    match v {
        Value::Object(mut map) => match map.shift_remove(DIRECTIVE) {
            Some(d) if d == "delete" => None,
            _ => {
                map.retain(|key, v| {
                    !v.is_null()
                        && key != RETAIN_KEYS
                        && !key.starts_with(DELETE_FROM)
                        && !key.starts_with(SET_ORDER)
                });
                Some(map.into_iter().filter_map(|(k, v)| Some((k, without_directives(v)?))).collect())
            }
        },
        Value::Array(items) => {
            // An item that says nothing but how the list is patched is none.
            let is_directive =
                |v: &Value| v.as_object().is_some_and(|m| m.len() == 1 && m.contains_key(DIRECTIVE));
            let kept = items.into_iter().filter(|v| !is_directive(v));
            Some(Value::Array(kept.filter_map(without_directives).collect()))
        }
        scalar => Some(scalar),
    }
}

/// `$retainKeys`: what the list does not name goes.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(keys) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let bad = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let keys = keys.as_array().ok_or_else(bad)?;
    let retained = |key: &str| keys.iter().any(|k| k == key);
    for (key, change) in patch.iter() {
        let exempt = change.is_null() || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
        if !exempt && !retained(key) {
            return Err(bad());
        }
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// `$setElementOrder/LIST`: merges the list, puts it into the asked-for order and takes it off the patch.
fn merge_ordered_lists<F: Facts>(
    facts: Option<F>,
    original: &mut Object,
    patch: &mut Object,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|k| k.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let wanted = match patch.shift_remove(&directive) {
            Some(Value::Array(wanted)) => wanted,
            _ => {
                return Err(PatchError::Internal(
                    "expected a []interface {} for an element order".to_owned(),
                ));
            }
        };
        let name = &directive[SET_ORDER.len()..];
        let below = facts.and_then(|f| f.field(name));
        let key = below.as_ref().and_then(|f| f.patch_merge_key()).unwrap_or("").to_owned();
        let changes = match patch.shift_remove(name) {
            Some(Value::Array(changes)) => Some(changes),
            Some(Value::Null) => {
                original.shift_remove(name);
                continue;
            }
            Some(_) => return Err(PatchError::Internal(format!("{name} is not a list"))),
            None => None,
        };
        if let Some(changes) = &changes {
            check_order(changes, &wanted, &key)?;
        }
        let old = original.get(name).and_then(Value::as_array).cloned();
        let merged = match (old.clone(), changes) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(changes)) => match without_directives(Value::Array(changes)) {
                Some(Value::Array(new)) => new,
                _ => continue,
            },
            (Some(old), Some(changes)) => merge_list_at(below, old, changes, false)?,
        };
        let arranged = arrange(merged, &wanted, &old.unwrap_or_default(), &key);
        original.insert(name.to_owned(), Value::Array(arranged));
    }
    Ok(())
}

/// The changed items must stand in the order that the directive asks for.
fn check_order(changes: &[Value], wanted: &[Value], key: &str) -> Result<(), PatchError> {
    let mut at = 0;
    for change in changes.iter().filter(|c| c.get(DIRECTIVE).is_none()) {
        if !key.is_empty() && change.get(key).is_none() {
            return Err(no_merge_key(change, key));
        }
        match wanted[at..].iter().position(|w| order::same_item(w, change, key)) {
            Some(found) => at += found + 1,
            None => {
                let why = format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    go_list(changes),
                    go_list(wanted)
                );
                return Err(PatchError::Internal(why));
            }
        }
    }
    Ok(())
}

fn merge_list_at<F: Facts>(
    facts: Option<F>,
    original: Vec<Value>,
    patch: Vec<Value>,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    if !deletes && !facts.is_some_and(Facts::patch_merges) {
        let new = without_directives(Value::Array(patch));
        return Ok(new.and_then(|v| v.as_array().cloned()).unwrap_or_default());
    }
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    let of_maps = original.first().or(patch.first()).is_some_and(Value::is_object);
    if original.iter().chain(&patch).any(|v| v.is_object() != of_maps || v.is_array()) {
        return Err(PatchError::Internal("list element types are not identical".to_owned()));
    }
    if !of_maps {
        if deletes {
            return Ok(original.into_iter().filter(|v| !patch.contains(v)).collect());
        }
        let mut merged = original.clone();
        for item in &patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(arrange(merged, &patch, &original, ""));
    }
    let key = facts.as_ref().and_then(|f| f.patch_merge_key()).unwrap_or("").to_owned();
    if key.is_empty() {
        return Err(PatchError::Internal("cannot merge lists without merge key".to_owned()));
    }
    merge_items(facts.and_then(Facts::items), original, patch, &key)
}

fn merge_items<F: Facts>(
    facts: Option<F>,
    original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<Vec<Value>, PatchError> {
    let (original, patch) = special_items(original, patch, key)?;
    let mut merged = original.clone();
    for change in &patch {
        let wanted = change.get(key).ok_or_else(|| no_merge_key(change, key))?;
        let Value::Object(change_map) = change else { continue };
        match merged.iter_mut().find(|item| item.get(key) == Some(wanted)) {
            Some(Value::Object(item)) => *item = merge_map(facts, std::mem::take(item), change_map.clone())?,
            _ => merged.extend(without_directives(change.clone())),
        }
    }
    Ok(arrange(merged, &patch, &original, key))
}

/// Sees to the items that carry `$patch`: deletes what they name, or replaces the whole list.
fn special_items(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut ordinary = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for item in patch {
        match item.get(DIRECTIVE).map(|d| d.as_str()) {
            None => ordinary.push(item),
            Some(Some("delete")) => {
                let gone = item.get(key).ok_or_else(|| no_merge_key(&item, key))?;
                original.retain(|o| o.get(key) != Some(gone));
            }
            Some(Some("replace")) => replaces = true,
            Some(Some("merge")) => {
                let why = "merging lists cannot yet be specified in the patch";
                return Err(PatchError::Internal(why.to_owned()));
            }
            Some(_) => {
                let map = item.as_object().cloned().unwrap_or_default();
                return Err(bad_directive(&map[DIRECTIVE], &map));
            }
        }
    }
    Ok(if replaces { (ordinary, Vec::new()) } else { (original, ordinary) })
}

/// A value as Go's `%v` prints it.
fn go_print(v: &Value) -> String {
    match v {
        Value::Null => "<nil>".to_owned(),
        Value::String(s) => s.clone(),
        Value::Array(items) => go_list(items),
        Value::Object(map) => go_map(map),
        other => other.to_string(),
    }
}

fn go_list(items: &[Value]) -> String {
    format!("[{}]", items.iter().map(go_print).collect::<Vec<_>>().join(" "))
}

fn go_map(map: &Object) -> String {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_unstable_by_key(|(k, _)| *k);
    let shown: Vec<String> = entries.iter().map(|(k, v)| format!("{k}:{}", go_print(v))).collect();
    format!("map[{}]", shown.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch::model::{Model, schema};

    fn patched(doc: &Value, patch: Value) -> Value {
        let schema = schema();
        let mut doc = doc.clone();
        let patch = decode(patch.to_string().as_bytes()).unwrap().patch;
        apply(Model(&schema), &mut doc, patch).map_or_else(|e| json!(e.to_string()), |()| doc)
    }

    fn deployment() -> Value {
        json!({"metadata": {"labels": {"b": "1"}, "finalizers": ["x", "y"]}, "spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [
                {"name": "a", "image": "a:1", "args": ["1"], "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
                {"name": "b", "image": "b:1"}]}}}})
    }

    fn check(patch: Value, at: &str, want: Value) {
        assert_eq!(patched(&deployment(), patch).pointer(at).unwrap_or(&Value::Null), &want, "{at}");
    }

    fn containers(patch: Value, want: Value) {
        check(json!({"spec": {"template": {"spec": patch}}}), "/spec/template/spec/containers", want);
    }

    #[test]
    fn merges_lists_by_key() {
        let a = deployment()["spec"]["template"]["spec"]["containers"][0].clone();
        containers(
            json!({"containers": [{"name": "b", "image": "b:2"}]}),
            json!([a, {"name": "b", "image": "b:2"}]),
        );
        containers(json!({"containers": [{"name": "b", "$patch": "delete"}]}), json!([a]));
        containers(
            json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "o"}]}),
            json!([{"name": "only", "image": "o"}]),
        );
        let mut changed = a.clone();
        changed["env"] = json!([{"name": "Z", "value": "3"}, {"name": "Y", "value": "2"}]);
        changed["args"] = json!(["2"]);
        let env = json!([{"name": "Z", "value": "3"}, {"name": "X", "$patch": "delete"}]);
        containers(
            json!({"containers": [{"name": "a", "args": ["2"], "env": env}]}),
            json!([changed, {"name": "b", "image": "b:1"}]),
        );
    }

    #[test]
    fn puts_lists_in_order() {
        let patch = json!({"$setElementOrder/containers": [{"name": "n"}, {"name": "b"}, {"name": "a"}], "containers": [{"name": "n", "image": "n:1"}]});
        let names = |v: &Value| {
            v.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let doc = patched(&deployment(), json!({"spec": {"template": {"spec": patch}}}));
        assert_eq!(names(&doc["spec"]["template"]["spec"]["containers"]), ["n", "b", "a"]);
        let bad = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "n"}]}}}});
        let want =
            "The order in patch list:\n[map[name:n]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n";
        assert_eq!(patched(&deployment(), bad), want);
    }

    #[test]
    fn follows_directives_of_maps_and_scalar_lists() {
        check(
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            "/spec/strategy",
            json!({"type": "Recreate"}),
        );
        check(
            json!({"spec": {"strategy": {"$patch": "replace", "type": "x"}}}),
            "/spec/strategy",
            json!({"type": "x"}),
        );
        check(json!({"spec": {"strategy": {"$patch": "delete"}}}), "/spec/strategy", json!({}));
        check(
            json!({"metadata": {"labels": {"a": "1", "b": null, "c": null}}}),
            "/metadata/labels",
            json!({"a": "1"}),
        );
        check(json!({"metadata": {"finalizers": ["z"]}}), "/metadata/finalizers", json!(["z", "x", "y"]));
        check(
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}),
            "/metadata/finalizers",
            json!(["y"]),
        );
        let volume = json!([{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}]);
        let want = json!([{"name": "v", "configMap": {"name": "c"}}]);
        check(
            json!({"spec": {"template": {"spec": {"volumes": volume}}}}),
            "/spec/template/spec/volumes",
            want,
        );
    }

    #[test]
    fn refuses_as_recorded() {
        let no_key = json!({"spec": {"template": {"spec": {"containers": [{"image": "b:2"}]}}}});
        assert_eq!(
            patched(&deployment(), no_key),
            "map: map[image:b:2] does not contain declared merge key: name"
        );
        let bad = json!({"spec": {"strategy": {"$retainKeys": ["x"], "type": "Recreate"}}});
        assert_eq!(patched(&deployment(), bad), "invalid patch format of retainKeys");
        let bad = json!({"spec": {"$patch": "frob"}});
        assert_eq!(patched(&deployment(), bad), "unknown patch type: \"frob\" in map: map[$patch:frob]");
        assert_eq!(decode(b"{").unwrap_err().to_string(), "unexpected end of JSON input");
    }
}
