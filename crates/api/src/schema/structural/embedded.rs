//! Objects embedded in a custom resource: they have a kind, a version and metadata of their own.

use serde_json::Value;

use super::Structural;
use crate::at::At;
use crate::field::Errors;
use crate::{meta, names};

impl Structural {
    /// Whether an object may be embedded here or further inside.
    pub fn embeds(&self) -> bool {
        self.is_embedded
            || self.items.as_ref().is_some_and(|s| s.embeds())
            || self.values().is_some_and(Structural::embeds)
            || self.properties.values().any(Structural::embeds)
    }
}

/// Checks each embedded object; the outermost one is a custom resource and looked at elsewhere.
pub fn check(schema: &Structural, at: &At<'_>, errs: &mut Errors) {
    match at.value {
        Value::Object(map) => {
            if schema.is_embedded {
                check_resource(at, errs);
            }
            for key in map.keys() {
                if let Some(of) = schema.properties.get(key) {
                    check(of, &at.get(key), errs);
                } else if let Some(of) = schema.values() {
                    check(of, &At::new(at.peek(key), at.path.key(key)), errs);
                }
            }
        }
        Value::Array(_) => {
            if let Some(of) = &schema.items {
                at.items().for_each(|item| check(of, &item, errs));
            }
        }
        _ => {}
    }
}

fn check_resource(at: &At<'_>, errs: &mut Errors) {
    let (version, kind) = (at.get("apiVersion"), at.get("kind"));
    for part in [&version, &kind] {
        match part.value {
            Value::Null => errs.required(&part.path, "must not be empty"),
            Value::String(text) if text.is_empty() => errs.bad_text(part, "must not be empty"),
            Value::String(_) => {}
            _ => errs.bad(part, "must be a string"),
        }
    }
    if version.text().matches('/').count() > 1 {
        errs.bad_text(&version, format!("unexpected GroupVersion string: {}", version.text()));
    }
    let said = names::dns1035_label(&kind.text().to_lowercase());
    if !kind.is_empty() && !said.is_empty() {
        let said = said.join(",");
        errs.bad_text(&kind, format!("may have mixed case, but should otherwise match: {said}"));
    }
    if at.peek("metadata").is_object() {
        meta::validate_embedded(&at.get("metadata"), errs);
    }
}
