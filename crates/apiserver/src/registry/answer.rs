//! From outcomes to bytes: objects, lists and watch events in the shape that was asked for.

use coracle_api::{Kind, Status, table};
use serde_json::{Map, Value, json};

use super::list::{Page, is_custom, item_prefix};
use super::{Call, Outcome, decode_stored};
use crate::body::{Body, ListBody};
use crate::negotiate::{MetaVersion, Shape, Syntax};
use crate::options::text;
use crate::respond::{self, Answer};
use crate::server::Core;

/// One object, as a verb of the call's kind answers.
pub(crate) fn object(core: &Core, call: &Call, code: u16, outcome: &Outcome) -> Result<Answer, Status> {
    if call.format.shape == Shape::Whole
        && let Outcome::Stored(version) = outcome
        && !call.kind.is_view
    {
        return Ok(respond::stored(code, &version.json, call.format));
    }
    let v = outcome.value(&call.kind)?;
    Ok(respond::value(code, &shaped(core, call, v), call.format))
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
    let include = table::Include::parse(text(&call.query, "includeObject")).unwrap_or_default();
    let now = core.clock.unix_seconds();
    let mut t = table::render(&call.kind, objects, list_meta, include, with_columns, now);
    t["apiVersion"] = json!(version.api_version());
    t
}

/// A watch event's object in the shape that the client wants; `first` of a table watch brings the columns.
pub(crate) fn event_object(core: &Core, call: &Call, v: Value, first: bool) -> Value {
    match call.format.shape {
        Shape::Table(version) => {
            table_of(core, call, std::slice::from_ref(&v), table::single_meta(&v), version, first)
        }
        _ => shaped(core, call, v),
    }
}

pub(crate) fn list(core: &Core, call: &Call, page: Page) -> Result<Answer, Status> {
    let format = call.format;
    if format.shape == Shape::Whole && format.syntax == Syntax::Json && !format.pretty && !call.kind.is_view {
        return Ok(whole_list(&call.kind, page));
    }
    let meta = list_meta(&page);
    let items = decoded(&call.kind, &page)?;
    let v = match format.shape {
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
    Ok(respond::value(200, &v, format))
}

fn decoded(kind: &Kind, page: &Page) -> Result<Vec<Value>, Status> {
    page.items.iter().map(|v| decode_stored(kind, v)).collect()
}

/// A list of values; the items of a built-in kind do not say their kind, as in the reference.
pub(crate) fn list_value(kind: &Kind, meta: Map<String, Value>, mut items: Vec<Value>) -> Value {
    if !is_custom(kind) {
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

/// The list as a header and the stored bytes; nothing is decoded.
fn whole_list(kind: &Kind, page: Page) -> Answer {
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{},\"items\":[",
        json!(kind.list_kind()),
        json!(kind.api_version()),
        Value::Object(list_meta(&page))
    );
    let body = ListBody::new(head.into_bytes(), page.items, item_prefix(kind), b"]}\n");
    let mut answer = respond::whole(200, "application/json", Body::List(body));
    respond::never_cache(&mut answer);
    answer
}
