//! For tests: patch facts read from a JSON schema with `x-kubernetes-*` marks.

use serde_json::{Value, json};

use super::facts::{Facts, ListType};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Model<'a>(pub(crate) &'a Value);

impl Facts for Model<'_> {
    fn field(self, name: &str) -> Option<Self> {
        let declared = &self.0["properties"][name];
        let found = if declared.is_null() { &self.0["additionalProperties"] } else { declared };
        found.is_object().then_some(Model(found))
    }

    fn declares(self, name: &str) -> bool {
        !self.0["properties"][name].is_null()
    }

    fn items(self) -> Option<Self> {
        self.0["items"].is_object().then(|| Model(&self.0["items"]))
    }

    fn list_type(self) -> ListType {
        match self.0["list"].as_str() {
            Some("map") => ListType::Map,
            Some("set") => ListType::Set,
            _ => ListType::Atomic,
        }
    }

    fn list_key(&self, i: usize) -> Option<&str> {
        self.0["keys"][i].as_str()
    }

    fn key_default(self, key: &str) -> Option<Value> {
        let default = &self.0["items"]["properties"][key]["default"];
        (!default.is_null()).then(|| default.clone())
    }

    fn is_atomic_map(self) -> bool {
        self.0["map"] == "atomic"
    }

    fn always_written(self) -> bool {
        self.0["always"] == true
    }

    fn is_untyped(self) -> bool {
        self.0["untyped"] == true
    }

    fn patch_merges(self) -> bool {
        self.0["merge"] == true
    }

    fn patch_retains_keys(self) -> bool {
        self.0["retain"] == true
    }

    fn patch_merge_key(&self) -> Option<&str> {
        self.0["mergeKey"].as_str()
    }
}

/// Enough of a Deployment and a ConfigMap in one.
pub(crate) fn schema() -> Value {
    let scalar = json!({});
    let strings = json!({"additionalProperties": {}});
    let metadata = json!({"always": true, "properties": {"name": {}, "namespace": {}, "uid": {}, "resourceVersion": {},
        "labels": strings, "annotations": strings, "managedFields": {},
        "finalizers": {"list": "set", "items": {}, "merge": true}}});
    let ports = json!({"list": "map", "keys": ["containerPort", "protocol"], "merge": true, "mergeKey": "containerPort",
        "items": {"properties": {"containerPort": {}, "protocol": {"default": "TCP"}, "name": {}}}});
    let env = json!({"list": "map", "keys": ["name"], "merge": true, "mergeKey": "name",
        "items": {"properties": {"name": {}, "value": {}}}});
    let containers = json!({"always": true, "list": "map", "keys": ["name"], "merge": true, "mergeKey": "name",
        "items": {"properties": {"name": {}, "image": {}, "args": {"items": {}}, "ports": ports, "env": env,
            "resources": {"always": true, "properties": {"limits": strings}}}}});
    let volumes = json!({"list": "map", "keys": ["name"], "merge": true, "retain": true, "mergeKey": "name",
        "items": {"properties": {"name": {}, "emptyDir": {"properties": {"medium": {}}}, "configMap": {"properties": {"name": {}}}}}});
    let template = json!({"always": true, "properties": {"metadata": metadata,
        "spec": {"always": true, "properties": {"containers": containers, "volumes": volumes, "nodeSelector": {"map": "atomic", "additionalProperties": {}}}}}});
    let strategy = json!({"always": true, "retain": true, "properties": {"type": {}, "rollingUpdate": {"properties": {"maxSurge": {}}}}});
    json!({"properties": {
        "apiVersion": scalar, "kind": scalar, "metadata": metadata, "data": strings,
        "spec": {"always": true, "properties": {"replicas": {}, "template": template, "strategy": strategy,
            "selector": {"map": "atomic", "properties": {"matchLabels": strings}}}},
        "status": {"always": true, "properties": {"phase": {}}},
    }})
}
