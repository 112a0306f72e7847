//! Ways to more power than one has: each is tried over the API, and nothing is gained by it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_api::User;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::denials::{grant, root};
use crate::World;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

fn jane() -> User {
    User { name: "jane".into(), ..User::default() }
}

/// What the user is told to a request.
async fn told(world: &World, user: &User, method: &str, path: &str, body: &Value) -> (u16, String) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (code, answer) = world.by(user, method, path, &body).await;
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

async fn started(rules: Value) -> World {
    let world = World::start().await;
    grant(&world, "jane", &rules).await;
    let made =
        told(&world, &root(), "POST", "/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await;
    assert_eq!(made.0, 201, "{}", made.1);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_who_may_write_roles_grants_no_more_than_they_hold() {
    let all = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
    let world = started(json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": all, "verbs": ["create", "get", "update", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]))
    .await;
    let rule = |resources: &[&str], verbs: &[&str]| json!([{"apiGroups": [""], "resources": resources, "verbs": verbs}]);
    let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
    let roles = format!("{RBAC}/namespaces/ns/roles");
    let cluster_roles = format!("{RBAC}/clusterroles");
    assert_eq!(told(&world, &jane(), "POST", &roles, &role("own", rule(&["pods"], &["get"]))).await.0, 201);
    let more = [
        rule(&["secrets"], &["get"]),
        rule(&["*"], &["get"]),
        rule(&["pods"], &["*"]),
        rule(&["pods/*"], &["get"]),
        rule(&["pods/exec"], &["get"]),
        json!([{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]}]),
        json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]),
    ];
    for (n, rules) in more.iter().enumerate() {
        let is_path = rules[0].get("nonResourceURLs").is_some();
        let (path, name) = if is_path { (&cluster_roles, "more") } else { (&roles, "more") };
        let (code, words) = told(&world, &jane(), "POST", path, &role(name, rules.clone())).await;
        assert_eq!(code, 403, "{n}: {words}");
        assert!(words.contains("is attempting to grant RBAC permissions not currently held"), "{words}");
        if !is_path {
            let one = format!("{roles}/own");
            assert_eq!(told(&world, &jane(), "PUT", &one, &role("own", rules.clone())).await.0, 403, "{n}");
        }
    }
    let aggregating = json!({"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
    let (code, words) = told(&world, &jane(), "POST", &cluster_roles, &aggregating).await;
    assert!(code == 403 && words.contains("must have cluster-admin privileges"), "{words}");
    // A part of the role admin would be handed to every admin by its label.
    let mut part = role("part", rule(&["secrets"], &["get"]));
    part["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-admin": "true"});
    assert_eq!(told(&world, &jane(), "POST", &cluster_roles, &part).await.0, 403);
    let binding = |role: &str| {
        json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "jane"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    for path in [format!("{RBAC}/clusterrolebindings"), format!("{RBAC}/namespaces/ns/rolebindings")] {
        for role in ["cluster-admin", "admin", "system:node"] {
            assert_eq!(told(&world, &jane(), "POST", &path, &binding(role)).await.0, 403, "{path} {role}");
        }
    }
    assert_eq!(told(&world, &jane(), "GET", "/api/v1/namespaces/ns/secrets/s", &Value::Null).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_names_in_a_rule_allow_no_more_than_these() {
    let verbs = ["create", "get", "list", "deletecollection", "update", "delete"];
    let world = started(
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs, "resourceNames": ["x"]}]),
    )
    .await;
    let map = |name: &str| json!({"metadata": {"name": name}});
    // Before it is there, an object has no name that a rule could mean.
    assert_eq!(told(&world, &jane(), "POST", MAPS, &map("x")).await.0, 403);
    for name in ["x", "y"] {
        assert_eq!(told(&world, &root(), "POST", MAPS, &map(name)).await.0, 201);
    }
    let cases = [
        ("GET", MAPS.to_owned(), 403),
        ("GET", format!("{MAPS}?fieldSelector=metadata.name%3Dx"), 200),
        ("GET", format!("{MAPS}?fieldSelector=metadata.name%3Dy"), 403),
        ("GET", format!("{MAPS}?fieldSelector=metadata.name%21%3Dx"), 403),
        ("GET", format!("{MAPS}?fieldSelector=metadata.name%3Dx,metadata.name%3Dy"), 200),
        ("GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Dx".to_owned(), 200),
        ("DELETE", MAPS.to_owned(), 403),
        ("GET", format!("{MAPS}/x"), 200),
        ("GET", format!("{MAPS}/y"), 403),
        ("DELETE", format!("{MAPS}/y"), 403),
        ("DELETE", format!("{MAPS}/x"), 200),
    ];
    for (method, path, code) in cases {
        let (got, words) = told(&world, &jane(), method, &path, &Value::Null).await;
        assert_eq!(got, code, "{method} {path}: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_wildcards_mean_what_they_say() {
    let pod = "/api/v1/namespaces/ns/pods/p";
    let paths = ["", "/log", "/exec", "/status"];
    // 404 is a Pod that one may look for.
    let cases: [(&str, [u16; 4]); 6] = [
        ("pods", [404, 403, 403, 403]),
        ("pods/*", [403, 403, 403, 403]),
        ("*/log", [403, 404, 403, 403]),
        ("pods/status", [403, 403, 403, 404]),
        ("*", [404, 404, 404, 404]),
        ("po*", [403, 403, 403, 403]),
    ];
    for (resource, wanted) in cases {
        let world =
            started(json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get", "create"]}])).await;
        let mut got = [0; 4];
        for (path, code) in paths.iter().zip(&mut got) {
            *code = told(&world, &jane(), "GET", &format!("{pod}{path}"), &Value::Null).await.0;
        }
        assert_eq!(got, wanted, "{resource}");
    }
}

/// A request for a certificate, as a client sends it.
fn request(name: &str, groups: &[&str], signer: &str) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    json!({"metadata": {"name": "r"}, "spec": {"request": STANDARD.encode(pem), "signerName": signer,
        "usages": ["client auth"]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_signers_make_no_masters_and_serve_only_whom_they_are_granted_to() {
    const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
    let of_requests = |resources: &[&str], verbs: &[&str]| json!({"apiGroups": ["certificates.k8s.io"], "resources": resources, "verbs": verbs});
    let world = started(json!([
        of_requests(&["certificatesigningrequests"], &["create", "get", "update"]),
        of_requests(
            &["certificatesigningrequests/approval", "certificatesigningrequests/status"],
            &["get", "update"]
        )
    ]))
    .await;
    let (code, words) =
        told(&world, &jane(), "POST", REQUESTS, &request("jane", &["system:masters"], CLIENT)).await;
    let refused =
        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
    assert!(code == 403 && words.contains(refused), "{words}");
    let sent = request("jane", &["dev"], CLIENT);
    assert_eq!(told(&world, &jane(), "POST", REQUESTS, &sent).await.0, 201);
    let one = format!("{REQUESTS}/r");
    let (_, stored) = world.by(&jane(), "GET", &one, "").await;
    assert_eq!(stored["spec"]["username"], "jane", "who asks is not for the request to say");
    let mut changed = stored.clone();
    changed["spec"]["request"] = request("root", &["system:masters"], CLIENT)["spec"]["request"].clone();
    changed["spec"]["username"] = json!("root");
    told(&world, &jane(), "PUT", &one, &changed).await;
    let (_, after) = world.by(&jane(), "GET", &one, "").await;
    assert_eq!(after["spec"], stored["spec"], "what was asked for stays");
    let mut stored = after;
    stored["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": ""}]});
    let (code, words) = told(&world, &jane(), "PUT", &format!("{one}/approval"), &stored).await;
    assert!(
        code == 403 && words.contains("not permitted to approve requests with signerName"),
        "{code} {words}"
    );
    stored["status"] = json!({"certificate": STANDARD.encode("x")});
    let (code, words) = told(&world, &jane(), "PUT", &format!("{one}/status"), &stored).await;
    assert!(
        code == 403 && words.contains("not permitted to sign requests with signerName"),
        "{code} {words}"
    );
}
