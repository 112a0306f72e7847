//! Definitions as JSON schemas, and which of them a document needs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Edition, OpenApi, custom};
use crate::kinds::Kind;
use crate::schema::{Definition, Field, OwnedListKind, Schemas, Type};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The definitions that are no structs.
fn scalar(name: &str, edition: Edition) -> Option<Value> {
    Some(match (name, edition) {
        (TIME | MICRO_TIME, _) => json!({"type": "string", "format": "date-time"}),
        (PATCH, _) => json!({"type": "object"}),
        (QUANTITY, Edition::V2) => json!({"type": "string"}),
        (QUANTITY, Edition::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        (INT_OR_STRING, Edition::V2) => json!({"type": "string", "format": "int-or-string"}),
        (INT_OR_STRING, Edition::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        _ => return None,
    })
}

/// The definitions of a document, with all that they refer to.
pub(super) struct Needed<'a> {
    schemas: &'a Schemas,
    names: BTreeSet<String>,
    custom: Vec<Kind>,
}

impl<'a> Needed<'a> {
    pub(super) fn new(schemas: &'a Schemas) -> Needed<'a> {
        Needed { schemas, names: BTreeSet::new(), custom: Vec::new() }
    }

    pub(super) fn add_kind(&mut self, kind: &Kind) {
        if kind.is_custom() {
            self.add_references(&custom::object(Edition::V2, kind));
            self.add_references(&custom::list(Edition::V2, kind));
            self.custom.push(kind.clone());
            return;
        }
        self.add(&kind.schema);
        self.add(&kind.list_schema());
    }

    /// Adds what the `$ref`s inside of `v` name.
    pub(super) fn add_references(&mut self, v: &Value) {
        match v {
            Value::Object(map) => {
                if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                    self.add(name.rsplit('/').next().unwrap_or(name));
                }
                map.values().for_each(|v| self.add_references(v));
            }
            Value::Array(items) => items.iter().for_each(|v| self.add_references(v)),
            _ => {}
        }
    }

    fn add(&mut self, name: &str) {
        let definition = self.schemas.definition(name);
        if definition.is_none() && scalar(name, Edition::V3).is_none() || !self.names.insert(name.to_owned())
        {
            return;
        }
        for field in definition.iter().flat_map(|d| &d.fields) {
            self.add_type(&field.ty);
        }
    }

    fn add_type(&mut self, ty: &Type) {
        match ty {
            Type::List(of) | Type::Map(of) => self.add_type(of),
            ty => {
                if let Some(name) = definition_of(self.schemas, ty) {
                    self.add(&name);
                }
            }
        }
    }

    pub(super) fn write(&self, api: &OpenApi<'_>, edition: Edition) -> Map<String, Value> {
        let write = |name: &String| {
            let mut schema = match (scalar(name, edition), self.schemas.definition(name)) {
                (Some(schema), _) => schema,
                (None, Some(definition)) => write_definition(api, edition, definition),
                (None, None) => return None,
            };
            if let (Some(prose), Value::Object(schema)) = (api.prose.definition(name), &mut schema) {
                schema.shift_insert(0, "description".into(), json!(prose));
            }
            Some((name.clone(), schema))
        };
        let mut out: Map<String, Value> = self.names.iter().filter_map(write).collect();
        for kind in &self.custom {
            out.insert(kind.schema.to_string(), custom::object(edition, kind));
            out.insert(kind.list_schema(), custom::list(edition, kind));
        }
        if !self.custom.is_empty() {
            out.sort_keys();
        }
        out
    }
}

/// The definition that stands for a type, if it is not written where it is used.
fn definition_of(schemas: &Schemas, ty: &Type) -> Option<String> {
    Some(match ty {
        Type::Time => TIME.to_owned(),
        Type::MicroTime => MICRO_TIME.to_owned(),
        Type::Quantity => QUANTITY.to_owned(),
        Type::IntOrString => INT_OR_STRING.to_owned(),
        Type::Struct(i) => schemas.at(*i).full_name(),
        _ => return None,
    })
}

fn write_definition(api: &OpenApi<'_>, edition: Edition, definition: &Definition) -> Value {
    let name = definition.full_name();
    let required: Vec<&str> = definition.fields.iter().filter(|f| f.is_required).map(|f| &*f.name).collect();
    let properties: Map<String, Value> =
        definition.fields.iter().map(|f| (f.name.to_string(), write_field(api, edition, &name, f))).collect();
    let mut out = Map::new();
    out.insert("type".into(), json!("object"));
    if !required.is_empty() {
        out.insert("required".into(), json!(required));
    }
    if !properties.is_empty() {
        out.insert("properties".into(), Value::Object(properties));
    }
    if !definition.kinds.is_empty() {
        let kinds: Vec<Value> = definition
            .kinds
            .iter()
            .map(|k| json!({"group": k.group, "kind": k.kind, "version": k.version}))
            .collect();
        out.insert("x-kubernetes-group-version-kind".into(), Value::Array(kinds));
    }
    if definition.is_atomic {
        out.insert("x-kubernetes-map-type".into(), json!("atomic"));
    }
    Value::Object(out)
}

fn write_field(api: &OpenApi<'_>, edition: Edition, definition: &str, field: &Field) -> Value {
    let mut facts = Map::new();
    if let Some(prose) = api.prose.field(definition, &field.name) {
        facts.insert("description".into(), json!(prose));
    }
    let mut after = Map::new();
    match &field.list {
        None => {}
        Some(OwnedListKind::Atomic) => {
            after.insert("x-kubernetes-list-type".into(), json!("atomic"));
        }
        Some(OwnedListKind::Set) => {
            after.insert("x-kubernetes-list-type".into(), json!("set"));
        }
        Some(OwnedListKind::Map(keys)) => {
            after.insert("x-kubernetes-list-map-keys".into(), json!(keys));
            after.insert("x-kubernetes-list-type".into(), json!("map"));
        }
    }
    if field.is_atomic_map {
        after.insert("x-kubernetes-map-type".into(), json!("atomic"));
    }
    for (key, value) in [("merge-key", &field.patch_merge_key), ("strategy", &field.patch_strategy)] {
        if !value.is_empty() {
            after.insert(format!("x-kubernetes-patch-{key}"), json!(value));
        }
    }
    facts.extend(write_type(api.schemas, edition, &field.ty));
    facts.extend(after);
    beside_reference(edition, facts)
}

/// A reference that other facts stand beside is wrapped in v3, where a `$ref` rules out siblings.
fn beside_reference(edition: Edition, mut facts: Map<String, Value>) -> Value {
    if edition == Edition::V3
        && facts.len() > 1
        && let Some(reference) = facts.shift_remove("$ref")
    {
        facts.insert("allOf".into(), json!([{"$ref": reference}]));
    }
    Value::Object(facts)
}

fn write_type(schemas: &Schemas, edition: Edition, ty: &Type) -> Map<String, Value> {
    if let Some(name) = definition_of(schemas, ty) {
        return object(edition.reference(&name));
    }
    object(match ty {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Float => json!({"type": "number", "format": "double"}),
        Type::List(of) => json!({"type": "array", "items": write_type(schemas, edition, of)}),
        Type::Map(of) => json!({"type": "object", "additionalProperties": write_type(schemas, edition, of)}),
        // A schema inside of a schema would recurse for ever in `kubectl explain`; the reference leaves it open too, but
        // for a description: an empty schema stops `explain`.
        Type::SchemaOr(_) => json!({"description": "A schema, several, or whether there may be anything."}),
        _ => json!({"type": "object"}),
    })
}

fn object(v: Value) -> Map<String, Value> {
    match v {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
