//! What is authorised is what is served, however the request is spelled: URLs, queries and headers that try to be read
//! in two ways.

use bytes::Bytes;
use coracle_api::User;
use http::Request;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tower::Service;

use super::counted;
use super::denials::{grant, root};
use crate::World;

/// Requests, and in full.
const REQUESTS: (usize, usize) = (3_000, 100_000);
/// What stands in every object that jane must not see.
const TREASURE: &str = "the-treasure";

/// One request line with its headers.
#[derive(Debug, Clone)]
struct Attempt {
    method: &'static str,
    url: String,
    headers: Vec<(&'static str, String)>,
}

/// A path to what jane may read or must not, in pieces.
fn a_path() -> impl Strategy<Value = Vec<&'static str>> {
    let paths: Vec<Vec<&str>> = vec![
        vec!["api", "v1", "namespaces", "open", "configmaps", "plain"],
        vec!["api", "v1", "namespaces", "closed", "configmaps", "treasure"],
        vec!["api", "v1", "namespaces", "open", "secrets", "treasure"],
        vec!["api", "v1", "namespaces", "closed", "secrets", "treasure"],
        vec!["api", "v1", "namespaces", "closed", "configmaps"],
        vec!["api", "v1", "namespaces", "open", "secrets"],
        vec!["api", "v1", "namespaces", "open", "configmaps"],
        vec!["api", "v1", "watch", "namespaces", "closed", "configmaps"],
        vec!["api", "v1", "configmaps"],
        vec!["api", "v1", "secrets"],
        vec!["api", "v1", "configmaps", "treasure"],
        vec!["api", "v1", "namespaces", "closed", "status"],
        vec!["apis", "", "v1", "namespaces", "closed", "configmaps", "treasure"],
        vec!["api", "v1", "proxy", "namespaces", "closed", "configmaps", "treasure"],
    ];
    select(paths)
}

#[derive(Debug, Clone)]
enum Trick {
    /// Put this before the piece of that number.
    Insert(usize, &'static str),
    /// Escape all letters of a piece, so many times over.
    Escape(usize, u8),
    /// Put this at a piece's end.
    Append(usize, &'static str),
    /// Escape the slash before a piece.
    EscapeSlash(usize, &'static str),
    Upper(usize),
    TrailingSlash,
    LeadingSlash,
}

fn a_trick() -> impl Strategy<Value = Trick> {
    const INSERTS: [&str; 12] = [
        "",
        ".",
        "..",
        "%2e",
        "%2e%2e",
        ".%2E",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "open/..",
        "../open",
        "namespaces/open/..",
        "\\..\\",
    ];
    const APPENDS: [&str; 13] =
        [";a=b", ";", "%00", "%20", "%09", "%0a", "%23", "%3f", "%3b", ".json", "%2f", "%5c", "%ef%bc%8f"];
    const SLASHES: [&str; 4] = ["%2f", "%2F", "%252f", "%5c"];
    prop_oneof![
        (0..8_usize, select(&INSERTS[..])).prop_map(|(at, what)| Trick::Insert(at, what)),
        (0..8_usize, 1..3_u8).prop_map(|(at, times)| Trick::Escape(at, times)),
        (0..8_usize, select(&APPENDS[..])).prop_map(|(at, what)| Trick::Append(at, what)),
        (1..8_usize, select(&SLASHES[..])).prop_map(|(at, what)| Trick::EscapeSlash(at, what)),
        (0..8_usize).prop_map(Trick::Upper),
        Just(Trick::TrailingSlash),
        Just(Trick::LeadingSlash),
    ]
}

fn spelled(pieces: &[&str], tricks: &[Trick]) -> String {
    let mut parts: Vec<(String, String)> = pieces.iter().map(|p| ("/".to_owned(), (*p).to_owned())).collect();
    let mut end = "";
    for trick in tricks {
        let count = parts.len();
        match trick {
            Trick::Insert(at, what) => parts.insert(at % count, ("/".into(), (*what).into())),
            Trick::Escape(at, times) => {
                let piece = &mut parts[at % count].1;
                for _ in 0..*times {
                    *piece = piece.bytes().map(|b| format!("%{b:02x}")).collect();
                }
            }
            Trick::Append(at, what) => parts[at % count].1 += what,
            Trick::EscapeSlash(at, what) => parts[at % count].0 = (*what).into(),
            Trick::Upper(at) => {
                let piece = &mut parts[at % count].1;
                *piece = piece.to_uppercase();
            }
            Trick::TrailingSlash => end = "/",
            Trick::LeadingSlash => parts[0].0 += "/",
        }
    }
    let path: String = parts.into_iter().flat_map(|(slash, piece)| [slash, piece]).collect();
    // A request line begins with a slash, whatever stands in it.
    format!("{}{path}{end}", if path.starts_with('/') { "" } else { "/" })
}

fn a_query() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "",
            "",
            "",
            "?watch=true&timeoutSeconds=1&resourceVersion=1",
            "?namespace=closed",
            "?name=treasure",
            "?fieldSelector=metadata.name%3Dplain",
            "?fieldSelector=metadata.namespace%3Dclosed",
            "?fieldSelector=metadata.name=plain&fieldSelector=metadata.name=treasure",
            "?labelSelector=a%3Db;watch=1",
            "?path=/api/v1/namespaces/closed/secrets/treasure",
            "?_method=DELETE",
            "?resourceVersion=0",
            "?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vY2xvc2VkL1x1MDAwMCJ9",
            "?dryRun=All",
            "?watch=false&watch=true",
            "?%77atch=1&timeoutSeconds=1",
            "?as=root",
        ][..],
    )
}

fn some_headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let closed = "/api/v1/namespaces/closed/secrets/treasure";
    let odd = [
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "PUT"),
        ("x-method-override", "DELETE"),
        ("x-original-url", closed),
        ("x-rewrite-url", closed),
        ("x-forwarded-uri", closed),
        ("x-forwarded-prefix", "/api/v1/namespaces/closed"),
        ("x-remote-user", "root"),
        ("x-remote-group", "system:masters"),
        ("x-remote-extra-scopes", "all"),
        ("x-forwarded-for", "127.0.0.1"),
        ("host", "kubernetes.default"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ("accept", "application/vnd.kubernetes.protobuf"),
    ];
    let owned: Vec<_> = odd.into_iter().map(|(k, v)| (k, v.to_owned())).collect();
    prop::collection::vec(select(owned), 0..3)
}

fn an_attempt() -> impl Strategy<Value = Attempt> {
    let methods = [
        "GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get",
        "FOO",
    ];
    let path = (a_path(), prop::collection::vec(a_trick(), 0..4))
        .prop_map(|(pieces, tricks)| spelled(&pieces, &tricks));
    (select(methods.to_vec()), path, a_query(), some_headers())
        .prop_map(|(method, path, query, headers)| Attempt { method, url: path + query, headers })
}

async fn send(world: &World, user: &User, attempt: &Attempt) -> Option<(u16, Bytes)> {
    let mut request = Request::builder().method(attempt.method).uri(&attempt.url);
    for (key, value) in &attempt.headers {
        request = request.header(*key, value);
    }
    // What is no URL at all never reaches the server.
    let request = request.body(Full::new(Bytes::from_static(b"{}"))).ok()?;
    let answer = world.server.local(user.clone()).call(request).await.unwrap();
    let code = answer.status().as_u16();
    Some((code, answer.into_body().collect().await.unwrap().to_bytes()))
}

async fn furnished() -> World {
    let world = World::start().await;
    for namespace in ["open", "closed"] {
        let body = json!({"metadata": {"name": namespace, "annotations": {"t": if namespace == "open" { "" } else { TREASURE }}}});
        assert_eq!(world.by(&root(), "POST", "/api/v1/namespaces", &body.to_string()).await.0, 201);
    }
    let objects = [
        ("open", "configmaps", "plain", "nothing"),
        ("closed", "configmaps", "treasure", TREASURE),
        ("closed", "configmaps", "plain", TREASURE),
        ("open", "secrets", "treasure", TREASURE),
        ("closed", "secrets", "treasure", TREASURE),
    ];
    for (namespace, plural, name, words) in objects {
        let body = json!({"metadata": {"name": name, "annotations": {"t": words}}, "data": {}});
        let path = format!("/api/v1/namespaces/{namespace}/{plural}");
        assert_eq!(world.by(&root(), "POST", &path, &body.to_string()).await.0, 201);
    }
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/open";
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]);
    let role = json!({"metadata": {"name": "reader"}, "rules": rules});
    let binding = json!({"metadata": {"name": "reader"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}});
    for (plural, body) in [("roles", role), ("rolebindings", binding)] {
        assert_eq!(world.by(&root(), "POST", &format!("{path}/{plural}"), &body.to_string()).await.0, 201);
    }
    world
}

/// All that jane could have changed.
async fn state(world: &World) -> Vec<Value> {
    let mut out = Vec::new();
    for path in ["/api/v1/configmaps", "/api/v1/secrets", "/api/v1/namespaces"] {
        out.push(world.by(&root(), "GET", path, "").await.1["items"].take());
    }
    out
}

#[test]
fn row_10_what_is_authorised_is_what_is_served() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(furnished());
    let before = runtime.block_on(state(&world));
    let jane = User { name: "jane".into(), ..User::default() };
    let config = Config { cases: counted(REQUESTS) as u32, failure_persistence: None, ..Config::default() };
    let counts = std::cell::RefCell::new(std::collections::BTreeMap::<u16, u32>::new());
    let done = TestRunner::new(config).run(&an_attempt(), |attempt| {
        let Some((code, body)) = runtime.block_on(send(&world, &jane, &attempt)) else { return Ok(()) };
        *counts.borrow_mut().entry(code).or_default() += 1;
        let said = String::from_utf8_lossy(&body);
        prop_assert!(!said.contains(TREASURE), "{:?}: {} {}", attempt, code, said);
        prop_assert!(code != 500, "{:?}: {}", attempt, said);
        Ok(())
    });
    done.unwrap_or_else(|e| panic!("{e}"));
    println!("answers by code: {:?}", counts.borrow());
    assert!(counts.borrow().contains_key(&200), "some ways lead to what jane may read");
    assert_eq!(runtime.block_on(state(&world)), before, "and nothing was changed");
}

/// Headers by which a proxy or a method override would speak are no credentials.
#[tokio::test(flavor = "multi_thread")]
async fn row_9_foreign_identities_need_a_right() {
    let world = World::start().await;
    let rules = json!([{"apiGroups": [""], "resources": ["users"], "resourceNames": ["joe"], "verbs": ["impersonate"]}]);
    grant(&world, "jane", &rules).await;
    let jane = User { name: "jane".into(), ..User::default() };
    let who = async |headers: &[(&'static str, &str)]| {
        let headers = headers.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        let attempt = Attempt { method: "GET", url: "/api/v1/nodes".into(), headers };
        let (code, body) = send(&world, &jane, &attempt).await.unwrap();
        (code, serde_json::from_slice::<Value>(&body).unwrap()["message"].as_str().unwrap().to_owned())
    };
    let cannot = |user: &str| {
        format!(
            "nodes is forbidden: User \"{user}\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
        )
    };
    assert_eq!(
        who(&[("x-remote-user", "root"), ("x-remote-group", "system:masters")]).await,
        (403, cannot("jane"))
    );
    assert_eq!(who(&[("impersonate-user", "joe")]).await, (403, cannot("joe")));
    for headers in [
        [("impersonate-user", "root"), ("accept", "*/*")],
        [("impersonate-user", "joe"), ("impersonate-group", "system:masters")],
        [("impersonate-user", "joe"), ("impersonate-uid", "1")],
        [("impersonate-user", "joe"), ("impersonate-extra-%61%2F", "x")],
    ] {
        let (code, said) = who(&headers).await;
        assert!(code == 403 && said.contains("User \"jane\" cannot impersonate"), "{headers:?}: {said}");
    }
    for header in ["impersonate-group", "impersonate-uid", "impersonate-extra-a"] {
        let (code, said) = who(&[(header, "x")]).await;
        assert!(code == 400 && said.ends_with("without impersonating a user name"), "{header} alone: {said}");
    }
}
