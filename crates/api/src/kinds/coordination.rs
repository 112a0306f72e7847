//! The rules of coordination.k8s.io: Leases.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::names;
use crate::rules::{Rules, facts};

#[derive(Debug)]
pub struct Lease;

impl Rules for Lease {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        errs.positive_if_set(&spec.get("leaseDurationSeconds"));
        errs.nonnegative(&spec.get("leaseTransitions"));
        let (strategy, preferred) = (spec.get("strategy"), spec.get("preferredHolder"));
        if strategy.is_set() {
            errs.bad_texts(&strategy, names::qualified(strategy.text()));
        }
        if !preferred.is_empty() && !strategy.is_set() {
            errs.forbidden(&preferred.path, "may only be specified if `strategy` is defined");
        }
    }

    facts!(uncounted, upsert, conditional);
}
