//! What admission says to clients of a real server.

use futures::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::Service as _;

use super::*;

/// What a request was answered with.
struct Told {
    code: u16,
    body: Value,
    warnings: Vec<String>,
}

impl Told {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl World {
    /// As the admin.
    async fn send(&self, method: &str, path: &str, body: &Value) -> Told {
        let groups = vec!["system:masters".into()];
        self.send_as(User { name: "root".into(), groups, ..User::default() }, method, path, body).await
    }

    async fn send_as(&self, user: User, method: &str, path: &str, body: &Value) -> Told {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, media);
        let sent = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(Full::new(bytes::Bytes::from(sent))).unwrap();
        let answer = self.server.local(user).call(request).await.unwrap();
        let code = answer.status().as_u16();
        let warnings = answer.headers().get_all(http::header::WARNING).iter();
        let warnings = warnings.map(|w| w.to_str().unwrap().to_owned()).collect();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Told { code, body: serde_json::from_slice(&body).unwrap_or_default(), warnings }
    }

    #[track_caller]
    fn made(told: Told) -> Value {
        assert!(told.code < 300, "{} {}", told.code, told.body);
        told.body
    }

    /// An object of the core group in `default`.
    async fn create(&self, plural: &str, body: Value) -> Told {
        self.send("POST", &format!("/api/v1/namespaces/default/{plural}"), &body).await
    }
}

fn pod_named(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "i"}]}})
}

async fn world() -> World {
    let world = World::start().await;
    world.account(&world.admin().await, "default").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_range_gives_and_refuses() {
    let world = world().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container",
        "default": {"cpu": "1"}, "max": {"cpu": "2"}}]}});
    World::made(world.create("limitranges", range).await);
    let pod = World::made(world.create("pods", pod_named("a")).await);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}})
    );
    let mut greedy = pod_named("b");
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "3"}});
    let refused = world.create("pods", greedy).await;
    let words = "pods \"b\" is forbidden: maximum cpu usage per Container is 2, but limit is 3";
    assert_eq!((refused.code, refused.message()), (403, words));
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_security_is_enforced_on_pods_and_told_of_templates() {
    let world = world().await;
    let label = |value: &str| {
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": value,
        "pod-security.kubernetes.io/warn": value}}})
    };
    let namespace = "/api/v1/namespaces/default";
    let bad = world.send("PATCH", namespace, &label("strict")).await;
    assert_eq!(bad.code, 422);
    assert!(bad.message().starts_with("Namespace \"default\" is invalid: "), "{}", bad.message());
    let mut host = pod_named("host");
    host["spec"]["hostNetwork"] = json!(true);
    World::made(world.create("pods", host.clone()).await);
    let raised = world.send("PATCH", namespace, &label("baseline")).await;
    let told = raised.warnings.join("\n");
    assert!(told.contains("existing pods in namespace \\\"default\\\" violate"), "{told}");
    assert!(told.contains("host: host namespaces"), "{told}");
    host["metadata"]["name"] = json!("again");
    let refused = world.create("pods", host.clone()).await;
    let words = "pods \"again\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    assert_eq!((refused.code, refused.message()), (403, words));
    let set = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": host["spec"]}}});
    let told = world.send("POST", "/apis/apps/v1/namespaces/default/deployments", &set).await;
    assert_eq!(told.code, 201);
    assert!(
        told.warnings.join("").contains("would violate PodSecurity \\\"baseline:latest\\\""),
        "{:?}",
        told.warnings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_race_exceeds_a_quota() {
    let world = world().await;
    let hard = json!({"count/configmaps": "7", "services.nodeports": "1", "services": "5"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    let path = "/api/v1/namespaces/default/resourcequotas/q";
    World::made(world.create("resourcequotas", quota).await);
    // As its controller does.
    let status = json!({"status": {"hard": hard, "used":
        {"count/configmaps": "0", "services.nodeports": "0", "services": "0"}}});
    World::made(world.send("PATCH", &format!("{path}/status"), &status).await);
    let tries = (0..40).map(|i| world.create("configmaps", json!({"metadata": {"name": format!("m{i}")}})));
    let told = join_all(tries).await;
    assert_eq!(told.iter().filter(|t| t.code == 201).count(), 7);
    let refused = told.iter().find(|t| t.code != 201).unwrap();
    assert_eq!(refused.code, 403);
    assert!(
        refused.message().ends_with(
            "is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=7, limited: \
             count/configmaps=7"
        ),
        "{}",
        refused.message()
    );
    let made = told.iter().find(|t| t.code == 201).unwrap();
    let again = json!({"metadata": {"name": made.body["metadata"]["name"]}});
    assert_eq!(world.create("configmaps", again).await.code, 403, "the quota is asked before the name");
    let named = json!({"metadata": {"name": "d"}});
    let dry = world.send("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", &named).await;
    assert_eq!(dry.code, 403);
    let service = |kind: &str| {
        json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports":
        [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}})
    };
    World::made(world.create("services", service("ClusterIP")).await);
    let ported = json!({"spec": {"type": "NodePort"}});
    let refused = world.send("PATCH", "/api/v1/namespaces/default/services/s", &ported).await;
    assert_eq!(
        refused.message(),
        "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, \
         limited: services.nodeports=1"
    );
    let quota = world.send("GET", path, &Value::Null).await.body;
    assert_eq!(
        quota["status"]["used"],
        json!({"count/configmaps": "7", "services": "1", "services.nodeports": "0"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_is_filled_in_from_the_cluster() {
    let world = world().await;
    let class = |plural: &str, name: &str, mark: &str, rest: Value| {
        let mut class = json!({"metadata": {"name": name, "annotations": {mark: "true"}}});
        class.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        (plural.to_owned(), class)
    };
    let storage = class(
        "storage.k8s.io/v1/storageclasses",
        "gold",
        "storageclass.kubernetes.io/is-default-class",
        json!({"provisioner": "p"}),
    );
    let ingress = class(
        "networking.k8s.io/v1/ingressclasses",
        "web",
        "ingressclass.kubernetes.io/is-default-class",
        json!({"spec": {"controller": "example.com/c"}}),
    );
    let runtime = class(
        "node.k8s.io/v1/runtimeclasses",
        "vm",
        "unmarked",
        json!({"handler": "vm",
        "overhead": {"podFixed": {"cpu": "250m"}}, "scheduling": {"nodeSelector": {"vm": "yes"}}}),
    );
    for (plural, body) in [storage, ingress, runtime] {
        World::made(world.send("POST", &format!("/apis/{plural}"), &body).await);
    }
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let claim = World::made(world.create("persistentvolumeclaims", claim).await);
    assert_eq!(claim["spec"]["storageClassName"], "gold");
    assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let path = "/api/v1/namespaces/default/persistentvolumeclaims/c";
    let bound = json!({"status": {"phase": "Bound"}});
    World::made(world.send("PATCH", &format!("{path}/status"), &bound).await);
    let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    assert_eq!(
        world.send("PATCH", path, &more).await.message(),
        "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass \
         that provisions the pvc must support resize"
    );
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}});
    let made = world.send("POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses", &ingress).await;
    assert_eq!(World::made(made)["spec"]["ingressClassName"], "web");
    let mut pod = pod_named("p");
    pod["spec"]["runtimeClassName"] = json!("vm");
    let made = World::made(world.create("pods", pod.clone()).await);
    assert_eq!(
        (&made["spec"]["overhead"], &made["spec"]["nodeSelector"]),
        (&json!({"cpu": "250m"}), &json!({"vm": "yes"}))
    );
    pod["spec"]["runtimeClassName"] = json!("none");
    let refused = world.create("pods", pod).await;
    assert_eq!(refused.message(), "pods \"p\" is forbidden: pod rejected: RuntimeClass \"none\" not found");
    let mut heavy = pod_named("h");
    heavy["spec"]["overhead"] = json!({"cpu": "1"});
    assert_eq!(
        world.create("pods", heavy).await.message(),
        "pods \"h\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_pod_knows_its_zone() {
    let world = world().await;
    let node =
        json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z", "other": "x"}}});
    World::made(world.send("POST", "/api/v1/nodes", &node).await);
    World::made(world.create("pods", pod_named("p")).await);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    World::made(world.create("pods/p/binding", binding).await);
    let pod = world.send("GET", "/api/v1/namespaces/default/pods/p", &Value::Null).await.body;
    assert_eq!(pod["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "z"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_priority_class_is_the_default_one() {
    let world = world().await;
    let class = |name: &str| json!({"metadata": {"name": name}, "value": 7, "globalDefault": true});
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    World::made(world.send("POST", path, &class("a")).await);
    assert_eq!(
        world.send("POST", path, &class("b")).await.message(),
        "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass a is already marked as default. Only one \
         default can exist"
    );
    let pod = World::made(world.create("pods", pod_named("p")).await);
    assert_eq!((&pod["spec"]["priority"], &pod["spec"]["priorityClassName"]), (&json!(7), &json!("a")));
}
