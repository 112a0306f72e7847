//! Custom resources in documents: their schemas as they were written, with what every object has.

use serde_json::{Map, Value, json};

use super::Edition;
use crate::kinds::Kind;
use crate::schema::OBJECT_META;

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// What the fields say that every object has, in our own words.
const API_VERSION: &str = "the group and version in which the object is written";
const KIND: &str = "what the object is";
const METADATA: &str = "name, labels, owners and the like";

/// The definition of a custom resource.
pub(super) fn object(edition: Edition, kind: &Kind) -> Value {
    let Some(custom) = &kind.custom else { return Value::Null };
    let mut schema = match edition {
        Edition::V3 => custom.published.clone(),
        Edition::V2 => in_v2(&custom.published),
    };
    if !schema.is_object() {
        schema = json!({"type": "object"});
    }
    add_meta(edition, &mut schema, OBJECT_META);
    embed(edition, &mut schema);
    schema["x-kubernetes-group-version-kind"] = gvk(kind, &kind.kind);
    let selectable = kind.rules.selectable();
    if !selectable.is_empty() {
        let fields: Vec<Value> = selectable.iter().map(|path| json!({"fieldPath": path})).collect();
        schema["x-kubernetes-selectable-fields"] = Value::Array(fields);
    }
    schema
}

/// The definition of a list of it.
pub(super) fn list(edition: Edition, kind: &Kind) -> Value {
    let mut schema = json!({
        "description": format!("{} is a list of {}", kind.list_kind(), kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {"items": {
            "description": format!("a list of {}", kind.plural),
            "type": "array",
            "items": edition.reference(&kind.schema),
        }},
    });
    add_meta(edition, &mut schema, LIST_META);
    schema["x-kubernetes-group-version-kind"] = gvk(kind, &kind.list_kind());
    schema
}

fn gvk(kind: &Kind, name: &str) -> Value {
    json!([{"group": kind.group, "version": kind.version, "kind": name}])
}

fn add_meta(edition: Edition, schema: &mut Value, metadata: &str) {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let mut reference = Map::from_iter([("description".to_owned(), json!(METADATA))]);
    match (edition, edition.reference(metadata)) {
        // A `$ref` rules out siblings there.
        (Edition::V3, reference_to) => drop(reference.insert("allOf".into(), json!([reference_to]))),
        (Edition::V2, Value::Object(to)) => reference.extend(to),
        (Edition::V2, _) => {}
    }
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({"description": API_VERSION, "type": "string"});
    properties["kind"] = json!({"description": KIND, "type": "string"});
    properties["metadata"] = Value::Object(reference);
}

/// Objects inside of the object have metadata, too.
fn embed(edition: Edition, schema: &mut Value) {
    let inner = ["items", "additionalProperties"];
    for key in inner {
        if let Some(of) = schema.get_mut(key).filter(|v| v.is_object()) {
            embed_one(edition, of);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().filter(|v| v.is_object()).for_each(|of| embed_one(edition, of));
    }
}

fn embed_one(edition: Edition, schema: &mut Value) {
    embed(edition, schema);
    if schema["x-kubernetes-embedded-resource"] == Value::Bool(true) {
        add_meta(edition, schema, OBJECT_META);
    }
}

/// What v2 cannot say is left out: then kubectl, which validates by it, takes more than the server does, and never less.
fn in_v2(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
    let is_open = flag("nullable") || flag("x-kubernetes-preserve-unknown-fields");
    let mut out = Map::new();
    for (key, value) in map {
        let shown = match key.as_str() {
            "allOf" | "anyOf" | "oneOf" | "not" | "nullable" => continue,
            "type" if flag("nullable") || flag("x-kubernetes-int-or-string") => continue,
            "items" | "properties" if is_open => continue,
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                Value::Object(properties.map(|(name, of)| (name.clone(), in_v2(of))).collect())
            }
            "items" | "additionalProperties" => in_v2(value),
            _ => value.clone(),
        };
        out.insert(key.clone(), shown);
    }
    Value::Object(out)
}
