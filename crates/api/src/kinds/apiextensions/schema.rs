//! The schema of one version: the rules of its root, and in which order all others are looked at.

use super::expressions::{Budget, Context};
use super::walk::{State, Walk};
use super::{defaults, dump, structural};
use crate::at::At;
use crate::field::{Errors, Path};
use crate::schema::Structural;

/// What a root may say beside its type where the status is a subresource, as the reference's structs name it.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

/// Checks `schema` of a version. Expressions that were `there` before may cost what they did.
pub(super) fn check(validation: &At<'_>, has_status: bool, there: bool, errs: &mut Errors) {
    let schema = validation.get("openAPIV3Schema");
    if !schema.is_set() {
        return;
    }
    let mut found = Errors::default();
    if has_status {
        root_beside_status(&schema, &mut found);
    }
    if schema.peek_true("nullable") {
        found.forbidden(&schema.path.child("nullable"), "nullable cannot be true at the root");
    }
    let structural = Structural::read(schema.value);
    let mut is_sound = false;
    if let Ok(structural) = &structural {
        let before = found.0.len();
        structural::check(&schema, &mut found);
        if found.0.len() == before {
            defaults::check(&schema.path, structural, &mut found);
        }
        is_sound = found.0.len() == before;
    }
    let mut walk =
        Walk { budget: Budget::default(), there, schema: Errors::default(), cel: Errors::default() };
    let context = structural.as_ref().ok().filter(|_| is_sound).map(Context::root);
    walk.check(&schema, &State::root(), true, context);
    found.0.append(&mut walk.schema.0);
    found.0.append(&mut walk.cel.0);
    if let (true, Err(why)) = (found.is_empty(), &structural) {
        found.invalid_shown(&schema.path, "\"\"", why.as_str());
    }
    walk.budget.check(&schema.path, &mut found);
    errs.0.append(&mut found.0);
}

fn root_beside_status(schema: &At<'_>, errs: &mut Errors) {
    for key in schema.value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()) {
        if key == "type" && schema.peek_text("type") != "object" {
            let words = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            errs.bad_text(&schema.get("type"), words);
            return;
        }
        if !AT_ROOT.iter().any(|(known, _)| *known == key) {
            let names: Vec<&str> = AT_ROOT.iter().map(|(_, name)| *name).collect();
            let words = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                names.join(" ")
            );
            errs.invalid_shown(&schema.path, dump::schema(schema.value), words);
            return;
        }
    }
}

/// `properties[spec]` below a place.
pub(super) fn keyed(path: &Path, list: &str, key: &str) -> Path {
    path.child(list).key(key)
}
