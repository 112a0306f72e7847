//! Where clients find out about a custom kind: discovery and OpenAPI.

use super::*;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test(flavor = "multi_thread")]
async fn discovery_names_it_at_once_and_no_longer() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    let list = root.get("/apis/stable.example.com/v1").await.ok();
    let resource = &list["resources"][0];
    assert_eq!(resource["name"], "crontabs");
    assert_eq!((&resource["shortNames"], &resource["categories"]), (&json!(["ct"]), &json!(["all"])));
    assert!(resource["storageVersionHash"].is_string());
    let names: Vec<_> = list["resources"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["crontabs", "crontabs/scale", "crontabs/status"]);
    let groups = root.get("/apis").await.ok();
    assert_eq!(groups["groups"].as_array().unwrap().last().unwrap()["name"], "stable.example.com");
    let aggregated = root.get_as("/apis", AGGREGATED).await.ok();
    let group = aggregated["items"].as_array().unwrap().last().unwrap();
    assert_eq!(group["metadata"]["name"], "stable.example.com");
    assert_eq!(group["versions"][0]["resources"][0]["responseKind"]["kind"], "CronTab");
    let paths = root.get("/").await.ok();
    assert!(paths["paths"].as_array().unwrap().contains(&json!("/apis/stable.example.com/v1")));
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    root.delete(&path).await.ok();
    root.until(&path, 404).await;
    assert_eq!(root.get("/apis/stable.example.com/v1").await.refused(404), "404 page not found\n");
    let aggregated = root.get_as("/apis", AGGREGATED).await.ok();
    assert!(!aggregated.to_string().contains("stable.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_change_with_the_definition() {
    let (_world, root) = world().await;
    let before = root.get("/openapi/v2").await;
    assert!(!before.text.contains("CronTab"));
    let untouched = root.get("/openapi/v3/apis/apps/v1").await;
    root.define(definition()).await;
    let index = root.get("/openapi/v3").await.ok();
    let url = &index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"];
    let url = url.as_str().expect("the version has a document");
    let document = root.get(url).await;
    let schema = &document.body["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(schema["properties"]["spec"]["properties"]["replicas"]["maximum"], 10.0, "{schema}");
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
    assert!(
        document.body["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}/scale"]
            .is_object()
    );
    let after = root.get("/openapi/v2").await;
    assert!(after.body["definitions"]["com.example.stable.v1.CronTab"].is_object());
    assert_ne!(after.headers["etag"], before.headers["etag"]);
    assert_eq!(root.get("/openapi/v3/apis/apps/v1").await.headers["etag"], untouched.headers["etag"]);
    let mut versions = definition()["spec"]["versions"].clone();
    versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["extra"] =
        json!({"type": "string"});
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    root.patch(&path, MERGE, json!({"spec": {"versions": versions}})).await.ok();
    let index = root.get("/openapi/v3").await.ok();
    let new = index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_ne!(new, url);
    assert!(root.get(new).await.text.contains("\"extra\""));
}
