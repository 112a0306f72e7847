//! Protobuf bodies, as Go clients send and ask for them: transcoded to and from JSON by the schema's field numbers.
//!
//! A body is `k8s\0` and an envelope (`runtime.Unknown`) with the object's type and its message. Types whose JSON form
//! is not their message's (times, quantities, ports that may be names, embedded structs) are converted on the way.

mod read;
pub(crate) mod wire;
mod write;

use serde_json::{Map, Value};

use self::wire::Reader;
use crate::schema::{Definition, Field, Schemas};

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const MAGIC: [u8; 4] = *b"k8s\0";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    NoMagic,
    #[error("unexpected end of the message")]
    Truncated,
    #[error("illegal tag {0}")]
    Tag(u64),
    #[error("wrong wire type {wire} for field {field}")]
    WireType { wire: u8, field: String },
    #[error("field {0} is no UTF-8 text")]
    Text(String),
    #[error("field {0} holds no JSON")]
    Json(String),
    #[error("the message is nested too deeply")]
    Depth,
    #[error("no kind {kind:?} is known for version {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
}

/// What is around an object's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub api_version: String,
    pub kind: String,
    pub message: &'a [u8],
}

impl Envelope<'_> {
    pub fn open(body: &[u8]) -> Result<Envelope<'_>, Error> {
        let body = body.strip_prefix(&MAGIC).ok_or(Error::NoMagic)?;
        let mut envelope = Envelope { api_version: String::new(), kind: String::new(), message: &[] };
        let mut reader = Reader::new(body);
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => {
                    let mut meta = Reader::new(reader.bytes(wire, "typeMeta")?);
                    while let Some((number, wire)) = meta.tag()? {
                        match number {
                            1 => envelope.api_version = meta.text(wire, "apiVersion")?,
                            2 => envelope.kind = meta.text(wire, "kind")?,
                            _ => meta.skip(wire)?,
                        }
                    }
                }
                2 => envelope.message = reader.bytes(wire, "raw")?,
                _ => reader.skip(wire)?,
            }
        }
        Ok(envelope)
    }
}

/// The object in a body. Like a decoded JSON body, it still has to be shaped. `fallback` is the definition
/// (`io.k8s.api.core.v1.Pod`) of a body that does not say what it is.
pub fn decode(schemas: &Schemas, body: &[u8], fallback: &str) -> Result<Value, Error> {
    let envelope = Envelope::open(body)?;
    let definition = if envelope.kind.is_empty() {
        schemas.definition(fallback)
    } else {
        find(schemas, &envelope.api_version, &envelope.kind)
    };
    let Some(definition) = definition else {
        return Err(Error::UnknownKind { api_version: envelope.api_version, kind: envelope.kind });
    };
    let mut object = Map::new();
    for (key, text) in [("kind", envelope.kind), ("apiVersion", envelope.api_version)] {
        if !text.is_empty() {
            object.insert(key.into(), Value::String(text));
        }
    }
    read::message(schemas, definition, envelope.message, &mut object)?;
    Ok(Value::Object(object))
}

/// The body for an object, which must be in the shape that its schema gives it; none where the kind has no definition.
pub fn encode(schemas: &Schemas, object: &Value) -> Option<Vec<u8>> {
    // The core group's discovery document says no version in JSON, as in the reference.
    let (api_version, kind) = (object["apiVersion"].as_str().unwrap_or("v1"), object["kind"].as_str()?);
    let definition = find(schemas, api_version, kind)?;
    let mut message = Vec::new();
    write::message(schemas, definition, object, &mut message);
    Some(body(api_version, kind, &message))
}

/// The message of an object of `definition` (`io.k8s.api.core.v1.Pod`), without anything around it.
pub fn message(schemas: &Schemas, definition: &str, object: &Value) -> Option<Vec<u8>> {
    let definition = schemas.definition(definition)?;
    let mut message = Vec::with_capacity(1024);
    write::message(schemas, definition, object, &mut message);
    Some(message)
}

/// The body for a message.
pub fn body(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = envelope(api_version, kind, message.len());
    out.extend_from_slice(message);
    out.extend_from_slice(&ENVELOPE_END);
    out
}

/// What comes before a message of so many bytes; [`ENVELOPE_END`] comes after it.
pub fn envelope(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut meta = Vec::new();
    wire::put_bytes(&mut meta, 1, api_version.as_bytes());
    wire::put_bytes(&mut meta, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(length + meta.len() + 32);
    out.extend_from_slice(&MAGIC);
    wire::put_bytes(&mut out, 1, &meta);
    wire::put_head(&mut out, 2, length);
    out
}

/// The envelope's empty contentEncoding and contentType, which Go always writes.
pub const ENVELOPE_END: [u8; 4] = [0x1a, 0, 0x22, 0];

/// A list's message up to its first item.
pub fn list_metadata(schemas: &Schemas, metadata: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_bytes(&mut out, 1, &message(schemas, LIST_META, metadata).unwrap_or_default());
    out
}

/// What comes before an item of so many bytes in a list's message.
pub fn put_item_head(out: &mut Vec<u8>, length: usize) {
    wire::put_head(out, 2, length);
}

/// The part of any object's message that is a `PartialObjectMetadata` of it: metadata is field 1 of every kind.
pub fn metadata_of(message: &[u8]) -> &[u8] {
    let mut reader = Reader::new(message);
    match reader.tag() {
        Ok(Some((1, wire))) if reader.skip(wire).is_ok() => &message[..message.len() - reader.left()],
        _ => &[],
    }
}

/// A frame of a watch's stream: four bytes of length, then a `WatchEvent` around an object's body.
pub fn put_watch_frame(out: &mut Vec<u8>, word: &str, body: &[u8]) {
    out.reserve(body.len() + 64);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    wire::put_bytes(out, 1, word.as_bytes());
    let mut raw_head = Vec::with_capacity(8);
    wire::put_head(&mut raw_head, 1, body.len());
    wire::put_head(out, 2, raw_head.len() + body.len());
    out.extend_from_slice(&raw_head);
    out.extend_from_slice(body);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn find<'a>(schemas: &'a Schemas, api_version: &str, kind: &str) -> Option<&'a Definition> {
    let (group, version) = crate::catalog::split_api_version(api_version);
    let fits =
        |d: &&Definition| d.kinds.iter().any(|k| k.kind == kind && k.group == group && k.version == version);
    schemas.definitions().iter().find(fits)
}

/// A field's number below the embedded struct that `prefix` leads to: `2.1` is 1 below `2.`.
fn number_below(field: &Field, prefix: &str) -> Option<u32> {
    field.number.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
#[path = "protobuf/tests.rs"]
mod tests;
