//! What the cluster tells about itself: the parts of the control plane, and which APIs are served by whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_clock::Clock;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

use crate::World;
use crate::proofs::denials::root;

const STATUSES: &str = "/api/v1/componentstatuses";
const ROWS: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

struct Told {
    code: u16,
    warnings: Vec<String>,
    text: String,
    body: Value,
}

async fn ask(world: &World, method: &str, path: &str, accept: &str, body: &Value) -> Told {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
    let request = request.header(ACCEPT, accept).body(Full::new(Bytes::from(bytes))).unwrap();
    let answer = world.server.local(root()).call(request).await.unwrap();
    let warnings = answer.headers().get_all(WARNING).iter().map(|w| w.to_str().unwrap().to_owned()).collect();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Told { code, warnings, body: serde_json::from_slice(&bytes).unwrap_or_default(), text }
}

async fn get(world: &World, path: &str) -> Told {
    ask(world, "GET", path, "application/json", &Value::Null).await
}

#[tokio::test(flavor = "multi_thread")]
async fn components_say_how_they_are() {
    let world = World::start().await;
    let is_well = Arc::new(AtomicBool::new(true));
    let asked = is_well.clone();
    world.server.tell_of("scheduler", move || {
        if asked.load(Ordering::Relaxed) { Ok(()) } else { Err("it has ended".to_owned()) }
    });
    let one = get(&world, &format!("{STATUSES}/scheduler")).await;
    let healthy = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    assert_eq!(
        (one.code, &one.body),
        (
            200,
            &json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": "scheduler"}, "conditions": healthy})
        )
    );
    assert_eq!(one.warnings, ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    is_well.store(false, Ordering::Relaxed);
    let all = get(&world, STATUSES).await.body;
    let rows: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| (i["metadata"]["name"].as_str().unwrap(), i["conditions"][0]["status"].as_str().unwrap()))
        .collect();
    // Nobody has told this server of controllers.
    assert_eq!(rows, [("controller-manager", "False"), ("etcd-0", "True"), ("scheduler", "False")]);
    let selected = get(&world, &format!("{STATUSES}?fieldSelector=metadata.name%3Detcd-0")).await.body;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = ask(&world, "GET", STATUSES, table, &Value::Null).await.body;
    assert_eq!(table["rows"][1]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    let missing = get(&world, &format!("{STATUSES}/nobody")).await;
    assert_eq!((missing.code, missing.body["message"].as_str()), (500, Some("Component not found: nobody")));
    assert_eq!(missing.warnings.len(), 1, "a refusal is told with its warnings");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_deprecated() {
    let world = World::start().await;
    let list = get(&world, "/api/v1/endpoints").await;
    let words = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    assert_eq!(list.warnings, [words]);
    assert_eq!(get(&world, "/api/v1/services").await.warnings, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_here_has_api_services() {
    let world = World::start().await;
    let apps = get(&world, &format!("{ROWS}/v1.apps")).await.body;
    assert_eq!(
        apps["spec"],
        json!({"group": "apps", "groupPriorityMinimum": 17800, "version": "v1", "versionPriority": 15})
    );
    assert_eq!(apps["metadata"]["labels"], json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"}));
    let mut condition = apps["status"]["conditions"][0].clone();
    condition.as_object_mut().unwrap().remove("lastTransitionTime");
    let local = json!({"type": "Available", "status": "True", "reason": "Local",
        "message": "Local APIServices are always available"});
    assert_eq!(condition, local);
    let core = get(&world, &format!("{ROWS}/v1.")).await.body;
    assert_eq!(core["spec"], json!({"groupPriorityMinimum": 18000, "version": "v1", "versionPriority": 1}));
    let all = get(&world, ROWS).await.body;
    let groups = get(&world, "/apis").await.body["groups"].as_array().unwrap().clone();
    let versions: usize = groups.iter().map(|g| g["versions"].as_array().unwrap().len()).sum();
    // The core group is not among these, their own group has none.
    assert_eq!(all["items"].as_array().unwrap().len(), versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_is_to_serve_is_unavailable() {
    let world = World::start().await;
    let row = json!({"metadata": {"name": "v1.metrics.example.com"}, "spec": {"group": "metrics.example.com",
        "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
        "service": {"namespace": "default", "name": "metrics"}}});
    assert_eq!(get(&world, "/apis/metrics.example.com/v1/nodes").await.code, 404);
    let made = ask(&world, "POST", ROWS, "application/json", &row).await;
    assert_eq!((made.code, &made.body["status"]), (201, &json!({})));
    for path in ["/apis/metrics.example.com/v1", "/apis/metrics.example.com/v1/nodes"] {
        let answer = get(&world, path).await;
        assert_eq!((answer.code, answer.text.as_str()), (503, "service unavailable\n"), "{path}");
    }
    let one = format!("{ROWS}/v1.metrics.example.com");
    for _ in 0..500 {
        let condition = &get(&world, &one).await.body["status"]["conditions"][0];
        if condition["status"] == "False" {
            assert_eq!(condition["reason"], "ServiceNotFound");
            assert_eq!(condition["message"], "service/metrics in \"default\" is not present");
            return;
        }
        Clock::system().sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody says that it is not available");
}

/// CBORServingAndStorage is off in 1.36: nobody is spoken to in CBOR, nor heard.
#[tokio::test(flavor = "multi_thread")]
async fn cbor_is_not_spoken() {
    const CBOR: &str = "application/cbor";
    let world = World::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let refused = ask(&world, "GET", maps, CBOR, &Value::Null).await;
    let words = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                 application/vnd.kubernetes.protobuf, application/json;stream=watch, \
                 application/vnd.kubernetes.protobuf;stream=watch";
    assert_eq!((refused.code, refused.body["reason"].as_str()), (406, Some("NotAcceptable")));
    assert_eq!(refused.body["message"], words);
    // Whoever would take something else gets that.
    assert_eq!(
        ask(&world, "GET", maps, "application/cbor, application/json;q=0.9", &Value::Null).await.code,
        200
    );
    // {"metadata": {"name": "c"}}, in CBOR.
    let body = b"\xa1\x68metadata\xa1\x64name\x61c".to_vec();
    let kinds = [
        ("POST", maps.to_owned(), CBOR),
        ("PUT", format!("{maps}/c"), CBOR),
        ("PATCH", format!("{maps}/c"), "application/apply-patch+cbor"),
    ];
    for (method, path, media) in kinds {
        let request = Request::builder().method(method).uri(&path).header(CONTENT_TYPE, media);
        let request = request.body(Full::new(Bytes::from(body.clone()))).unwrap();
        let answer = world.server.local(root()).call(request).await.unwrap();
        assert_eq!(answer.status(), 415, "{method}");
        let status: Value =
            serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        let words = match method {
            "PATCH" => "415: Unsupported Media Type",
            _ => {
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml, application/vnd.kubernetes.protobuf"
            }
        };
        assert_eq!(
            (status["reason"].as_str(), status["message"].as_str()),
            (Some("UnsupportedMediaType"), Some(words))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_id_of_the_clients_is_said_again() {
    let world = World::start().await;
    let answer = async |id: &str| {
        let mut request = Request::get("/api/v1/nodes/none");
        if !id.is_empty() {
            request = request.header("Audit-ID", id);
        }
        let answer =
            world.server.local(root()).call(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 404, "refusals have one, too");
        answer.headers()["audit-id"].to_str().unwrap().to_owned()
    };
    let long = "x".repeat(100);
    for id in ["mine", &long] {
        assert_eq!(answer(id).await, id);
    }
    let (first, second) = (answer("").await, answer("").await);
    assert!(uuid::Uuid::parse_str(&first).is_ok() && first != second, "{first} {second}");
}

/// What a deletion answers of the kinds that give back the object is its last state, as watchers are told it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_says_the_revision_of_its_deletion() {
    let world = World::start().await;
    const TEMPLATES: &str = "/api/v1/namespaces/default/podtemplates";
    let template = json!({"metadata": {"name": "t", "uid": ""}, "template": {"spec": {"containers": [
        {"name": "c", "image": "i"}]}}});
    let json = "application/json";
    for accept in [json, "application/yaml", "application/vnd.kubernetes.protobuf, application/json"] {
        let made = ask(&world, "POST", TEMPLATES, json, &template).await.body;
        let one = format!("{TEMPLATES}/t");
        let tried = ask(&world, "DELETE", &format!("{one}?dryRun=All"), json, &Value::Null).await.body;
        assert_eq!(tried, made);
        let gone = ask(&world, "DELETE", &one, accept, &Value::Null).await;
        assert_eq!(get(&world, &one).await.code, 404);
        let since = made["metadata"]["resourceVersion"].as_str().unwrap();
        let watch = format!("{TEMPLATES}?watch=1&timeoutSeconds=1&resourceVersion={since}");
        let told: Value = serde_json::from_str(&get(&world, &watch).await.text).unwrap();
        assert_eq!(told["type"], "DELETED");
        let revision = told["object"]["metadata"]["resourceVersion"].as_str().unwrap();
        assert!(revision.parse::<u64>().unwrap() > since.parse().unwrap());
        assert!(gone.text.contains(revision), "{}", gone.text);
        if accept == json {
            assert_eq!(gone.body, told["object"]);
        }
    }
}
