//! The rules against recorded answers of kube-apiserver 1.36: what it makes of an object, and what it refuses.
//!
//! `recorded.json` holds requests with their answers, a request a line. Left out of an answer is what other parts
//! decide: admission (priority, tolerations, service account), allocation (addresses, node ports), the store.

use serde_json::{Map, Value};

use crate::field::Errors;
use crate::kinds::{KINDS, Kind};
use crate::meta;
use crate::object::{at, metadata_mut, text};
use crate::rules::Cx;

/// Fields that admission or allocation fills in.
const DECIDED_ELSEWHERE: [&str; 11] = [
    "tolerations",
    "priority",
    "serviceAccountName",
    "serviceAccount",
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "nodePort",
    "acquireTime",
    "creationTimestamp",
];

fn kind_of(obj: &Value) -> &'static Kind {
    let (version, kind) = (text(obj, &["apiVersion"]), text(obj, &["kind"]));
    KINDS
        .iter()
        .find(|k| k.api_version() == version && k.kind == kind)
        .unwrap_or_else(|| panic!("no row for {version} {kind}"))
}

/// What a create makes of the object, as far as rules go, and what they say against it.
fn create(case: &Value) -> (Value, Vec<String>) {
    let mut obj = case["object"].clone();
    let kind = kind_of(&obj);
    if kind.is_namespaced() {
        metadata_mut(&mut obj).insert("namespace".into(), case["namespace"].clone());
    }
    kind.rules.default(&mut obj);
    let cx = Cx { now: "2026-01-01T00:00:00Z".into(), user: crate::User::default() };
    kind.rules.prepare_create(&cx, &mut obj);
    // The ServiceAccount plugin comes between defaults and validation.
    if kind.kind == "Pod" {
        obj["spec"]["serviceAccountName"] = "default".into();
    }
    kind.rules.default(&mut obj);
    let mut errs = Errors::default();
    meta::validate(kind, &obj, &mut errs);
    kind.rules.validate(&obj, &mut errs);
    (obj, errs.0.iter().map(ToString::to_string).collect())
}

/// Without what is decided elsewhere, and without the empty structs that the schema engine adds.
fn comparable(v: &Value, in_pod: bool) -> Value {
    match v {
        Value::Object(map) => {
            let kept: Map<String, Value> = map
                .iter()
                .filter(|(k, v)| {
                    let empty = v.as_object().is_some_and(Map::is_empty)
                        && ["resources", "metadata", "status", "conditions", "source", "loadBalancer"]
                            .contains(&k.as_str());
                    let elsewhere =
                        DECIDED_ELSEWHERE.contains(&k.as_str()) || in_pod && k.as_str() == "preemptionPolicy";
                    !empty && !elsewhere && !v.is_null() && v.as_str() != Some("")
                })
                .map(|(k, v)| (k.clone(), comparable(v, in_pod)))
                .collect();
            Value::Object(kept)
        }
        Value::Array(items) => items.iter().map(|v| comparable(v, in_pod)).collect(),
        other => other.clone(),
    }
}

fn check(case: &Value) -> Option<String> {
    let name = text(case, &["case"]);
    let (obj, said) = create(case);
    let wanted: Vec<&str> = case["causes"]
        .as_array()
        .map_or_else(Vec::new, |causes| causes.iter().filter_map(Value::as_str).collect());
    if said != wanted {
        return Some(format!("{name}\n  want {wanted:#?}\n  got  {said:#?}"));
    }
    let in_pod = text(case, &["object", "kind"]) == "Pod";
    for (key, answer) in case["answer"].as_object().into_iter().flatten() {
        let mut want = comparable(answer, in_pod);
        let mut got = comparable(at(&obj, &[key]), in_pod);
        if name == "automount/projected-by-hand" || key == "metadata" {
            // Only a part of it was recorded.
            let part = |m: &mut Map<String, Value>| m.retain(|k, _| want.get(k).is_some());
            got.as_object_mut().map(part);
        }
        if name == "kinds/job" {
            for side in [&mut got, &mut want] {
                side.as_object_mut().map(|m| (m.remove("selector"), m.remove("template")));
            }
        }
        let both_empty =
            [&got, &want].iter().all(|v| v.is_null() || v.as_object().is_some_and(Map::is_empty));
        if got != want && !both_empty {
            return Some(format!("{name} {key}\n  want {want}\n  got  {got}"));
        }
    }
    None
}

#[test]
fn rules_answer_as_recorded() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("recorded.json")).expect("the data is JSON");
    let wrong: Vec<String> = cases.iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
