//! What makes a schema structural: every value has one type, told outside of `allOf`, `anyOf`, `oneOf` and `not`.

use serde_json::{Value, json};

use super::schema::keyed;
use crate::at::At;
use crate::field::{Errors, Path};

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

const JUNCTORS: [&str; 3] = ["anyOf", "allOf", "oneOf"];

/// Checks a whole schema. The reference sorts what it has against it.
pub(super) fn check(schema: &At<'_>, errs: &mut Errors) {
    let mut found = Errors::default();
    node(schema, Level::Root, &mut found);
    complete(schema, &mut found);
    found.0.sort_by_cached_key(ToString::to_string);
    errs.0.append(&mut found.0);
}

fn node(at: &At<'_>, level: Level, errs: &mut Errors) {
    let items = at.get("items");
    let ty = at.peek_text("type");
    if ty == "array" && !items.is_set() {
        errs.required(&items.path, "must be specified");
    }
    if items.value.is_object() {
        node(&items, Level::Item, errs);
    }
    for (_, property) in at.get("properties").entries() {
        node(&property, Level::Field, errs);
    }
    let additional = at.get("additionalProperties");
    if additional.is_set() && level == Level::Root {
        errs.forbidden(&additional.path, "must not be used at the root");
    }
    if additional.value.is_object() {
        node(&additional, Level::Field, errs);
    }
    extensions(at, errs);
    let skips_any_of = *at.peek("anyOf") == int_or_string();
    let first = at.peek("allOf").get(0).and_then(|s| s.get("anyOf"));
    values(at, skips_any_of, first == Some(&int_or_string()), errs);
    type_of(at, ty, level, errs);
    meta(at, level, errs);
}

/// How `x-kubernetes-int-or-string` may be said once more.
fn int_or_string() -> Value {
    json!([{"type": "integer"}, {"type": "string"}])
}

fn extensions(at: &At<'_>, errs: &mut Errors) {
    if !at.peek_true("x-kubernetes-int-or-string") {
        return;
    }
    for key in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        let flag = at.get(key);
        if flag.is_true() {
            errs.bad(&flag, "must be false if x-kubernetes-int-or-string is true");
        }
    }
}

fn type_of(at: &At<'_>, ty: &str, level: Level, errs: &mut Errors) {
    let (path, is_embedded) = (at.path.child("type"), at.peek_true("x-kubernetes-embedded-resource"));
    let is_open =
        at.peek_true("x-kubernetes-int-or-string") || at.peek_true("x-kubernetes-preserve-unknown-fields");
    if is_embedded && ty != "object" {
        let words = "must be object if x-kubernetes-embedded-resource is true";
        if ty.is_empty() {
            errs.required(&path, words);
        } else {
            errs.invalid(&path, &Value::from(ty), words);
        }
    } else if ty.is_empty() && !is_open {
        let place = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        errs.required(&path, format!("must not be empty {place}"));
    }
    if is_embedded && at.has("additionalProperties") {
        let words = "must not be used if x-kubernetes-embedded-resource is set";
        errs.forbidden(&at.path.child("additionalProperties"), words);
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        errs.invalid(&path, &Value::from(ty), "must be object at the root");
    }
}

/// The fields that every object has may be narrowed, but not be made into something else.
fn meta(at: &At<'_>, level: Level, errs: &mut Errors) {
    let is_embedded = at.peek_true("x-kubernetes-embedded-resource");
    let properties = at.get("properties");
    if level == Level::Root || is_embedded {
        for (key, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
            let ty = properties.peek(key).get("type").and_then(Value::as_str).unwrap_or_default();
            if properties.has(key) && ty != wanted {
                let path = properties.path.key(key).child("type");
                errs.invalid(&path, &Value::from(ty), format!("must be {wanted}"));
            }
        }
    }
    if level == Level::Root && properties.has("metadata") && !is_plain_metadata(properties.peek("metadata")) {
        let words = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errs.forbidden(&properties.path.key("metadata"), words);
    }
    let keeps_unknown = at.peek_true("x-kubernetes-preserve-unknown-fields");
    if is_embedded && !keeps_unknown && properties.is_empty() {
        let words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errs.required(&properties.path, words);
    }
}

fn is_plain_metadata(metadata: &Value) -> bool {
    let mut members = metadata.as_object().into_iter().flatten();
    members.all(|(key, value)| match key.as_str() {
        "type" | "default" => true,
        "properties" => value
            .as_object()
            .is_none_or(|p| p.keys().all(|name| matches!(name.as_str(), "name" | "generateName"))),
        _ => false,
    })
}

/// The restrictions of a value: its junctors may say no more than the schema around them does.
fn values(at: &At<'_>, skips_any_of: bool, skips_first_all_of: bool, errs: &mut Errors) {
    for key in JUNCTORS {
        if key == "anyOf" && skips_any_of {
            continue;
        }
        for (i, inner) in at.get(key).items().enumerate() {
            nested(&inner, key == "allOf" && i == 0 && skips_first_all_of, errs);
        }
    }
    let not = at.get("not");
    if not.is_set() {
        nested(&not, false, errs);
    }
    let pattern = at.get("pattern");
    if let Some(why) = (!pattern.is_empty()).then(|| crate::cel::pattern_error(pattern.text())).flatten() {
        errs.bad_text(&pattern, format!("must be a valid regular expression, but isn't: {why}"));
    }
}

/// What a junctor's schema may not say.
const FORBIDDEN: [(&str, &str); 13] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn nested(at: &At<'_>, skips_any_of: bool, errs: &mut Errors) {
    values(at, skips_any_of, false, errs);
    let items = at.get("items");
    if items.value.is_object() {
        nested(&items, false, errs);
    }
    let properties = at.get("properties");
    properties.entries().for_each(|(_, property)| nested(&property, false, errs));
    for (key, words) in FORBIDDEN {
        let said = at.get(key);
        if said.is_set() && *said.value != Value::Bool(false) && !said.is_empty() {
            errs.forbidden(&said.path, words);
        }
    }
    if properties.has("metadata") {
        errs.forbidden(&properties.path.key("metadata"), "must not be specified in a nested context");
    }
}

/// Whatever a junctor of the root restricts must be there outside of it, too.
fn complete(at: &At<'_>, errs: &mut Errors) {
    junctors_covered(at.value, at, &at.path, errs);
}

/// `schema` is what stands outside of the junctors at the same place as `inner` does inside; `outer` is where.
fn junctors_covered(schema: &Value, inner: &At<'_>, outer: &Path, errs: &mut Errors) {
    for key in JUNCTORS {
        inner.get(key).items().for_each(|i| covered(schema, &i, outer, errs));
    }
    let not = inner.get("not");
    if not.is_set() {
        covered(schema, &not, outer, errs);
    }
}

fn covered(schema: &Value, inner: &At<'_>, outer: &Path, errs: &mut Errors) {
    junctors_covered(schema, inner, outer, errs);
    let items = inner.get("items");
    if items.value.is_object() {
        let path = outer.child("items");
        match schema.get("items") {
            Some(of) => covered(of, &items, &path, errs),
            None => errs.required(&path, format!("because it is defined in {}", items.path)),
        }
    }
    for (key, property) in inner.get("properties").entries() {
        let path = keyed(outer, "properties", key);
        match schema.get("properties").and_then(|p| p.get(key)) {
            Some(of) => covered(of, &property, &path, errs),
            None => errs.required(&path, format!("because it is defined in {}", property.path)),
        }
    }
}
