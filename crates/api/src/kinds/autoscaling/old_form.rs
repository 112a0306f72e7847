//! HorizontalPodAutoscalers as v1 has them: one CPU percentage, and everything else as JSON in annotations.

use serde_json::{Map, Value, json};

use crate::object::{at, map_at_mut, map_mut, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// From v2 to v1.
pub fn to_v1(obj: &mut Value) {
    map_mut(obj).insert("apiVersion".into(), "autoscaling/v1".into());
    let mut notes: Vec<(&str, Value)> = Vec::new();
    let spec = map_at_mut(obj, &["spec"]);
    let metrics = take_list(spec, "metrics");
    let (percent, others) = split_cpu(&metrics, "target");
    if let Some(percent) = percent {
        spec.insert("targetCPUUtilizationPercentage".into(), percent);
    }
    if !others.is_empty() {
        notes.push((METRICS, others.iter().map(|m| old_metric(m, "target")).collect()));
    }
    if let Some(behavior) = spec.shift_remove("behavior").filter(|b| !b.is_null()) {
        notes.push((BEHAVIOR, behavior));
    }
    let status = map_at_mut(obj, &["status"]);
    let current = take_list(status, "currentMetrics");
    let (percent, others) = split_cpu(&current, "current");
    if let Some(percent) = percent {
        status.insert("currentCPUUtilizationPercentage".into(), percent);
    }
    if !others.is_empty() {
        notes.push((CURRENT_METRICS, others.iter().map(|m| old_metric(m, "current")).collect()));
    }
    let conditions = take_list(status, "conditions");
    if !conditions.is_empty() {
        notes.push((CONDITIONS, Value::Array(conditions)));
    }
    for key in ["currentReplicas", "desiredReplicas"] {
        status.entry(key).or_insert_with(|| json!(0));
    }
    if !notes.is_empty() {
        let annotations = map_at_mut(obj, &["metadata", "annotations"]);
        for (key, value) in notes {
            annotations.insert(key.to_owned(), value.to_string().into());
        }
    }
}

/// From v1 to v2.
pub fn to_v2(obj: &mut Value) {
    map_mut(obj).insert("apiVersion".into(), "autoscaling/v2".into());
    let mut metrics: Vec<Value> = note(obj, METRICS)
        .and_then(|v| v.as_array().map(|list| list.iter().map(|m| new_metric(m, "target")).collect()))
        .unwrap_or_default();
    let mut current: Vec<Value> = note(obj, CURRENT_METRICS)
        .and_then(|v| v.as_array().map(|list| list.iter().map(|m| new_metric(m, "current")).collect()))
        .unwrap_or_default();
    let (behavior, conditions) = (note(obj, BEHAVIOR), note(obj, CONDITIONS));
    let spec = map_at_mut(obj, &["spec"]);
    if let Some(percent) = spec.shift_remove("targetCPUUtilizationPercentage").filter(|p| !p.is_null()) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    insert_list(spec, "metrics", metrics);
    if let Some(behavior) = behavior {
        spec.insert("behavior".into(), behavior);
    }
    let status = map_at_mut(obj, &["status"]);
    if let Some(percent) = status.shift_remove("currentCPUUtilizationPercentage").filter(|p| !p.is_null()) {
        let value = json!({"averageUtilization": percent});
        current.push(json!({"type": "Resource", "resource": {"name": "cpu", "current": value}}));
    }
    insert_list(status, "currentMetrics", current);
    if let Some(Value::Array(conditions)) = conditions {
        insert_list(status, "conditions", conditions);
    }
    drop_notes(obj);
}

fn take_list(map: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match map.shift_remove(key) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn insert_list(map: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        map.insert(key.to_owned(), Value::Array(list));
    }
}

fn note(obj: &Value, key: &str) -> Option<Value> {
    let annotation = at(obj, &["metadata", "annotations"]).get(key)?.as_str()?;
    serde_json::from_str(annotation).ok()
}

fn drop_notes(obj: &mut Value) {
    let Some(metadata) = obj.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    for key in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR] {
        annotations.shift_remove(key);
    }
    if annotations.is_empty() {
        metadata.shift_remove("annotations");
    }
}

/// The percentage of CPU, which v1 has a field for, and the other metrics.
fn split_cpu<'a>(metrics: &'a [Value], side: &str) -> (Option<Value>, Vec<&'a Value>) {
    let percent = |m: &Value| {
        let resource = at(m, &["resource"]);
        let value = at(resource, &[side, "averageUtilization"]);
        (text(resource, &["name"]) == "cpu" && !value.is_null()).then(|| value.clone())
    };
    let first = metrics.iter().position(|m| percent(m).is_some());
    let others = metrics.iter().enumerate().filter(|(i, _)| Some(*i) != first).map(|(_, m)| m).collect();
    (first.and_then(|i| percent(&metrics[i])), others)
}

/// The names that v1 gives a target's or a current value's parts: `targetAverageValue`, `currentValue`, …
fn flat_names(side: &str) -> [(String, &'static str); 3] {
    let plain = if side == "target" { "targetValue" } else { "currentValue" };
    [
        (format!("{side}AverageUtilization"), "averageUtilization"),
        (format!("{side}AverageValue"), "averageValue"),
        (plain.to_owned(), "value"),
    ]
}

fn source_key(metric: &Value) -> Option<(&'static str, &Value)> {
    ["object", "pods", "resource", "containerResource", "external"]
        .iter()
        .find_map(|key| Some((*key, metric.get(*key)?)).filter(|(_, v)| !v.is_null()))
}

fn old_metric(metric: &Value, side: &str) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), at(metric, &["type"]).clone());
    let Some((key, source)) = source_key(metric) else { return Value::Object(out) };
    let mut flat = Map::new();
    for (name, value) in source.as_object().into_iter().flatten() {
        match name.as_str() {
            "metric" => {
                flat.insert("metricName".into(), at(value, &["name"]).clone());
                if let Some(selector) = value.get("selector") {
                    let name = if key == "external" { "metricSelector" } else { "selector" };
                    flat.insert(name.into(), selector.clone());
                }
            }
            "describedObject" => {
                flat.insert("target".into(), value.clone());
            }
            name if name == side => {
                for (flat_name, part) in flat_names(side) {
                    if let Some(amount) = value.get(part) {
                        flat.insert(flat_name, amount.clone());
                    }
                }
            }
            _ => {
                flat.insert(name.clone(), value.clone());
            }
        }
    }
    out.insert(key.into(), Value::Object(flat));
    Value::Object(out)
}

fn new_metric(metric: &Value, side: &str) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), at(metric, &["type"]).clone());
    let Some((key, source)) = source_key(metric) else { return Value::Object(out) };
    let mut nested = Map::new();
    let mut value = Map::new();
    for (flat_name, part) in flat_names(side) {
        if let Some(amount) = source.get(&flat_name) {
            value.insert(part.into(), amount.clone());
        }
    }
    if side == "target" {
        let kind = if value.contains_key("averageUtilization") {
            "Utilization"
        } else if value.contains_key("averageValue") {
            "AverageValue"
        } else {
            "Value"
        };
        value.insert("type".into(), kind.into());
    }
    if let Some(name) = source.get("metricName") {
        let mut named = Map::from_iter([("name".to_owned(), name.clone())]);
        if let Some(selector) = source.get("metricSelector").or_else(|| source.get("selector")) {
            named.insert("selector".into(), selector.clone());
        }
        nested.insert("metric".into(), Value::Object(named));
    }
    if let Some(object) = source.get("target").filter(|_| key == "object") {
        nested.insert("describedObject".into(), object.clone());
    }
    for kept in ["name", "container"] {
        if let Some(value) = source.get(kept) {
            nested.insert(kept.into(), value.clone());
        }
    }
    nested.insert(side.into(), Value::Object(value));
    out.insert(key.into(), Value::Object(nested));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        let v2 = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"averageValue": "5", "type": "AverageValue"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80, "type": "Utilization"}}},
            ], "behavior": {"scaleDown": {"selectPolicy": "Min"}}},
            "status": {"currentReplicas": 1, "desiredReplicas": 1},
        });
        let mut served = v2.clone();
        to_v1(&mut served);
        assert_eq!(served["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}));
        assert!(note(&served, METRICS).is_some());
        to_v2(&mut served);
        assert_eq!(served, v2);
    }
}
