//! The other forms in which an object can be asked for: `Table` rows, `PartialObjectMetadata`.

use serde_json::{Map, Value, json};

use crate::codec::encode;
use crate::kinds::Kind;
use crate::object;
use crate::print::{Column, Now};

const META_VERSION: &str = "meta.k8s.io/v1";

/// What a row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    /// The value of the parameter `includeObject`; `None` where it is no known one.
    pub fn parse(text: &str) -> Option<Include> {
        Some(match text {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            _ => return None,
        })
    }
}

/// A Table of objects. `list_meta` is the list's metadata, or the object's version where there is one object.
/// A watch sends the columns with its first event only. `now` is seconds since the epoch.
pub fn render<'a>(
    kind: &Kind,
    objects: impl IntoIterator<Item = &'a Value>,
    list_meta: Map<String, Value>,
    include: Include,
    with_columns: bool,
    now: i64,
) -> Value {
    let rows = objects.into_iter().map(|obj| row(kind, obj, include, Now::At(now))).collect();
    let mut table = frame(kind, list_meta, with_columns);
    table.insert("rows".to_owned(), Value::Array(rows));
    Value::Object(table)
}

/// A Table but for its rows.
pub fn frame(kind: &Kind, list_meta: Map<String, Value>, with_columns: bool) -> Map<String, Value> {
    let columns = with_columns.then(|| kind.print.columns().iter().map(Column::to_value).collect());
    let mut table = Map::with_capacity(5);
    table.insert("kind".to_owned(), json!("Table"));
    table.insert("apiVersion".to_owned(), json!(META_VERSION));
    table.insert("metadata".to_owned(), Value::Object(list_meta));
    table.insert("columnDefinitions".to_owned(), columns.map_or(Value::Null, Value::Array));
    table
}

/// The text of a row as far as its `object`, whose value and a closing brace follow.
pub fn row_text(kind: &Kind, obj: &Value, now: Now) -> Vec<u8> {
    let mut row = encode::compact(&Value::Object(cells(kind, obj, now)));
    row.pop();
    row.extend_from_slice(b",\"object\":");
    row
}

/// The metadata of a Table that shows one object: its version only.
pub fn single_meta(obj: &Value) -> Map<String, Value> {
    let version = object::resource_version(obj);
    let mut meta = Map::new();
    if !version.is_empty() {
        meta.insert("resourceVersion".to_owned(), json!(version));
    }
    meta
}

fn cells(kind: &Kind, obj: &Value, now: Now) -> Map<String, Value> {
    let mut row = Map::with_capacity(3);
    row.insert("cells".to_owned(), Value::Array(kind.print.cells(obj, now)));
    if let Some(condition) = kind.print.condition(obj) {
        row.insert("conditions".to_owned(), json!([condition]));
    }
    row
}

fn row(kind: &Kind, obj: &Value, include: Include, now: Now) -> Value {
    let mut row = cells(kind, obj, now);
    let shown = match include {
        Include::None => Value::Null,
        Include::Metadata => partial(obj),
        Include::Object => obj.clone(),
    };
    row.insert("object".to_owned(), shown);
    Value::Object(row)
}

/// The object's metadata alone.
pub fn partial(obj: &Value) -> Value {
    let mut out = Map::with_capacity(3);
    out.insert("kind".to_owned(), json!("PartialObjectMetadata"));
    out.insert("apiVersion".to_owned(), json!(META_VERSION));
    out.insert("metadata".to_owned(), object::metadata(obj).clone());
    Value::Object(out)
}

/// A list of metadata.
pub fn partial_list<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    list_meta: Map<String, Value>,
) -> Value {
    let mut out = Map::with_capacity(4);
    out.insert("kind".to_owned(), json!("PartialObjectMetadataList"));
    out.insert("apiVersion".to_owned(), json!(META_VERSION));
    out.insert("metadata".to_owned(), Value::Object(list_meta));
    out.insert("items".to_owned(), Value::Array(objects.into_iter().map(partial).collect()));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;

    fn kind(name: &str) -> &'static Kind {
        KINDS.iter().find(|k| k.kind == name && !k.is_view).unwrap()
    }

    fn columns(name: &str) -> Vec<Value> {
        let columns = kind(name).print.columns().iter();
        columns.map(|c| json!([c.name, c.kind, c.format, c.priority])).collect()
    }

    #[test]
    fn tables_have_the_recorded_columns() {
        let cm = [
            json!(["Name", "string", "name", 0]),
            json!(["Data", "string", "", 0]),
            json!(["Age", "string", "", 0]),
        ];
        assert_eq!(columns("ConfigMap"), cm);
        let names = |n| columns(n).iter().map(|c| c[0].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            names("Pod"),
            ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"]
        );
        assert_eq!(
            names("Service"),
            ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]
        );
        assert_eq!(names("Role"), ["Name", "Created At"]);
    }

    #[test]
    fn every_kind_has_a_cell_a_column() {
        for kind in KINDS {
            let cells = kind.print.cells(&json!({"metadata": {"name": "x"}}), Now::At(0));
            assert_eq!(cells.len(), kind.print.columns().len(), "{kind:?}");
        }
    }

    #[test]
    fn rows_carry_what_was_asked_for() {
        let cm = json!({"kind": "ConfigMap", "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"}, "data": {"k": "v"}});
        let table = |include| render(kind("ConfigMap"), [&cm], Map::new(), include, true, 5);
        assert_eq!(table(Include::None)["rows"][0], json!({"cells": ["a", 1, "5s"], "object": null}));
        assert_eq!(table(Include::Metadata)["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(table(Include::Object)["rows"][0]["object"], cm);
        assert_eq!(
            render(kind("Pod"), [], Map::new(), Include::None, false, 0)["columnDefinitions"],
            Value::Null
        );
        let mut text = row_text(kind("ConfigMap"), &cm, Now::At(5));
        text.extend_from_slice(b"null}");
        assert_eq!(String::from_utf8(text).unwrap(), table(Include::None)["rows"][0].to_string());
        let list = partial_list([&cm], Map::new());
        assert_eq!(list["items"][0]["metadata"]["name"], "a");
    }
}
