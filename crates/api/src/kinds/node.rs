//! The rules of node.k8s.io: RuntimeClasses.

use serde_json::Value;

use super::core::amounts;
use super::core::pod::scheduling;
use crate::at::At;
use crate::field::Errors;
use crate::meta;
use crate::names;
use crate::object::at;
use crate::rules::{Rules, Write, facts};

#[derive(Debug)]
pub struct RuntimeClass;

impl Rules for RuntimeClass {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let class = At::root(obj);
        let handler = class.get("handler");
        errs.bad_texts(&handler, names::dns1123_label(handler.text()));
        for (name, amount) in class.get("overhead").get("podFixed").entries() {
            amounts::of_resource(name, &amount, errs);
        }
        let placement = class.get("scheduling");
        meta::labels(&placement.get("nodeSelector"), errs);
        scheduling::tolerations(&placement.get("tolerations"), errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            errs.immutable(&At::root(obj).get("handler"), at(old, &["handler"]));
        }
    }

    facts!(uncounted, conditional);
}
