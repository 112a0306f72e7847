//! The rules of ReplicationControllers.

use serde_json::Value;

use super::pod::{defaults, spec};
use crate::at::At;
use crate::field::Errors;
use crate::object::{at, map_at_mut};
use crate::rules::{Rules, ScalePaths, ScaleSelector, Write, selectable};

#[derive(Debug)]
pub struct ReplicationController;

impl Rules for ReplicationController {
    fn default(&self, obj: &mut Value) {
        let labels = at(obj, &["spec", "template", "metadata", "labels"]).clone();
        if labels.as_object().is_some_and(|l| !l.is_empty()) {
            let blank = |v: &Value| v.as_object().is_none_or(serde_json::Map::is_empty);
            if blank(at(obj, &["spec", "selector"])) {
                map_at_mut(obj, &["spec"]).insert("selector".into(), labels.clone());
            }
            if blank(at(obj, &["metadata", "labels"])) {
                map_at_mut(obj, &["metadata"]).insert("labels".into(), labels);
            }
        }
        let spec = map_at_mut(obj, &["spec"]);
        defaults::set_pointer(spec, "replicas", 1);
        if let Some(template) = spec.get_mut("template").filter(|t| t.is_object()) {
            defaults::template(template);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        errs.nonnegative(&spec.get("minReadySeconds"));
        let (selector, template) = (spec.get("selector"), spec.get("template"));
        if selector.is_empty() {
            errs.required(&selector.path, "");
        }
        errs.nonnegative(&spec.get("replicas"));
        if !template.is_set() {
            errs.required(&template.path, "");
            return;
        }
        let labels = template.get("metadata").get("labels");
        if !selector.entries().all(|(key, value)| labels.peek(key) == value.value) {
            errs.bad(&labels, "`selector` does not match template `labels`");
        }
        spec::template(&template, errs);
        always_restarts(&template, errs);
        let deadline = template.get("spec").get("activeDeadlineSeconds");
        if deadline.is_set() {
            let words = "activeDeadlineSeconds in ReplicationController is not Supported";
            errs.forbidden(&deadline.path, words);
        }
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        crate::kinds::workload::template_warnings(obj, old)
    }

    fn validate_update(&self, obj: &Value, _old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Status {
            replica_counts(&At::root(obj).get("status"), errs);
        }
    }

    selectable!["status.replicas"];

    fn field(&self, obj: &Value, _path: &str) -> String {
        at(obj, &["status", "replicas"]).as_i64().unwrap_or(0).to_string()
    }

    fn scale(&self) -> Option<ScalePaths> {
        Some(ScalePaths { selector: ScaleSelector::Labels("spec.selector".into()), ..ScalePaths::WORKLOAD })
    }
}

/// A controller that keeps Pods running takes no template whose containers end.
pub fn always_restarts(template: &At<'_>, errs: &mut Errors) {
    let policy = template.get("spec").get("restartPolicy");
    if policy.text() != "Always" {
        errs.not_supported(&policy.path, &Value::from(policy.text()), &["Always"]);
    }
}

/// The numbers in a controller's status: none negative, none above the whole.
pub fn replica_counts(status: &At<'_>, errs: &mut Errors) {
    for key in
        ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"]
    {
        errs.nonnegative(&status.get(key));
    }
    let all = status.get("replicas").int();
    for key in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if status.get(key).int() > all {
            errs.bad_int(&status.get(key), "cannot be greater than status.replicas");
        }
    }
    if status.get("availableReplicas").int() > status.get("readyReplicas").int() {
        errs.bad_int(&status.get("availableReplicas"), "cannot be greater than readyReplicas");
    }
}
