//! Webhooks and admission policies: when they are asked, what their answers do, and that nothing hangs on bad ones.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A webhook that answers as its path says, and remembers what it was asked.
pub(crate) struct Webhook {
    pub(crate) port: u16,
    pub(crate) ca: String,
    asked: Arc<Mutex<Vec<Value>>>,
    connections: Arc<AtomicUsize>,
}

impl Webhook {
    async fn start() -> Webhook {
        Webhook::answering(answer).await
    }

    pub(crate) async fn answering<F, A>(answer: F) -> Webhook
    where
        F: Fn(Request<hyper::body::Incoming>, Arc<Mutex<Vec<Value>>>) -> A + Copy + Send + 'static,
        A: Future<Output = Result<http::Response<Full<Bytes>>, Infallible>> + Send + 'static,
    {
        let pki = Pki::memory(&ServingNames::default(), &Clock::system()).unwrap();
        let tls = TlsAcceptor::from(pki.server_config().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, connections) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<AtomicUsize>::default());
        let (seen, count) = (asked.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, seen, count) = (tls.clone(), seen.clone(), count.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(tcp).await else { return };
                    count.fetch_add(1, Ordering::SeqCst);
                    let service = service_fn(move |request| answer(request, seen.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Webhook { port, ca: STANDARD.encode(pki.ca_pem()), asked, connections }
    }

    /// One webhook of a configuration, for ConfigMaps of the namespace `default`.
    fn hook(&self, path: &str, change: Value) -> Value {
        let mut hook = json!({
            "name": "it.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
            "clientConfig": {"url": format!("https://127.0.0.1:{}{path}", self.port), "caBundle": self.ca},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
        for (key, value) in change.as_object().unwrap() {
            hook[key] = value.clone();
        }
        hook
    }

    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn patch(operations: Value) -> (bool, Value) {
    (true, json!({"patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())}))
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(review["request"].clone());
    let has_label = review["request"]["object"]["metadata"]["labels"]["late"].is_string();
    let (allowed, more) = match &*path {
        "/deny" => {
            (false, json!({"status": {"message": "not on my watch", "code": 409, "reason": "Conflict"}}))
        }
        "/silent" => (false, json!({})),
        "/warn" => (true, json!({"warnings": ["think twice"]})),
        "/uid" => (true, json!({"uid": "another"})),
        "/early" if has_label => patch(json!([{"op": "add", "path": "/data/saw", "value": "late"}])),
        "/late" => patch(json!([{"op": "add", "path": "/metadata/labels", "value": {"late": "yes"}}])),
        "/label" => patch(json!([{"op": "add", "path": "/data/added", "value": "here"}])),
        "/badpatch" => patch(json!([{"op": "remove", "path": "/no/such"}])),
        "/slow" => {
            Clock::system().sleep(Duration::from_secs(30)).await;
            (true, json!({}))
        }
        _ => (true, json!({})),
    };
    let mut response = json!({"uid": review["request"]["uid"], "allowed": allowed});
    for (key, value) in more.as_object().unwrap() {
        response[key] = value.clone();
    }
    let (code, body) = match &*path {
        "/garbage" => (200, "no JSON at all".to_owned()),
        "/empty" => {
            (200, json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string())
        }
        "/other" => (200, json!({"apiVersion": "v1", "kind": "Pod", "response": response}).to_string()),
        "/500" => (500, "broken".to_owned()),
        "/404" => (404, String::new()),
        _ => {
            let review =
                json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
            (200, review.to_string())
        }
    };
    Ok(http::Response::builder().status(code).body(Full::new(body.into())).unwrap())
}

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// `Err` is the code and message of a refusal.
async fn send(client: &Client, method: &str, path: &str, body: Value) -> Result<Value, (u16, String)> {
    let request = Request::builder().method(method).uri(path).body(body.to_string().into_bytes()).unwrap();
    match client.request::<Value>(request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err((status.code, status.message)),
        Err(e) => panic!("{method} {path}: {e}"),
    }
}

async fn configure(client: &Client, mutating: bool, name: &str, hooks: Vec<Value>) {
    let (plural, kind) = if mutating {
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration")
    } else {
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration")
    };
    let body = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": hooks});
    let path = format!("{REGISTRATION}/{plural}");
    let _ = send(client, "DELETE", &format!("{path}/{name}"), json!({})).await;
    send(client, "POST", &path, body).await.unwrap();
}

fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "v"}})
}

async fn world() -> (World, Client) {
    let world = World::start().await;
    let root = world.client_of(User {
        name: "root".into(),
        groups: vec!["system:masters".into()],
        ..User::default()
    });
    (world, root)
}

#[tokio::test]
async fn every_failure_of_a_webhook_is_judged_by_its_policy() {
    let (_world, root) = world().await;
    let webhook = Webhook::start().await;
    let other = STANDARD.encode(Pki::memory(&ServingNames::default(), &Clock::system()).unwrap().ca_pem());
    let url = |path: &str| format!("https://127.0.0.1:{}{path}", webhook.port);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let post =
        |path: &str, why: &str| format!("failed to call webhook: Post \"{}?timeout=2s\": {why}", url(path));
    let cases = [
        ("/slow", json!({}), post("/slow", "context deadline exceeded")),
        ("/garbage", json!({}), "failed to call webhook: couldn't get version/kind; json parse error".to_owned()),
        ("/500", json!({}), "failed to call webhook: an error on the server (\"broken\") has prevented the request from succeeding".to_owned()),
        ("/404", json!({}), "failed to call webhook: the server could not find the requested resource".to_owned()),
        ("/empty", json!({}), "received invalid webhook response: webhook response was absent".to_owned()),
        ("/other", json!({}), "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /v1, Kind=Pod".to_owned()),
        ("/uid", json!({}), "received invalid webhook response: expected response.uid=".to_owned()),
        (
            "/tls",
            json!({"clientConfig": {"url": url("/tls"), "caBundle": other}}),
            post("/tls", "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        ),
        (
            "/gone",
            json!({"clientConfig": {"url": format!("https://127.0.0.1:{nobody}/gone"), "caBundle": webhook.ca}}),
            format!("failed to call webhook: Post \"https://127.0.0.1:{nobody}/gone?timeout=2s\": dial tcp 127.0.0.1:{nobody}: connect: connection refused"),
        ),
        (
            "/service",
            json!({"clientConfig": {"service": {"namespace": "default", "name": "none", "path": "/x"}, "caBundle": webhook.ca}}),
            "failed to call webhook: Post \"https://none.default.svc:443/x?timeout=2s\": service \"none\" not found".to_owned(),
        ),
    ];
    for mutating in [false, true] {
        for (i, (path, change, words)) in cases.iter().enumerate() {
            configure(&root, mutating, "it", vec![webhook.hook(path, change.clone())]).await;
            let begun = Clock::system().now();
            let (code, message) = send(&root, "POST", MAPS, config_map("c")).await.unwrap_err();
            assert_eq!(code, 500, "{path}: {message}");
            let wanted =
                format!("Internal error occurred: failed calling webhook \"it.example.com\": {words}");
            assert!(message.starts_with(&wanted), "{path}:\n{message}\n{wanted}");
            let took = Clock::system().now().duration_since(begun);
            assert!(took.as_secs() < 10, "{path} took {took:?}");
            let mut open = webhook.hook(path, change.clone());
            open["failurePolicy"] = json!("Ignore");
            configure(&root, mutating, "it", vec![open]).await;
            let name = format!("open-{mutating}-{i}");
            send(&root, "POST", MAPS, config_map(&name)).await.unwrap();
        }
        configure(&root, mutating, "it", vec![]).await;
    }
}

#[tokio::test]
async fn what_a_webhook_says_is_done() {
    let (_world, root) = world().await;
    let webhook = Webhook::start().await;
    configure(&root, false, "v", vec![webhook.hook("/deny", json!({}))]).await;
    let refused = send(&root, "POST", MAPS, config_map("a")).await.unwrap_err();
    let words = "admission webhook \"it.example.com\" denied the request: not on my watch";
    assert_eq!(refused, (409, words.to_owned()));
    let request = webhook.asked().remove(0);
    assert_eq!(request["operation"], "CREATE");
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!((&request["namespace"], &request["name"]), (&json!("default"), &json!("a")));
    assert_eq!(request["userInfo"], json!({"username": "root", "groups": ["system:masters"]}));
    assert_eq!(request["object"]["data"], json!({"k": "v"}));
    assert_eq!((&request["oldObject"], &request["dryRun"]), (&Value::Null, &json!(false)));

    configure(&root, false, "v", vec![webhook.hook("/silent", json!({}))]).await;
    let refused = send(&root, "POST", MAPS, config_map("a")).await.unwrap_err();
    let words = "admission webhook \"it.example.com\" denied the request without explanation";
    assert_eq!(refused, (400, words.to_owned()));

    configure(&root, false, "v", vec![webhook.hook("/warn", json!({}))]).await;
    let request = Request::post(MAPS).body(config_map("warned").to_string().into_bytes().into()).unwrap();
    let answer = root.send(request).await.unwrap();
    assert_eq!(answer.headers()["warning"], "299 - \"think twice\"");

    configure(&root, true, "m", vec![webhook.hook("/label", json!({}))]).await;
    let made = send(&root, "POST", MAPS, config_map("b")).await.unwrap();
    assert_eq!(made["data"], json!({"k": "v", "added": "here"}));
    webhook.asked();
    send(&root, "DELETE", &format!("{MAPS}/b"), json!({})).await.unwrap();
    let request = webhook.asked().pop().unwrap();
    assert_eq!((&request["operation"], &request["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(request["oldObject"]["data"]["added"], "here");

    configure(&root, true, "m", vec![webhook.hook("/badpatch", json!({}))]).await;
    let (code, _) = send(&root, "POST", MAPS, config_map("c")).await.unwrap_err();
    assert_eq!(code, 500);
    // Whatever the hooks say, they can be taken away, and nothing but ConfigMaps of this namespace is their business.
    configure(
        &root,
        false,
        "v",
        vec![webhook.hook(
            "/deny",
            json!({"rules": [{"operations": ["*"],
        "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}], "namespaceSelector": {}}),
        )],
    )
    .await;
    send(&root, "POST", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.unwrap_err();
    send(&root, "DELETE", &format!("{REGISTRATION}/validatingwebhookconfigurations/v"), json!({}))
        .await
        .unwrap();
    send(&root, "POST", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.unwrap();
}

#[tokio::test]
async fn webhooks_are_asked_only_about_what_they_are_for() {
    let (_world, root) = world().await;
    let webhook = Webhook::start().await;
    let cases = [
        (json!({}), true),
        (json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}), false),
        (json!({"objectSelector": {"matchLabels": {"a": "b"}}}), false),
        (
            json!({"rules": [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}),
            false,
        ),
        (
            json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "scope": "Cluster"}]}),
            false,
        ),
        (
            json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "scope": "Namespaced"}]}),
            true,
        ),
        (
            json!({"rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps/status"]}]}),
            false,
        ),
        (json!({"matchConditions": [{"name": "c", "expression": "object.data.k == 'v'"}]}), true),
        (
            json!({"matchConditions": [{"name": "c", "expression": "request.userInfo.username != 'root'"}]}),
            false,
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "authorizer.group('').resource('pods').check('get').allowed()"}]}),
            true,
        ),
    ];
    for (i, (change, is_asked)) in cases.into_iter().enumerate() {
        configure(&root, false, "v", vec![webhook.hook("/allow", change.clone())]).await;
        send(&root, "POST", MAPS, config_map(&format!("c{i}"))).await.unwrap();
        assert_eq!(!webhook.asked().is_empty(), is_asked, "{change}");
    }
    let failing = json!({"matchConditions": [{"name": "c", "expression": "object.data.nothing == 'v'"}]});
    configure(&root, false, "v", vec![webhook.hook("/allow", failing)]).await;
    let (code, message) = send(&root, "POST", MAPS, config_map("f")).await.unwrap_err();
    assert_eq!(code, 403, "{message}");
    assert!(message.contains("resulted in error: no such key: nothing"), "{message}");
}

#[tokio::test]
async fn equivalent_versions_are_seen_in_the_version_asked_for() {
    let (_world, root) = world().await;
    let webhook = Webhook::start().await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"]}]);
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let body = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}})
    };
    for (policy, count) in [("Exact", 0), ("Equivalent", 1)] {
        let change = json!({"rules": rules, "matchPolicy": policy});
        configure(&root, false, "v", vec![webhook.hook("/allow", change)]).await;
        send(&root, "POST", path, body(&policy.to_lowercase())).await.unwrap();
        let asked = webhook.asked();
        assert_eq!(asked.len(), count, "{policy}");
        if let Some(request) = asked.first() {
            assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
            assert_eq!(request["resource"]["version"], "v1");
            assert_eq!(request["requestResource"]["version"], "v2");
        }
    }
}

#[tokio::test]
async fn who_wants_to_sees_again_what_others_changed() {
    let (_world, root) = world().await;
    let webhook = Webhook::start().await;
    let early =
        webhook.hook("/early", json!({"name": "early.example.com", "reinvocationPolicy": "IfNeeded"}));
    let late = webhook.hook("/late", json!({"name": "late.example.com"}));
    configure(&root, true, "m", vec![early, late]).await;
    let made = send(&root, "POST", MAPS, config_map("r")).await.unwrap();
    assert_eq!(made["metadata"]["labels"], json!({"late": "yes"}));
    assert_eq!(made["data"]["saw"], "late");
    assert_eq!(webhook.asked().len(), 3);
    assert_eq!(webhook.connections.load(Ordering::SeqCst), 1, "a connection was not used again");
}

#[tokio::test]
async fn a_dry_run_asks_only_who_has_no_side_effects() {
    let (_world, root) = world().await;
    let webhook = Webhook::start().await;
    let path = format!("{MAPS}?dryRun=All");
    configure(&root, false, "v", vec![webhook.hook("/allow", json!({"sideEffects": "NoneOnDryRun"}))]).await;
    send(&root, "POST", &path, config_map("d")).await.unwrap();
    assert_eq!(webhook.asked()[0]["dryRun"], true);
}

#[tokio::test]
async fn a_binding_and_an_eviction_are_each_asked_about_once() {
    let (_world, root) = world().await;
    let account = json!({"metadata": {"name": "default"}});
    let _ = send(&root, "POST", "/api/v1/namespaces/default/serviceaccounts", account).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    send(&root, "POST", pods, pod).await.unwrap();
    let webhook = Webhook::start().await;
    let rules =
        json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods/*"]}]);
    configure(&root, false, "v", vec![webhook.hook("/allow", json!({"rules": rules}))]).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    send(&root, "POST", &format!("{pods}/p/binding?dryRun=All"), binding.clone()).await.unwrap();
    send(&root, "POST", &format!("{pods}/p/binding"), binding).await.unwrap();
    send(&root, "POST", &format!("{pods}/p/eviction"), json!({"metadata": {"name": "p"}})).await.unwrap();
    let seen: Vec<_> = webhook
        .asked()
        .iter()
        .map(|r| format!("{} {} {} {}", r["operation"], r["subResource"], r["kind"]["kind"], r["dryRun"]))
        .collect();
    assert_eq!(
        seen,
        [
            r#""CREATE" "binding" "Binding" true"#,
            r#""CREATE" "binding" "Binding" false"#,
            r#""CREATE" "eviction" "Eviction" false"#
        ]
    );
}

fn policy(name: &str, spec: Value) -> Value {
    let mut whole = json!({"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{
        "operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["configmaps"]}]}});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": whole})
}

fn binding(name: &str, change: Value) -> Value {
    let mut spec = json!({"policyName": name, "validationActions": ["Deny"], "matchResources": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": format!("{name}-binding")}, "spec": spec})
}

async fn bind(root: &Client, policy_spec: Value, binding_spec: Value) {
    for (plural, name) in
        [("validatingadmissionpolicybindings", "p-binding"), ("validatingadmissionpolicies", "p")]
    {
        let _ = send(root, "DELETE", &format!("{REGISTRATION}/{plural}/{name}"), json!({})).await;
    }
    let path = format!("{REGISTRATION}/validatingadmissionpolicies");
    send(root, "POST", &path, policy("p", policy_spec)).await.unwrap();
    let path = format!("{REGISTRATION}/validatingadmissionpolicybindings");
    send(root, "POST", &path, binding("p", binding_spec)).await.unwrap();
}

/// What a policy with these specs says of a ConfigMap with the data `k: v`.
async fn verdict(root: &Client, policy_spec: Value, binding_spec: Value) -> String {
    bind(root, policy_spec, binding_spec).await;
    match send(root, "POST", &format!("{MAPS}?dryRun=All"), config_map("c")).await {
        Ok(_) => "allowed".to_owned(),
        Err((code, message)) => format!("{code} {message}"),
    }
}

const DENIED: &str =
    "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: ";

#[tokio::test]
async fn policies_refuse_in_the_words_of_the_reference() {
    let (_world, root) = world().await;
    let one = |validation: Value| json!({"validations": [validation]});
    let cases = [
        (one(json!({"expression": "object.data.k == 'v'"})), "allowed".to_owned()),
        (
            one(json!({"expression": "object.data.k == 'w'"})),
            format!("422 {DENIED}failed expression: object.data.k == 'w'"),
        ),
        (
            one(json!({"expression": "false", "message": "no", "reason": "Forbidden"})),
            format!("403 {DENIED}no"),
        ),
        (
            one(
                json!({"expression": "false", "message": "no", "messageExpression": "'k is ' + object.data.k"}),
            ),
            format!("422 {DENIED}k is v"),
        ),
        (
            one(json!({"expression": "false", "message": "no", "messageExpression": "object.nothing"})),
            format!("422 {DENIED}no"),
        ),
        (
            one(json!({"expression": "object.data.x == ''"})),
            format!("422 {DENIED}expression 'object.data.x == ''' resulted in error: no such key: x"),
        ),
        (
            json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.data.x == ''"}]}),
            "allowed".to_owned(),
        ),
        (
            json!({"matchConditions": [{"name": "m", "expression": "object.data.k == 'w'"}], "validations": [{"expression": "false"}]}),
            "allowed".to_owned(),
        ),
        (
            json!({"variables": [{"name": "k", "expression": "object.data.k"}, {"name": "kk", "expression": "variables.k + variables.k"}],
            "validations": [{"expression": "variables.kk != 'vv'", "messageExpression": "'it is ' + variables.kk"}]}),
            format!("422 {DENIED}it is vv"),
        ),
        (
            one(
                json!({"expression": "request.operation == 'CREATE' && request.dryRun && request.userInfo.username == 'root' && namespaceObject.metadata.name == 'default' && oldObject == null"}),
            ),
            "allowed".to_owned(),
        ),
        (
            one(
                json!({"expression": "authorizer.requestResource.check('create').allowed() && !has(request.subResource)"}),
            ),
            "allowed".to_owned(),
        ),
        (
            one(
                json!({"expression": "[1, 2].all(x, lists.range(1000).all(y, lists.range(1000).all(z, z + y + x >= 0)))"}),
            ),
            format!(
                "422 {DENIED}expression '[1, 2].all(x, lists.range(1000).all(y, lists.range(1000).all(z, z + y + x >= 0)))' resulted in error: operation cancelled: actual cost limit exceeded"
            ),
        ),
    ];
    for (spec, wanted) in cases {
        assert_eq!(verdict(&root, spec.clone(), json!({})).await, wanted, "{spec}");
    }
    let excluded = json!({"matchResources": {"excludeResourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]}]}});
    assert_eq!(verdict(&root, one(json!({"expression": "false"})), excluded).await, "allowed");
    bind(
        &root,
        one(json!({"expression": "false", "message": "no"})),
        json!({"validationActions": ["Warn", "Audit"]}),
    )
    .await;
    let request = Request::post(MAPS).body(config_map("warned").to_string().into_bytes().into()).unwrap();
    let answer = root.send(request).await.unwrap();
    assert_eq!(
        answer.headers()["warning"],
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-binding': no\""
    );
}

#[tokio::test]
async fn policies_take_parameters() {
    let (_world, root) = world().await;
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "object.data.k == params.data.k", "messageExpression": "'wanted ' + params.data.k"}]});
    for (name, k) in [("good", "v"), ("bad", "w")] {
        let body = json!({"metadata": {"name": name, "labels": {"param": "yes"}}, "data": {"k": k}});
        send(&root, "POST", MAPS, body).await.unwrap();
    }
    let by = |param: Value| json!({"paramRef": param});
    let cases = [
        (by(json!({"name": "good", "parameterNotFoundAction": "Deny"})), "allowed".to_owned()),
        (by(json!({"name": "bad", "parameterNotFoundAction": "Deny"})), format!("422 {DENIED}wanted w")),
        (
            by(json!({"name": "none", "parameterNotFoundAction": "Deny"})),
            format!(
                "422 {DENIED}failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            ),
        ),
        (by(json!({"name": "none", "parameterNotFoundAction": "Allow"})), "allowed".to_owned()),
        (
            by(json!({"selector": {"matchLabels": {"param": "yes"}}, "parameterNotFoundAction": "Deny"})),
            format!("422 {DENIED}wanted w"),
        ),
        (
            by(json!({"name": "good", "namespace": "kube-system", "parameterNotFoundAction": "Allow"})),
            "allowed".to_owned(),
        ),
    ];
    for (binding, wanted) in cases {
        assert_eq!(verdict(&root, spec.clone(), binding.clone()).await, wanted, "{binding}");
    }
}

#[tokio::test]
async fn expressions_are_checked_when_they_are_written() {
    let (_world, root) = world().await;
    let path = format!("{REGISTRATION}/validatingadmissionpolicies");
    let refused = |spec: Value| {
        let (root, path) = (root.clone(), path.clone());
        async move { send(&root, "POST", &path, policy("p", spec)).await.unwrap_err().1 }
    };
    let said = refused(json!({"validations": [{"expression": "nothing == 1"}]})).await;
    assert!(said.contains("spec.validations[0].expression: Invalid value: \"nothing == 1\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')\n | nothing == 1\n | ^"), "{said}");
    let said = refused(json!({"validations": [{"expression": "1"}]})).await;
    assert!(
        said.contains("spec.validations[0].expression: Invalid value: \"1\": must evaluate to bool"),
        "{said}"
    );
    let said = refused(json!({"validations": [{"expression": "true", "messageExpression": "1"}]})).await;
    assert!(
        said.contains("spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string"),
        "{said}"
    );
    let said = refused(json!({"variables": [{"name": "x", "expression": "y"}], "validations": [{"expression": "variables.x == 1"}]})).await;
    assert!(
        said.contains("spec.variables[0].expression: Invalid value: \"y\": compilation failed"),
        "{said}"
    );
    let said = refused(json!({"matchConditions": [{"name": "c", "expression": "1"}], "validations": [{"expression": "true"}]})).await;
    assert!(
        said.contains("spec.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool"),
        "{said}"
    );
    let said = refused(json!({"validations": [{"expression": "params == null"}]})).await;
    assert!(said.contains("undeclared reference to 'params'"), "{said}");
}

/// What a mutating policy with these mutations makes of a ConfigMap with the data `k: v`.
async fn mutated(root: &Client, spec: Value) -> Result<Value, String> {
    for (plural, name) in
        [("mutatingadmissionpolicybindings", "m-binding"), ("mutatingadmissionpolicies", "m")]
    {
        let _ = send(root, "DELETE", &format!("{REGISTRATION}/{plural}/{name}"), json!({})).await;
    }
    let mut policy = policy("m", json!({"reinvocationPolicy": "Never"}));
    policy["kind"] = json!("MutatingAdmissionPolicy");
    for (key, value) in spec.as_object().unwrap() {
        policy["spec"][key] = value.clone();
    }
    let path = format!("{REGISTRATION}/mutatingadmissionpolicies");
    send(root, "POST", &path, policy).await.map_err(|(_, why)| why)?;
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "m-binding"}, "spec": {"policyName": "m"}});
    send(root, "POST", &format!("{REGISTRATION}/mutatingadmissionpolicybindings"), binding).await.unwrap();
    let made = send(root, "POST", &format!("{MAPS}?dryRun=All"), config_map("c")).await;
    made.map_err(|(code, why)| format!("{code} {why}"))
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn json_patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

#[tokio::test]
async fn mutating_policies_change_objects() {
    let (_world, root) = world().await;
    let labelled = "Object{metadata: Object.metadata{labels: {'a': variables.k}}, data: {'more': 'yes'}}";
    let spec = json!({"variables": [{"name": "k", "expression": "object.data.k"}], "mutations": [
        apply(labelled),
        json_patch("[JSONPatch{op: 'test', path: '/data/k', value: 'v'}, JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('x/y'.replace('/', '.')), value: object.metadata.labels.a}]"),
        json_patch("[JSONPatch{op: 'test', path: '/data/k', value: 'other'}, JSONPatch{op: 'remove', path: '/data/k'}]"),
    ]});
    let made = mutated(&root, spec).await.unwrap();
    assert_eq!(made["metadata"]["labels"], json!({"a": "v"}));
    assert_eq!(made["data"], json!({"k": "v", "more": "yes", "x.y": "v"}));

    let failing = json!({"mutations": [json_patch("[JSONPatch{op: 'remove', path: '/no/such'}]")]});
    let why = mutated(&root, failing.clone()).await.unwrap_err();
    let words =
        "422 configmaps \"c\" is forbidden: policy 'm' with binding 'm-binding' denied request: JSON Patch: ";
    assert!(why.starts_with(words), "{why}");
    let mut open = failing;
    open["failurePolicy"] = json!("Ignore");
    assert_eq!(mutated(&root, open).await.unwrap()["data"], json!({"k": "v"}));

    let unmet = json!({"matchConditions": [{"name": "no", "expression": "false"}], "mutations": [apply(labelled)],
        "variables": [{"name": "k", "expression": "'x'"}]});
    assert_eq!(mutated(&root, unmet).await.unwrap()["data"], json!({"k": "v"}));
    let misnamed = json!({"mutations": [apply("Object{metadata: Object.spec{}}")]});
    let why = mutated(&root, misnamed).await.unwrap_err();
    assert!(why.contains("unexpected type name \"Object.spec\", expected \"Object.metadata\""), "{why}");
    let why = mutated(&root, json!({"mutations": [apply("[JSONPatch{op: 'add', path: '/a'}]")]}))
        .await
        .unwrap_err();
    assert!(why.contains("spec.mutations[0].applyConfiguration.expression: Invalid value:"), "{why}");
    assert!(why.contains("must evaluate to Object"), "{why}");
}

/// What a request to connect is answered with.
async fn connect(root: &Client, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Vec::<u8>::new().into()).unwrap();
    let answer = root.send(request).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap_or_default();
    (code, status["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn hooks_see_what_a_request_to_connect_asks_for() {
    let (_world, root) = world().await;
    let webhook = Webhook::start().await;
    let rules = |resources: Value| {
        json!({"rules": [{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": resources}], "namespaceSelector": {}})
    };
    let subs = rules(json!(["pods/exec", "pods/attach", "pods/portforward", "nodes/proxy"]));
    configure(&root, false, "v", vec![webhook.hook("/deny", subs)]).await;
    let denied = "admission webhook \"it.example.com\" denied the request: not on my watch".to_owned();
    let pod = "/api/v1/namespaces/default/pods/p";
    let cases = [
        (
            format!("{pod}/exec?command=ls&command=-l&stdout=true&container=c"),
            json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdout": true, "container": "c", "command": ["ls", "-l"]}),
        ),
        (
            format!("{pod}/attach?stdin=true&tty=true"),
            json!({"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": true, "tty": true}),
        ),
        (
            format!("{pod}/portforward?ports=80"),
            json!({"kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": [80]}),
        ),
        (
            "/api/v1/nodes/n/proxy/healthz".to_owned(),
            json!({"kind": "NodeProxyOptions", "apiVersion": "v1", "path": "/healthz"}),
        ),
    ];
    for (path, options) in cases {
        // Nobody looks for the Pod before they are asked.
        assert_eq!(connect(&root, &path).await, (409, denied.clone()), "{path}");
        let request = webhook.asked().remove(0);
        assert_eq!(request["object"], options, "{path}");
        assert_eq!((&request["operation"], &request["oldObject"]), (&json!("CONNECT"), &Value::Null));
        assert_eq!((&request["options"], &request["dryRun"]), (&Value::Null, &json!(false)));
        assert_eq!(request["kind"]["kind"], options["kind"]);
        assert_eq!(
            request["subResource"].as_str(),
            path.split(['/', '?']).find(|p| { ["exec", "attach", "portforward", "proxy"].contains(p) })
        );
    }
    configure(&root, false, "v", vec![]).await;
    let spec = json!({"matchConstraints": {"resourceRules": [{"operations": ["CONNECT"], "apiGroups": [""],
            "apiVersions": ["v1"], "resources": ["pods/exec"]}]},
        "validations": [{"expression": "!object.command.exists(c, c == 'sh')", "message": "no shells"}]});
    bind(&root, spec, json!({})).await;
    let (code, words) = connect(&root, &format!("{pod}/exec?command=sh")).await;
    let refused = "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: no shells";
    assert_eq!((code, words.as_str()), (422, refused));
    // Whom the hooks let pass is looked for.
    assert_eq!(connect(&root, &format!("{pod}/exec?command=ls")).await.0, 404);
}
