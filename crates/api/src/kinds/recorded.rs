//! The rules against recorded answers of kube-apiserver 1.36: what it makes of an object, and what it refuses.
//!
//! `recorded.json` holds creates with their answers, `recorded_updates.json` changes, one a line. Left out of an answer is what other parts
//! decide: admission (priority, tolerations, service account), allocation (addresses, node ports), the store.

use serde_json::{Map, Value};

use crate::field::Errors;
use crate::kinds::{KINDS, Kind};
use crate::meta;
use crate::object::{at, metadata_mut, text};
use crate::patch::merge;
use crate::rules::{Cx, Write};
use crate::schema::Schemas;

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

/// Cases of which only some fields of a part were recorded.
const PARTLY_RECORDED: [&str; 3] = ["automount/projected-by-hand", "kinds/namespace", "kinds/job"];

fn kind_of(obj: &Value) -> &'static Kind {
    let (version, kind) = (text(obj, &["apiVersion"]), text(obj, &["kind"]));
    KINDS
        .iter()
        .find(|k| k.api_version() == version && k.kind == kind)
        .unwrap_or_else(|| panic!("no row for {version} {kind}"))
}

/// What a create makes of the object, as far as rules go, and what they say against it.
fn create(schemas: &Schemas, case: &Value) -> (Value, Vec<String>) {
    let kind = kind_of(&case["object"]);
    let shape = |obj: Value| schemas.shape(kind, obj).expect("recorded objects have the right types").value;
    let mut obj = shape(case["object"].clone());
    if kind.is_namespaced() {
        let namespace = case["namespace"].as_str().unwrap_or("default");
        metadata_mut(&mut obj).insert("namespace".into(), namespace.into());
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
    (shape(obj), errs.0.iter().map(ToString::to_string).collect())
}

/// Without what is decided elsewhere.
fn comparable(v: &Value, in_pod: bool) -> Value {
    match v {
        Value::Object(map) => map
            .iter()
            .filter(|(k, _)| !DECIDED_ELSEWHERE.contains(&k.as_str()))
            .filter(|(k, _)| !(in_pod && k.as_str() == "preemptionPolicy"))
            .map(|(k, v)| (k.clone(), comparable(v, in_pod)))
            .collect::<Map<String, Value>>()
            .into(),
        Value::Array(items) => items.iter().map(|v| comparable(v, in_pod)).collect(),
        other => other.clone(),
    }
}

fn check(schemas: &Schemas, case: &Value) -> Option<String> {
    let name = text(case, &["case"]);
    let (obj, said) = create(schemas, case);
    let wanted: Vec<&str> =
        case["causes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if said != wanted {
        return Some(format!("{name}\n  want {wanted:#?}\n  got  {said:#?}"));
    }
    let in_pod = text(case, &["object", "kind"]) == "Pod";
    for (key, answer) in case["answer"].as_object().into_iter().flatten() {
        let want = comparable(answer, in_pod);
        let mut got = comparable(at(&obj, &[key]), in_pod);
        if PARTLY_RECORDED.contains(&name) {
            got.as_object_mut().into_iter().for_each(|m| m.retain(|k, _| want.get(k).is_some()));
        }
        if got != want {
            return Some(format!("{name} {key}\n  want {want}\n  got  {got}"));
        }
    }
    None
}

#[test]
fn rules_answer_as_recorded() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("recorded.json")).expect("the data is JSON");
    let schemas = Schemas::builtin();
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(&schemas, case)).collect();
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn merged(obj: &mut Value, patch: &Value) {
    if let (Value::Object(obj), Value::Object(patch)) = (obj, patch) {
        merge::apply(obj, patch);
    }
}

/// What the rules say against a change of an object that a create has made.
fn update(schemas: &Schemas, case: &Value) -> Vec<String> {
    let (mut old, _) = create(schemas, case);
    let kind = kind_of(&case["object"]);
    metadata_mut(&mut old).insert("resourceVersion".into(), "1".into());
    merged(&mut old, &case["held"]);
    let mut new = old.clone();
    merged(&mut new, &case["patch"]);
    let write = if case["write"] == "status" { Write::Status } else { Write::Main };
    let cx = Cx { now: "2026-01-01T00:00:00Z".into(), user: crate::User::default() };
    kind.rules.default(&mut new);
    kind.rules.prepare_update(&cx, &mut new, &old, write);
    let mut errs = Errors::default();
    meta::validate_update(kind, &new, &old, &mut errs);
    kind.rules.validate(&new, &mut errs);
    kind.rules.validate_update(&new, &old, write, &mut errs);
    match case["fields"].as_array() {
        None => errs.0.iter().map(ToString::to_string).collect(),
        // Of some answers only the fields were recorded.
        Some(_) => errs.0.iter().map(|e| e.path.to_string()).collect(),
    }
}

#[test]
fn rules_answer_updates_as_recorded() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("recorded_updates.json")).expect("the data is JSON");
    let schemas = Schemas::builtin();
    let mut wrong = Vec::new();
    for case in &cases {
        let wanted = case["fields"].as_array().or(case["causes"].as_array());
        let wanted: Vec<&str> = wanted.into_iter().flatten().filter_map(Value::as_str).collect();
        let said = update(&schemas, case);
        if said != wanted {
            wrong.push(format!("{}\n  want {wanted:#?}\n  got  {said:#?}", case["case"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
