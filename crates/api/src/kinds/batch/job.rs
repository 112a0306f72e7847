//! The rules of Jobs.

use serde_json::{Map, Value, json};

use crate::at::{At, same};
use crate::field::Errors;
use crate::kinds::core::pod::defaults::{set, set_pointer};
use crate::kinds::core::pod::spec;
use crate::kinds::workload;
use crate::meta;
use crate::names;
use crate::object::{self, at, map_at_mut, map_mut};
use crate::rules::{Cx, Rules, Write, selectable};

#[derive(Debug)]
pub struct Job;

/// How often a Job's Pods may fail.
const BACKOFF: i64 = 6;
/// A backoff for each index is a limit of its own; the Job as a whole has none then.
const NO_BACKOFF: i64 = i32::MAX as i64;
/// Labels that tie a Pod to its Job, with the names that older clients look for.
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const OLD_UID_LABEL: &str = "controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const OLD_NAME_LABEL: &str = "job-name";

impl Rules for Job {
    fn default(&self, obj: &mut Value) {
        let labels = at(obj, &["spec", "template", "metadata", "labels"]).clone();
        if at(obj, &["metadata", "labels"]).is_null() && labels.as_object().is_some_and(|l| !l.is_empty()) {
            map_at_mut(obj, &["metadata"]).insert("labels".into(), labels);
        }
        let spec = map_at_mut(obj, &["spec"]);
        workload::default_template(spec);
        let given = |spec: &Map<String, Value>, key: &str| spec.get(key).is_some_and(|v| !v.is_null());
        if !given(spec, "completions") && !given(spec, "parallelism") {
            spec.insert("completions".into(), json!(1));
        }
        set_pointer(spec, "parallelism", 1);
        let by_index = given(spec, "backoffLimitPerIndex");
        set_pointer(spec, "backoffLimit", if by_index { NO_BACKOFF } else { BACKOFF });
        set(spec, "completionMode", "NonIndexed");
        set_pointer(spec, "suspend", false);
        set_pointer(spec, "manualSelector", false);
        let with_policy = given(spec, "podFailurePolicy");
        set(spec, "podReplacementPolicy", if with_policy { "Failed" } else { "TerminatingOrFailed" });
        failure_policy_defaults(spec);
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        map_mut(obj).insert("status".into(), json!({}));
        if at(obj, &["spec", "manualSelector"]).as_bool() != Some(true) {
            generate_selector(obj);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let job = At::root(obj);
        generated_selector(&job, errs);
        let spec = job.get("spec");
        job_spec(&spec, errs);
        let selector = spec.get("selector");
        if selector.is_set() {
            meta::label_selector(&selector, errs);
        } else {
            errs.required(&selector.path, "");
        }
        workload::selector_finds_template(&spec, errs);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(obj, old)
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj), At::root(old));
        match write {
            Write::Main => spec_update(&new, &old, errs),
            Write::Status => {
                for key in ["active", "succeeded", "failed", "ready", "terminating"] {
                    errs.nonnegative(&new.get("status").get(key));
                }
            }
            Write::Sub(_) => {}
        }
    }

    selectable!["status.successful"];

    fn field(&self, obj: &Value, _path: &str) -> String {
        at(obj, &["status", "succeeded"]).as_i64().unwrap_or(0).to_string()
    }
}

fn failure_policy_defaults(spec: &mut Map<String, Value>) {
    let rules = spec.get_mut("podFailurePolicy").and_then(|p| p.get_mut("rules"));
    for rule in rules.and_then(Value::as_array_mut).into_iter().flatten() {
        let conditions = rule.get_mut("onPodConditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
            set(condition, "status", "True");
        }
    }
}

/// The Job finds its Pods by its own uid.
fn generate_selector(obj: &mut Value) {
    let (name, uid) = (object::name(obj).to_owned(), object::uid(obj).to_owned());
    let labels = map_at_mut(obj, &["spec", "template", "metadata", "labels"]);
    for (key, value) in
        [(NAME_LABEL, &name), (UID_LABEL, &uid), (OLD_UID_LABEL, &uid), (OLD_NAME_LABEL, &name)]
    {
        set_pointer(labels, key, value.as_str());
    }
    set_pointer(map_at_mut(obj, &["spec", "selector", "matchLabels"]), UID_LABEL, uid);
}

/// The user's own labels must not contradict the generated ones.
fn generated_selector(job: &At<'_>, errs: &mut Errors) {
    let spec = job.get("spec");
    if spec.peek_true("manualSelector") || !spec.has("selector") {
        return;
    }
    let (name, uid) = (object::name(job.value), object::uid(job.value));
    let metadata = spec.get("template").get("metadata");
    let labels = metadata.get("labels");
    for (key, wanted) in [(OLD_UID_LABEL, uid), (OLD_NAME_LABEL, name), (UID_LABEL, uid), (NAME_LABEL, name)]
    {
        if !labels.has(key) {
            errs.required(&labels.path.key(key), format!("must be '{wanted}'"));
        } else if labels.peek_text(key) != wanted {
            errs.invalid(&labels.path.key(key), labels.value, format!("must be '{wanted}'"));
        }
    }
    let expected = json!({UID_LABEL: uid, NAME_LABEL: name, OLD_UID_LABEL: uid, OLD_NAME_LABEL: name});
    if !meta::selector_matches(spec.peek("selector"), &expected) {
        errs.bad(&spec.get("selector"), "`selector` not auto-generated");
    }
}

/// The spec of a Job, on its own or in a CronJob.
pub fn job_spec(spec: &At<'_>, errs: &mut Errors) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errs.nonnegative(&spec.get(key));
    }
    completion(spec, errs);
    spec::template(&spec.get("template"), errs);
    let restart = spec.get("template").get("spec").get("restartPolicy");
    match restart.text() {
        "OnFailure" | "Never" => {}
        "" | "Always" => errs.required(&restart.path, "valid values: \"OnFailure\", \"Never\""),
        _ => errs.not_supported(&restart.path, restart.value, &["OnFailure", "Never"]),
    }
    if spec.has("podFailurePolicy") && restart.text() != "Never" {
        let words = "only \"Never\" is supported when podFailurePolicy is specified";
        errs.bad_text(&restart, words);
    }
    let manager = spec.get("managedBy");
    if manager.is_set() && !manager.text().contains('/') {
        errs.bad_text(&manager, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    }
}

fn completion(spec: &At<'_>, errs: &mut Errors) {
    let (mode, completions) = (spec.get("completionMode"), spec.get("completions"));
    errs.one_of_if_set(&mode, &["NonIndexed", "Indexed"]);
    if mode.text() == "Indexed" {
        if !completions.is_set() {
            errs.required(&completions.path, "when completion mode is Indexed");
        }
        // Each index is a Pod's name: the reference's bound of both.
        let most = names::in_range(spec.get("parallelism").int(), 0, 100_000);
        if completions.int() > 0 && !most.is_empty() {
            errs.bad_int(
                &spec.get("parallelism"),
                "must be less than or equal to 100000 when completion mode is Indexed",
            );
        }
    } else {
        for key in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if spec.has(key) {
                let words = "requires indexed completion mode";
                errs.bad(&spec.get(key), words);
            }
        }
    }
    let replacement = spec.get("podReplacementPolicy");
    if spec.has("podFailurePolicy") {
        errs.one_of_if_set(&replacement, &["Failed"]);
    } else {
        errs.one_of_if_set(&replacement, &["Failed", "TerminatingOrFailed"]);
    }
}

fn spec_update(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let elastic = spec.peek_text("completionMode") == "Indexed"
        && spec.get("completions").int() == spec.get("parallelism").int();
    if !elastic {
        errs.immutable(&spec.get("completions"), before.peek("completions"));
    }
    errs.immutable(&spec.get("selector"), before.peek("selector"));
    let mut template = spec.peek("template").clone();
    if before.peek_true("suspend") && old.get("status").get("startTime").is_empty() {
        let was = before.peek("template");
        keep_scheduling(&mut template, was);
    }
    if !same(&template, before.peek("template")) {
        errs.bad(&spec.get("template"), "field is immutable");
    }
    for key in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        errs.immutable(&spec.get(key), before.peek(key));
    }
}

/// A Job that has not started may still be told where its Pods go.
fn keep_scheduling(template: &mut Value, was: &Value) {
    for (path, keys) in [
        (&["metadata"][..], &["labels", "annotations"][..]),
        (&["spec"][..], &["nodeSelector", "affinity", "tolerations", "schedulingGates"][..]),
    ] {
        let target = map_at_mut(template, path);
        for key in keys {
            match at(was, path).get(*key) {
                Some(value) => target.insert((*key).to_owned(), value.clone()),
                None => target.remove(*key),
            };
        }
    }
}
