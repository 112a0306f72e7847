//! The rules of a custom resource: what its own schema, expressions and subresources say.

use std::sync::Arc;

use serde_json::{Value, json};

use super::evaluate::{self, Said};
use super::expressions::Expressions;
use crate::at::At;
use crate::field::{Error, ErrorType, Errors, Path};
use crate::kinds::Text;
use crate::meta;
use crate::object::{self, at, items, text};
use crate::rules::{Cx, Rules, ScalePaths, ScaleSelector, Write};
use crate::schema::Structural;
use crate::schema::structural::{check, embedded, lists};

/// The most replicas that an object may ask for.
const REPLICAS_MAX: i64 = i32::MAX as i64;

/// The rules of one version of a custom resource. Expressions are compiled once, with the row.
#[derive(Debug)]
pub struct CustomRules {
    schema: Arc<Structural>,
    expressions: Option<Expressions>,
    embeds: bool,
    has_status: bool,
    scale: Option<ScalePaths>,
    selectable: Vec<Text>,
}

impl CustomRules {
    pub(super) fn new(schema: Arc<Structural>, version: &Value) -> CustomRules {
        let path = |field: &Value| Some(text(field, &["jsonPath"]).strip_prefix('.')?.to_owned().into());
        CustomRules {
            expressions: Expressions::of(&schema),
            embeds: schema.embeds(),
            has_status: at(version, &["subresources", "status"]).is_object(),
            scale: scale(at(version, &["subresources", "scale"])),
            selectable: items(version, &["selectableFields"]).iter().filter_map(path).collect(),
            schema,
        }
    }

    fn check_replicas(&self, obj: &Value, errs: &mut Errors) {
        let Some(scale) = &self.scale else { return };
        for path in [&scale.replicas, &scale.status_replicas] {
            let keys: Vec<&str> = path.split('.').collect();
            let Some(replicas) = at(obj, &keys).as_i64() else { continue };
            let place = Path::new(&format!(".{path}"));
            if replicas < 0 {
                errs.invalid(&place, &json!(replicas), "should be a non-negative integer");
            }
            if replicas > REPLICAS_MAX {
                let words = format!("should be less than or equal to {REPLICAS_MAX}");
                errs.invalid(&place, &json!(replicas), words);
            }
        }
    }

    /// All that is looked at before the expressions, and then these, if nothing stands in their way.
    fn check(&self, obj: &Value, old: Option<&Value>, errs: &mut Errors) -> Vec<String> {
        errs.0.extend(check::check(&self.schema, obj, old));
        self.check_replicas(obj, errs);
        if self.embeds {
            embedded::check(&self.schema, &At::root(obj), errs);
        }
        let had_doubles = old.is_some_and(|old| {
            let mut before = Errors::default();
            lists::check(&self.schema, old, &Path::root(), &mut before);
            !before.is_empty()
        });
        if !had_doubles {
            lists::check(&self.schema, obj, &Path::root(), errs);
        }
        let Some(expressions) = &self.expressions else { return Vec::new() };
        if errs.0.iter().any(is_blocking) {
            let words = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errs.invalid(&Path::root(), &Value::Null, words);
            return Vec::new();
        }
        let Said { errors, warnings } = evaluate::evaluate(expressions, &self.schema, obj, old);
        errs.0.extend(errors);
        warnings
    }
}

/// What makes an object one that expressions cannot be run on.
fn is_blocking(e: &Error) -> bool {
    matches!(
        e.kind,
        ErrorType::NotSupported
            | ErrorType::Required
            | ErrorType::TooLong
            | ErrorType::TooMany
            | ErrorType::TypeInvalid
    )
}

fn scale(scale: &Value) -> Option<ScalePaths> {
    let path = |key: &str| text(scale, &[key]).strip_prefix('.').map(|p| Text::from(p.to_owned()));
    Some(ScalePaths {
        replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: path("labelSelectorPath").map_or(ScaleSelector::None, ScaleSelector::Text),
    })
}

impl Rules for CustomRules {
    fn default(&self, obj: &mut Value) {
        self.schema.fill(obj);
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        object::metadata_mut(obj).insert("generation".into(), json!(1));
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        self.check(obj, None, errs);
    }

    fn validate_change(&self, obj: &Value, old: &Value, _write: Write, errs: &mut Errors) -> Vec<String> {
        self.check(obj, Some(old), errs)
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        meta::finalizer_warnings(obj, old)
    }

    fn standard_finalizers(&self) -> bool {
        false
    }

    fn scale(&self) -> Option<ScalePaths> {
        self.scale.clone()
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn counts_status(&self) -> bool {
        !self.has_status
    }

    fn selectable(&self) -> &[Text] {
        &self.selectable
    }
}
