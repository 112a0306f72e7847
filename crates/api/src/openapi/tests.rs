//! Tests of the documents, against recorded answers and against what kubectl looks for.

use serde_json::{Value, json};

use super::{Brief, OpenApi, Prose};
use crate::golden;
use crate::{Catalog, schema::Schemas};

fn with<R>(look: impl Fn(&OpenApi<'_>) -> R) -> R {
    let (catalog, schemas) = (Catalog::builtin(), Schemas::builtin());
    look(&OpenApi { catalog: &catalog, schemas: &schemas, prose: &Brief::new(), version: "v1.36.0" })
}

#[test]
fn documents_are_as_recorded() {
    let Some(answers) = golden::answers() else { return };
    with(|api| {
        let index = api.index();
        for path in answers["discovery/openapi-v3-index"]["body"].as_array().unwrap() {
            let url = index["paths"][path.as_str().unwrap()]["serverRelativeURL"].as_str().unwrap();
            assert!(url.starts_with("/openapi/v3/") && url.contains("?hash="), "{url}");
        }
        let core = api.document("api/v1").unwrap();
        let want = &answers["discovery/openapi-v3-core"]["body"];
        let schemas = &core["components"]["schemas"];
        assert_eq!(core["openapi"], want["openapi"]);
        let pod = &schemas["io.k8s.api.core.v1.Pod"];
        assert_eq!(pod["x-kubernetes-group-version-kind"], want["gvk"]);
        let properties: Vec<&String> = pod["properties"].as_object().unwrap().keys().collect();
        let mut sorted = properties.clone();
        sorted.sort();
        assert_eq!(json!(sorted), want["pod-props"]);
        assert_eq!(
            schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"].to_string(),
            want["containers"].to_string()
        );
        let paths: Vec<&String> =
            core["paths"].as_object().unwrap().keys().filter(|p| p.contains("configmaps")).collect();
        assert_eq!(json!(paths), want["paths"]);
    });
}

/// kubectl asks whether a kind's PATCH takes `fieldValidation`, and which patches it takes, before it applies.
#[test]
fn every_patchable_kind_says_what_kubectl_looks_for() {
    with(|api| {
        for group in api.catalog.groups() {
            for version in &group.versions {
                let path = crate::discovery::version_path(&group.name, version);
                let document = api.document(&path[1..]).unwrap();
                for kind in api.catalog.in_version(&group.name, version) {
                    if kind.allows("patch") {
                        check_patch(&document, &kind);
                    }
                }
            }
        }
    });
}

fn check_patch(document: &Value, kind: &crate::Kind) {
    let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let mut patches = document["paths"].as_object().unwrap().values().map(|p| &p["patch"]);
    let patch = patches.find(|p| p["x-kubernetes-group-version-kind"] == gvk).expect("a PATCH of the kind");
    let names: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let schema = &document["components"]["schemas"][&*kind.schema];
    assert_eq!(schema["x-kubernetes-group-version-kind"][0], gvk);
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(v: &Value, root: &Value) {
        match v {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    assert!(root.pointer(&to[1..]).is_some(), "{to}");
                }
                map.values().for_each(|v| check(v, root));
            }
            Value::Array(items) => items.iter().for_each(|v| check(v, root)),
            _ => {}
        }
    }
    with(|api| {
        for path in api.index()["paths"].as_object().unwrap().keys() {
            let document = api.document(path).unwrap();
            check(&document, &document);
        }
        let swagger = api.swagger();
        check(&swagger, &swagger);
        let mut pod: Vec<&String> =
            swagger["definitions"]["io.k8s.api.core.v1.Pod"].as_object().unwrap().keys().collect();
        pod.sort();
        assert_eq!(pod, ["description", "properties", "type", "x-kubernetes-group-version-kind"]);
        assert_eq!(swagger["swagger"], "2.0");
        assert!(
            swagger["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["patch"]
                .is_object()
        );
        assert!(api.document("apis/apps/v9").is_none());
    });
}

#[test]
fn every_kind_is_described() {
    let brief = Brief::new();
    for kind in Catalog::builtin().kinds() {
        assert!(brief.definition(&kind.schema).is_some(), "{kind:?}");
    }
    for name in brief.0.keys() {
        let is_kind = |d: &crate::schema::Definition| d.short_name() == *name && !d.kinds.is_empty();
        assert!(Schemas::builtin().definitions().iter().any(is_kind), "{name} is no kind");
    }
}

#[test]
fn operations_are_called_as_clients_are_generated() {
    with(|api| {
        let core = api.document("api/v1").unwrap();
        let id = |path: &str, method: &str| core["paths"][path][method]["operationId"].clone();
        assert_eq!(id("/api/v1/pods", "get"), "listCoreV1PodForAllNamespaces");
        assert_eq!(id("/api/v1/namespaces/{namespace}/pods", "post"), "createCoreV1NamespacedPod");
        assert_eq!(
            id("/api/v1/namespaces/{namespace}/pods/{name}/status", "patch"),
            "patchCoreV1NamespacedPodStatus"
        );
        assert_eq!(id("/api/v1/namespaces/{name}", "get"), "readCoreV1Namespace");
        let eviction = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/eviction"]["post"];
        assert_eq!(eviction["x-kubernetes-group-version-kind"]["group"], "policy");
        let rbac = api.document("apis/rbac.authorization.k8s.io/v1").unwrap();
        let list = &rbac["paths"]["/apis/rbac.authorization.k8s.io/v1/clusterroles"]["get"];
        assert_eq!(list["operationId"], "listRbacAuthorizationV1ClusterRole");
        assert_eq!(list["tags"][0], "rbacAuthorization_v1");
    });
}

#[test]
fn prose_stands_beside_references() {
    struct Loud;
    impl Prose for Loud {
        fn definition(&self, _: &str) -> Option<&str> {
            Some("a definition")
        }
        fn field(&self, _: &str, _: &str) -> Option<&str> {
            Some("a field")
        }
    }
    let (catalog, schemas) = (Catalog::builtin(), Schemas::builtin());
    let api = OpenApi { catalog: &catalog, schemas: &schemas, prose: &Loud, version: "v1.36.0" };
    let pod = &api.document("api/v1").unwrap()["components"]["schemas"]["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["description"], "a definition");
    let spec = json!({"description": "a field", "allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]});
    assert_eq!(pod["properties"]["spec"], spec);
}

#[test]
fn custom_resources_are_published_as_they_were_written() {
    let definition = json!({"metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced", "versions": [{"name": "v1", "served": true, "storage": true,
            "subresources": {"status": {}}, "selectableFields": [{"jsonPath": ".spec.a"}],
            "schema": {"openAPIV3Schema": {"type": "object", "description": "a tab", "properties": {"spec": {"type": "object",
                "properties": {"a": {"type": "string", "nullable": true, "default": "x"},
                    "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}}}}}}]},
        "status": {"acceptedNames": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabs"}}});
    let rows = crate::custom::rows(&definition).unwrap();
    let catalog = Catalog::with_custom(rows.into_iter().map(std::sync::Arc::new).collect());
    let (schemas, brief) = (Schemas::builtin(), Brief::new());
    let api = OpenApi { catalog: &catalog, schemas: &schemas, prose: &brief, version: "v1.36.0" };
    let index = api.index();
    assert!(index["paths"]["apis/stable.example.com/v1"].is_object());
    assert!(index["paths"]["apis/stable.example.com"].is_null() && index["paths"]["apis/apps"].is_object());
    let document = api.document("apis/stable.example.com/v1").unwrap();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let root = "/apis/stable.example.com/v1";
    let one = format!("{root}/namespaces/{{namespace}}/crontabs/{{name}}");
    let want = [
        format!("{root}/crontabs"),
        format!("{root}/namespaces/{{namespace}}/crontabs"),
        one.clone(),
        format!("{one}/status"),
    ];
    assert_eq!(json!(paths), json!(want));
    let patch = &document["paths"][&one]["patch"];
    assert_eq!(patch["operationId"], "patchStableExampleComV1NamespacedCronTab");
    let media: Vec<&String> = patch["requestBody"]["content"].as_object().unwrap().keys().collect();
    let patches =
        ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    assert_eq!(json!(media), json!(patches));
    let schemas = &document["components"]["schemas"];
    let tab = &schemas["com.example.stable.v1.CronTab"];
    let gvk = json!([{"group": "stable.example.com", "version": "v1", "kind": "CronTab"}]);
    assert_eq!((&tab["x-kubernetes-group-version-kind"], &tab["description"]), (&gvk, &json!("a tab")));
    assert_eq!(tab["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.a"}]));
    assert_eq!(tab["properties"]["spec"]["properties"]["a"]["default"], "x");
    assert!(schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
    let items = &schemas["com.example.stable.v1.CronTabs"]["properties"]["items"]["items"];
    assert_eq!(items["$ref"], "#/components/schemas/com.example.stable.v1.CronTab");
    let swagger = api.swagger();
    let spec = &swagger["definitions"]["com.example.stable.v1.CronTab"]["properties"]["spec"]["properties"];
    assert_eq!(*spec, json!({"a": {"default": "x"}, "port": {"x-kubernetes-int-or-string": true}}));
}
