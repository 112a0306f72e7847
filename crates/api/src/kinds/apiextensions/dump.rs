//! Parts of a CustomResourceDefinition as complaints show them: as JSON of the reference's own structs, which have other
//! names, and all fields whether set or not.

use serde_json::{Map, Value, json};

use super::Hoisted;
use crate::codec::encode;

/// A field of a struct: its name there, its name in JSON, and what it is when it is not set.
type Field = (&'static str, &'static str, Unset);

#[derive(Clone, Copy)]
enum Unset {
    Null,
    Text,
    False,
}

const SCHEMA: [Field; 43] = [
    ("ID", "id", Unset::Text),
    ("Schema", "$schema", Unset::Text),
    ("Ref", "$ref", Unset::Null),
    ("Description", "description", Unset::Text),
    ("Type", "type", Unset::Text),
    ("Nullable", "nullable", Unset::False),
    ("Format", "format", Unset::Text),
    ("Title", "title", Unset::Text),
    ("Default", "default", Unset::Null),
    ("Maximum", "maximum", Unset::Null),
    ("ExclusiveMaximum", "exclusiveMaximum", Unset::False),
    ("Minimum", "minimum", Unset::Null),
    ("ExclusiveMinimum", "exclusiveMinimum", Unset::False),
    ("MaxLength", "maxLength", Unset::Null),
    ("MinLength", "minLength", Unset::Null),
    ("Pattern", "pattern", Unset::Text),
    ("MaxItems", "maxItems", Unset::Null),
    ("MinItems", "minItems", Unset::Null),
    ("UniqueItems", "uniqueItems", Unset::False),
    ("MultipleOf", "multipleOf", Unset::Null),
    ("Enum", "enum", Unset::Null),
    ("MaxProperties", "maxProperties", Unset::Null),
    ("MinProperties", "minProperties", Unset::Null),
    ("Required", "required", Unset::Null),
    ("Items", "items", Unset::Null),
    ("AllOf", "allOf", Unset::Null),
    ("OneOf", "oneOf", Unset::Null),
    ("AnyOf", "anyOf", Unset::Null),
    ("Not", "not", Unset::Null),
    ("Properties", "properties", Unset::Null),
    ("AdditionalProperties", "additionalProperties", Unset::Null),
    ("PatternProperties", "patternProperties", Unset::Null),
    ("Dependencies", "dependencies", Unset::Null),
    ("AdditionalItems", "additionalItems", Unset::Null),
    ("Definitions", "definitions", Unset::Null),
    ("ExternalDocs", "externalDocs", Unset::Null),
    ("Example", "example", Unset::Null),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", Unset::Null),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Unset::False),
    ("XIntOrString", "x-kubernetes-int-or-string", Unset::False),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Unset::Null),
    ("XListType", "x-kubernetes-list-type", Unset::Null),
    ("XMapType", "x-kubernetes-map-type", Unset::Null),
];

const RULE: [Field; 6] = [
    ("Rule", "rule", Unset::Text),
    ("Message", "message", Unset::Text),
    ("MessageExpression", "messageExpression", Unset::Text),
    ("Reason", "reason", Unset::Null),
    ("FieldPath", "fieldPath", Unset::Text),
    ("OptionalOldSelf", "optionalOldSelf", Unset::Null),
];

const COLUMN: [Field; 5] = [
    ("Name", "name", Unset::Text),
    ("Type", "type", Unset::Text),
    ("Format", "format", Unset::Text),
    ("Description", "description", Unset::Text),
    ("JSONPath", "jsonPath", Unset::Text),
];

const SCALE: [Field; 3] = [
    ("SpecReplicasPath", "specReplicasPath", Unset::Text),
    ("StatusReplicasPath", "statusReplicasPath", Unset::Text),
    ("LabelSelectorPath", "labelSelectorPath", Unset::Null),
];

fn fields(value: &Value, fields: &[Field], inner: fn(&str, &Value) -> Value) -> Map<String, Value> {
    let field = |(name, key, unset): &Field| {
        let shown = match (value.get(*key), unset) {
            (Some(v), _) if !v.is_null() => inner(key, v),
            (_, Unset::Null) => Value::Null,
            (_, Unset::Text) => json!(""),
            (_, Unset::False) => json!(false),
        };
        ((*name).to_owned(), shown)
    };
    fields.iter().map(field).collect()
}

fn plain(_: &str, value: &Value) -> Value {
    value.clone()
}

fn schema_value(schema: &Value) -> Value {
    let mut out = fields(schema, &SCHEMA, |key, value| match (key, value) {
        ("allOf" | "oneOf" | "anyOf", Value::Array(list)) => list.iter().map(schema_value).collect(),
        ("not", schema) => schema_value(schema),
        ("properties" | "definitions" | "patternProperties", Value::Object(map)) => {
            let mut shown: Map<String, Value> =
                map.iter().map(|(k, v)| (k.clone(), schema_value(v))).collect();
            shown.sort_keys();
            Value::Object(shown)
        }
        ("items", value) => items_value(value),
        ("additionalProperties" | "additionalItems", Value::Bool(allows)) => {
            json!({"Allows": allows, "Schema": null})
        }
        ("additionalProperties" | "additionalItems", schema) => {
            json!({"Allows": true, "Schema": schema_value(schema)})
        }
        (_, value) => value.clone(),
    });
    let rules = schema["x-kubernetes-validations"].as_array();
    let rules = rules.map(|rules| rules.iter().map(rule_value).collect());
    out.insert("XValidations".to_owned(), rules.unwrap_or(Value::Null));
    Value::Object(out)
}

fn items_value(items: &Value) -> Value {
    match items {
        Value::Array(list) => {
            json!({"Schema": null, "JSONSchemas": list.iter().map(schema_value).collect::<Vec<_>>()})
        }
        schema => json!({"Schema": schema_value(schema), "JSONSchemas": null}),
    }
}

fn rule_value(rule: &Value) -> Value {
    Value::Object(fields(rule, &RULE, plain))
}

fn column_value(column: &Value) -> Value {
    let mut out = fields(column, &COLUMN, plain);
    out.shift_insert(4, "Priority".to_owned(), column.get("priority").cloned().unwrap_or(json!(0)));
    Value::Object(out)
}

fn version_value(version: &Value, hoisted: &Hoisted) -> Value {
    let own = |is_hoisted: bool, key: &str| version.get(key).filter(|v| !is_hoisted && !v.is_null());
    let flag = |key: &str| version[key] == Value::Bool(true);
    let list = |values: Option<&Value>, one: fn(&Value) -> Value| {
        values.and_then(Value::as_array).map_or(Value::Null, |list| list.iter().map(one).collect())
    };
    let schema = own(hoisted.schema, "schema");
    let subresources = own(hoisted.subresources, "subresources").map_or(Value::Null, |s| {
        let scale = s.get("scale").filter(|v| !v.is_null());
        let scale = scale.map_or(Value::Null, |scale| Value::Object(fields(scale, &SCALE, plain)));
        json!({"Status": s.get("status"), "Scale": scale})
    });
    json!({
        "Name": version["name"],
        "Served": flag("served"),
        "Storage": flag("storage"),
        "Deprecated": flag("deprecated"),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": schema.map(|s| json!({"OpenAPIV3Schema": schema_value(&s["openAPIV3Schema"])})),
        "Subresources": subresources,
        "AdditionalPrinterColumns": list(own(hoisted.columns, "additionalPrinterColumns"), column_value),
        "SelectableFields": list(own(hoisted.selectable, "selectableFields"), |f| json!({"JSONPath": f["jsonPath"]})),
    })
}

fn shown(value: &Value) -> String {
    String::from_utf8_lossy(&encode::compact(value)).into_owned()
}

pub(super) fn versions(versions: &[Value], hoisted: &Hoisted) -> String {
    shown(&versions.iter().map(|v| version_value(v, hoisted)).collect())
}

pub(super) fn schema(schema: &Value) -> String {
    shown(&schema_value(schema))
}

pub(super) fn items(items: &Value) -> String {
    shown(&items_value(items))
}

pub(super) fn rule(rule: &Value) -> String {
    shown(&rule_value(rule))
}
