//! The rules of DaemonSets.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::pod::defaults::{set, set_pointer};
use crate::kinds::workload::{self, inner};
use crate::object::{at, map_at_mut};
use crate::rules::{Rules, Write};

#[derive(Debug)]
pub struct DaemonSet;

const HISTORY: i64 = 10;

impl Rules for DaemonSet {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        workload::default_template(spec);
        let strategy = inner(spec, "updateStrategy");
        set(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            let rolling = inner(strategy, "rollingUpdate");
            set_pointer(rolling, "maxUnavailable", 1);
            set_pointer(rolling, "maxSurge", 0);
        }
        set_pointer(spec, "revisionHistoryLimit", HISTORY);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        workload::selector(&spec, "empty selector is invalid for daemonset", errs);
        workload::template(&spec, errs);
        workload::no_deadline(&spec, "activeDeadlineSeconds in DaemonSet is not Supported", errs);
        errs.nonnegative(&spec.get("minReadySeconds"));
        strategy(&spec.get("updateStrategy"), errs);
        errs.nonnegative(&spec.get("revisionHistoryLimit"));
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
            Write::Status => {
                for key in [
                    "currentNumberScheduled",
                    "numberMisscheduled",
                    "desiredNumberScheduled",
                    "numberReady",
                    "observedGeneration",
                    "updatedNumberScheduled",
                    "numberAvailable",
                    "numberUnavailable",
                ] {
                    errs.nonnegative(&new.get("status").get(key));
                }
            }
            Write::Sub(_) => {}
        }
    }
}

fn strategy(at: &At<'_>, errs: &mut Errors) {
    let (kind, rolling) = (at.get("type"), at.get("rollingUpdate"));
    match kind.text() {
        "OnDelete" => {}
        "RollingUpdate" => {
            if !rolling.is_set() {
                errs.required(&rolling.path, "");
                return;
            }
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            workload::count_or_percent(&unavailable, errs);
            workload::count_or_percent(&surge, errs);
            workload::at_most_all(&unavailable, errs);
            workload::at_most_all(&surge, errs);
            let (no_unavailable, no_surge) =
                (workload::is_none_of(unavailable.value), workload::is_none_of(surge.value));
            if no_unavailable && no_surge {
                errs.required(&unavailable.path, "cannot be 0 when maxSurge is 0");
            } else if !no_unavailable && !no_surge {
                errs.bad(&surge, "may not be set when maxUnavailable is non-zero");
            }
        }
        _ => {
            let shown = Value::from(kind.text());
            errs.not_supported(&kind.path, &shown, &["RollingUpdate", "OnDelete"]);
        }
    }
}
