//! What an object's metadata may say, on create and on update, in the words of apimachinery's `objectmeta.go`.

use serde_json::Value;

use crate::at::{At, same};
use crate::field::{Errors, go_quote};
use crate::kinds::Kind;
use crate::names;

/// All annotations of one object together, keys and values (the reference's `TotalAnnotationSizeLimitB`).
pub const ANNOTATIONS_MAX: usize = 256 * 1024;
/// The longest name of a field manager.
pub const FIELD_MANAGER_MAX: usize = 128;
/// The longest subresource in a managed fields entry.
const SUBRESOURCE_MAX: usize = 256;

pub const FINALIZER_ORPHAN: &str = "orphan";
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";
/// The finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", FINALIZER_ORPHAN, FINALIZER_FOREGROUND];

/// The metadata of a new object, whose name has been generated already.
pub fn validate(kind: &Kind, obj: &Value, errs: &mut Errors) {
    let meta = At::root(obj).get("metadata");
    let check_name = |name: &str, prefix: bool| kind.rules.check_name(name, prefix);
    validate_whole(&meta, kind.is_namespaced(), check_name, errs);
    if kind.rules.standard_finalizers() {
        validate_finalizer_domains(&meta, errs);
    }
}

/// The metadata of an object that is embedded in another one, and need not have a name.
pub fn validate_embedded(meta: &At<'_>, errs: &mut Errors) {
    let mut named = meta.value.clone();
    if meta.peek_text("name").is_empty() {
        named["name"] = Value::from("fakename");
    }
    let is_namespaced = !meta.peek_text("namespace").is_empty();
    validate_whole(&At::new(&named, meta.path.clone()), is_namespaced, names::path_segment, errs);
}

fn validate_whole(
    meta: &At<'_>,
    is_namespaced: bool,
    check_name: impl Fn(&str, bool) -> Vec<String>,
    errs: &mut Errors,
) {
    let generate = meta.get("generateName");
    if !generate.is_empty() {
        errs.bad_texts(&generate, check_name(generate.text(), true));
    }
    let name = meta.get("name");
    if name.is_empty() {
        errs.required(&name.path, "name or generateName is required");
    } else {
        errs.bad_texts(&name, check_name(name.text(), false));
    }
    validate_namespace(is_namespaced, meta, errs);
    errs.nonnegative(&meta.get("generation"));
    validate_rest(meta, errs);
}

/// The metadata of an object that replaces `old`. The reference checks it twice, once for all kinds and once in the
/// kind's own strategy, and says each complaint as often.
pub fn validate_update(kind: &Kind, obj: &Value, old: &Value, errs: &mut Errors) {
    let meta = At::root(obj).get("metadata");
    let before = At::root(old).get("metadata");
    let known = errs.0.len();
    validate_change(&meta, &before, errs);
    if kind.rules.standard_finalizers() {
        errs.0.extend_from_within(known..);
        validate_finalizer_domains(&meta, errs);
    }
}

/// What is worth a warning about the finalizers that a custom resource gets.
pub fn finalizer_warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    let finalizers = At::root(obj).get("metadata").get("finalizers");
    let known = old.map(|old| At::root(old).get("metadata").get("finalizers"));
    let is_new = |name: &&str| known.as_ref().is_none_or(|k| k.texts().all(|other| other != *name));
    let mut out = Vec::new();
    for name in finalizers.texts().filter(is_new) {
        let mut warn = |said: &str| out.push(format!("{}: {}: {said}", finalizers.path, go_quote(name)));
        names::qualified(name).iter().for_each(|said| warn(said));
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            warn(
                "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers",
            );
        }
    }
    out
}

/// The metadata inside of a template: labels and annotations, and finalizers where it has some.
pub fn validate_labels_and_annotations(meta: &At<'_>, errs: &mut Errors) {
    labels(&meta.get("labels"), errs);
    annotations(&meta.get("annotations"), errs);
}

fn validate_namespace(is_namespaced: bool, meta: &At<'_>, errs: &mut Errors) {
    let namespace = meta.get("namespace");
    if !is_namespaced {
        if !namespace.is_empty() {
            errs.forbidden(&namespace.path, "not allowed on this type");
        }
    } else if namespace.is_empty() {
        errs.required(&namespace.path, "");
    } else {
        errs.bad_texts(&namespace, names::dns_label(namespace.text(), false));
    }
}

fn validate_rest(meta: &At<'_>, errs: &mut Errors) {
    validate_labels_and_annotations(meta, errs);
    owner_references(&meta.get("ownerReferences"), errs);
    finalizers(&meta.get("finalizers"), errs);
    managed_fields(&meta.get("managedFields"), errs);
}

fn validate_change(meta: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    if old.has("deletionTimestamp") {
        no_new_finalizers(&meta.get("finalizers"), &old.get("finalizers"), errs);
    }
    let version = meta.get("resourceVersion");
    if version.is_empty() {
        errs.bad_text(&version, "must be specified for an update");
    }
    let generation = meta.get("generation");
    if generation.int() < old.get("generation").int() {
        errs.bad_int(&generation, "must not be decremented");
    }
    for key in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        errs.immutable(&meta.get(key), old.peek(key));
    }
    validate_rest(meta, errs);
}

pub fn labels(at: &At<'_>, errs: &mut Errors) {
    for (key, value) in at.entries() {
        label_key(key, at, errs);
        for said in names::label_value(value.text()) {
            errs.invalid(&at.path, &Value::from(value.text()), said);
        }
    }
}

fn label_key(key: &str, at: &At<'_>, errs: &mut Errors) {
    for said in names::qualified(key) {
        errs.invalid(&at.path, &Value::from(key), said);
    }
}

pub fn annotations(at: &At<'_>, errs: &mut Errors) {
    let mut size = 0;
    for (key, value) in at.entries() {
        for said in names::qualified(&key.to_lowercase()) {
            errs.invalid(&at.path, &Value::from(key), said);
        }
        size += key.len() + value.text().len();
    }
    if size > ANNOTATIONS_MAX {
        errs.too_long(&at.path, ANNOTATIONS_MAX);
    }
}

fn owner_references(at: &At<'_>, errs: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in at.items() {
        owner_reference(&owner, at, errs);
        if !owner.peek_true("controller") {
            continue;
        }
        let this = format!("{}/{}", owner.peek_text("kind"), owner.peek_text("name"));
        match &controller {
            None => controller = Some(this),
            Some(first) => errs.bad(
                at,
                format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"),
            ),
        }
    }
}

/// The reference gives all complaints of a list of owners at the list's own path, without the index.
fn owner_reference(owner: &At<'_>, list: &At<'_>, errs: &mut Errors) {
    let owner = At::new(owner.value, list.path.clone());
    let version = owner.peek_text("apiVersion");
    if version.is_empty() || version.ends_with('/') {
        errs.bad_text(&owner.get("apiVersion"), "version must not be empty");
    }
    for key in ["kind", "name", "uid"] {
        if owner.peek_text(key).is_empty() {
            errs.bad_text(&owner.get(key), "must not be empty");
        }
    }
    if version == "v1" && owner.peek_text("kind") == "Event" {
        errs.bad(&owner, "/v1, Kind=Event is disallowed from being an owner");
    }
}

fn finalizers(at: &At<'_>, errs: &mut Errors) {
    for name in at.texts() {
        for said in names::qualified(name) {
            errs.invalid(&at.path, &Value::from(name), said);
        }
    }
    let has = |wanted: &str| at.texts().any(|f| f == wanted);
    if has(FINALIZER_ORPHAN) && has(FINALIZER_FOREGROUND) {
        errs.bad(at, format!("finalizer {FINALIZER_ORPHAN} and {FINALIZER_FOREGROUND} cannot be both set"));
    }
}

fn validate_finalizer_domains(meta: &At<'_>, errs: &mut Errors) {
    for finalizer in meta.get("finalizers").items() {
        if !finalizer.text().contains('/') && !STANDARD_FINALIZERS.contains(&finalizer.text()) {
            errs.bad_text(&finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

fn no_new_finalizers(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    let mut extra: Vec<&str> = new.texts().filter(|f| !old.texts().any(|o| o == *f)).collect();
    if extra.is_empty() {
        return;
    }
    extra.sort_unstable();
    extra.dedup();
    let listed: Vec<String> = extra.iter().map(|f| crate::field::go_quote(f)).collect();
    errs.forbidden(
        &new.path,
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            listed.join(", ")
        ),
    );
}

fn managed_fields(at: &At<'_>, errs: &mut Errors) {
    for entry in at.items() {
        if !["Apply", "Update"].contains(&entry.peek_text("operation")) {
            errs.bad_text(&entry.get("operation"), "must be `Apply` or `Update`");
        }
        if !["", "FieldsV1"].contains(&entry.peek_text("fieldsType")) {
            errs.bad_text(&entry.get("fieldsType"), "must be `FieldsV1`");
        }
        field_manager(&entry.get("manager"), errs);
        if entry.peek_text("subresource").len() > SUBRESOURCE_MAX {
            errs.too_long(&entry.get("subresource").path, SUBRESOURCE_MAX);
        }
    }
}

/// The name of a field manager, from managed fields or from a query.
pub fn field_manager(at: &At<'_>, errs: &mut Errors) {
    let name = at.text();
    if name.len() > FIELD_MANAGER_MAX {
        errs.too_long(&at.path, FIELD_MANAGER_MAX);
    }
    for (i, c) in name.char_indices().filter(|(_, c)| c.is_control()) {
        errs.bad_text(at, format!("invalid character U+{:04X} (at position {i})", c as u32));
    }
}

/// A label selector (`matchLabels`, `matchExpressions`).
pub fn label_selector(at: &At<'_>, errs: &mut Errors) {
    labels(&at.get("matchLabels"), errs);
    for term in at.get("matchExpressions").items() {
        let values = term.get("values");
        if !set_operator(&term, errs) {
            errs.bad_text(&term.get("operator"), "not a valid selector operator");
        }
        let key = term.get("key");
        errs.bad_texts(&key, names::qualified(key.text()));
        for value in values.items() {
            errs.bad_texts(&value, names::label_value(value.text()));
        }
    }
}

/// The values that an operator on a set takes. Whether it is one; others are the caller's to judge.
pub fn set_operator(term: &At<'_>, errs: &mut Errors) -> bool {
    let values = term.get("values");
    match term.peek_text("operator") {
        "In" | "NotIn" if values.is_empty() => {
            errs.required(&values.path, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errs.forbidden(&values.path, words);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => return false,
    }
    true
}

/// Whether a label selector (`matchLabels`, `matchExpressions`) takes these labels.
pub fn selector_matches(selector: &Value, labels: &Value) -> bool {
    let selector = At::root(selector);
    let by_label =
        selector.get("matchLabels").entries().all(|(k, v)| labels.get(k).is_some_and(|l| same(l, v.value)));
    by_label
        && selector.get("matchExpressions").items().all(|term| {
            let value = labels.get(term.peek_text("key")).and_then(Value::as_str);
            let listed = |v: &str| term.get("values").texts().any(|t| t == v);
            match term.peek_text("operator") {
                "In" => value.is_some_and(listed),
                "NotIn" => !value.is_some_and(listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
