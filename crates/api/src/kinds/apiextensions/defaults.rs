//! Default values: they are pruned already, and hold to the schema that has them.

use serde_json::Value;

use crate::at::At;
use crate::field::{Error, Errors, Path};
use crate::schema::Structural;
use crate::schema::structural::prune::{META_FIELDS, pruned_default};
use crate::schema::structural::{check, embedded};

pub(super) fn check(path: &Path, schema: &Structural, errs: &mut Errors) {
    node(path, schema, true, false, errs);
}

fn node(path: &Path, schema: &Structural, is_whole: bool, in_meta: bool, errs: &mut Errors) {
    let in_meta = in_meta && !schema.is_embedded;
    if let Some(default) = &schema.default {
        default_value(&path.child("default"), schema, default, in_meta, errs);
    }
    if let Some(items) = &schema.items {
        node(&path.child("items"), items, items.is_embedded, in_meta, errs);
    }
    for (key, property) in &schema.properties {
        let in_meta = in_meta || is_whole && META_FIELDS.contains(&key.as_str());
        node(&path.child("properties").key(key), property, property.is_embedded, in_meta, errs);
    }
}

fn default_value(path: &Path, schema: &Structural, default: &Value, in_meta: bool, errs: &mut Errors) {
    if !in_meta {
        match pruned_default(schema, default) {
            Ok(pruned) if pruned != *default => {
                errs.invalid(path, default, "must not have unknown fields");
            }
            Ok(_) => {}
            Err(why) => {
                errs.invalid(path, default, why.to_string());
                return;
            }
        }
        let mut found = Errors::default();
        embedded::check(schema, &At::new(default, path.clone()), &mut found);
        if !found.is_empty() {
            errs.0.append(&mut found.0);
            return;
        }
    }
    for error in check::check(schema, default, None) {
        errs.0.push(below(path, error));
    }
}

/// A complaint about a part of a default. Its words begin with the part alone, as in the reference.
fn below(path: &Path, error: Error) -> Error {
    let inner = error.path.as_str();
    let whole = match inner {
        "" => path.clone(),
        _ => path.child(inner),
    };
    Error { path: whole, ..error }
}
