//! The rules of Deployments.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::pod::defaults::{set, set_pointer};
use crate::kinds::workload::{self, inner};
use crate::object::map_at_mut;
use crate::rules::{Rules, ScalePaths, Write};

#[derive(Debug)]
pub struct Deployment;

/// How long a roll-out may make no progress, in seconds.
const PROGRESS_SECONDS: i64 = 600;
/// How many old ReplicaSets are kept.
const HISTORY: i64 = 10;

impl Rules for Deployment {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        workload::default_template(spec);
        set_pointer(spec, "replicas", 1);
        let strategy = inner(spec, "strategy");
        set(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            let rolling = inner(strategy, "rollingUpdate");
            set_pointer(rolling, "maxUnavailable", "25%");
            set_pointer(rolling, "maxSurge", "25%");
        }
        set_pointer(spec, "revisionHistoryLimit", HISTORY);
        set_pointer(spec, "progressDeadlineSeconds", PROGRESS_SECONDS);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        errs.nonnegative(&spec.get("replicas"));
        workload::selector(&spec, "empty selector is invalid for deployment", errs);
        workload::template(&spec, errs);
        workload::no_deadline(&spec, "activeDeadlineSeconds in ReplicaSet is not Supported", errs);
        strategy(&spec.get("strategy"), errs);
        errs.nonnegative(&spec.get("minReadySeconds"));
        errs.nonnegative(&spec.get("revisionHistoryLimit"));
        let deadline = spec.get("progressDeadlineSeconds");
        if deadline.is_set() {
            errs.nonnegative(&deadline);
            if deadline.int() <= spec.get("minReadySeconds").int() {
                errs.bad_int(&deadline, "must be greater than minReadySeconds");
            }
        }
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(obj, old)
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj), At::root(old));
        match write {
            Write::Main => {
                errs.immutable(&new.get("spec").get("selector"), old.get("spec").peek("selector"));
            }
            Write::Status => {
                let (status, before) = (new.get("status"), old.get("status"));
                let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
                workload::counts_within(&status, "replicas", &parts, errs);
                if status.get("availableReplicas").int() > status.get("readyReplicas").int() {
                    errs.bad_int(&status.get("availableReplicas"), "cannot be greater than readyReplicas");
                }
                workload::collisions_grow(&status, &before, errs);
            }
            Write::Sub(_) => {}
        }
    }

    fn scale(&self) -> Option<ScalePaths> {
        Some(ScalePaths::WORKLOAD)
    }
}

fn strategy(at: &At<'_>, errs: &mut Errors) {
    let (kind, rolling) = (at.get("type"), at.get("rollingUpdate"));
    match kind.text() {
        "Recreate" => {
            if rolling.is_set() {
                let words = "may not be specified when strategy `type` is 'Recreate'";
                errs.forbidden(&rolling.path, words);
            }
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            workload::count_or_percent(&unavailable, errs);
            workload::count_or_percent(&surge, errs);
            if workload::is_none_of(unavailable.value) && workload::is_none_of(surge.value) {
                errs.bad(&unavailable, "may not be 0 when `maxSurge` is 0");
            }
            workload::at_most_all(&unavailable, errs);
        }
        _ => {
            let shown = Value::from(kind.text());
            errs.not_supported(&kind.path, &shown, &["Recreate", "RollingUpdate"]);
        }
    }
}
