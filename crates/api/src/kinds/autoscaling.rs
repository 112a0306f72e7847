//! The rules of autoscaling: HorizontalPodAutoscalers, kept as v2 and also served as v1.

mod old_form;

use serde_json::{Map, Value, json};

use super::core::pod::defaults::{child, set_pointer};
use super::core::{amounts, disks};
use crate::at::At;
use crate::field::Errors;
use crate::meta;
use crate::names;
use crate::object::map_at_mut;
use crate::rules::{Rules, facts};

/// `autoscaling/v2`.
#[derive(Debug)]
pub struct HorizontalPodAutoscaler;

/// `autoscaling/v1`: another view of the same objects.
#[derive(Debug)]
pub struct OldHorizontalPodAutoscaler;

/// What is aimed at where nothing is said: 80 % of the requested CPU.
const CPU_PERCENT: i64 = 80;
/// The longest that a recommendation is remembered: an hour, in seconds.
const STABILIZATION_MAX: i64 = 3600;
/// The longest period that a scaling policy looks back, in seconds.
const PERIOD_MAX: i64 = 1800;

impl Rules for HorizontalPodAutoscaler {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        set_pointer(spec, "minReplicas", 1);
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let cpu = json!([{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT},
            }}]);
            spec.insert("metrics".into(), cpu);
        }
        if let Some(behavior) = child(spec, "behavior") {
            behavior_defaults(behavior);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        check(obj, errs);
    }

    facts!(uncounted);
}

impl Rules for OldHorizontalPodAutoscaler {
    fn default(&self, obj: &mut Value) {
        set_pointer(map_at_mut(obj, &["spec"]), "minReplicas", 1);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let target = At::root(obj).get("spec").get("targetCPUUtilizationPercentage");
        if target.is_set() && target.int() < 1 {
            errs.bad_int(&target, "must be greater than 0");
        }
        let mut stored = obj.clone();
        self.to_stored(&mut stored);
        check(&stored, errs);
    }

    fn to_served(&self, obj: &mut Value) {
        old_form::to_v1(obj);
    }

    fn to_stored(&self, obj: &mut Value) {
        old_form::to_v2(obj);
        HorizontalPodAutoscaler.default(obj);
    }

    facts!(uncounted);
}

fn behavior_defaults(behavior: &mut Map<String, Value>) {
    let up = behavior.entry("scaleUp").or_insert_with(|| json!({}));
    if let Some(up) = up.as_object_mut() {
        set_pointer(up, "stabilizationWindowSeconds", 0);
        set_pointer(up, "selectPolicy", "Max");
        let policies = json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]);
        set_pointer(up, "policies", policies);
    }
    let down = behavior.entry("scaleDown").or_insert_with(|| json!({}));
    if let Some(down) = down.as_object_mut() {
        set_pointer(down, "selectPolicy", "Max");
        set_pointer(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

fn check(obj: &Value, errs: &mut Errors) {
    let spec = At::root(obj).get("spec");
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if least.is_set() && least.int() < 1 {
        errs.bad_int(&least, "must be greater than or equal to 1");
    }
    if most.int() < 1 {
        errs.bad_int(&most, "must be greater than 0");
    }
    if least.is_set() && most.int() < least.int() {
        errs.bad_int(&most, "must be greater than or equal to `minReplicas`");
    }
    target_ref(&spec.get("scaleTargetRef"), errs);
    for metric in spec.get("metrics").items() {
        check_metric(&metric, errs);
    }
    let behavior = spec.get("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        let rules = behavior.get(direction);
        if rules.is_set() {
            scaling_rules(&rules, errs);
        }
    }
}

fn target_ref(at: &At<'_>, errs: &mut Errors) {
    for key in ["kind", "name"] {
        let value = at.get(key);
        if value.is_empty() {
            errs.required(&value.path, "");
        } else {
            errs.bad_texts(&value, names::path_segment(value.text(), false));
        }
    }
}

/// A metric's type and the field that describes it.
const METRICS: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn check_metric(at: &At<'_>, errs: &mut Errors) {
    let kind = at.get("type");
    if kind.is_empty() {
        errs.required(&kind.path, "must specify a metric source type");
        return;
    }
    let Some((_, field)) = METRICS.iter().find(|(known, _)| *known == kind.text()) else {
        errs.not_supported(&kind.path, kind.value, &METRICS.map(|(known, _)| known));
        return;
    };
    let given: Vec<&str> = METRICS.iter().map(|(_, f)| *f).filter(|f| at.has(f)).collect();
    if !given.contains(field) {
        errs.required(&at.get(field).path, "must populate information for the given metric source");
    }
    for other in given.iter().filter(|f| *f != field) {
        let words = "must populate the given metric source only";
        errs.forbidden(&at.get(other).path, words);
    }
    let source = at.get(field);
    if !source.is_set() {
        return;
    }
    match *field {
        "resource" => disks::need(&source, "name", errs),
        "containerResource" => {
            disks::need(&source, "name", errs);
            disks::need(&source, "container", errs);
        }
        _ => {
            let metric = source.get("metric");
            disks::need(&metric, "name", errs);
            meta::label_selector(&metric.get("selector"), errs);
        }
    }
    if *field == "object" {
        target_ref(&source.get("describedObject"), errs);
    }
    check_target(&source.get("target"), errs);
}

fn check_target(at: &At<'_>, errs: &mut Errors) {
    let kinds = ["AverageValue", "Utilization", "Value"];
    let kind = at.get("type");
    if kind.is_empty() {
        errs.required(&kind.path, "must specify a metric target type");
    } else {
        errs.one_of(&kind, &kinds);
    }
    for key in ["value", "averageValue"] {
        if at.has(key) {
            amounts::positive(&at.get(key), errs);
        }
    }
    let percent = at.get("averageUtilization");
    if percent.is_set() && percent.int() < 1 {
        errs.bad_int(&percent, "must be greater than 0");
    }
}

fn scaling_rules(at: &At<'_>, errs: &mut Errors) {
    let window = at.get("stabilizationWindowSeconds");
    errs.nonnegative(&window);
    if window.int() > STABILIZATION_MAX {
        errs.bad_int(&window, format!("must be less than or equal to {STABILIZATION_MAX}"));
    }
    let select = at.get("selectPolicy");
    errs.one_of_if_set(&select, &["Disabled", "Max", "Min"]);
    let policies = at.get("policies");
    if policies.is_empty() {
        errs.required(&policies.path, "must specify at least one Policy");
    }
    for policy in policies.items() {
        errs.one_of(&policy.get("type"), &["Percent", "Pods"]);
        for key in ["value", "periodSeconds"] {
            let number = policy.get(key);
            if number.int() <= 0 {
                errs.bad_int(&number, "must be greater than zero");
            }
        }
        let period = policy.get("periodSeconds");
        if period.int() > PERIOD_MAX {
            errs.bad_int(&period, format!("must be less than or equal to {PERIOD_MAX}"));
        }
    }
    // A tolerance is a share of the target.
    amounts::nonnegative(&at.get("tolerance"), errs);
}
