//! What a Pod's RuntimeClass adds to it: the overhead of its runtime, and the nodes that have it.

use coracle_api::field::go_quote;
use coracle_api::{Status, object, resources};
use serde_json::{Value, json};

use super::{Admit, Plugin};

pub(crate) struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn mutate(&self, admit: &Admit<'_>, pod: &mut Value) -> Result<(), Status> {
        if !admit.creates_pod() {
            return Ok(());
        }
        let Some(class) = class_of(admit, pod)? else { return Ok(()) };
        let done = set_overhead(&class, pod).and_then(|()| set_scheduling(&class, pod));
        done.map_err(|why| admit.forbidden(object::name(pod), &why))
    }

    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let Some(pod) = obj.filter(|_| admit.creates_pod()) else { return Ok(()) };
        let class = class_of(admit, pod)?;
        let fixed = class.as_ref().map_or(&Value::Null, |c| object::at(c, &["overhead", "podFixed"]));
        let has_overhead = class.as_ref().is_some_and(|c| !object::at(c, &["overhead"]).is_null());
        let said = object::at(pod, &["spec", "overhead"]);
        let why = match (has_overhead, said.is_null()) {
            (true, _) if resources::read(said) != resources::read(fixed) => UNLIKE,
            (false, false) => {
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            }
            _ => return Ok(()),
        };
        Err(admit.forbidden(object::name(pod), why))
    }
}

const UNLIKE: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn class_of(admit: &Admit<'_>, pod: &Value) -> Result<Option<Value>, Status> {
    let Some(name) = object::at(pod, &["spec", "runtimeClassName"]).as_str() else { return Ok(None) };
    let found = admit.core.object("node.k8s.io", "runtimeclasses", "", name);
    let why = || format!("pod rejected: RuntimeClass {} not found", go_quote(name));
    found.map(Some).ok_or_else(|| admit.forbidden(object::name(pod), &why()))
}

fn set_overhead(class: &Value, pod: &mut Value) -> Result<(), String> {
    let fixed = object::at(class, &["overhead", "podFixed"]);
    if object::at(class, &["overhead"]).is_null() {
        return Ok(());
    }
    let said = object::at(pod, &["spec", "overhead"]);
    if !said.is_null() && resources::read(said) != resources::read(fixed) {
        return Err(UNLIKE.into());
    }
    if !fixed.is_null() {
        object::map_at_mut(pod, &["spec"]).insert("overhead".into(), fixed.clone());
    }
    Ok(())
}

fn set_scheduling(class: &Value, pod: &mut Value) -> Result<(), String> {
    let scheduling = object::at(class, &["scheduling"]);
    for (key, wanted) in object::pairs(object::at(scheduling, &["nodeSelector"])) {
        let selector = object::map_at_mut(pod, &["spec", "nodeSelector"]);
        if let Some(said) = selector.get(key).and_then(Value::as_str).filter(|said| *said != wanted) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {said}"
            ));
        }
        selector.insert(key.into(), json!(wanted));
    }
    let added = object::items(scheduling, &["tolerations"]);
    if !added.is_empty() {
        let all: Vec<&Value> = object::items(pod, &["spec", "tolerations"]).iter().chain(added).collect();
        let merged = json!(merged(&all));
        object::map_at_mut(pod, &["spec"]).insert("tolerations".into(), merged);
    }
    Ok(())
}

/// Without those tolerations that another one includes.
fn merged(all: &[&Value]) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let included = merged.iter().any(|kept| includes(kept, one))
            || all[at + 1..].iter().any(|later| later != one && includes(later, one));
        if !included {
            merged.push((*one).clone());
        }
    }
    merged
}

/// Whether `wide` tolerates all that `narrow` does.
fn includes(wide: &Value, narrow: &Value) -> bool {
    if wide == narrow {
        return true;
    }
    let text = |v: &'_ Value, key: &str| object::text(v, &[key]).to_owned();
    let any_key = text(wide, "key").is_empty() && text(wide, "operator") == "Exists";
    let same_key = text(wide, "key") == text(narrow, "key");
    let effect = text(wide, "effect");
    if !(same_key || any_key) || !(effect.is_empty() || effect == text(narrow, "effect")) {
        return false;
    }
    let (long, short) = (wide["tolerationSeconds"].as_i64(), narrow["tolerationSeconds"].as_i64());
    if effect == "NoExecute" && long.is_some_and(|long| short.is_none_or(|short| short > long)) {
        return false;
    }
    let is_equal = |operator: &str| matches!(operator, "" | "Equal");
    match text(wide, "operator").as_str() {
        "Exists" => true,
        operator if is_equal(operator) => {
            is_equal(&text(narrow, "operator")) && text(wide, "value") == text(narrow, "value")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheduling_is_merged_and_conflicts_are_told() {
        let class = json!({"overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
        let mut pod = json!({"spec": {"nodeSelector": {"a": "b"},
            "tolerations": [{"key": "vm", "operator": "Equal", "value": "x"}, {"key": "k", "operator": "Exists"}]}});
        set_overhead(&class, &mut pod).unwrap();
        set_scheduling(&class, &mut pod).unwrap();
        let want = json!({"nodeSelector": {"a": "b", "vm": "yes"}, "overhead": {"cpu": "250m"},
            "tolerations": [{"key": "k", "operator": "Exists"}, {"key": "vm", "operator": "Exists"}]});
        assert_eq!(pod["spec"], want);
        pod["spec"]["nodeSelector"]["vm"] = json!("no");
        assert_eq!(
            set_scheduling(&class, &mut pod).unwrap_err(),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"
        );
        pod["spec"]["overhead"]["cpu"] = json!("1");
        assert_eq!(set_overhead(&class, &mut pod).unwrap_err(), UNLIKE);
        pod["spec"]["overhead"]["cpu"] = json!("0.25");
        set_overhead(&class, &mut pod).unwrap();
    }

    #[test]
    fn one_toleration_includes_another() {
        let t = |key: &str, operator: &str, value: &str, effect: &str, seconds: Option<i64>| json!({"key": key, "operator": operator, "value": value, "effect": effect, "tolerationSeconds": seconds});
        let cases = [
            (t("", "Exists", "", "", None), t("k", "Equal", "v", "NoSchedule", None), true),
            (t("k", "Exists", "", "", None), t("k", "Equal", "v", "NoExecute", Some(5)), true),
            (t("k", "Equal", "v", "", None), t("k", "Exists", "", "", None), false),
            (t("k", "Equal", "v", "", None), t("k", "", "v", "NoSchedule", None), true),
            (t("k", "Exists", "", "NoSchedule", None), t("k", "Exists", "", "NoExecute", None), false),
            (t("k", "Exists", "", "NoExecute", Some(5)), t("k", "Exists", "", "NoExecute", Some(9)), false),
            (t("k", "Exists", "", "NoExecute", Some(9)), t("k", "Exists", "", "NoExecute", Some(5)), true),
        ];
        for (wide, narrow, want) in cases {
            assert_eq!(includes(&wide, &narrow), want, "{wide} {narrow}");
        }
    }
}
