//! Printer columns, selectable fields and subresources of a CustomResourceDefinition.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::at::At;
use crate::custom::field_path;
use crate::field::Errors;
use crate::schema::{JsonType, Structural};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 9] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "name", "password"];
/// Each one is kept beside every object, so that there may be only so many.
const SELECTABLE_MAX: usize = 8;

pub(super) fn column(column: &At<'_>, errs: &mut Errors) {
    let (name, ty, format) = (column.get("name"), column.get("type"), column.get("format"));
    if name.is_empty() {
        errs.required(&name.path, "");
    }
    let words = format!("must be one of {}", COLUMN_TYPES.join(","));
    if ty.is_empty() {
        errs.required(&ty.path, words);
    } else if !COLUMN_TYPES.contains(&ty.text()) {
        errs.bad_text(&ty, words);
    }
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
        errs.bad_text(&format, format!("must be one of {}", COLUMN_FORMATS.join(",")));
    }
    let path = At::new(column.peek("jsonPath"), column.path.child("JSONPath"));
    if path.is_empty() {
        errs.required(&path.path, "");
    } else {
        simple_path(&path, errs);
    }
}

/// Whether a path is one that starts with a dot.
fn simple_path(path: &At<'_>, errs: &mut Errors) -> bool {
    let is_simple = path.text().starts_with('.');
    if !is_simple {
        errs.bad_text(path, "must be a simple json path starting with .");
    }
    is_simple
}

pub(super) fn subresources(subresources: &At<'_>, errs: &mut Errors) {
    let scale = subresources.get("scale");
    if !scale.is_set() {
        return;
    }
    let path = |key: &str| At::new(scale.peek(key), scale.path.child(key));
    for (key, root) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let path = path(key);
        if path.is_empty() {
            errs.required(&path.path, "");
        } else if simple_path(&path, errs) && !path.text().starts_with(root) {
            errs.bad_text(&path, format!("should be a json path under {}", root.trim_end_matches('.')));
        }
    }
    let selector = path("labelSelectorPath");
    let is_below = [".spec.", ".status."].iter().any(|root| selector.text().starts_with(root));
    if !selector.is_empty() && simple_path(&selector, errs) && !is_below {
        errs.bad_text(&selector, "should be a json path under either .spec or .status");
    }
}

pub(super) fn selectable(fields: &At<'_>, schema: &At<'_>, errs: &mut Errors) {
    if fields.is_empty() {
        return;
    }
    if !schema.is_set() {
        let words = "selectableFields may only be set when version.schema.openAPIV3Schema is not included";
        errs.invalid(&fields.path, &Value::from(""), words);
        return;
    }
    let Ok(schema) = Structural::read(schema.value) else { return };
    let mut seen = BTreeSet::new();
    for field in fields.items() {
        let path = field.get("jsonPath");
        if path.is_empty() {
            errs.required(&path.path, "");
            continue;
        }
        let (found, of) = match field_path::parse(path.text(), &schema, false) {
            Ok(found) => found,
            Err(why) => {
                errs.bad_text(&path, format!("is an invalid path: {why}"));
                continue;
            }
        };
        if found == "metadata" || found.starts_with("metadata.") {
            errs.bad_text(&path, "must not point to fields in metadata");
        }
        if !matches!(of.ty, JsonType::String | JsonType::Boolean | JsonType::Integer) {
            errs.bad_text(&path, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
        }
        if !seen.insert(found) {
            errs.duplicate(&path.path, path.value);
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errs.too_many(&fields.path, seen.len(), SELECTABLE_MAX);
    }
}
