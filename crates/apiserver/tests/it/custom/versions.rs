//! Several versions of one kind between which only the name changes.

use super::*;

const V2: &str = "/apis/stable.example.com/v2/namespaces/default/crontabs";

/// v1 is stored, v2 served beside it.
fn two() -> Value {
    let mut two = definition();
    let mut second = version("v2", false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        .as_object_mut()
        .unwrap()
        .shift_remove("cronSpec");
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]
        .as_object_mut()
        .unwrap()
        .shift_remove("x-kubernetes-validations");
    two["spec"]["versions"].as_array_mut().unwrap().push(second);
    two
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_read_and_written_in_any_version() {
    let (world, root) = world().await;
    root.define(two()).await;
    root.post(TABS, tab("a", json!({"cronSpec": "x", "replicas": 1}))).await.ok();
    root.post(V2, tab_in("v2", "b", json!({"replicas": 2}))).await.ok();
    let stored = |name: &str| {
        let key = format!("/registry/stable.example.com/crontabs/default/{name}");
        let version = world.server.store().snapshot().get(&key).unwrap();
        serde_json::from_slice::<Value>(&version.json).unwrap()["apiVersion"].clone()
    };
    assert_eq!((stored("a"), stored("b")), (json!("stable.example.com/v1"), json!("stable.example.com/v1")));
    let second = root.get(&format!("{V2}/a")).await.ok();
    assert_eq!(second["apiVersion"], "stable.example.com/v2");
    assert_eq!(second["spec"], json!({"image": "busybox", "replicas": 1}));
    let listed = root.get(V2).await.ok();
    assert_eq!(listed["apiVersion"], "stable.example.com/v2");
    let versions = listed["items"].as_array().unwrap().iter().map(|i| i["apiVersion"].as_str().unwrap());
    assert_eq!(versions.collect::<Vec<_>>(), ["stable.example.com/v2"; 2]);
    // Each manager's entry says in which version it wrote.
    let patched = root.patch(&format!("{V2}/b"), MERGE, json!({"spec": {"replicas": 3}})).await.ok();
    assert_eq!(patched["apiVersion"], "stable.example.com/v2");
    root.patch(&format!("{TABS}/b?fieldManager=one"), MERGE, json!({"spec": {"cronSpec": "y"}})).await.ok();
    let now = root.get(&format!("{TABS}/b")).await.ok();
    let said =
        |e: &Value| format!("{} {}", e["manager"].as_str().unwrap(), e["apiVersion"].as_str().unwrap());
    let mut managers: Vec<_> =
        now["metadata"]["managedFields"].as_array().unwrap().iter().map(said).collect();
    managers.sort();
    assert_eq!(managers, ["it stable.example.com/v2", "one stable.example.com/v1"]);
    root.delete(&format!("{V2}/a")).await.ok();
    assert_eq!(root.get(&format!("{TABS}/a")).await.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applier_keeps_its_fields_across_versions() {
    let (_world, root) = world().await;
    root.define(two()).await;
    let apply = async |base: &str, version: &str, spec: Value| {
        let path = format!("{base}/a?fieldManager=one");
        root.patch(&path, APPLY, tab_in(version, "a", spec)).await.ok()
    };
    apply(TABS, "v1", json!({"replicas": 1, "image": "i"})).await;
    let now = apply(V2, "v2", json!({"replicas": 1})).await;
    assert_eq!(now["spec"], json!({"replicas": 1, "image": "busybox"}));
    let entries = now["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["apiVersion"]), (1, &json!("stable.example.com/v2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_changes_nothing_stores_in_the_version_of_now() {
    let (world, root) = world().await;
    root.define(two()).await;
    let made = root.post(TABS, tab("a", json!({"replicas": 1}))).await.ok();
    let same = root.put(&format!("{TABS}/a"), made.clone()).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let mut versions = two()["spec"]["versions"].clone();
    (versions[0]["storage"], versions[1]["storage"]) = (json!(false), json!(true));
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let changed = root.patch(&path, MERGE, json!({"spec": {"versions": versions}})).await.ok();
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    let before = root.get(&format!("{V2}/a")).await.ok();
    let after = root.put(&format!("{V2}/a"), before.clone()).await.ok();
    assert_ne!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    let stored =
        world.server.store().snapshot().get("/registry/stable.example.com/crontabs/default/a").unwrap();
    let stored: Value = serde_json::from_slice(&stored.json).unwrap();
    assert_eq!(stored["apiVersion"], "stable.example.com/v2");
    assert_eq!(after["metadata"]["managedFields"], before["metadata"]["managedFields"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_may_be_deprecated_or_not_served() {
    let (_world, root) = world().await;
    let mut definition = two();
    let versions = definition["spec"]["versions"].as_array_mut().unwrap();
    versions[0]["name"] = json!("v1beta1");
    versions[0]["deprecated"] = json!(true);
    let mut third = version("v1alpha1", false);
    third["served"] = json!(false);
    versions.push(third);
    let mut fourth = version("v1", false);
    (fourth["deprecated"], fourth["deprecationWarning"]) = (json!(true), json!("use something else"));
    versions.push(fourth);
    root.define(definition).await;
    let at = |version: &str| TABS.replace("/v1/", &format!("/{version}/"));
    let old = root.get(&at("v1beta1")).await;
    let words =
        "299 - \"stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v2 CronTab\"";
    assert_eq!((old.code, old.warnings()), (200, vec![words]));
    assert_eq!(root.get(&at("v1")).await.warnings(), ["299 - \"use something else\""]);
    assert!(root.get(&at("v2")).await.warnings().is_empty());
    assert_eq!(root.get(&at("v1alpha1")).await.refused(404), "404 page not found\n");
    let group = root.get("/apis/stable.example.com").await.ok();
    let order: Vec<_> = group["versions"].as_array().unwrap().iter().map(|v| &v["version"]).collect();
    assert_eq!(order, ["v2", "v1", "v1beta1"]);
    assert_eq!(group["preferredVersion"]["version"], "v2");
}
