//! JSON to messages. Values are of their schema's types by now; one that is not is left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::wire::{put_bytes, put_fixed64, put_varint};
use crate::schema::{Definition, Schemas, Type};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A field that is set. `path` is its number, or the numbers of embedded structs that lead to it.
struct Given<'a> {
    path: &'a [u32],
    ty: &'a Type,
    name: &'a str,
    value: &'a Value,
    is_named_list: bool,
}

pub(super) fn message(schemas: &Schemas, definition: &Definition, object: &Value, out: &mut Vec<u8>) {
    let Some(map) = object.as_object() else { return };
    let known = map.iter().filter(|(_, v)| !v.is_null()).filter_map(|(name, value)| {
        let field = definition.field(name).filter(|f| !f.path.is_empty())?;
        let is_named_list = field.is_named_list();
        Some(Given { path: &field.path, ty: &field.ty, name, value, is_named_list })
    });
    let mut given: Vec<Given<'_>> = known.collect();
    // Sorted by path, so that the fields of an embedded struct stand together.
    given.sort_unstable_by_key(|g| g.path);
    write_fields(schemas, &given, out);
}

fn write_fields(schemas: &Schemas, fields: &[Given<'_>], out: &mut Vec<u8>) {
    for together in fields.chunk_by(|a, b| a.path.len() > 1 && a.path.first() == b.path.first()) {
        match together {
            [Given { path: [number], ty, name, value, is_named_list: true }] => {
                put_value(schemas, *number, ty, name, value, out);
            }
            [Given { path: [number], ty, name, value, .. }] => {
                put_field(schemas, *number, ty, name, value, out)
            }
            [Given { path: [number, ..], .. }, ..] => {
                let inner: Vec<Given<'_>> =
                    together.iter().map(|g| Given { path: &g.path[1..], ..*g }).collect();
                let mut message = Vec::new();
                write_fields(schemas, &inner, &mut message);
                put_bytes(out, *number, &message);
            }
            _ => {}
        }
    }
}

fn put_field(schemas: &Schemas, number: u32, ty: &Type, name: &str, value: &Value, out: &mut Vec<u8>) {
    match (ty, value) {
        (Type::List(of), Value::Array(items)) => {
            items.iter().for_each(|item| put_value(schemas, number, of, name, item, out));
        }
        (Type::Map(of), Value::Object(map)) => {
            for (key, value) in map {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put_value(schemas, 2, of, name, value, &mut entry);
                put_bytes(out, number, &entry);
            }
        }
        (ty, value) => put_value(schemas, number, ty, name, value, out),
    }
}

fn put_value(schemas: &Schemas, number: u32, ty: &Type, name: &str, value: &Value, out: &mut Vec<u8>) {
    match (ty, value) {
        (Type::Int32 | Type::Int64, Value::Number(n)) => {
            put_varint(out, number, n.as_i64().unwrap_or(0) as u64);
        }
        (Type::Bool, Value::Bool(b)) => put_varint(out, number, u64::from(*b)),
        (Type::Float, Value::Number(n)) => {
            put_fixed64(out, number, n.as_f64().unwrap_or(0.0).to_le_bytes());
        }
        (Type::String, Value::String(s)) => put_bytes(out, number, s.as_bytes()),
        (Type::Bytes, Value::String(s)) => {
            put_bytes(out, number, &STANDARD.decode(s).unwrap_or_default());
        }
        (ty, value) => {
            if let Some(message) = message_of(schemas, ty, name, value) {
                put_bytes(out, number, &message);
            }
        }
    }
}

/// The message of a type that has one.
fn message_of(schemas: &Schemas, ty: &Type, name: &str, value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match (ty, value) {
        (Type::Struct(index), value) => message(schemas, schemas.at(*index), value, &mut out),
        (Type::List(of), Value::Array(items)) => {
            items.iter().for_each(|item| put_value(schemas, 1, of, name, item, &mut out));
        }
        (Type::Time | Type::MicroTime, Value::String(text)) => {
            let time: jiff::Timestamp = text.parse().ok()?;
            // The seconds are rounded down, so that the rest counts forwards before 1970, too.
            let nanos = time.as_nanosecond();
            put_varint(&mut out, 1, nanos.div_euclid(NANOS_PER_SECOND) as i64 as u64);
            put_varint(&mut out, 2, nanos.rem_euclid(NANOS_PER_SECOND) as u64);
        }
        (Type::Quantity, Value::String(text)) => put_bytes(&mut out, 1, text.as_bytes()),
        (Type::IntOrString, Value::String(text)) => {
            put_varint(&mut out, 1, 1);
            put_varint(&mut out, 2, 0);
            put_bytes(&mut out, 3, text.as_bytes());
        }
        (Type::IntOrString, Value::Number(n)) => {
            put_varint(&mut out, 1, 0);
            put_varint(&mut out, 2, n.as_i64().unwrap_or(0) as u64);
            put_bytes(&mut out, 3, b"");
        }
        (Type::Any, value) => put_bytes(&mut out, 1, value.to_string().as_bytes()),
        (Type::SchemaOr(_), Value::Bool(allows)) => put_varint(&mut out, 1, u64::from(*allows)),
        (Type::SchemaOr(index), value) => schema_or(schemas, *index, name, value, &mut out),
        _ => return None,
    }
    Some(out)
}

/// Where a boolean may stand, `true` comes along with a schema; where a list may, a single schema is field 1.
fn schema_or(schemas: &Schemas, index: usize, name: &str, value: &Value, out: &mut Vec<u8>) {
    let put = |number: u32, schema: &Value, out: &mut Vec<u8>| {
        let mut inner = Vec::new();
        message(schemas, schemas.at(index), schema, &mut inner);
        put_bytes(out, number, &inner);
    };
    match value {
        Value::Array(many) => many.iter().for_each(|schema| put(2, schema, out)),
        one if name == "items" => put(1, one, out),
        one => {
            put_varint(out, 1, 1);
            put(2, one, out);
        }
    }
}
