//! The rules of CronJobs.

use serde_json::{Value, json};

use super::job::job_spec;
use super::schedule::Schedule;
use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::pod::defaults::{set, set_pointer};
use crate::kinds::workload::{self, inner};
use crate::object::{self, map_at_mut, map_mut};
use crate::rules::{Cx, Rules};

#[derive(Debug)]
pub struct CronJob;

/// A Job's name is the CronJob's and 11 characters more, and must still be a label.
const NAME_MAX: usize = 52;

impl Rules for CronJob {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        set(spec, "concurrencyPolicy", "Allow");
        set_pointer(spec, "suspend", false);
        set_pointer(spec, "successfulJobsHistoryLimit", 3);
        set_pointer(spec, "failedJobsHistoryLimit", 1);
        workload::default_template(inner(inner(spec, "jobTemplate"), "spec"));
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        map_mut(obj).insert("status".into(), json!({}));
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let job = At::root(obj);
        if object::name(obj).len() > NAME_MAX {
            let words = format!("must be no more than {NAME_MAX} characters");
            errs.bad_text(&job.get("metadata").get("name"), words);
        }
        let spec = job.get("spec");
        schedule(&spec.get("schedule"), errs);
        time_zone(&spec.get("timeZone"), errs);
        errs.nonnegative(&spec.get("startingDeadlineSeconds"));
        errs.one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
        template(&spec.get("jobTemplate"), errs);
        errs.nonnegative(&spec.get("successfulJobsHistoryLimit"));
        errs.nonnegative(&spec.get("failedJobsHistoryLimit"));
    }
}

fn schedule(at: &At<'_>, errs: &mut Errors) {
    if at.is_empty() {
        errs.required(&at.path, "");
        return;
    }
    if at.text().contains("TZ") {
        errs.bad_text(at, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        return;
    }
    if let Err(error) = Schedule::parse(at.text()) {
        errs.bad_text(at, error.to_string());
    }
}

fn time_zone(at: &At<'_>, errs: &mut Errors) {
    if at.is_set() && at.is_empty() {
        errs.bad_text(at, "timeZone must be nil or non-empty string");
    } else if at.text().eq_ignore_ascii_case("local") {
        let words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errs.bad_text(at, words);
    }
}

fn template(at: &At<'_>, errs: &mut Errors) {
    let spec = at.get("spec");
    job_spec(&spec, errs);
    let (selector, manual) = (spec.get("selector"), spec.get("manualSelector"));
    if selector.is_set() {
        errs.bad(&selector, "`selector` will be auto-generated");
    }
    if manual.is_true() {
        errs.not_supported(&manual.path, manual.value, &["nil", "false"]);
    }
}
