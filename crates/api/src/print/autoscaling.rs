//! Autoscalers and disruption budgets in tables.

use serde_json::Value;

use super::cell::{NONE, UNKNOWN, UNSET, age, name, number, shown_or, string};
use super::{AGE, Columns, NAME, integer, text as column};
use crate::object::{at, items, text};

/// How many metrics are shown.
const SHOWN: usize = 2;

pub static HORIZONTAL_POD_AUTOSCALER: Columns = Columns {
    columns: &[
        NAME,
        column("Reference"),
        column("Targets"),
        column("MinPods"),
        column("MaxPods"),
        column("Replicas"),
        AGE,
    ],
    cells: |obj, now| {
        let target = at(obj, &["spec", "scaleTargetRef"]);
        vec![
            name(obj),
            string(format!("{}/{}", text(target, &["kind"]), text(target, &["name"]))),
            string(metrics(obj)),
            string(shown_or(obj, &["spec", "minReplicas"], UNSET)),
            Value::from(number(obj, &["spec", "maxReplicas"])),
            Value::from(number(obj, &["status", "currentReplicas"])),
            age(obj, now),
        ]
    },
};

fn metrics(obj: &Value) -> String {
    let percent = |v: &Value, otherwise: &str| v.as_i64().map_or(otherwise.to_owned(), |n| format!("{n}%"));
    // The form of autoscaling/v1.
    let cpu = at(obj, &["spec", "targetCPUUtilizationPercentage"]);
    if !cpu.is_null() {
        let current = percent(at(obj, &["status", "currentCPUUtilizationPercentage"]), UNKNOWN);
        return format!("cpu: {current}/{}", percent(cpu, "<auto>"));
    }
    let statuses = items(obj, &["status", "currentMetrics"]);
    let specs = items(obj, &["spec", "metrics"]);
    let shown: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(i, spec)| metric(spec, statuses.get(i).unwrap_or(&Value::Null)))
        .take(SHOWN)
        .collect();
    match specs.len() {
        0 => NONE.to_owned(),
        n if n > SHOWN => format!("{} + {} more...", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}

fn metric(spec: &Value, status: &Value) -> String {
    let source = match text(spec, &["type"]) {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let average = !at(spec, &[source, "target", "averageValue"]).is_null();
    let named = matches!(source, "resource" | "containerResource");
    let field = match () {
        () if average || source == "pods" => "averageValue",
        () if named => "averageUtilization",
        () => "value",
    };
    let unit = if field == "averageUtilization" { "%" } else { "" };
    let read = |from: &Value, part: &str, otherwise: &str| match at(from, &[source, part, field]) {
        Value::Null => otherwise.to_owned(),
        Value::String(s) => format!("{s}{unit}"),
        other => format!("{other}{unit}"),
    };
    let missing = if field == "averageUtilization" { "<auto>" } else { "" };
    let pair = format!("{}/{}", read(status, "current", UNKNOWN), read(spec, "target", missing));
    match () {
        () if named => format!("{}: {pair}", text(spec, &[source, "name"])),
        () if average && source != "pods" => format!("{pair} (avg)"),
        () => pair,
    }
}

pub static POD_DISRUPTION_BUDGET: Columns = Columns {
    columns: &[NAME, column("Min Available"), column("Max Unavailable"), integer("Allowed Disruptions"), AGE],
    cells: |obj, now| {
        vec![
            name(obj),
            string(shown_or(obj, &["spec", "minAvailable"], "N/A")),
            string(shown_or(obj, &["spec", "maxUnavailable"], "N/A")),
            Value::from(number(obj, &["status", "disruptionsAllowed"])),
            age(obj, now),
        ]
    },
};
