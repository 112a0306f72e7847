//! The rules of ControllerRevisions.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::object::at;
use crate::rules::{Rules, Write, facts};

#[derive(Debug)]
pub struct ControllerRevision;

impl Rules for ControllerRevision {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let revision = At::root(obj);
        if !revision.has("data") {
            errs.required(&revision.get("data").path, "data is mandatory");
        }
        errs.nonnegative(&revision.get("revision"));
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            errs.immutable(&At::root(obj).get("data"), at(old, &["data"]));
        }
    }

    facts!(uncounted);
}
