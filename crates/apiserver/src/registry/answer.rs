//! From outcomes to bytes: objects, lists and watch events in the shape that was asked for.

use std::sync::Arc;

use coracle_api::codec::protobuf;
use coracle_api::{Kind, Status, table};
use coracle_store::Version;
use serde_json::{Map, Value, json};

use super::list::Page;
use super::{Call, Outcome, decode_stored, forms, list_body};
use crate::crd::versions;
use crate::negotiate::{MetaVersion, Shape, Syntax};
use crate::options::text;
use crate::respond::{self, Answer};
use crate::server::Core;

/// One object, as a verb of the call's kind answers.
pub(crate) async fn object(core: &Core, call: &Call, code: u16, outcome: Outcome) -> Result<Answer, Status> {
    let outcome = match outcome {
        Outcome::Stored(version) => Outcome::Stored(versions::one(core, &call.kind, version).await?),
        unstored => unstored,
    };
    if call.format.syntax == Syntax::Protobuf {
        return Ok(respond::uncached(
            code,
            call.format,
            match &outcome {
                Outcome::Stored(version) => message_body(call, &forms::message(core, &call.kind, version)),
                Outcome::Unstored(v) => message_body(call, &forms::message_of(core, &call.kind, v)),
            },
        ));
    }
    if call.format.shape == Shape::Whole
        && let Outcome::Stored(version) = &outcome
        && !call.kind.is_view
    {
        return Ok(respond::stored(code, &version.json, call.format));
    }
    let v = outcome.value(&call.kind)?;
    Ok(respond::value(code, &shaped(core, call, v), call.format))
}

/// The body that a message becomes in the shape that the client wants.
pub(crate) fn message_body(call: &Call, message: &[u8]) -> Vec<u8> {
    match call.format.shape {
        Shape::Metadata(version) => {
            let metadata = protobuf::metadata_of(message);
            protobuf::body(version.api_version(), "PartialObjectMetadata", metadata)
        }
        _ => protobuf::body(&call.kind.api_version(), &call.kind.kind, message),
    }
}

/// One object in the shape that the client wants.
fn shaped(core: &Core, call: &Call, v: Value) -> Value {
    match call.format.shape {
        Shape::Whole => v,
        Shape::Table(version) => {
            table_of(core, call, std::slice::from_ref(&v), table::single_meta(&v), version, true)
        }
        Shape::Metadata(version) => partial(&v, version),
    }
}

pub(crate) fn partial(v: &Value, version: MetaVersion) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(), "metadata": v["metadata"]})
}

fn table_of(
    core: &Core,
    call: &Call,
    objects: &[Value],
    list_meta: Map<String, Value>,
    version: MetaVersion,
    with_columns: bool,
) -> Value {
    let now = core.clock.unix_seconds();
    let mut t = table::render(&call.kind, objects, list_meta, include(call), with_columns, now);
    t["apiVersion"] = json!(version.api_version());
    t
}

pub(crate) fn list(core: &Arc<Core>, call: &Call, page: Page) -> Result<Answer, Status> {
    let format = call.format;
    let meta = list_meta(&page);
    let (kind, items) = (&call.kind, page.items);
    let body = match (format.syntax, format.shape) {
        (Syntax::Protobuf, Shape::Metadata(version)) => {
            list_body::protobuf(core, kind, meta, &items, Some(version))
        }
        (Syntax::Protobuf, _) => list_body::protobuf(core, kind, meta, &items, None),
        (Syntax::Json, _) if format.pretty => return values(core, call, meta, decoded(kind, &items)?),
        (Syntax::Json, Shape::Table(version)) => {
            list_body::table(core, kind, meta, items, include(call), version)
        }
        (Syntax::Json, Shape::Metadata(version)) => {
            list_body::json_metadata(core, kind, meta, items, version)
        }
        (Syntax::Json, Shape::Whole) if !kind.is_view => list_body::json(kind, meta, items),
        _ => return values(core, call, meta, decoded(kind, &items)?),
    };
    Ok(respond::uncached(200, format, body))
}

/// A list that is decoded first: as YAML, indented for people, or of another version than is stored; or of what is not
/// stored at all.
pub(crate) fn values(
    core: &Core,
    call: &Call,
    meta: Map<String, Value>,
    items: Vec<Value>,
) -> Result<Answer, Status> {
    let v = match call.format.shape {
        Shape::Table(version) => table_of(core, call, &items, meta, version, true),
        Shape::Metadata(version) => {
            let items: Vec<Value> = items.iter().map(|v| partial(v, version)).collect();
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": version.api_version(),
                "metadata": meta, "items": items
            })
        }
        Shape::Whole => list_value(&call.kind, meta, items),
    };
    Ok(respond::value(200, &v, call.format))
}

pub(crate) fn include(call: &Call) -> table::Include {
    table::Include::parse(text(&call.query, "includeObject")).unwrap_or_default()
}

fn decoded(kind: &Kind, items: &[Arc<Version>]) -> Result<Vec<Value>, Status> {
    items.iter().map(|v| decode_stored(kind, v)).collect()
}

/// A list of values; the items of a built-in kind do not say their kind, as in the reference.
pub(crate) fn list_value(kind: &Kind, meta: Map<String, Value>, mut items: Vec<Value>) -> Value {
    if !kind.is_custom() {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.shift_remove("kind");
            item.shift_remove("apiVersion");
        }
    }
    json!({"kind": kind.list_kind(), "apiVersion": kind.api_version(), "metadata": meta, "items": items})
}

fn list_meta(page: &Page) -> Map<String, Value> {
    let mut meta = Map::new();
    meta.insert("resourceVersion".into(), json!(page.revision.to_string()));
    if !page.continue_token.is_empty() {
        meta.insert("continue".into(), json!(page.continue_token));
    }
    if let Some(n) = page.remaining {
        meta.insert("remainingItemCount".into(), json!(n));
    }
    meta
}
