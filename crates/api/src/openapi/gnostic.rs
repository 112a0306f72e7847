//! The v2 document as protobuf: what kubectl asks for where v3 does not help it (`kind: List`, reviews).
//!
//! The messages are gnostic's `openapi.v2`; the tables below are their field numbers.

use serde_json::Value;

use crate::codec::protobuf::wire::{put_bytes, put_fixed64, put_varint};

pub const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What clients ask for it by; no well-formed media type has an `@`, so that it is not answered with this.
pub const OLD_MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// A message: its fields by their name in JSON, and the number under which extensions (`x-…`) are.
struct Message {
    fields: &'static [(&'static str, u32, Shape)],
    extensions: u32,
}

/// How a field's JSON becomes protobuf.
enum Shape {
    Text,
    Flag,
    Integer,
    Double,
    Texts,
    /// Anything, as YAML.
    Any,
    Anys,
    One(&'static Message),
    Many(&'static Message),
    /// Inside of messages that have but this one field, by its numbers from the outside in.
    In(&'static [u32], &'static Shape),
    /// A map: entries of name and value in a message of their own, under the number there.
    Map(u32, &'static Shape),
    Maps(u32, &'static Shape),
    /// A schema or whether there may be any.
    Additional,
    /// Bodies and what is in the path or the query are different messages.
    Parameters,
}

use Shape::{
    Additional, Any, Anys, Double, Flag, In, Integer, Many, Map, Maps, One, Parameters, Text, Texts,
};

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, One(&INFO)),
        ("paths", 8, Map(2, &One(&PATH))),
        ("definitions", 9, Map(1, &One(&SCHEMA))),
        ("security", 12, Maps(1, &In(&[1], &Texts))),
        ("securityDefinitions", 13, Map(1, &In(&[2], &One(&API_KEY)))),
    ],
    extensions: 16,
};
static INFO: Message =
    Message { fields: &[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)], extensions: 7 };
static API_KEY: Message = Message {
    fields: &[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text)],
    extensions: 5,
};
static PATH: Message = Message {
    fields: &[
        ("get", 2, One(&OPERATION)),
        ("put", 3, One(&OPERATION)),
        ("post", 4, One(&OPERATION)),
        ("delete", 5, One(&OPERATION)),
        ("options", 6, One(&OPERATION)),
        ("head", 7, One(&OPERATION)),
        ("patch", 8, One(&OPERATION)),
        ("parameters", 9, Parameters),
    ],
    extensions: 10,
};
static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Texts),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts),
        ("consumes", 7, Texts),
        ("parameters", 8, Parameters),
        ("responses", 9, Map(1, &In(&[1], &One(&RESPONSE)))),
        ("schemes", 10, Texts),
        ("deprecated", 11, Flag),
    ],
    extensions: 13,
};
static RESPONSE: Message =
    Message { fields: &[("description", 1, Text), ("schema", 2, In(&[1], &One(&SCHEMA)))], extensions: 5 };
static BODY: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, One(&SCHEMA)),
    ],
    extensions: 6,
};
static IN_QUERY: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
    ],
    extensions: 23,
};
static IN_PATH: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
    ],
    extensions: 22,
};
static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("multipleOf", 6, Double),
        ("maximum", 7, Double),
        ("exclusiveMaximum", 8, Flag),
        ("minimum", 9, Double),
        ("exclusiveMinimum", 10, Flag),
        ("maxLength", 11, Integer),
        ("minLength", 12, Integer),
        ("pattern", 13, Text),
        ("maxItems", 14, Integer),
        ("minItems", 15, Integer),
        ("uniqueItems", 16, Flag),
        ("maxProperties", 17, Integer),
        ("minProperties", 18, Integer),
        ("required", 19, Texts),
        ("enum", 20, Anys),
        ("additionalProperties", 21, Additional),
        ("type", 22, In(&[1], &Text)),
        ("items", 23, In(&[1], &One(&SCHEMA))),
        ("allOf", 24, Many(&SCHEMA)),
        ("properties", 25, Map(1, &One(&SCHEMA))),
        ("readOnly", 27, Flag),
        ("example", 30, Any),
    ],
    extensions: 31,
};

/// The document ([`super::OpenApi::swagger`]) as protobuf.
pub fn encode(swagger: &Value) -> Vec<u8> {
    message(&DOCUMENT, swagger)
}

fn message(of: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        match of.fields.iter().find(|(name, ..)| name == key) {
            Some((_, number, shape)) => put(shape, *number, value, &mut out),
            None if key.starts_with("x-") => {
                put_bytes(&mut out, of.extensions, &entry(key, &any(value)));
            }
            // What gnostic has no field for cannot be said in protobuf.
            None => {}
        }
    }
    out
}

fn put(shape: &Shape, number: u32, value: &Value, out: &mut Vec<u8>) {
    let items = || value.as_array().into_iter().flatten();
    match shape {
        Text => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Flag => put_varint(out, number, u64::from(value.as_bool().unwrap_or_default())),
        Integer => put_varint(out, number, value.as_i64().unwrap_or_default().cast_unsigned()),
        Double => put_fixed64(out, number, value.as_f64().unwrap_or_default().to_le_bytes()),
        Texts => items().for_each(|v| put(&Text, number, v, out)),
        Any => put_bytes(out, number, &any(value)),
        Anys => items().for_each(|v| put(&Any, number, v, out)),
        One(of) => put_bytes(out, number, &message(of, value)),
        Many(of) => items().for_each(|v| put_bytes(out, number, &message(of, v))),
        In([], inner) => put(inner, number, value, out),
        In([first, rest @ ..], inner) => {
            let mut within = Vec::new();
            put(&In(rest, inner), *first, value, &mut within);
            put_bytes(out, number, &within);
        }
        Map(at, inner) => {
            let mut entries = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                let mut one = Vec::new();
                put_bytes(&mut one, 1, name.as_bytes());
                put(inner, 2, value, &mut one);
                put_bytes(&mut entries, *at, &one);
            }
            put_bytes(out, number, &entries);
        }
        Maps(at, inner) => items().for_each(|v| put(&Map(*at, inner), number, v, out)),
        Additional => {
            let mut item = Vec::new();
            if value.is_boolean() {
                put(&Flag, 2, value, &mut item)
            } else {
                put(&One(&SCHEMA), 1, value, &mut item)
            }
            put_bytes(out, number, &item);
        }
        Parameters => items().for_each(|v| put(parameter(v), number, v, out)),
    }
}

fn parameter(value: &Value) -> &'static Shape {
    static AS: [Shape; 3] =
        [In(&[1, 1], &One(&BODY)), In(&[1, 2, 4], &One(&IN_PATH)), In(&[1, 2, 3], &One(&IN_QUERY))];
    let [body, path, query] = &AS;
    match value["in"].as_str() {
        Some("body") => body,
        Some("path") => path,
        _ => query,
    }
}

/// JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 2, value.to_string().as_bytes());
    out
}

fn entry(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, name.as_bytes());
    put_bytes(&mut out, 2, value);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, want: &[u8]) {
        assert_eq!(message(&SCHEMA, &schema), want, "{schema}");
    }

    #[test]
    fn fields_go_where_gnostic_has_them() {
        check(json!({"$ref": "#/c"}), b"\x0a\x03#/c");
        check(json!({"type": "object"}), b"\xb2\x01\x08\x0a\x06object");
        check(json!({"x-k": [1]}), b"\xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]");
        check(json!({"items": {"$ref": "c"}}), b"\xba\x01\x05\x0a\x03\x0a\x01c");
        check(
            json!({"properties": {"b": {"format": "f"}}}),
            b"\xca\x01\x0a\x0a\x08\x0a\x01b\x12\x03\x12\x01f",
        );
        check(json!({"additionalProperties": true}), b"\xaa\x01\x02\x10\x01");
        check(json!({"maxItems": 300}), b"\x70\xac\x02");
        let body = json!([{"in": "body", "name": "n"}]);
        let mut out = Vec::new();
        put(&Parameters, 8, &body, &mut out);
        assert_eq!(out, b"\x42\x0d\x0a\x0b\x0a\x09\x1a\x04body\x12\x01n");
    }
}
