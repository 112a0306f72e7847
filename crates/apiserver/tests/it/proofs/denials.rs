//! Every served route and verb is refused, in the reference's words, to who has no right to it: the cases are made from
//! the table of kinds and held against what discovery says is served, so that nothing can be served without one.

use std::collections::BTreeSet;

use bytes::Bytes;
use coracle_api::catalog::Catalog;
use coracle_api::{Kind, Subresource, User};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

use crate::World;

/// A verb of a resource or subresource, as discovery names them.
type Route = (String, String, String);

struct Case {
    route: Route,
    method: &'static str,
    path: String,
    /// What the 403 says, for a user of this name.
    message: Box<dyn Fn(&str) -> String>,
    details: Value,
}

/// `namespaced` kinds are asked for in a namespace, but for the lists of all namespaces.
fn case(kind: &Kind, sub: Option<Subresource>, verb: &'static str, in_all: bool) -> Case {
    let on_item = sub.is_some() || matches!(verb, "get" | "update" | "patch" | "delete");
    let prefix =
        if kind.group.is_empty() { "/api/v1".into() } else { format!("/apis/{}", kind.api_version()) };
    // A Namespace is within itself.
    let namespace = match &*kind.plural {
        "namespaces" if on_item => "n",
        _ if kind.is_namespaced() && !in_all => "ns",
        _ => "",
    };
    let mut path = prefix;
    if kind.is_namespaced() && !namespace.is_empty() {
        path += "/namespaces/ns";
    }
    path += &format!("/{}", kind.plural);
    let name = if on_item { "n" } else { "" };
    for part in [name, sub.map_or("", Subresource::name)].into_iter().filter(|p| !p.is_empty()) {
        path += &format!("/{part}");
    }
    let method = match verb {
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" | "deletecollection" => "DELETE",
        _ => "GET",
    };
    if verb == "watch" {
        path += "?watch=true";
    }
    let (group, plural) = (kind.group.to_string(), kind.plural.to_string());
    let resource = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
    let named = if name.is_empty() { resource } else { format!("{resource} \"n\"") };
    let whole = sub.map_or_else(|| plural.clone(), |s| format!("{plural}/{}", s.name()));
    let place = match namespace {
        "" => "at the cluster scope".to_owned(),
        ns => format!("in the namespace \"{ns}\""),
    };
    let mut details = json!({});
    for (key, value) in [("name", name), ("group", &group), ("kind", &plural)] {
        if !value.is_empty() {
            details[key] = json!(value);
        }
    }
    let route = (kind.api_version(), whole.clone(), verb.to_owned());
    let message = Box::new(move |user: &str| {
        format!(
            "{named} is forbidden: User \"{user}\" cannot {verb} resource \"{whole}\" in API group \"{group}\" {place}"
        )
    });
    Case { route, method, path, message, details }
}

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn cases() -> Vec<Case> {
    let mut out = Vec::new();
    for kind in Catalog::builtin().kinds() {
        for verb in VERBS.into_iter().filter(|v| kind.allows(v)) {
            out.push(case(kind, None, verb, false));
            if kind.is_namespaced() && matches!(verb, "list" | "watch") {
                out.push(case(kind, None, verb, true));
            }
        }
        for sub in kind.subresources.iter() {
            out.extend(sub.verbs().iter().map(|verb| case(kind, Some(*sub), verb, false)));
        }
    }
    out
}

impl World {
    /// The code and the body of one request by `user`, as JSON where it is that.
    pub(crate) async fn by(&self, user: &User, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request =
            Request::builder().method(method).uri(path).body(Full::new(Bytes::from(body.to_owned())));
        let answer = self.server.local(user.clone()).call(request.unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = || Value::from(String::from_utf8_lossy(&bytes));
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
    }
}

pub(crate) fn root() -> User {
    User { name: "root".into(), groups: vec!["system:masters".into()], ..User::default() }
}

fn nobody() -> User {
    User { name: "jane".into(), ..User::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_and_verb_is_refused_to_who_has_no_right() {
    let world = World::start().await;
    let cases = cases();
    for case in &cases {
        for user in [nobody(), User::anonymous()] {
            let (code, status) = world.by(&user, case.method, &case.path, "{}").await;
            let expected = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": (case.message)(&user.name), "reason": "Forbidden", "details": case.details, "code": 403,
            });
            assert_eq!((code, &status), (403, &expected), "{} {}", case.method, case.path);
        }
    }
    println!("{} routes and verbs", cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_that_discovery_tells_of_has_a_denial() {
    let world = World::start().await;
    let covered: BTreeSet<Route> = cases().into_iter().map(|c| c.route).collect();
    let mut served = BTreeSet::new();
    let (_, index) = world.by(&root(), "GET", "/", "").await;
    for path in index["paths"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()) {
        let (_, document) = world.by(&root(), "GET", path, "").await;
        if document["kind"] != "APIResourceList" {
            continue;
        }
        for resource in document["resources"].as_array().unwrap() {
            for verb in resource["verbs"].as_array().unwrap() {
                let of = |v: &Value| v.as_str().unwrap().to_owned();
                served.insert((of(&document["groupVersion"]), of(&resource["name"]), of(verb)));
            }
        }
    }
    assert!(served.len() > 400, "{}", served.len());
    assert_eq!(served, covered);
}

/// The paths that anybody may read: the reference's role system:public-info-viewer, and the document that says
/// whose this cluster's tokens are.
const PUBLIC: [&str; 6] =
    ["/healthz", "/livez", "/readyz", "/version", "/version/", "/.well-known/openid-configuration"];

#[tokio::test(flavor = "multi_thread")]
async fn row_12_paths_are_refused_but_for_health_and_version() {
    let world = World::start().await;
    let (_, index) = world.by(&root(), "GET", "/", "").await;
    let listed = index["paths"].as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_owned());
    let debug =
        ["/", "/debug/pprof", "/debug/pprof/heap", "/debug/flags/v", "/logs", "/metrics/slis", "/swaggerapi"];
    let own = ["/coracle/v1/snapshots", "/coracle/v1/forks"];
    let paths: BTreeSet<String> = listed.chain(debug.iter().chain(&own).map(|p| (*p).to_owned())).collect();
    for path in &paths {
        for (user, is_public) in [(nobody(), false), (User::anonymous(), PUBLIC.contains(&path.as_str()))] {
            let (code, answer) = world.by(&user, "GET", path, "").await;
            if is_public {
                assert!(code == 200, "{path}: {code}");
                continue;
            }
            let words = format!("forbidden: User \"{}\" cannot get path \"{path}\"", user.name);
            assert_eq!((code, answer["message"].as_str()), (403, Some(words.as_str())), "{path}");
        }
    }
    // There is nothing to profile, even for who may do anything.
    for path in debug.iter().filter(|p| p.starts_with("/debug")) {
        assert_eq!(world.by(&root(), "GET", path, "").await.0, 404, "{path}");
    }
}

/// Reading a stream's subresource is not enough to run something by it.
#[tokio::test(flavor = "multi_thread")]
async fn row_4_get_alone_opens_no_stream() {
    let world = World::start().await;
    let rules = json!([{"apiGroups": [""], "resources": ["pods/exec", "pods/attach", "pods/portforward"], "verbs": ["get"]}]);
    grant(&world, "jane", &rules).await;
    for sub in ["exec", "attach", "portforward"] {
        let path = format!("/api/v1/namespaces/ns/pods/n/{sub}?command=id");
        let (code, status) = world.by(&nobody(), "GET", &path, "").await;
        let words = format!(
            "pods \"n\" is forbidden: User \"jane\" cannot create resource \"pods/{sub}\" in API group \"\" in the namespace \"ns\""
        );
        assert_eq!((code, status["message"].as_str()), (403, Some(words.as_str())));
    }
}

/// A cluster role with these rules for one user.
pub(super) async fn grant(world: &World, user: &str, rules: &Value) {
    let path = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": format!("of-{user}")}, "rules": rules});
    let binding = json!({"metadata": {"name": format!("of-{user}")}, "subjects": [{"kind": "User", "name": user}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("of-{user}")}});
    for (plural, body) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let (code, answer) = world.by(&root(), "POST", &format!("{path}/{plural}"), &body.to_string()).await;
        assert_eq!(code, 201, "{answer}");
    }
}
