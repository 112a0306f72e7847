//! Objects of a custom kind through every verb.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_pruned_defaulted_and_checked() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    let sent = tab("a", json!({"cronSpec": "x", "nope": 1}));
    let made = root.post(TABS, sent.clone()).await;
    assert_eq!(made.warnings(), ["299 - \"unknown field \\\"spec.nope\\\"\""]);
    let made = made.ok();
    assert_eq!(made["spec"], json!({"cronSpec": "x", "image": "busybox"}));
    assert_eq!(made["metadata"]["generation"], 1);
    let strict = root.post(&format!("{TABS}?fieldValidation=Strict"), sent).await.refused(400);
    assert!(strict.contains("strict decoding error: unknown field \"spec.nope\""), "{strict}");
    let wrong = root.post(TABS, tab("b", json!({"replicas": 99}))).await;
    let said = wrong.body["details"]["causes"][0]["message"].clone();
    assert_eq!(
        wrong.refused(422),
        "CronTab.stable.example.com \"b\" is invalid: spec.replicas: Invalid value: 99: spec.replicas in body should be \
         less than or equal to 10"
    );
    assert!(said.as_str().unwrap().starts_with("Invalid value: 99"), "{said}");
    let never = root.post(TABS, tab("b", json!({"cronSpec": "never"}))).await.refused(422);
    assert!(never.ends_with(": never is no time"), "{never}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_must_say_what_it_is() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    let of = |version: &str, kind: &str| {
        let mut object = json!({"metadata": {"name": "a"}});
        for (key, value) in [("apiVersion", version), ("kind", kind)] {
            if !value.is_empty() {
                object[key] = json!(value);
            }
        }
        object
    };
    let good = "stable.example.com/v1";
    let none = root.post(TABS, of(good, "")).await.refused(400);
    let words =
        "the object provided is unrecognized (must be of type CronTab): Object 'Kind' is missing in '{";
    assert!(none.starts_with(words), "{none}");
    assert_eq!(
        root.post(TABS, of("stable.example.com/v2", "CronTab")).await.refused(400),
        "the API version in the data (stable.example.com/v2) does not match the expected API version \
         (stable.example.com/v1)"
    );
    assert_eq!(
        root.post(TABS, of(good, "Other")).await.refused(422),
        "CronTab.stable.example.com \"a\" is invalid: kind: Invalid value: \"Other\": must be CronTab"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_works() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    let path = format!("{TABS}/a");
    root.post(&format!("{TABS}?dryRun=All"), tab("a", json!({}))).await.ok();
    assert_eq!(root.get(&path).await.refused(404), "crontabs.stable.example.com \"a\" not found");
    let made = root.post(TABS, tab("a", json!({"replicas": 1}))).await.ok();
    assert_eq!(
        root.post(TABS, tab("a", json!({}))).await.refused(409),
        "crontabs.stable.example.com \"a\" already exists"
    );
    assert_eq!(root.get(&path).await.ok(), made);
    let mut changed = made.clone();
    changed["spec"]["replicas"] = json!(2);
    changed["status"] = json!({"replicas": 7});
    let changed = root.put(&path, changed).await.ok();
    assert_eq!((&changed["metadata"]["generation"], changed.get("status")), (&json!(2), None));
    assert_eq!(root.put(&path, made.clone()).await.code, 409);
    let mut blind = made.clone();
    blind["metadata"].as_object_mut().unwrap().shift_remove("resourceVersion");
    let blind = root.put(&path, blind).await.refused(422);
    assert!(blind.contains("metadata.resourceVersion") && blind.contains("must be specified"), "{blind}");
    let patched = root.patch(&path, MERGE, json!({"spec": {"replicas": 3}})).await.ok();
    assert_eq!((&patched["spec"]["replicas"], &patched["metadata"]["generation"]), (&json!(3), &json!(3)));
    let operations = json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]);
    root.patch(&path, "application/json-patch+json", operations).await.ok();
    let strategic = root.patch(&path, "application/strategic-merge-patch+json", json!({})).await.refused(415);
    assert_eq!(
        strategic,
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
    let gone = root.delete(&path).await.ok();
    assert_eq!((&gone["kind"], &gone["details"]["kind"]), (&json!("Status"), &json!("crontabs")));
    for name in ["b", "c"] {
        root.post(TABS, tab(name, json!({}))).await.ok();
    }
    assert_eq!(root.delete(TABS).await.ok()["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(root.get(TABS).await.ok()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_scale_are_halves_of_their_own() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    let path = format!("{TABS}/a");
    root.post(TABS, tab("a", json!({"replicas": 1}))).await.ok();
    let status = json!({"spec": {"replicas": 9}, "status": {"replicas": 1, "selector": "app=a"}});
    let changed = root.patch(&format!("{path}/status"), MERGE, status).await.ok();
    assert_eq!((&changed["spec"]["replicas"], &changed["metadata"]["generation"]), (&json!(1), &json!(1)));
    let scale = root.get(&format!("{path}/scale")).await.ok();
    assert_eq!((&scale["kind"], &scale["spec"]), (&json!("Scale"), &json!({"replicas": 1})));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a"}));
    root.patch(&format!("{path}/scale"), MERGE, json!({"spec": {"replicas": 5}})).await.ok();
    let now = root.get(&path).await.ok();
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(5), &json!(2)));
    let too_many = root.patch(&format!("{path}/scale"), MERGE, json!({"spec": {"replicas": 50}})).await;
    assert_eq!(too_many.code, 422, "{}", too_many.text);
    assert_eq!(
        root.get(&format!("{path}/log")).await.refused(404),
        "crontabs.stable.example.com \"a\" not found"
    );
    root.post(TABS, tab("b", json!({}))).await.ok();
    assert_eq!(
        root.get(&format!("{TABS}/b/scale")).await.refused(500),
        "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn appliers_share_a_list_by_its_keys() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    let path = format!("{TABS}/a");
    let apply = async |manager: &str, spec: Value| {
        root.patch(&format!("{path}?fieldManager={manager}"), APPLY, tab("a", spec)).await
    };
    let made = apply("one", json!({"ports": [{"port": 80, "name": "web"}]})).await;
    assert_eq!(made.code, 201);
    apply("two", json!({"ports": [{"port": 443}], "cronSpec": "x"})).await.ok();
    let both = root.get(&path).await.ok();
    assert_eq!(both["spec"]["ports"], json!([{"port": 80, "name": "web"}, {"port": 443}]));
    let conflict = apply("one", json!({"ports": [{"port": 80}], "cronSpec": "y"})).await.refused(409);
    assert_eq!(conflict, "Apply failed with 1 conflict: conflict with \"two\": .spec.cronSpec");
    let dropped = apply("two", json!({"cronSpec": "x"})).await.ok();
    assert_eq!(dropped["spec"]["ports"], json!([{"port": 80, "name": "web"}]));
    let owned = &dropped["metadata"]["managedFields"][0];
    assert_eq!((&owned["manager"], &owned["apiVersion"]), (&json!("one"), &json!("stable.example.com/v1")));
    let ports = &owned["fieldsV1"]["f:spec"]["f:ports"];
    assert_eq!(ports, &json!({"k:{\"port\":80}": {".": {}, "f:name": {}, "f:port": {}}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_selected_shown_and_paged() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    for (name, image) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")] {
        root.post(TABS, tab(name, json!({"image": image, "cronSpec": "s", "replicas": 2}))).await.ok();
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let selected = root.get(&format!("{TABS}?fieldSelector=spec.image%3Dx")).await.ok();
    assert_eq!(
        (&selected["kind"], names(&selected)),
        (&json!("CronTabList"), vec!["a".into(), "c".into(), "d".into()])
    );
    assert_eq!(selected["items"][0]["kind"], "CronTab");
    let page = root.get(&format!("{TABS}?fieldSelector=spec.image%3Dx&limit=2")).await.ok();
    assert_eq!(names(&page), ["a", "c"]);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest = root.get(&format!("{TABS}?fieldSelector=spec.image%3Dx&limit=2&continue={token}")).await.ok();
    assert_eq!((names(&rest), rest["metadata"].get("continue")), (vec!["d".to_owned()], None));
    let unknown = root.get(&format!("{TABS}?fieldSelector=spec.cronSpec%3Dx")).await.refused(400);
    assert!(unknown.contains("spec.cronSpec"), "{unknown}");
    let table = root.get_as(TABS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(columns, ["Name", "Spec", "Replicas", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("a"), json!("s"), json!(2)]);
    let metadata =
        root.get_as(TABS, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!(metadata["kind"], "PartialObjectMetadataList");
    assert_eq!(metadata["items"][0]["kind"], "PartialObjectMetadata");
    // The refusal itself is a message.
    let protobuf = root.get_as(TABS, "application/vnd.kubernetes.protobuf").await;
    let words = "only the following media types are accepted: application/json, application/yaml";
    assert!(protobuf.code == 406 && protobuf.text.contains(words), "{}", protobuf.text);
    let either = root.get_as(TABS, "application/vnd.kubernetes.protobuf,application/json").await;
    assert_eq!((either.code, &either.body["kind"]), (200, &json!("CronTabList")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_subresources_everything_is_one_object() {
    let (_world, root) = world().await;
    let mut plain = definition();
    plain["spec"]["scope"] = json!("Cluster");
    plain["spec"]["versions"][0].as_object_mut().unwrap().shift_remove("subresources");
    root.define(plain).await;
    let all = "/apis/stable.example.com/v1/crontabs";
    let mut whole = tab("a", json!({}));
    whole["status"] = json!({"replicas": 3});
    let made = root.post(all, whole).await.ok();
    assert_eq!((&made["status"]["replicas"], &made["metadata"]["generation"]), (&json!(3), &json!(1)));
    let status = json!({"status": {"replicas": 4}});
    let changed = root.patch(&format!("{all}/a"), MERGE, status).await.ok();
    assert_eq!((&changed["status"]["replicas"], &changed["metadata"]["generation"]), (&json!(4), &json!(2)));
    assert_eq!(root.get(&format!("{all}/a/status")).await.code, 404);
    // A resource of the cluster is in no namespace, and of a namespace not in the cluster.
    assert_eq!(root.get(&format!("{TABS}/a")).await.refused(404), "404 page not found\n");
}
