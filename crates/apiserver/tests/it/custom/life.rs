//! From the definition's create to the end of its last object.

use super::*;

const NAME: &str = "crontabs.stable.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_in_use_once_its_create_returns() {
    let (_world, root) = world().await;
    let path = format!("{DEFINITIONS}/{NAME}");
    assert_eq!(root.get(TABS).await.refused(404), "404 page not found\n");
    let made = root.define(definition()).await;
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    root.post(TABS, tab("a", json!({"cronSpec": "* * * * *"}))).await.ok();
    let now = root.get(&path).await.ok();
    assert_eq!(conditions(&now), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
    assert_eq!(now["status"]["acceptedNames"], now["spec"]["names"]);
    let wrote = |e: &Value| format!("{} {}", e["manager"].as_str().unwrap(), e["subresource"]);
    let managers: Vec<String> =
        now["metadata"]["managedFields"].as_array().unwrap().iter().map(wrote).collect();
    assert_eq!(managers, ["it null", "kube-apiserver \"status\""]);
    assert_eq!(now["metadata"]["managedFields"][1]["operation"], "Update");
    assert_eq!(now["metadata"]["generation"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_go_before_their_definition() {
    let (world, root) = world().await;
    let path = format!("{DEFINITIONS}/{NAME}");
    root.define(definition()).await;
    root.post(TABS, tab("free", json!({}))).await.ok();
    let mut held = tab("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    root.post(TABS, held).await.ok();
    let mut stream = watch(&world, "crontabs", "0").await;
    let marked = root.delete(&path).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(conditions(&marked).last().unwrap(), "Terminating=True InstanceDeletionPending");
    root.until(&format!("{TABS}/free"), 404).await;
    let refused = root.post(TABS, tab("late", json!({}))).await;
    assert_eq!(refused.body["details"], json!({"group": "stable.example.com", "kind": "crontabs"}));
    assert_eq!(refused.refused(405), "create not allowed while custom resource definition is terminating");
    let listed = root.get("/apis/stable.example.com/v1").await.ok();
    assert_eq!(
        listed["resources"][0]["verbs"],
        json!(["delete", "deletecollection", "get", "list", "watch"])
    );
    let waiting = root.get(&path).await.ok();
    assert_eq!(conditions(&waiting).last().unwrap(), "Terminating=True InstanceDeletionInProgress");
    // Whoever holds it may still let go, though discovery offers no patch.
    let free = json!({"metadata": {"finalizers": null}});
    root.patch(&format!("{TABS}/held"), MERGE, free).await.ok();
    root.until(&path, 404).await;
    assert_eq!(root.get(TABS).await.refused(404), "404 page not found\n");
    // A watch is told of every end, and then ends itself.
    let mut told = Vec::new();
    while let Some(event) = Clock::system().timeout(Duration::from_secs(10), stream.next()).await.unwrap() {
        told.push(event);
    }
    let gone = told.iter().filter(|(word, _)| word == "DELETED").count();
    assert_eq!((gone, told.iter().any(|(word, _)| word == "ERROR")), (2, false), "{told:?}");
    // The same name may be had again, by another definition.
    root.define(definition()).await;
    assert_eq!(root.get(TABS).await.ok()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_when_the_definition_changes_and_not_before() {
    let (world, root) = world().await;
    let path = format!("{DEFINITIONS}/{NAME}");
    root.define(definition()).await;
    let mut stream = watch(&world, "crontabs", "0").await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    root.patch(&path, MERGE, label).await.ok();
    root.post(TABS, tab("a", json!({}))).await.ok();
    assert_eq!(stream.next().await.unwrap().0, "ADDED");
    let mut changed = definition()["spec"]["versions"].clone();
    changed[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["note"] =
        json!({"type": "string", "default": "n"});
    root.patch(&path, MERGE, json!({"spec": {"versions": changed}})).await.ok();
    let end = Clock::system().timeout(Duration::from_secs(10), stream.next()).await;
    assert_eq!(end.expect("the watch ends"), None);
    // What was stored before is read with the new default, and stored so by the next write.
    assert_eq!(root.get(&format!("{TABS}/a")).await.ok()["spec"]["note"], "n");
    let listed = root.get(TABS).await.ok();
    assert_eq!(listed["items"][0]["spec"], json!({"image": "busybox", "note": "n"}));
}

/// The events of a watch, each with its word.
async fn watch(
    world: &World,
    plural: &str,
    since: &str,
) -> std::pin::Pin<Box<dyn futures::Stream<Item = (String, Value)> + Send>> {
    let client = world.client_of(User {
        name: "root".into(),
        groups: vec!["system:masters".into()],
        ..User::default()
    });
    let path = format!("/apis/stable.example.com/v1/{plural}?watch=1&resourceVersion={since}");
    let request = http::Request::get(path).body(kube::client::Body::empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let pieces = answer.into_body().into_data_stream();
    let events = pieces.flat_map(|piece| {
        let text = String::from_utf8(piece.unwrap().to_vec()).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        futures::stream::iter(events.collect::<Vec<_>>())
    });
    Box::pin(
        events.map(|mut event: Value| (event["type"].as_str().unwrap().to_owned(), event["object"].take())),
    )
}
