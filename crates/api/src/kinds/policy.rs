//! The rules of policy: PodDisruptionBudgets.

use serde_json::Value;

use super::workload;
use crate::at::At;
use crate::field::Errors;
use crate::meta;
use crate::rules::{Rules, Write, facts};

#[derive(Debug)]
pub struct PodDisruptionBudget;

impl Rules for PodDisruptionBudget {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
        if least.is_set() && most.is_set() {
            errs.bad(&spec, "minAvailable and maxUnavailable cannot be both set");
        }
        for bound in [least, most].iter().filter(|b| b.is_set()) {
            workload::count_or_percent(bound, errs);
            workload::at_most_all(bound, errs);
        }
        meta::label_selector(&spec.get("selector"), errs);
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        errs.one_of_if_set(&spec.get("unhealthyPodEvictionPolicy"), &policies);
    }

    fn validate_update(&self, obj: &Value, _old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Status {
            for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                errs.nonnegative(&At::root(obj).get("status").get(key));
            }
        }
    }

    facts!(conditional);
}
