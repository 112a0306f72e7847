//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

use super::{Decoded, PatchError};

/// Reads a merge patch, which must be an object.
pub fn decode(bytes: &[u8]) -> Result<Decoded<Map<String, Value>>, PatchError> {
    super::decode_object(bytes).map_err(PatchError::Decode)
}

/// Applies a merge patch to an object.
pub fn apply(doc: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, change) in patch {
        match (doc.get_mut(key), change) {
            (_, Value::Null) => {
                doc.shift_remove(key);
            }
            (Some(Value::Object(inner)), Value::Object(change)) => apply(inner, change),
            (_, change) => {
                doc.insert(key.clone(), without_nulls(change));
            }
        }
    }
}

/// A new value brings no deletions along: members that are null are left out, at any depth.
fn without_nulls(v: &Value) -> Value {
    match v {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(k, v)| (k.clone(), without_nulls(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_as_the_rfc_says() {
        // The table of RFC 7386's appendix A, as far as it is about objects.
        for (doc, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut doc = doc.as_object().unwrap().clone();
            apply(&mut doc, patch.as_object().unwrap());
            assert_eq!(Value::Object(doc), want);
        }
    }

    #[test]
    fn refuses_what_is_no_patch() {
        for (text, want) in [
            ("{", "error decoding patch: unexpected end of JSON input"),
            (
                "[]",
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap_err().to_string(), want);
        }
        assert_eq!(decode(br#"{"a":1,"a":2}"#).unwrap().strict_errors, ["duplicate field \"a\""]);
    }
}
