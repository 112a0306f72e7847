//! A walk over all of a schema, junctors included: what no schema may say, and what its parts must say together.

use serde_json::{Value, json};

use super::dump;
use super::expressions::{self, Budget, Context};
use crate::at::At;
use crate::field::{Errors, Path};
use crate::schema::Structural;
use crate::schema::structural::prune::META_FIELDS;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What JSON Schema has and no CustomResourceDefinition may use.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
];

/// What has been found so far. Complaints about expressions are told apart from those about the schema around them.
pub(super) struct Walk {
    pub budget: Budget,
    /// Whether the schema was there before.
    pub there: bool,
    pub schema: Errors,
    pub cel: Errors,
}

/// What holds at a place because of what is around it.
#[derive(Clone, Default)]
pub(super) struct State {
    /// Why no default may be here.
    no_defaults: Option<String>,
    in_meta: bool,
    /// The outermost place whose values cannot be told from one version of an object to the next.
    pub uncorrelatable: Option<Path>,
}

impl State {
    pub(super) fn root() -> State {
        State::default()
    }

    fn without_defaults(&self, why: &str) -> State {
        State { no_defaults: Some(why.to_owned()), ..self.clone() }
    }
}

impl Walk {
    pub(super) fn check(&mut self, at: &At<'_>, state: &State, is_root: bool, context: Option<Context<'_>>) {
        if !at.value.is_object() {
            return;
        }
        let before = self.schema.0.len();
        standard(at, state, &mut self.schema);
        if at.peek_true("uniqueItems") {
            let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.schema.forbidden(&at.path.child("uniqueItems"), words);
        }
        self.members(at, state, is_root, context);
        self.junctors(at, state);
        self.items(at, state, context);
        extensions(at, &mut self.schema);
        list_map(at, &mut self.schema);
        map_keys(at, &mut self.schema);
        let rules = at.get("x-kubernetes-validations");
        if rules.is_empty() {
            return;
        }
        let structural = Structural::read(at.value).ok();
        expressions::texts(&rules, structural.as_ref(), &mut self.schema);
        if let Some(context) = context.filter(|_| self.schema.0.len() == before) {
            self.compile(&rules, context, state);
        }
    }

    fn members(&mut self, at: &At<'_>, state: &State, is_root: bool, context: Option<Context<'_>>) {
        let (additional, properties) = (at.get("additionalProperties"), at.get("properties"));
        if additional.is_set() {
            if !properties.is_empty() && *additional.value != Value::Bool(true) {
                let words = "additionalProperties and properties are mutual exclusive";
                self.schema.forbidden(&additional.path, words);
            }
            let inner = match state.in_meta {
                true => state.without_defaults("inside additionalProperties applying to object metadata"),
                false => state.clone(),
            };
            self.check(&additional, &inner, false, context.and_then(Context::values));
        }
        let is_whole = is_root || at.peek_true("x-kubernetes-embedded-resource");
        for (name, property) in properties.entries() {
            let mut inner = state.clone();
            if is_whole && META_FIELDS.contains(&name) {
                inner.in_meta = true;
                if is_root {
                    inner = inner.without_defaults(&format!("in top-level {name}"));
                }
            }
            self.check(&property, &inner, false, context.and_then(|c| c.property(name)));
        }
    }

    fn junctors(&mut self, at: &At<'_>, state: &State) {
        self.check(&at.get("not"), state, false, None);
        for key in ["allOf", "oneOf", "anyOf"] {
            at.get(key).items().for_each(|inner| self.check(&inner, state, false, None));
        }
        for (_, inner) in at.get("definitions").entries() {
            self.check(&inner, state, false, None);
        }
    }

    fn items(&mut self, at: &At<'_>, state: &State, context: Option<Context<'_>>) {
        let items = at.get("items");
        if !items.is_set() {
            return;
        }
        let mut inner = state.clone();
        if at.peek_text("x-kubernetes-list-type") != "map" {
            inner.uncorrelatable.get_or_insert(at.path.clone());
        }
        self.check(&items, &inner, false, context.and_then(Context::items));
        items.items().for_each(|item| self.check(&item, &inner, false, None));
    }
}

fn standard(at: &At<'_>, state: &State, errs: &mut Errors) {
    let ty = at.get("type");
    if !ty.is_empty() && !TYPES.contains(&ty.text()) {
        errs.not_supported(&ty.path, ty.value, &TYPES);
    }
    if let Some(why) = state.no_defaults.as_ref().filter(|_| at.has("default")) {
        errs.forbidden(&at.path.child("default"), format!("must not be set {why}"));
    }
    for (key, words) in UNSUPPORTED {
        let said = at.get(key);
        if said.is_set() && !(said.is_empty() && key != "dependencies") {
            errs.forbidden(&said.path, words);
        }
    }
    if ty.text() == "null" {
        errs.forbidden(&ty.path, "type cannot be set to null, use nullable as an alternative");
    }
    if at.peek("items").as_array().is_some_and(|list| !list.is_empty()) {
        errs.forbidden(&at.path.child("items"), "items must be a schema object and not an array");
    }
    let embedded = at.get("x-kubernetes-embedded-resource");
    if state.in_meta && embedded.is_true() {
        errs.forbidden(&embedded.path, "must not be used inside of resource meta");
    }
}

fn extensions(at: &At<'_>, errs: &mut Errors) {
    let keeps = at.get("x-kubernetes-preserve-unknown-fields");
    if *keeps.value == Value::Bool(false) {
        errs.bad(&keeps, "must be true or undefined");
    }
    let (map, list) = (at.get("x-kubernetes-map-type"), at.get("x-kubernetes-list-type"));
    if map.is_set() && at.peek_text("type") != "object" {
        wrong_type(at, "must be object if x-kubernetes-map-type is specified", errs);
    }
    if map.is_set() && !["atomic", "granular"].contains(&map.text()) {
        errs.not_supported(&map.path, map.value, &["atomic", "granular"]);
    }
    if list.is_set() && at.peek_text("type") != "array" {
        wrong_type(at, "must be array if x-kubernetes-list-type is specified", errs);
    } else if list.text() == "set" {
        let items = at.get("items");
        let of = |key: &str| items.get(key);
        let words = "must be atomic as item of a list with x-kubernetes-list-type=set";
        match items.peek_text("type") {
            "array" if !["", "atomic"].contains(&of("x-kubernetes-list-type").text()) => {
                errs.bad(&of("x-kubernetes-list-type"), words);
            }
            "object" if of("x-kubernetes-map-type").text() != "atomic" => {
                // The reference shows the list type of the items here.
                let shown = items.peek("x-kubernetes-list-type");
                errs.invalid(&of("x-kubernetes-map-type").path, shown, words);
            }
            _ => {}
        }
    }
    if list.is_set() && !["atomic", "set", "map"].contains(&list.text()) {
        errs.not_supported(&list.path, list.value, &["atomic", "set", "map"]);
    }
}

/// The type is missing, or another one.
fn wrong_type(at: &At<'_>, words: &str, errs: &mut Errors) {
    let ty = at.get("type");
    if ty.is_empty() { errs.required(&ty.path, words) } else { errs.bad_text(&ty, words) }
}

fn list_map(at: &At<'_>, errs: &mut Errors) {
    let (list, keys) = (at.get("x-kubernetes-list-type"), at.get("x-kubernetes-list-map-keys"));
    if !keys.is_empty() && list.text() != "map" {
        let words = "must be map if x-kubernetes-list-map-keys is non-empty";
        if list.is_set() { errs.bad_text(&list, words) } else { errs.required(&list.path, words) }
    }
    if list.text() != "map" {
        return;
    }
    let items = at.get("items");
    if keys.is_empty() {
        errs.required(&keys.path, "must not be empty if x-kubernetes-list-type is map");
    }
    if !items.is_set() {
        errs.required(&items.path, "must have a schema if x-kubernetes-list-type is map");
        return;
    }
    if items.value.is_array() {
        let words = "must only have a single schema if x-kubernetes-list-type is map";
        errs.invalid_shown(&items.path, dump::items(items.value), words);
        return;
    }
    let ty = items.get("type");
    if ty.text() != "object" {
        errs.bad_text(&ty, "must be object if parent array's x-kubernetes-list-type is map");
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for key in keys.texts() {
        let property = items.get("properties").peek(key);
        match property["type"].as_str().unwrap_or_default() {
            _ if property.is_null() => errs.bad(&keys, "entries must all be names of item properties"),
            "array" | "object" => {
                let path = items.path.child("properties").key(key).child("type");
                let words = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errs.invalid(&path, &json!("object"), words);
            }
            _ => {}
        }
        if seen.contains(&key) {
            errs.bad(&keys, "must not contain duplicate entries");
        }
        seen.push(key);
    }
}

/// What tells the items of a list apart must be there, and be something.
fn map_keys(at: &At<'_>, errs: &mut Errors) {
    let (list, items) = (at.peek_text("x-kubernetes-list-type"), at.get("items"));
    if !items.value.is_object() || !["set", "map"].contains(&list) {
        return;
    }
    if items.peek_true("nullable") {
        let words = format!("cannot be nullable when x-kubernetes-list-type is {list}");
        errs.forbidden(&items.path.child("nullable"), words);
    }
    if list != "map" {
        return;
    }
    let required: Vec<&str> = items.get("required").texts().collect();
    for key in at.get("x-kubernetes-list-map-keys").texts() {
        let property = items.get("properties").peek(key);
        let path = items.path.child("properties").key(key);
        if property.is_null() {
            continue;
        }
        if !required.contains(&key) && property["default"].is_null() {
            errs.required(&path.child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
        }
        if property["nullable"] == Value::Bool(true) {
            let words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errs.forbidden(&path.child("nullable"), words);
        }
    }
}
