//! Custom resources over HTTP: from the definition to the last object, on a real server.

mod admission;
mod conversion;
mod life;
mod names;
mod objects;
mod publication;
mod servers;
mod versions;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use tower::Service;

use super::*;

pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(super) const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or(&self.text)
    }

    fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().map(|w| w.to_str().unwrap()).collect()
    }

    /// The body of what has succeeded.
    #[track_caller]
    fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{} {}", self.code, self.text);
        self.body
    }

    /// The words of what was refused with this code.
    #[track_caller]
    fn refused(self, code: u16) -> String {
        assert_eq!(self.code, code, "{}", self.text);
        self.message().to_owned()
    }
}

/// Sends as an administrator.
#[derive(Clone)]
pub(super) struct Root(coracle_apiserver::Local);

impl Root {
    pub(super) fn of(server: &Server) -> Root {
        let groups = vec!["system:masters".into()];
        Root(server.local(User { name: "root".into(), groups, ..User::default() }))
    }

    async fn send(&self, method: &str, path: &str, types: (&str, &str), body: String) -> Answer {
        let request = Request::builder().method(method).uri(path).header("user-agent", "it/1.0");
        let request = request.header("content-type", types.0).header("accept", types.1);
        let answer = self.0.clone().call(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { code: parts.status.as_u16(), headers: parts.headers, text, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, (JSON, JSON), String::new()).await
    }

    async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send("GET", path, (JSON, accept), String::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, (JSON, JSON), body.to_string()).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, (JSON, JSON), body.to_string()).await
    }

    async fn patch(&self, path: &str, media: &str, body: Value) -> Answer {
        self.send("PATCH", path, (media, JSON), body.to_string()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, (JSON, JSON), String::new()).await
    }

    /// Makes a definition, which is then in use.
    pub(super) async fn define(&self, definition: Value) -> Value {
        self.post(DEFINITIONS, definition).await.ok()
    }

    /// Asks until the answer has this code.
    async fn until(&self, path: &str, code: u16) -> Answer {
        let asking = async {
            loop {
                let answer = self.get(path).await;
                if answer.code == code {
                    return answer;
                }
                Clock::system().sleep(Duration::from_millis(10)).await;
            }
        };
        Clock::system().timeout(Duration::from_secs(20), asking).await.expect("the answer changes")
    }
}

async fn world() -> (World, Root) {
    let world = World::start().await;
    let root = Root::of(&world.server);
    (world, root)
}

/// `stable.example.com` CronTabs, with one version that has all there is.
pub(super) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"],
                "categories": ["all"]},
            "versions": [version("v1", true)],
        },
    })
}

fn version(name: &str, storage: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "cronSpec": {"type": "string"},
                "image": {"type": "string", "default": "busybox"},
                "replicas": {"type": "integer", "minimum": 0, "maximum": 10},
                "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                    "maxItems": 20, "items": {"type": "object", "required": ["port"], "properties": {
                        "port": {"type": "integer"}, "name": {"type": "string"}}}},
            }, "x-kubernetes-validations": [
                {"rule": "!has(self.cronSpec) || self.cronSpec != 'never'", "message": "never is no time"}]},
            "status": {"type": "object", "properties": {
                "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
        }}},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
        "selectableFields": [{"jsonPath": ".spec.image"}],
    })
}

pub(super) fn tab(name: &str, spec: Value) -> Value {
    tab_in("v1", name, spec)
}

fn tab_in(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("stable.example.com/{version}"), "kind": "CronTab", "metadata": {"name": name},
        "spec": spec})
}

/// The conditions of a definition, each in a word.
fn conditions(definition: &Value) -> Vec<String> {
    let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    let line = |c: &Value| format!("{}={} {}", text(c, "type"), text(c, "status"), text(c, "reason"));
    definition["status"]["conditions"].as_array().into_iter().flatten().map(line).collect()
}
