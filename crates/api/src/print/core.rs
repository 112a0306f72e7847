//! The small kinds of the core group in tables: ConfigMap, Secret, ServiceAccount, Namespace, Event, quotas.

use serde_json::Value;

use super::cell::{age, ago, count, name, number, shown_or, string};
use super::{AGE, Column, Columns, NAME, Now, text as column};
use crate::object::{at, items, text};

pub static CONFIG_MAP: Columns = Columns {
    columns: &[NAME, column("Data"), AGE],
    cells: |obj, now| {
        let held = |key| at(obj, &[key]).as_object().map_or(0, serde_json::Map::len);
        vec![name(obj), Value::from(held("data") + held("binaryData")), age(obj, now)]
    },
};

pub static SECRET: Columns = Columns {
    columns: &[NAME, column("Type"), column("Data"), AGE],
    cells: |obj, now| vec![name(obj), string(text(obj, &["type"])), count(obj, &["data"]), age(obj, now)],
};

pub static SERVICE_ACCOUNT: Columns = Columns {
    columns: &[NAME, column("Secrets"), AGE],
    cells: |obj, now| vec![name(obj), count(obj, &["secrets"]), age(obj, now)],
};

pub static NAMESPACE: Columns = Columns {
    columns: &[NAME, column("Status"), AGE],
    cells: |obj, now| vec![name(obj), string(text(obj, &["status", "phase"])), age(obj, now)],
};

pub static COMPONENT_STATUS: Columns = Columns {
    columns: &[NAME, column("Status"), column("Message"), column("Error")],
    cells: |obj, _| {
        let healthy = items(obj, &["conditions"]).iter().find(|c| text(c, &["type"]) == "Healthy");
        let status = match healthy.map(|c| text(c, &["status"])) {
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
            None => "Unknown",
        };
        let said = |key| string(healthy.map_or("", |c| text(c, &[key])));
        vec![name(obj), string(status), said("message"), said("error")]
    },
};

pub static EVENT: Columns = Columns {
    columns: &[
        column("Last Seen"),
        column("Type"),
        column("Reason"),
        column("Object"),
        Column::wide("Subobject"),
        Column::wide("Source"),
        column("Message"),
        Column::wide("First Seen"),
        Column::wide("Count"),
        Column::wide("Name"),
    ],
    cells: event,
};

/// The first of several spellings that holds something: a core Event and an `events.k8s.io` one print alike.
fn either<'a>(obj: &'a Value, names: [&str; 2]) -> &'a Value {
    names.iter().map(|n| at(obj, &[n])).find(|v| !v.is_null()).unwrap_or(&Value::Null)
}

fn event(obj: &Value, now: Now) -> Vec<Value> {
    let time = |v: &Value| v.as_str().filter(|t| !t.is_empty()).map(|t| ago(t, now));
    let event_time = || ago(text(obj, &["eventTime"]), now);
    let first = time(either(obj, ["firstTimestamp", "deprecatedFirstTimestamp"])).unwrap_or_else(event_time);
    let last =
        time(either(obj, ["lastTimestamp", "deprecatedLastTimestamp"])).unwrap_or_else(|| first.clone());
    let series = at(obj, &["series"]);
    let (last, seen) = if series.is_null() {
        let counted = either(obj, ["count", "deprecatedCount"]).as_i64().unwrap_or(0);
        (last, counted.max(1))
    } else {
        (ago(text(series, &["lastObservedTime"]), now), number(series, &["count"]))
    };
    let about = either(obj, ["involvedObject", "regarding"]);
    let kind = text(about, &["kind"]).to_lowercase();
    let target = match text(about, &["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let message = either(obj, ["message", "note"]).as_str().unwrap_or("").trim();
    vec![
        string(last),
        string(text(obj, &["type"])),
        string(text(obj, &["reason"])),
        string(target),
        string(text(about, &["fieldPath"])),
        string(source(obj)),
        string(message),
        string(first),
        Value::from(seen),
        name(obj),
    ]
}

fn source(obj: &Value) -> String {
    let source = either(obj, ["source", "deprecatedSource"]);
    let (component, instance) = match text(source, &["component"]) {
        "" => {
            let controller = either(obj, ["reportingComponent", "reportingController"]);
            (controller.as_str().unwrap_or(""), text(obj, &["reportingInstance"]))
        }
        component => (component, text(source, &["host"])),
    };
    if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") }
}

pub static RESOURCE_QUOTA: Columns = Columns {
    columns: &[NAME, column("Request"), column("Limit"), AGE],
    cells: |obj, now| {
        let hard = at(obj, &["status", "hard"]).as_object();
        let mut resources: Vec<&str> = hard.into_iter().flatten().map(|(k, _)| k.as_str()).collect();
        resources.sort_unstable();
        let line = |resource: &&str| {
            let used = shown_or(obj, &["status", "used", resource], "0");
            let hard = shown_or(obj, &["status", "hard", resource], "0");
            format!("{resource}: {used}/{hard}")
        };
        let (limits, requests): (Vec<&str>, Vec<&str>) =
            resources.into_iter().partition(|r| r.starts_with("limits."));
        let join = |list: Vec<&str>| string(list.iter().map(line).collect::<Vec<_>>().join(", "));
        vec![name(obj), join(requests), join(limits), age(obj, now)]
    },
};
