//! The rules of PodTemplates.

use serde_json::{Value, json};

use super::pod::{defaults, spec};
use crate::at::At;
use crate::field::Errors;
use crate::object::map_mut;
use crate::rules::{Rules, facts};

#[derive(Debug)]
pub struct PodTemplate;

impl Rules for PodTemplate {
    fn default(&self, obj: &mut Value) {
        defaults::template(map_mut(obj).entry("template").or_insert_with(|| json!({})));
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        spec::template(&At::root(obj).get("template"), errs);
    }

    facts!(returned);
}
