//! Decisions against an oracle: random policies and random request lines, judged by what the documentation of RBAC says
//! and nothing else. The oracle reads JSON and URLs; it shares no type, no parser and no index with what it judges.

use std::sync::Arc;

use coracle_api::RequestInfo;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::testing::{Objects, authorizer};
use crate::{Attributes, Authorizer};
use coracle_api::User;

/// Random policies, each asked [`QUESTIONS`] times, and in full.
const POLICIES: (u32, u32) = (2_000, 100_000);
const QUESTIONS: usize = 8;
const OBJECTS_MAX: usize = 24;

const NAMESPACES: [&str; 2] = ["red", "blue"];
const USERS: [&str; 4] = ["ann", "bob", "system:serviceaccount:red:bot", "system:serviceaccount:blue:bot"];
const GROUPS: [&str; 4] = ["dev", "ops", "system:serviceaccounts:red", "system:authenticated"];
const ROLES: [&str; 3] = ["one", "two", "lost"];
const URLS: [&str; 7] = ["/healthz", "/healthz/*", "/logs*", "*", "/apis", "/a*c", "/healthz/"];

/// A request line, and what the documentation calls its attributes.
#[derive(Debug, Clone)]
struct Question {
    user: User,
    method: &'static str,
    url: String,
    asked: Asked,
}

#[derive(Debug, Clone)]
enum Asked {
    Path { verb: String, path: String },
    Resource { verb: String, group: String, resource: String, sub: String, namespace: String, name: String },
}

/// Where policies and questions come from: a seed makes the same ones again.
struct Random(StdRng);

impl Random {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.random_range(0..from.len())]
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.0.random_ratio(1, n)
    }

    /// Up to two.
    fn some(&mut self, from: &[&'static str]) -> Vec<&'static str> {
        (0..self.0.random_range(0..3)).map(|_| self.pick(from)).collect()
    }

    /// Mostly everything, so that the other lists of the rule decide as often as this one.
    fn often_all(&mut self, from: &[&'static str]) -> Vec<&'static str> {
        if self.one_in(3) { self.some(from) } else { vec!["*"] }
    }

    fn rule(&mut self) -> Value {
        let verbs = self.often_all(&[
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "post",
        ]);
        if self.one_in(3) {
            return json!({"verbs": verbs, "nonResourceURLs": self.some(&URLS)});
        }
        let groups = self.often_all(&["", "apps", "other"]);
        let resources = self.often_all(&[
            "pods",
            "pods/log",
            "pods/*",
            "*/log",
            "deployments",
            "namespaces",
            "log",
            "*/*",
        ]);
        let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
        if self.one_in(3) {
            rule["resourceNames"] = json!(self.some(&["x", "y", "red", "*", ""]));
        }
        rule
    }

    fn subject(&mut self) -> Value {
        match self.0.random_range(0..8) {
            0..3 => json!({"kind": "User", "name": self.pick(&USERS)}),
            3..5 => json!({"kind": "Group", "name": self.pick(&GROUPS)}),
            5..7 => {
                let (name, namespace) = (self.pick(&["bot", "ann"]), self.pick(&["", "red", "blue"]));
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
            // Names that look like another kind of subject are that name and no more.
            _ => {
                let (kind, name) = self.pick(&[("User", "dev"), ("Group", "ann")]);
                json!({"kind": kind, "name": name})
            }
        }
    }

    /// A plural and an object.
    fn object(&mut self) -> (&'static str, Value) {
        let namespace = self.pick(&["", "", NAMESPACES[0], NAMESPACES[1]]);
        let mut metadata = json!({"name": self.pick(&ROLES[..2])});
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        if self.one_in(2) {
            let rules: Vec<Value> = (0..self.0.random_range(0..3)).map(|_| self.rule()).collect();
            let plural = if namespace.is_empty() { "clusterroles" } else { "roles" };
            return (plural, json!({"metadata": metadata, "rules": rules}));
        }
        metadata["name"] = json!(self.pick(&["a", "b", "c", "d"]));
        let kind = if namespace.is_empty() || self.one_in(2) { "ClusterRole" } else { "Role" };
        let subjects: Vec<Value> = (0..self.0.random_range(0..4)).map(|_| self.subject()).collect();
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.pick(&ROLES)});
        let plural = if namespace.is_empty() { "clusterrolebindings" } else { "rolebindings" };
        (plural, json!({"metadata": metadata, "subjects": subjects, "roleRef": role}))
    }

    fn question(&mut self) -> Question {
        let groups = self.some(&GROUPS).into_iter().map(str::to_owned).collect();
        let user = User { name: self.pick(&USERS).to_owned(), groups, ..User::default() };
        if self.one_in(4) {
            let path = self.pick(&[
                "/healthz",
                "/healthz/",
                "/healthz/ping",
                "/logs",
                "/logs/a",
                "/",
                "/apis",
                "/apis/apps",
                "/abc",
            ]);
            let method = self.pick(&["GET", "POST", "HEAD", "DELETE"]);
            let asked = Asked::Path { verb: method.to_lowercase(), path: path.to_owned() };
            return Question { user, method, url: path.to_owned(), asked };
        }
        let (group, prefix, resource) = self.pick(&[
            ("", "/api/v1", "pods"),
            ("apps", "/apis/apps/v1", "deployments"),
            ("", "/api/v1", "log"),
        ]);
        let (method, namespace) =
            (self.pick(&["GET", "GET", "POST", "PUT", "PATCH", "DELETE"]), self.pick(&["", "red", "blue"]));
        let (name, watches) = (self.pick(&["", "x", "y"]), self.one_in(2));
        let sub = if !name.is_empty() && self.one_in(2) { "log" } else { "" };
        let verb = match (method, name.is_empty()) {
            ("GET", true) if watches => "watch",
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            _ => "delete",
        };
        let within = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
        let item = [name, sub].iter().filter(|p| !p.is_empty()).map(|p| format!("/{p}")).collect::<String>();
        let url = format!("{prefix}{within}/{resource}{item}{}", if watches { "?watch=true" } else { "" });
        let [verb, group, resource, sub, namespace, name] =
            [verb, group, resource, sub, namespace, name].map(str::to_owned);
        Question { user, method, url, asked: Asked::Resource { verb, group, resource, sub, namespace, name } }
    }
}

fn list<'a>(v: &'a Value, key: &str) -> Vec<&'a str> {
    v[key].as_array().map(|items| items.iter().map(|i| i.as_str().unwrap()).collect()).unwrap_or_default()
}

/// "A rule allows a request when each of its lists does": the documentation's rules for each list.
fn rule_allows(rule: &Value, asked: &Asked) -> bool {
    let (verbs, groups, names) = (list(rule, "verbs"), list(rule, "apiGroups"), list(rule, "resourceNames"));
    let has = |l: &[&str], wanted: &str| l.iter().any(|s| *s == "*" || *s == wanted);
    match asked {
        Asked::Path { verb, path } => {
            // A URL is exact, or ends in a star that stands for any rest.
            has(&verbs, verb)
                && list(rule, "nonResourceURLs").iter().any(|url| match url.split_once('*') {
                    Some((start, "")) => path.starts_with(start),
                    _ => url == path,
                })
        }
        Asked::Resource { verb, group, resource, sub, name, .. } => {
            let whole = if sub.is_empty() { resource.clone() } else { format!("{resource}/{sub}") };
            let any_of = format!("*/{sub}");
            has(&verbs, verb)
                && has(&groups, group)
                && list(rule, "resources")
                    .iter()
                    .any(|r| *r == "*" || *r == whole || !sub.is_empty() && *r == any_of)
                // "resourceNames: an empty list means that everything is allowed"; a name must be listed as it is.
                && (names.is_empty() || names.contains(&name.as_str()))
        }
    }
}

fn subject_is(subject: &Value, binding_namespace: &str, user: &User) -> bool {
    let name = subject["name"].as_str().unwrap();
    match subject["kind"].as_str().unwrap() {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|g| g == name),
        _ => {
            let own = subject["namespace"].as_str().unwrap();
            let namespace = if own.is_empty() { binding_namespace } else { own };
            !namespace.is_empty() && user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
    }
}

/// Some binding that is in scope, names the user, and refers to a role that has a rule that allows the request.
fn oracle(objects: &[(&str, Value)], user: &User, asked: &Asked) -> bool {
    let namespace = match asked {
        Asked::Resource { namespace, .. } => namespace.as_str(),
        Asked::Path { .. } => "",
    };
    let of = |object: &Value| object["metadata"]["namespace"].as_str().unwrap_or("").to_owned();
    objects.iter().filter(|(plural, _)| plural.ends_with("bindings")).any(|(plural, binding)| {
        let within = of(binding);
        let role = &binding["roleRef"];
        let (roles, role_namespace) = match role["kind"].as_str().unwrap() {
            "ClusterRole" => ("clusterroles", String::new()),
            _ => ("roles", within.clone()),
        };
        (*plural == "clusterrolebindings" || within == namespace && !namespace.is_empty())
            && binding["subjects"].as_array().unwrap().iter().any(|s| subject_is(s, &within, user))
            && objects
                .iter()
                .filter(|(p, o)| {
                    *p == roles && o["metadata"]["name"] == role["name"] && of(o) == role_namespace
                })
                .flat_map(|(_, o)| o["rules"].as_array().unwrap())
                .any(|rule| rule_allows(rule, asked))
    })
}

fn decided(authorizer: &Authorizer, question: &Question) -> bool {
    let (path, query) = question.url.split_once('?').unwrap_or((&question.url, ""));
    let info = RequestInfo::parse(question.method, path, query).unwrap();
    authorizer.authorize(Attributes::of_request(Arc::new(question.user.clone()), &info)).is_ok()
}

#[test]
fn row_16_decisions_are_those_of_a_brute_force_oracle() {
    let cases = if std::env::var_os("CORACLE_FULL").is_some() { POLICIES.1 } else { POLICIES.0 };
    let (mut allowed, mut all) = (0_u64, 0_u64);
    for seed in 0..u64::from(cases) {
        let mut random = Random(StdRng::seed_from_u64(seed));
        let cluster = Objects::default();
        let mut objects: Vec<(&str, Value)> = Vec::new();
        for _ in 0..random.0.random_range(0..OBJECTS_MAX) {
            let (plural, object) = random.object();
            cluster.put(plural, object.clone());
            objects.retain(|(p, o)| {
                (*p, &o["metadata"]["name"], &o["metadata"]["namespace"])
                    != (plural, &object["metadata"]["name"], &object["metadata"]["namespace"])
            });
            objects.push((plural, object));
        }
        let authorizer = authorizer(&cluster);
        for _ in 0..QUESTIONS {
            let question = random.question();
            let expected = oracle(&objects, &question.user, &question.asked);
            assert_eq!(decided(&authorizer, &question), expected, "seed {seed}: {question:?} {objects:#?}");
            allowed += u64::from(expected);
            all += 1;
        }
    }
    println!("{cases} policies, {all} questions, {allowed} of them allowed");
    // A test in which nothing is allowed would show nothing.
    assert!(allowed * 50 > all, "{allowed} of {all}");
}
