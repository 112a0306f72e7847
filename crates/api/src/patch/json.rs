//! JSON patch (RFC 6902), with the reference library's leniencies: negative indexes, `replace` and `test` of the root.

use serde_json::{Map, Value};

use super::{Decoded, PatchError, go_type};
use crate::codec;
use crate::codec::json::{MAX_DEPTH, depth};
use crate::field::go_quote;

/// The reference's bound on operations in one patch: applying costs quadratic time in the worst case.
pub const MAX_OPERATIONS: usize = 10_000;

/// The reference's bound on the bytes that all `copy` operations of one patch may add, so that a small patch cannot
/// double an object again and again.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    op: String,
    path: String,
    from: String,
    value: Option<Value>,
}

/// Reads a JSON patch, which must be a list of operations.
pub fn decode(bytes: &[u8]) -> Result<Decoded<Vec<Operation>>, PatchError> {
    let parsed = codec::json::parse(bytes).map_err(|e| PatchError::Decode(e.to_string()))?;
    let mut strict_errors: Vec<String> = parsed.strict_errors().map(|e| format!("json patch {e}")).collect();
    let items = match parsed.value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => return Err(wrong_type(&other, "[]handlers.jsonPatchOp")),
    };
    if items.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations { limit: MAX_OPERATIONS, got: items.len() });
    }
    let mut patch = Vec::with_capacity(items.len());
    for (i, item) in items.into_iter().enumerate() {
        let Value::Object(mut fields) = item else {
            return Err(wrong_type(&item, "handlers.jsonPatchOp"));
        };
        let op = take_text(&mut fields, "op")?;
        let path = take_text(&mut fields, "path")?;
        let from = take_text(&mut fields, "from")?;
        let value = fields.shift_remove("value");
        for key in fields.keys() {
            strict_errors.push(format!("json patch unknown field {}", go_quote(&format!("[{i}].{key}"))));
        }
        patch.push(Operation { op, path, from, value });
    }
    Ok(Decoded { patch, strict_errors })
}

fn wrong_type(found: &Value, wanted: &str) -> PatchError {
    PatchError::Decode(format!("json: cannot unmarshal {} into Go value of type {wanted}", go_type(found)))
}

fn take_text(fields: &mut Map<String, Value>, key: &str) -> Result<String, PatchError> {
    match fields.shift_remove(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(s)) => Ok(s),
        Some(other) => {
            let found = go_type(&other);
            let why = format!(
                "json: cannot unmarshal {found} into Go struct field jsonPatchOp.{key} of type string"
            );
            Err(PatchError::Decode(why))
        }
    }
}

/// Applies every operation in order; after an error the document is half patched and of no use.
pub fn apply(doc: &mut Value, patch: &[Operation]) -> Result<(), PatchError> {
    let mut copied = 0;
    for operation in patch {
        apply_one(doc, operation, &mut copied).map_err(PatchError::DoesNotApply)?;
    }
    Ok(())
}

fn apply_one(doc: &mut Value, o: &Operation, copied: &mut usize) -> Result<(), String> {
    let value = || o.value.clone().unwrap_or(Value::Null);
    match o.op.as_str() {
        "add" => add(doc, &o.path, value()),
        "remove" => remove(doc, &o.path).map(drop),
        "replace" if o.path.is_empty() => {
            if !matches!(o.value, Some(Value::Object(_) | Value::Array(_))) {
                return Err("replace operation value must be object or array".to_owned());
            }
            *doc = value();
            Ok(())
        }
        "replace" => {
            let value = value();
            check_depth(&o.path, &value)?;
            *find(doc, &o.path)? = value;
            Ok(())
        }
        "move" => {
            let moved = remove(doc, &o.from)?;
            add(doc, &o.path, moved)
        }
        "copy" => {
            let copy = find(doc, &o.from)?.clone();
            *copied += codec::encode::compact(&copy).len();
            if *copied > MAX_COPIED_BYTES {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED_BYTES}"
                ));
            }
            add(doc, &o.path, copy)
        }
        "test" => test(doc, o),
        other => Err(format!("Unexpected kind: {other}")),
    }
}

fn test(doc: &mut Value, o: &Operation) -> Result<(), String> {
    let wanted = o.value.as_ref().unwrap_or(&Value::Null);
    let found = if o.path.is_empty() { Ok(doc) } else { find(doc, &o.path) };
    let equal = match found {
        Ok(found) => same(found, wanted),
        // What is not there equals null.
        Err(_) => wanted.is_null(),
    };
    if equal { Ok(()) } else { Err(format!("testing value {} failed", o.path)) }
}

/// Equality of JSON values; numbers by value, so that 1 and 1.0 are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The container that a pointer's last token is looked up in, and that token.
fn container<'a>(doc: &'a mut Value, pointer: &str) -> Result<(&'a mut Value, String), String> {
    let missing = || format!("doc is missing path: {}: missing value", go_quote(pointer));
    let mut tokens = pointer.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~"));
    let mut token = tokens.next().ok_or_else(missing)?;
    let mut at = doc;
    for next in tokens {
        at = match at {
            Value::Object(map) => map.get_mut(&token),
            Value::Array(items) => index(&token, items.len()).ok().and_then(|i| items.get_mut(i)),
            _ => None,
        }
        .ok_or_else(missing)?;
        token = next;
    }
    if at.is_object() || at.is_array() { Ok((at, token)) } else { Err(missing()) }
}

/// An index into a list; a negative one counts from the end.
fn index(token: &str, len: usize) -> Result<usize, String> {
    let n: i64 =
        token.parse().map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", go_quote(token)))?;
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let i = if n < 0 { n + len } else { n };
    usize::try_from(i).map_err(|_| format!("Unable to access invalid index: {n}"))
}

fn find<'a>(doc: &'a mut Value, pointer: &str) -> Result<&'a mut Value, String> {
    let (container, token) = container(doc, pointer)?;
    match container {
        Value::Object(map) => map.get_mut(&token),
        Value::Array(items) => {
            let i = index(&token, items.len())?;
            items.get_mut(i)
        }
        _ => None,
    }
    .ok_or_else(|| format!("doc is missing key: {pointer}: missing value"))
}

/// One deep value below another, again and again, would make an object that nobody could read: the bound on what is
/// read holds for what is patched, too.
fn check_depth(pointer: &str, value: &Value) -> Result<(), String> {
    let above = pointer.bytes().filter(|b| *b == b'/').count();
    if above + depth(value) > MAX_DEPTH { Err("exceeded max depth".to_owned()) } else { Ok(()) }
}

fn add(doc: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    check_depth(pointer, &value)?;
    let (container, token) = container(doc, pointer)?;
    match container {
        Value::Array(items) if token == "-" => items.push(value),
        Value::Array(items) => {
            let i = index(&token, items.len() + 1)?;
            if i > items.len() {
                return Err(format!("Unable to access invalid index: {i}"));
            }
            items.insert(i, value);
        }
        other => {
            crate::object::map_mut(other).insert(token, value);
        }
    }
    Ok(())
}

fn remove(doc: &mut Value, pointer: &str) -> Result<Value, String> {
    let (container, token) = container(doc, pointer)?;
    match container {
        Value::Array(items) => {
            let i = index(&token, items.len())?;
            if i >= items.len() {
                return Err(format!("Unable to access invalid index: {i}"));
            }
            Ok(items.remove(i))
        }
        other => crate::object::map_mut(other)
            .shift_remove(&token)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {token}: missing value")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(doc: Value, patch: Value, want: Option<Value>) {
        let mut patched = doc.clone();
        let decoded = decode(patch.to_string().as_bytes()).unwrap();
        let result = apply(&mut patched, &decoded.patch).ok().map(|()| patched);
        assert_eq!(result, want, "{doc} {patch}");
    }

    #[test]
    fn applies_operations() {
        let d = || json!({"a": {"b": [1, 2, 3], "c/d": "x", "e~f": null}});
        check(
            d(),
            json!([{"op": "add", "path": "/a/b/1", "value": 9}]),
            Some(json!({"a": {"b": [1, 9, 2, 3], "c/d": "x", "e~f": null}})),
        );
        check(
            d(),
            json!([{"op": "add", "path": "/a/b/-", "value": 9}]),
            Some(json!({"a": {"b": [1, 2, 3, 9], "c/d": "x", "e~f": null}})),
        );
        check(
            d(),
            json!([{"op": "remove", "path": "/a/b/-1"}]),
            Some(json!({"a": {"b": [1, 2], "c/d": "x", "e~f": null}})),
        );
        check(
            d(),
            json!([{"op": "remove", "path": "/a/c~1d"}, {"op": "remove", "path": "/a/e~0f"}]),
            Some(json!({"a": {"b": [1, 2, 3]}})),
        );
        check(
            d(),
            json!([{"op": "move", "from": "/a/b", "path": "/z"}]),
            Some(json!({"a": {"c/d": "x", "e~f": null}, "z": [1, 2, 3]})),
        );
        check(
            d(),
            json!([{"op": "copy", "from": "/a/b/0", "path": "/z"}, {"op": "test", "path": "/z", "value": 1.0}, {"op": "remove", "path": "/a"}]),
            Some(json!({"z": 1})),
        );
        check(d(), json!([{"op": "replace", "path": "", "value": {"k": 1}}]), Some(json!({"k": 1})));
        check(d(), json!([{"op": "test", "path": "/none", "value": null}]), Some(d()));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let d = || json!({"a": {"b": [1]}, "s": "x"});
        for patch in [
            json!([{"op": "remove", "path": "/none"}]),
            json!([{"op": "replace", "path": "/none", "value": 1}]),
            json!([{"op": "add", "path": "/none/x", "value": 1}]),
            json!([{"op": "add", "path": "/s/x", "value": 1}]),
            json!([{"op": "add", "path": "/a/b/2", "value": 1}]),
            json!([{"op": "add", "path": "/a/b/x", "value": 1}]),
            json!([{"op": "add", "path": "", "value": 1}]),
            json!([{"op": "test", "path": "/s", "value": "y"}]),
            json!([{"op": "frob", "path": "/s"}]),
            json!([{"op": "move", "from": "/none", "path": "/s"}]),
        ] {
            check(d(), patch, None);
        }
    }

    #[test]
    fn refuses_what_is_no_patch_and_stops_bombs() {
        let said = |v: Value| decode(v.to_string().as_bytes()).unwrap_err().to_string();
        assert_eq!(
            said(json!({"a": 1})),
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        );
        assert_eq!(
            said(json!([{"op": 1}])),
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
        );
        let many = Value::Array(vec![json!({"op": "test", "path": "/a"}); MAX_OPERATIONS + 1]);
        assert_eq!(said(many), "The allowed maximum operations in a JSON patch is 10000, got 10001");
        let twice: Vec<Value> =
            (0..40).map(|i| json!({"op": "copy", "from": "/a", "path": format!("/a/x{i}")})).collect();
        check(json!({"a": {"s": "x".repeat(1000)}}), Value::Array(twice), None);
        let strict = decode(br#"[{"op":"test","path":"/a","frob":1}]"#).unwrap().strict_errors;
        assert_eq!(strict, ["json patch unknown field \"[0].frob\""]);
    }
}
