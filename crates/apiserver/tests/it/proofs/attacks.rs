//! Attacks that need no more than a request, by their row in the project's table of attacks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coracle_api::User;
use coracle_api::codec::json::MAX_DEPTH;
use coracle_clock::Clock;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

use super::denials::root;
use crate::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The reference's bound on a body.
const BODY_MAX: usize = 3 * 1024 * 1024;
/// Nothing that a stranger sends may keep a core for as long: a second, and ten in debug builds, which on busy machines
/// are so much slower than what is shipped.
const PROMPT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
/// By so much, at most, one bad request may make the server grow, which runs in this process.
const GROWTH_MAX: u64 = 64 << 20;

/// The most memory that the process had resident since `begin`, and what it had then.
struct Peak(u64);

impl Peak {
    fn begin() -> Peak {
        // 5: forget the highest mark there was (proc(5)).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Peak(Peak::read("VmRSS:"))
    }

    fn read(key: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    fn growth(&self) -> u64 {
        Peak::read("VmHWM:").saturating_sub(self.0)
    }
}

impl World {
    pub(super) async fn raw(&self, method: &str, path: &str, content: &str, body: Vec<u8>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, content);
        let request = request.header(ACCEPT, "application/json").body(Full::new(Bytes::from(body))).unwrap();
        let began = Clock::system().elapsed();
        let answer = self.server.local(root()).call(request).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let took = Clock::system().elapsed().saturating_sub(began);
        assert!(took < PROMPT, "{method} {path} took {took:?}");
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn map(&self, name: &str) {
        let body = json!({"metadata": {"name": name}, "data": {"a": "1"}}).to_string().into_bytes();
        assert_eq!(self.raw("POST", MAPS, "application/json", body).await.0, 201);
    }
}

/// Ten lines, each a list of ten of the line before: a billion values.
fn billion_laughs() -> String {
    let line = |name: char, of: char| format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(","));
    let mut out = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    out.extend(('b'..='j').zip('a'..).map(|(name, of)| line(name, of)));
    out
}

/// Each line puts the line before into the innermost of a few hundred lists.
fn deepening() -> String {
    let deep = |inner: &str| "[".repeat(300) + inner + &"]".repeat(300);
    let mut out = format!("l0: &l0 {}\n", deep("x"));
    out.extend((1..300).map(|n| format!("l{n}: &l{n} {}\n", deep(&format!("*l{}", n - 1)))));
    out
}

/// Anchors within anchors, around a text of megabytes: each would keep a copy.
fn hoarding() -> String {
    let anchors: String = (0..900).map(|n| format!("&a{n} [")).collect();
    anchors + &"x".repeat(BODY_MAX - 20_000) + &"]".repeat(900)
}

/// Bodies by their media types, none of which is an object.
fn bombs() -> Vec<(&'static str, String)> {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        [open.repeat(depth), inner.to_owned(), close.repeat(depth)].concat()
    };
    let quoted = |text: String| format!(r#"{{"metadata":{{"name":"b"}},"data":{text}}}"#);
    vec![
        ("application/yaml", billion_laughs()),
        (
            "application/yaml",
            format!("metadata: {{name: b}}\ndata:\n{}", billion_laughs().replace('\n', "\n  ")),
        ),
        ("application/yaml", deepening()),
        ("application/yaml", hoarding()),
        ("application/yaml", format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(500_000))),
        ("application/yaml", nested("[", "", "]", 100_000)),
        ("application/yaml", "- ".repeat(100_000)),
        ("application/yaml", "? ".repeat(100_000)),
        ("application/json", nested("[", "", "]", 100_000)),
        ("application/json", quoted(nested(r#"{"a":"#, "1", "}", 100_000))),
        ("application/json", "[".repeat(BODY_MAX)),
        ("application/json", quoted("1".repeat(1_000_000))),
        ("application/json", quoted(format!("1e{}", "9".repeat(1_000)))),
        ("application/json", quoted(format!("{{{}}}", vec![r#""a":1"#; 100_000].join(",")))),
        ("application/vnd.kubernetes.protobuf", "k8s\0".to_owned() + &"\u{a}\u{7f}".repeat(100_000)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn row_5_bombs_are_refused_and_do_not_go_off() {
    let world = World::start().await;
    for (media, bomb) in bombs() {
        let start: String = bomb.chars().take(40).collect();
        let bomb = bomb.into_bytes();
        let peak = Peak::begin();
        let (code, _) = world.raw("POST", MAPS, media, bomb).await;
        assert!((400..500).contains(&code), "{code}: {media} {start}");
        let growth = peak.growth();
        assert!(growth < GROWTH_MAX, "{} MiB: {media} {start}", growth >> 20);
    }
    world.map("alive").await;
}

/// All of them at once, while somebody else asks.
#[tokio::test(flavor = "multi_thread")]
async fn row_5_bombs_harm_nobody() {
    let world = World::start().await;
    let attack = async {
        let mut server = world.server.local(root());
        let thrown = bombs().into_iter().map(|(media, bomb)| {
            let request = Request::post(MAPS).header(CONTENT_TYPE, media).body(Full::new(Bytes::from(bomb)));
            tokio::spawn(server.call(request.unwrap()))
        });
        let thrown: Vec<_> = thrown.collect();
        for answer in thrown {
            assert!(answer.await.unwrap().unwrap().status().is_client_error());
        }
    };
    world.beside(attack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_5_a_body_has_three_mebibytes() {
    let world = World::start().await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let path = if method == "POST" { MAPS.to_owned() } else { format!("{MAPS}/x") };
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let (code, status) = world.raw(method, &path, media, vec![b' '; BODY_MAX + 1]).await;
        assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")), "{method}");
        assert_ne!(world.raw(method, &path, media, vec![b' '; BODY_MAX]).await.0, 413, "{method}");
    }
}

/// Each patch is small enough, what they make together is not.
#[tokio::test(flavor = "multi_thread")]
async fn row_5_an_object_does_not_grow_without_bounds() {
    let world = World::start().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let body = json!({"metadata": {"name": "fat"}, "rules": []}).to_string().into_bytes();
    assert_eq!(world.raw("POST", path, "application/json", body).await.0, 201);
    let rule = json!({"apiGroups": [""], "resources": ["x".repeat(1 << 20)], "verbs": ["get"]});
    let mut codes = Vec::new();
    for at in ["/rules", "/rules/-", "/rules/-", "/rules/-"] {
        let value = if at == "/rules" { json!([rule]) } else { rule.clone() };
        let patch = json!([{"op": "add", "path": at, "value": value}]).to_string().into_bytes();
        let one = format!("{path}/fat");
        let (code, status) = world.raw("PATCH", &one, "application/json-patch+json", patch).await;
        codes.push(code);
        assert!(code == 200 || status["message"] == "etcdserver: request is too large", "{status}");
    }
    assert_eq!(codes, [200, 200, 500, 500]);
}

/// What is as deep as a body may be can be read back, changed and deleted.
#[test]
fn row_5_deep_objects_stay_usable() {
    // As the program gives to its threads.
    const STACK_BYTES: usize = 8 * 1024 * 1024;
    let deep = || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(deep_objects())
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(deep).unwrap().join().unwrap();
}

async fn deep_objects() {
    let world = World::start().await;
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let depth = MAX_DEPTH - 10;
    for (name, open, close) in [("lists", "[", "]"), ("maps", r#"{"a":"#, "}")] {
        let data = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let body = format!(r#"{{"metadata":{{"name":"{name}"}},"revision":1,"data":{data}}}"#);
        let (code, status) = world.raw("POST", path, "application/json", body.into_bytes()).await;
        assert_eq!(code, 201, "{name}: {status}");
        let one = format!("{path}/{name}");
        let label = json!({"metadata": {"labels": {"a": "b"}}}).to_string().into_bytes();
        let (code, status) = world.raw("PATCH", &one, "application/merge-patch+json", label).await;
        assert_eq!(code, 200, "{name}: {status}");
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for accept in ["application/yaml", "application/vnd.kubernetes.protobuf", table] {
            let request = Request::get(&one).header(ACCEPT, accept).body(Full::new(Bytes::new())).unwrap();
            let answer = world.server.local(root()).call(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{name} as {accept}");
        }
        assert_eq!(world.raw("DELETE", &one, "application/json", Vec::new()).await.0, 200);
    }
}

/// A small patch that puts deep values into each other.
#[tokio::test(flavor = "multi_thread")]
async fn row_6_json_patches_dig_no_deeper_than_bodies() {
    let world = World::start().await;
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let body = json!({"metadata": {"name": "r"}, "revision": 1, "data": {}}).to_string().into_bytes();
    assert_eq!(world.raw("POST", path, "application/json", body).await.0, 201);
    let levels = 100;
    let value: Value =
        serde_json::from_str(&(r#"{"a":"#.repeat(levels) + "{}" + &"}".repeat(levels))).unwrap();
    let at = |n: usize| format!("/data{}", "/a".repeat(n * levels + 1));
    let patch: Vec<Value> =
        (0..60).map(|n| json!({"op": "add", "path": at(n), "value": value["a"].clone()})).collect();
    let (patch, one) = (Value::from(patch).to_string().into_bytes(), format!("{path}/r"));
    let (code, status) = world.raw("PATCH", &one, "application/json-patch+json", patch).await;
    assert_eq!(code, 422, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_6_json_patches_are_bounded() {
    let world = World::start().await;
    world.map("a").await;
    let one = format!("{MAPS}/a");
    let test = json!({"op": "test", "path": "/data/a", "value": "1"});
    let patch = |n: usize| Value::from(vec![test.clone(); n]).to_string().into_bytes();
    const MEDIA: &str = "application/json-patch+json";
    assert_eq!(world.raw("PATCH", &one, MEDIA, patch(10_000)).await.0, 200);
    let (code, status) = world.raw("PATCH", &one, MEDIA, patch(10_001)).await;
    let words =
        "Request entity is too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!((code, status["message"].as_str()), (413, Some(words)));
    // Each copy doubles what is there.
    let mut doubling = vec![json!({"op": "add", "path": "/data/b", "value": "x".repeat(1_000)})];
    doubling.extend((0..40).map(|n| json!({"op": "copy", "from": "/data", "path": format!("/data/c{n}")})));
    let (code, _) = world.raw("PATCH", &one, MEDIA, Value::from(doubling).to_string().into_bytes()).await;
    assert_eq!(code, 422);
    assert_eq!(world.raw("GET", &one, MEDIA, Vec::new()).await.1["data"], json!({"a": "1"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_11_cluster_objects_are_not_reached_through_namespaces() {
    let world = World::start().await;
    let paths = [
        "/api/v1/namespaces/default/nodes",
        "/api/v1/namespaces/default/nodes/n",
        "/api/v1/namespaces/default/persistentvolumes",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/clusterroles/cluster-admin",
        "/apis/apiextensions.k8s.io/v1/namespaces/default/customresourcedefinitions",
        "/apis/apps/v1/namespaces/default/pods",
        "/api/v1/namespaces/default/deployments",
    ];
    for path in paths {
        for method in ["GET", "DELETE"] {
            let (code, status) = world.raw(method, path, "application/json", Vec::new()).await;
            assert_eq!((code, &status["reason"]), (404, &json!("NotFound")), "{method} {path}");
        }
    }
}

/// All that is logged while it lives, at the finest level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.0.lock().unwrap().push(format!("{span:?}"));
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        self.0.lock().unwrap().push(format!("{values:?}"));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn row_13_no_secret_is_logged() {
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let secrets = tracing::subscriber::with_default(log.clone(), || runtime.block_on(secretive()));
    let log = log.0.lock().unwrap().join("\n");
    for secret in secrets {
        assert!(secret.len() > 8 && !log.contains(&secret), "{secret} is in the log");
    }
}

/// Requests with all kinds of credentials, good and bad; returns what must stay between client and server.
async fn secretive() -> Vec<String> {
    let world = World::start().await;
    let admin = world.admin().await;
    world.account(&admin, "default").await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let body = json!({"spec": {"audiences": []}}).to_string().into_bytes();
    let token = world.raw("POST", path, "application/json", body).await.1["status"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let forged = format!("{}x", &token[..token.len() - 8]);
    for credential in [&token, &forged] {
        let request = Request::get("/api/v1/pods").header(AUTHORIZATION, format!("Bearer {credential}"));
        let _ = world.remote(request.body(String::new()).unwrap()).await;
    }
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"k": "very-secret-value"}, "oops": "very-secret-typo"});
    let secret = secret.to_string().into_bytes();
    world.raw("POST", "/api/v1/namespaces/default/secrets", "application/json", secret).await;
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    [vec![token, forged, "very-secret-value".into(), "dmVyeS1zZWNyZXQtdmFsdWU".into()], parts].concat()
}

/// `enforce-mountable-secrets`: every way into a Pod that a secret has.
#[tokio::test(flavor = "multi_thread")]
async fn row_18_an_account_limits_the_secrets_of_its_pods() {
    let world = World::start().await;
    let account = json!({"metadata": {"name": "limited", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "own"}], "imagePullSecrets": [{"name": "pull"}]});
    let path = "/api/v1/namespaces/default";
    let accounts = format!("{path}/serviceaccounts");
    let made = world.raw("POST", &accounts, "application/json", account.to_string().into_bytes()).await;
    assert_eq!(made.0, 201);
    let env =
        |secret: &str| json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
    let from = |secret: &str| json!([{"secretRef": {"name": secret}}]);
    let why =
        |what: &str| format!("{what} is not allowed because service account limited does not reference that");
    let ways = [
        (
            "/spec/volumes",
            json!([{"name": "v", "secret": {"secretName": "other"}}]),
            why("volume with secret.secretName=\"other\"") + " secret",
        ),
        (
            "/spec/containers/0/env",
            env("other"),
            why("container c with envVar E referencing secret.secretName=\"other\"") + " secret",
        ),
        (
            "/spec/containers/0/envFrom",
            from("other"),
            why("container c with envFrom referencing secret.secretName=\"other\"") + " secret",
        ),
        (
            "/spec/initContainers/0/env",
            env("other"),
            why("init container i with envVar E referencing secret.secretName=\"other\"") + " secret",
        ),
        (
            "/spec/initContainers/0/envFrom",
            from("other"),
            why("init container i with envFrom referencing secret.secretName=\"other\"") + " secret",
        ),
        (
            "/spec/imagePullSecrets",
            json!([{"name": "pull"}, {"name": "own"}]),
            why("imagePullSecrets[1].name=\"own\"") + " imagePullSecret",
        ),
        ("/spec/containers/0/envFrom", from("own"), String::new()),
    ];
    for (n, (at, value, why)) in ways.into_iter().enumerate() {
        let mut pod = json!({"metadata": {"name": format!("p{n}")}, "spec": {"serviceAccountName": "limited",
            "volumes": [], "imagePullSecrets": [], "initContainers": [{"name": "i", "image": "i", "env": [], "envFrom": []}],
            "containers": [{"name": "c", "image": "i", "env": [], "envFrom": []}]}});
        *pod.pointer_mut(at).unwrap() = value;
        let (code, status) = world
            .raw("POST", &format!("{path}/pods"), "application/json", pod.to_string().into_bytes())
            .await;
        match why.is_empty() {
            true => assert_eq!(code, 201, "{status}"),
            false => assert_eq!(
                (code, status["message"].as_str()),
                (403, Some(format!("pods \"p{n}\" is forbidden: {why}").as_str()))
            ),
        }
    }
    let ephemeral =
        json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "envFrom": from("other")}]}});
    let at = format!("{path}/pods/p6/ephemeralcontainers");
    let body = ephemeral.to_string().into_bytes();
    let (code, status) = world.raw("PATCH", &at, "application/strategic-merge-patch+json", body).await;
    let why = why("ephemeral container e with envFrom referencing secret.secretName=\"other\"") + " secret";
    assert_eq!(
        (code, status["message"].as_str()),
        (403, Some(format!("pods \"p6\" is forbidden: {why}").as_str()))
    );
}

/// CVE-2021-25735: admission judged the old object as the client told it. A node may not free a Pod of itself by
/// claiming that it never was its own.
#[tokio::test(flavor = "multi_thread")]
async fn row_19_admission_sees_the_true_old_object() {
    let world = World::start().await;
    let node = User::node("mine");
    let names = ["mine", "other"];
    for name in names {
        let body = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
            .to_string()
            .into_bytes();
        assert_eq!(world.raw("POST", "/api/v1/nodes", "application/json", body).await.0, 201);
    }
    // A label that a node may not set, claimed to have been there before.
    for (method, media) in [("PUT", "application/json"), ("PATCH", "application/merge-patch+json")] {
        let mut body = world.raw("GET", "/api/v1/nodes/mine", media, Vec::new()).await.1;
        body["metadata"]["labels"]["node-restriction.kubernetes.io/trusted"] = json!("yes");
        body["metadata"]["managedFields"] = json!([]);
        let request = Request::builder().method(method).uri("/api/v1/nodes/mine").header(CONTENT_TYPE, media);
        let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
        let answer = world.server.local(node.clone()).call(request).await.unwrap();
        assert_eq!(answer.status(), 403, "{method}");
    }
    let labels = world.raw("GET", "/api/v1/nodes/mine", "", Vec::new()).await.1["metadata"]["labels"].take();
    assert_eq!(labels, json!({"kubernetes.io/hostname": "mine"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_36_strangers_make_no_new_series() {
    let world = World::start().await;
    let series = async || {
        let (_, text) = world.by(&root(), "GET", "/metrics", "").await;
        text.as_str().unwrap().lines().filter(|l| l.starts_with("apiserver_request_total")).count()
    };
    for warm in ["/x", "/api/v1/pods"] {
        world.by(&User::anonymous(), "GET", warm, "").await;
        world.by(&User::anonymous(), "FOO", warm, "").await;
    }
    series().await;
    let before = series().await;
    for n in 0..500 {
        let paths = [
            format!("/x{n}"),
            format!("/apis/g{n}/v{n}/r{n}/n{n}"),
            format!("/api/v1/namespaces/n{n}/pods?x={n}"),
        ];
        for path in paths {
            world.by(&User::anonymous(), "GET", &path, "").await;
            world.by(&User::anonymous(), &format!("M{n}"), &path, "").await;
        }
    }
    let after = series().await;
    assert!(after <= before + 4, "{before} series became {after}");
}

/// A selector of so many parts.
type Long = fn(usize) -> String;

/// A quarter of what a URL may have.
const URL_BYTES: usize = 15_000;

/// Long selectors and deep field paths: the time they take grows with their length, and not much faster.
#[tokio::test(flavor = "multi_thread")]
async fn row_37_long_selectors_take_time_in_proportion() {
    let world = World::start().await;
    world.map("a").await;
    let queries: [(&str, Long); 6] = [
        ("labelSelector", |n| vec!["a%3Db"; n].join(",")),
        ("labelSelector", |n| format!("a+in+({})", vec!["b"; n].join(","))),
        ("labelSelector", |n| "(".repeat(n)),
        ("labelSelector", |n| "!".repeat(n)),
        ("fieldSelector", |n| vec!["metadata.name%3Da"; n].join(",")),
        ("fieldSelector", |n| "%5C".repeat(n)),
    ];
    for (key, query) in queries {
        // `raw` asserts that it does not take long.
        let path = format!("{MAPS}?{key}={}", query(URL_BYTES / query(2).len()));
        let (code, _) = world.raw("GET", &path, "", Vec::new()).await;
        assert!(matches!(code, 200 | 400), "{key}: {code}");
    }
    let deep = format!("{{{}}}", r#""f:a":{"#.repeat(400) + &"}".repeat(400));
    let fields = format!(
        r#"{{"metadata":{{"managedFields":[{{"manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{deep}}}]}}}}"#
    );
    let (code, status) =
        world.raw("PATCH", &format!("{MAPS}/a"), "application/merge-patch+json", fields.into_bytes()).await;
    assert!(code < 500, "{status}");
}

/// Expressions that would run for ever are cut, and patterns take time in proportion.
#[tokio::test(flavor = "multi_thread")]
async fn row_37_expressions_are_cut_when_they_cost_too_much() {
    const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
    let world = World::start().await;
    let nested = |depth: usize| {
        let all = |n: usize| format!("object.data.all(k{n}, ");
        (0..depth).map(all).collect::<String>() + "true" + &")".repeat(depth)
    };
    let data: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("k{n}"), json!("a".repeat(50)))).collect();
    let map = json!({"metadata": {"name": "many"}, "data": data}).to_string().into_bytes();
    let cases = [
        (nested(4), "actual cost limit exceeded"),
        ("object.data.all(k, object.data[k].matches('(a+)+$'))".to_owned(), ""),
        ("object.data.all(k, object.data[k].matches('(((a*)*)*)*b'))".to_owned(), "failed expression"),
    ];
    for (n, (expression, words)) in cases.into_iter().enumerate() {
        let name = format!("p{n}");
        let policy = json!({"metadata": {"name": name}, "spec": {"failurePolicy": "Fail", "validations": [{"expression": expression}],
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["configmaps"]}]}}});
        let binding =
            json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        for (plural, body) in
            [("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)]
        {
            let path = format!("{REGISTRATION}/{plural}");
            let (code, status) =
                world.raw("POST", &path, "application/json", body.to_string().into_bytes()).await;
            assert_eq!(code, 201, "{status}");
        }
        // `raw` asserts that it does not take long.
        let (code, status) =
            world.raw("POST", &format!("{MAPS}?dryRun=All"), "application/json", map.clone()).await;
        let said = status["message"].as_str().unwrap_or_default();
        let wanted = if words.is_empty() { 201 } else { 422 };
        assert!(code == wanted && said.contains(words), "{expression}: {code} {said}");
        let one = format!("{REGISTRATION}/validatingadmissionpolicies/{name}");
        assert_eq!(world.raw("DELETE", &one, "application/json", Vec::new()).await.0, 200);
    }
    let deep = [
        nested(200),
        "(".repeat(5_000) + "true" + &")".repeat(5_000),
        "!".repeat(20_000) + "true",
        "[".repeat(9_000),
    ];
    for expression in deep {
        let policy = json!({"metadata": {"name": "deep"}, "spec": {"validations": [{"expression": expression}],
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["configmaps"]}]}}});
        let path = format!("{REGISTRATION}/validatingadmissionpolicies?dryRun=All");
        let (code, status) =
            world.raw("POST", &path, "application/json", policy.to_string().into_bytes()).await;
        assert!(matches!(code, 201 | 422), "{code} {status}");
    }
}

/// Selectors made of the pieces that their grammars know, in any order: each is taken or refused, and none is dear.
#[tokio::test(flavor = "multi_thread")]
async fn row_37_any_selector_is_taken_or_refused() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    const PIECES: [&str; 18] = [
        "a",
        "b.example/c",
        "metadata.name",
        "=",
        "==",
        "!=",
        "!",
        ",",
        "(",
        ")",
        " in ",
        " notin ",
        ">",
        "<",
        "1",
        "\\",
        " ",
        "é",
    ];
    let world = World::start().await;
    world.map("a").await;
    let mut random = StdRng::seed_from_u64(37);
    for _ in 0..super::counted((1_000, 100_000)) {
        let pieces = random.random_range(1..40);
        let selector: String = (0..pieces).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect();
        let escaped: String = selector.bytes().map(|b| format!("%{b:02X}")).collect();
        for key in ["labelSelector", "fieldSelector"] {
            let (code, status) = world.raw("GET", &format!("{MAPS}?{key}={escaped}"), "", Vec::new()).await;
            assert!(matches!(code, 200 | 400), "{key} {selector:?}: {code} {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_38_continue_tokens_stay_in_their_prefix() {
    use base64::Engine as _;
    let world = World::start().await;
    for name in ["a", "b"] {
        world.map(name).await;
    }
    for start in
        ["../secrets/x\\u0000", "a/../../secrets/default/x\\u0000", "./a\\u0000", "..", "../../../etc/passwd"]
    {
        let token = format!(r#"{{"v":"meta.k8s.io/v1","rv":-1,"start":"{start}"}}"#);
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token);
        let (code, status) =
            world.raw("GET", &format!("{MAPS}?limit=1&continue={token}"), "", Vec::new()).await;
        assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{start}: {status}");
    }
    // A start beyond the prefix is behind the last object: an empty end.
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"/zzz\u0000"}"#);
    let (code, list) = world.raw("GET", &format!("{MAPS}?limit=1&continue={token}"), "", Vec::new()).await;
    assert_eq!((code, &list["items"]), (200, &json!([])));
}
