//! A custom resource to create objects of, as an operator's: a schema with defaults, lists that merge, and rules in CEL.

use serde_json::{Value, json};

pub(crate) const GROUP: &str = "bench.coracle";
pub(crate) const DEFINITION: &str = "crontabs.bench.coracle";
pub(crate) const PLURAL: &str = "crontabs";

/// Labelled, so that who cleans up knows whose it is.
pub(crate) fn definition(labels: &Value) -> Value {
    let container = json!({
        "type": "object", "required": ["name", "image"],
        "properties": {
            "name": {"type": "string", "maxLength": 63},
            "image": {"type": "string", "maxLength": 256},
            "pullPolicy": {"type": "string", "enum": ["Always", "IfNotPresent", "Never"], "default": "IfNotPresent"},
        },
    });
    let rules = json!([
        {"rule": "self.minReplicas <= self.maxReplicas", "message": "minReplicas is more than maxReplicas"},
        {"rule": "self.containers.all(c, c.image.contains(':') || c.pullPolicy == 'Always')",
         "messageExpression": "'no tag: ' + self.containers[0].image"},
        {"rule": "self.schedule.matches('^[-0-9*/, ]+$')", "fieldPath": ".schedule"},
        {"rule": "self.schedule == oldSelf.schedule", "message": "the schedule is for good"},
    ]);
    let spec = json!({
        "type": "object", "required": ["schedule", "containers"], "x-kubernetes-validations": rules,
        "properties": {
            "schedule": {"type": "string", "maxLength": 100},
            "minReplicas": {"type": "integer", "minimum": 0, "default": 1},
            "maxReplicas": {"type": "integer", "minimum": 1, "default": 10},
            "containers": {
                "type": "array", "maxItems": 20, "items": container,
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            },
        },
    });
    let status = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION, "labels": labels},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"plural": PLURAL, "singular": "crontab", "kind": "CronTab"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
            }],
        },
    })
}

pub(crate) fn object(i: usize) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "CronTab",
        "metadata": {"name": format!("bench-crontab-{i:06}"), "labels": {"app": format!("app-{}", i % 100)}},
        "spec": {
            "schedule": "*/5 * * * *", "maxReplicas": 3 + i % 5,
            "containers": [
                {"name": "main", "image": "registry.example/app:1"},
                {"name": "sidecar", "image": "registry.example/sidecar", "pullPolicy": "Always"},
            ],
        },
    })
}
