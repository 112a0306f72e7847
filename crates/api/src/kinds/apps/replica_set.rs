//! The rules of ReplicaSets.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::pod::defaults::set_pointer;
use crate::kinds::core::replication_controller::replica_counts;
use crate::kinds::workload;
use crate::object::{at, map_at_mut};
use crate::rules::{Rules, ScalePaths, Write, selectable};

#[derive(Debug)]
pub struct ReplicaSet;

impl Rules for ReplicaSet {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        workload::default_template(spec);
        set_pointer(spec, "replicas", 1);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        errs.nonnegative(&spec.get("replicas"));
        errs.nonnegative(&spec.get("minReadySeconds"));
        workload::selector(&spec, "empty selector is invalid for deployment", errs);
        workload::template(&spec, errs);
        workload::no_deadline(&spec, "activeDeadlineSeconds in ReplicaSet is not Supported", errs);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(obj, old)
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let new = At::root(obj);
        match write {
            Write::Main => {
                errs.immutable(&new.get("spec").get("selector"), at(old, &["spec", "selector"]));
            }
            Write::Status => replica_counts(&new.get("status"), errs),
            Write::Sub(_) => {}
        }
    }

    selectable!["status.replicas"];

    fn field(&self, obj: &Value, _path: &str) -> String {
        at(obj, &["status", "replicas"]).as_i64().unwrap_or(0).to_string()
    }

    fn scale(&self) -> Option<ScalePaths> {
        Some(ScalePaths::WORKLOAD)
    }
}
