//! Versions between which a webhook converts, and webhooks that do not.

use std::convert::Infallible;
use std::sync::Mutex;

use super::hooks::Webhook;
use super::*;

const V2: &str = "/apis/stable.example.com/v2/namespaces/default/crontabs";

/// v1 says `cronSpec`, v2 `schedule`; what the path asks for goes wrong.
async fn answer(
    request: Request<hyper::body::Incoming>,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(review["request"].clone());
    let desired = &review["request"]["desiredAPIVersion"];
    let mut objects = review["request"]["objects"].as_array().unwrap().clone();
    for object in &mut objects {
        object["apiVersion"] = desired.clone();
        let (from, to) = if desired == "stable.example.com/v2" {
            ("cronSpec", "schedule")
        } else {
            ("schedule", "cronSpec")
        };
        if let Some(value) = object["spec"].as_object_mut().unwrap().shift_remove(from) {
            object["spec"][to] = value;
        }
        match &*path {
            "/renames" => object["metadata"]["name"] = json!("other"),
            "/labels" => object["metadata"]["labels"] = json!({"converted": "yes"}),
            "/version" => object["apiVersion"] = json!("stable.example.com/v3"),
            _ => {}
        }
    }
    if path == "/loses" {
        objects.clear();
    }
    if path == "/slow" {
        Clock::system().sleep(Duration::from_secs(60)).await;
    }
    let uid = if path == "/uid" { json!("another") } else { review["request"]["uid"].clone() };
    let result = match &*path {
        "/fails" => json!({"status": "Failure", "message": "cannot convert"}),
        _ => json!({"status": "Success"}),
    };
    let response = json!({"uid": uid, "result": result, "convertedObjects": objects});
    let (code, body) = match &*path {
        "/garbage" => (200, "no JSON at all".to_owned()),
        "/500" => (500, "broken".to_owned()),
        _ => {
            let version = "apiextensions.k8s.io/v1";
            (
                200,
                json!({"kind": "ConversionReview", "apiVersion": version, "response": response}).to_string(),
            )
        }
    };
    Ok(http::Response::builder().status(code).body(Full::new(body.into())).unwrap())
}

fn converted_by(webhook: &Webhook, path: &str) -> Value {
    let mut definition = definition();
    let mut second = version("v2", false);
    let properties = &mut second["schema"]["openAPIV3Schema"]["properties"]["spec"];
    properties.as_object_mut().unwrap().shift_remove("x-kubernetes-validations");
    let properties = properties["properties"].as_object_mut().unwrap();
    properties.shift_remove("cronSpec");
    properties.insert("schedule".into(), json!({"type": "string", "maxLength": 5}));
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": client(webhook, path)}});
    definition
}

fn client(webhook: &Webhook, path: &str) -> Value {
    json!({"url": format!("https://127.0.0.1:{}{path}", webhook.port), "caBundle": webhook.ca})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_is_asked_only_where_versions_differ() {
    let (world, root) = world().await;
    let webhook = Webhook::answering(answer).await;
    root.define(converted_by(&webhook, "/convert")).await;
    for name in ["a", "b", "c"] {
        root.post(TABS, tab(name, json!({"cronSpec": "x"}))).await.ok();
    }
    root.get(TABS).await.ok();
    root.get(&format!("{TABS}/a")).await.ok();
    assert!(webhook.asked().is_empty());
    let one = root.get(&format!("{V2}/a")).await.ok();
    assert_eq!(one["spec"], json!({"schedule": "x", "image": "busybox"}));
    assert_eq!(webhook.asked().len(), 1);
    let listed = root.get(V2).await.ok();
    assert!(listed["items"].as_array().unwrap().iter().all(|i| i["spec"]["schedule"] == "x"), "{listed}");
    let asked = webhook.asked();
    // All of a list at once, but for the one that is known already.
    assert_eq!((asked.len(), asked[0]["objects"].as_array().map(Vec::len)), (1, Some(2)));
    let table =
        root.get_as(V2, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!(table["items"].as_array().map(Vec::len), Some(3));
    // A write is checked in the version of the request, and stored in the other.
    let long = root.post(V2, tab_in("v2", "d", json!({"schedule": "too long"}))).await.refused(422);
    assert!(long.contains("spec.schedule"), "{long}");
    let made = root.post(V2, tab_in("v2", "d", json!({"schedule": "y"}))).await.ok();
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["schedule"]),
        (&json!("stable.example.com/v2"), &json!("y"))
    );
    assert_eq!(root.get(&format!("{TABS}/d")).await.ok()["spec"]["cronSpec"], "y");
    let patched = root.patch(&format!("{V2}/d"), MERGE, json!({"spec": {"schedule": "z"}})).await.ok();
    assert_eq!(patched["spec"]["schedule"], "z");
    assert_eq!(root.get(&format!("{TABS}/d")).await.ok()["spec"]["cronSpec"], "z");
    let stored =
        world.server.store().snapshot().get("/registry/stable.example.com/crontabs/default/d").unwrap();
    let stored: Value = serde_json::from_slice(&stored.json).unwrap();
    assert_eq!(stored["spec"]["cronSpec"], "z");
    root.delete(V2).await.ok();
    assert_eq!(root.get(TABS).await.ok()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_of_converted_objects() {
    let (world, root) = world().await;
    let webhook = Webhook::answering(answer).await;
    root.define(converted_by(&webhook, "/convert")).await;
    root.post(TABS, tab("a", json!({"cronSpec": "x"}))).await.ok();
    let client = world.client_of(User {
        name: "root".into(),
        groups: vec!["system:masters".into()],
        ..User::default()
    });
    let resource = kube::core::ApiResource {
        group: "stable.example.com".into(),
        version: "v2".into(),
        api_version: "stable.example.com/v2".into(),
        kind: "CronTab".into(),
        plural: "crontabs".into(),
    };
    let tabs: Api<kube::api::DynamicObject> = Api::namespaced_with(client, "default", &resource);
    let mut events = tabs.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    root.patch(&format!("{TABS}/a"), MERGE, json!({"spec": {"cronSpec": "y"}})).await.ok();
    root.delete(&format!("{TABS}/a")).await.ok();
    let mut told = Vec::new();
    while told.len() < 3 {
        let (word, object) = match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(o) => ("ADDED", o),
            WatchEvent::Modified(o) => ("MODIFIED", o),
            WatchEvent::Deleted(o) => ("DELETED", o),
            other => panic!("{other:?}"),
        };
        told.push(format!("{word} {}", object.data["spec"]["schedule"]));
    }
    assert_eq!(told, ["ADDED \"x\"", "MODIFIED \"y\"", "DELETED \"y\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_said_in_the_references_words() {
    let (_world, root) = world().await;
    let webhook = Webhook::answering(answer).await;
    let stranger = Webhook::answering(answer).await;
    root.define(converted_by(&webhook, "/convert")).await;
    root.post(TABS, tab("a", json!({"cronSpec": "x"}))).await.ok();
    let at = |path: &str| format!("https://127.0.0.1:{}{path}", webhook.port);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let failed = "failed: ";
    let post = |path: &str, why: &str| format!("{failed}Post \"{}?timeout=30s\": {why}", at(path));
    let cases = [
        ("/fails", client(&webhook, "/fails"), format!("{failed}cannot convert")),
        ("/uid", client(&webhook, "/uid"), format!("{failed}expected response.uid=")),
        ("/garbage", client(&webhook, "/garbage"), format!("{failed}couldn't get version/kind; json parse error")),
        ("/500", client(&webhook, "/500"), format!("{failed}an error on the server (\"broken\") has prevented")),
        ("/loses", client(&webhook, "/loses"), "returned 0 objects, expected 1".to_owned()),
        (
            "/renames",
            client(&webhook, "/renames"),
            "returned invalid object: must have the same name: a != other".to_owned(),
        ),
        (
            "/version",
            client(&webhook, "/version"),
            "returned invalid object at index 0: invalid groupVersion (expected stable.example.com/v2, received \
             stable.example.com/v3)"
                .to_owned(),
        ),
        (
            "/tls",
            json!({"url": at("/tls"), "caBundle": stranger.ca}),
            post("/tls", "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        ),
        (
            "/nobody",
            json!({"url": format!("https://127.0.0.1:{nobody}/"), "caBundle": webhook.ca}),
            format!("{failed}Post \"https://127.0.0.1:{nobody}/?timeout=30s\": dial tcp 127.0.0.1:{nobody}: connect: "),
        ),
        (
            "/service",
            json!({"service": {"namespace": "default", "name": "none", "path": "/x"}, "caBundle": webhook.ca}),
            format!("{failed}Post \"https://none.default.svc:443/x?timeout=30s\": service \"none\" not found"),
        ),
    ];
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    for (case, client, words) in cases {
        let change = json!({"spec": {"conversion": {"webhook": {"clientConfig": null}}}});
        let mut change = change;
        change["spec"]["conversion"]["webhook"]["clientConfig"] = client;
        for key in ["url", "service"] {
            let client = &mut change["spec"]["conversion"]["webhook"]["clientConfig"];
            if client.get(key).is_none() {
                client[key] = Value::Null;
            }
        }
        root.patch(&path, MERGE, change).await.ok();
        let wanted = format!("conversion webhook for stable.example.com/v1, Kind=CronTab {words}");
        for path in [format!("{V2}/a"), V2.to_owned()] {
            let said = root.get(&path).await.refused(500);
            assert!(said.starts_with(&wanted), "{case}: {said}\n{wanted}");
        }
        // Those who ask in the version in which it is stored need no webhook.
        root.get(&format!("{TABS}/a")).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_may_change_labels_and_nothing_else_of_metadata() {
    let (_world, root) = world().await;
    let webhook = Webhook::answering(answer).await;
    root.define(converted_by(&webhook, "/labels")).await;
    let made = root.post(TABS, tab("a", json!({"cronSpec": "x"}))).await.ok();
    let seen = root.get(&format!("{V2}/a")).await.ok();
    assert_eq!(seen["metadata"]["labels"], json!({"converted": "yes"}));
    for key in ["uid", "resourceVersion", "generation", "managedFields"] {
        assert_eq!(seen["metadata"][key], made["metadata"][key], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_webhook_for_longer_than_it_may_take() {
    let clock = Clock::stepped("2026-01-01T00:00:00Z".parse().unwrap());
    let world = World::start_with(|config| config.clock = clock.clone()).await;
    let root = Root::of(&world.server);
    let webhook = Webhook::answering(answer).await;
    root.define(converted_by(&webhook, "/slow")).await;
    root.post(TABS, tab("a", json!({"cronSpec": "x"}))).await.ok();
    let reader = root.clone();
    let reading = tokio::spawn(async move { reader.get(&format!("{V2}/a")).await });
    while webhook.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(29));
    tokio::task::yield_now().await;
    assert!(!reading.is_finished());
    clock.advance(Duration::from_secs(1));
    let answered = Clock::system().timeout(Duration::from_secs(10), reading).await;
    let url = format!("https://127.0.0.1:{}/slow?timeout=30s", webhook.port);
    assert_eq!(
        answered.expect("the answer comes").unwrap().refused(500),
        format!(
            "conversion webhook for stable.example.com/v1, Kind=CronTab failed: Post \"{url}\": context deadline exceeded"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_loses_in_its_own_version_what_is_changed_in_another() {
    let (_world, root) = world().await;
    let webhook = Webhook::answering(answer).await;
    root.define(converted_by(&webhook, "/convert")).await;
    let one = format!("{TABS}?fieldManager=one");
    root.post(&one, tab("a", json!({"cronSpec": "x", "replicas": 1}))).await.ok();
    let two = format!("{V2}/a?fieldManager=two");
    let changed = root.patch(&two, MERGE, json!({"spec": {"schedule": "y"}})).await.ok();
    let fields = |manager: &str| {
        let entries = changed["metadata"]["managedFields"].as_array().unwrap();
        let entry = entries.iter().find(|e| e["manager"] == manager).unwrap();
        entry["fieldsV1"]["f:spec"].clone()
    };
    assert_eq!(fields("one"), json!({".": {}, "f:image": {}, "f:replicas": {}}));
    assert_eq!(fields("two"), json!({"f:schedule": {}}));
}
