//! A controller written with Rust's `kube`, run from a Pod with no more rights than it needs.

use std::path::Path;

use coracle_testkit::{Cluster, eventually, is_root};
use serde_json::{Value, json};

const CONTROLLER: &str = "website-controller";
const DEFINITION: &str = "websites.sites.example.com";

/// What the controller asks for, and not a verb more.
fn rights() -> String {
    let rule = |groups: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [groups], "resources": resources, "verbs": verbs});
    let mut own_definition =
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["get", "list", "watch", "patch"]);
    own_definition["resourceNames"] = json!([DEFINITION]);
    let create = rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["create"]);
    let subjects = json!([{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": "default"}]);
    let metadata = json!({"name": CONTROLLER});
    let of = |kind: &str, rules: &[Value]| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules});
    let bind = |kind: &str, role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": CONTROLLER}})
    };
    let namespaced = [
        rule("sites.example.com", &["websites"], &["get", "list", "watch", "patch"]),
        rule("sites.example.com", &["websites/status"], &["patch"]),
        rule("", &["configmaps"], &["get", "list", "watch", "create", "patch"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ];
    let items = json!([
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        of("ClusterRole", &[own_definition, create]),
        bind("ClusterRoleBinding", "ClusterRole"),
        of("Role", &namespaced),
        bind("RoleBinding", "Role"),
    ]);
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn pod() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_website-controller"));
    let dir = program.parent().expect("it is in a directory");
    let container = json!({"name": CONTROLLER, "image": "coracle.local/host",
        "command": [format!("/controller/{CONTROLLER}")],
        "volumeMounts": [{"name": "program", "mountPath": "/controller", "readOnly": true}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": CONTROLLER},
        "spec": {"serviceAccountName": CONTROLLER, "containers": [container],
            "volumes": [{"name": "program", "hostPath": {"path": dir}}]}})
    .to_string()
}

fn site(name: &str, title: &str, pages: Value) -> String {
    json!({"apiVersion": "sites.example.com/v1", "kind": "Website", "metadata": {"name": name},
        "spec": {"title": title, "pages": pages}})
    .to_string()
}

/// Wait until a ConfigMap has these data, and give the whole of it.
fn await_data(cluster: &Cluster, name: &str, data: &Value) -> Value {
    eventually(&format!("the ConfigMap {name}"), || {
        let found = cluster.kubectl(&["get", "configmap", name, "-o", "json", "--ignore-not-found"]).ok();
        let found: Value = serde_json::from_str(&found).unwrap_or_default();
        if found["data"] == *data { Ok(found) } else { Err(found.to_string()) }
    })
}

fn start() -> Cluster {
    let cluster = Cluster::node();
    cluster.apply(&rights());
    cluster.apply(&pod());
    // The controller brings its kind with it.
    cluster.kubectl(&["wait", "--for=create", &format!("crd/{DEFINITION}"), "--timeout=60s"]).ok();
    cluster
        .kubectl(&["wait", "--for=condition=Established", &format!("crd/{DEFINITION}"), "--timeout=60s"])
        .ok();
    cluster
}

#[test]
fn a_controller_of_kubes_derived_kind_runs_in_a_pod() {
    if !is_root("a controller in a Pod") {
        return;
    }
    let cluster = start();
    let refused = cluster.kubectl_input(&["create"], &site("empty", "none", json!({})));
    assert!(refused.stderr.contains("a website has pages"), "{refused:#?}");
    let refused = cluster.kubectl_input(&["create"], &site("forbidden", "t", json!({"index": "hello"})));
    assert!(!refused.success(), "{refused:#?}");

    cluster.apply(&site("home", "My site", json!({"index": "hello"})));
    let map = await_data(&cluster, "home", &json!({"index": "My site: hello"}));
    let owner = &map["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("Website"), &json!("home"), &json!(true))
    );
    cluster.kubectl(&["wait", "--for=jsonpath={.status.pages}=1", "site/home", "--timeout=60s"]).ok();
    let row = cluster.kubectl(&["get", "site", "home", "--no-headers"]).ok();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["home", "My", "site", "1"], "{row}");

    // It follows its object, and its child: what somebody else does to it is undone.
    cluster.apply(&site("home", "My site", json!({"index": "hello", "about": "me"})));
    let both = json!({"about": "My site: me", "index": "My site: hello"});
    await_data(&cluster, "home", &both);
    cluster
        .kubectl(&["patch", "configmap", "home", "--type=merge", "-p", r#"{"data": {"index": "x"}}"#])
        .ok();
    await_data(&cluster, "home", &both);
    cluster.kubectl(&["delete", "configmap", "home"]).ok();
    await_data(&cluster, "home", &both);
    cluster
        .kubectl(&["wait", "--for=jsonpath={.status.observedGeneration}=2", "site/home", "--timeout=60s"])
        .ok();
    // `kube` counts events that differ in their note alone as one.
    let described = cluster.kubectl(&["describe", "site", "home"]).ok();
    assert!(described.contains("Published") && described.contains("with 1 pages"), "{described}");

    // A new Pod of the controller goes on where the old one has stopped.
    cluster.kubectl(&["delete", "pod", CONTROLLER, "--timeout=60s"]).ok();
    cluster.apply(&pod());
    cluster.apply(&site("second", "Other", json!({"index": "hi"})));
    await_data(&cluster, "second", &json!({"index": "Other: hi"}));

    // The finalizer is served before the object goes, and what it owns goes with it.
    cluster.kubectl(&["delete", "site", "home", "--timeout=60s"]).ok();
    await_data(&cluster, "home-farewell", &json!({"last": "My site"}));
    cluster.kubectl(&["wait", "--for=delete", "configmap/home", "--timeout=60s"]).ok();
    // The kind goes only when the controller has let go of all that is left of it.
    cluster.kubectl(&["delete", "crd", DEFINITION, "--timeout=60s"]).ok();
    await_data(&cluster, "second-farewell", &json!({"last": "Other"}));
}

#[test]
fn a_controller_without_a_right_is_told_which() {
    if !is_root("a controller in a Pod") {
        return;
    }
    let cluster = start();
    let no_status = r#"[{"op": "remove", "path": "/rules/1"}]"#;
    cluster.kubectl(&["patch", "role", CONTROLLER, "--type=json", "-p", no_status]).ok();
    cluster.apply(&site("home", "My site", json!({"index": "hello"})));
    let words = "websites.sites.example.com \"home\" is forbidden: User \"system:serviceaccount:default:website-controller\" \
                 cannot patch resource \"websites/status\" in API group \"sites.example.com\" in the namespace \"default\"";
    eventually("the controller is refused its status", || {
        let log = cluster.kubectl(&["logs", CONTROLLER]).stdout;
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
    // Given back, its next try goes through: it has not ended.
    cluster.apply(&rights());
    cluster.kubectl(&["wait", "--for=jsonpath={.status.pages}=1", "site/home", "--timeout=60s"]).ok();
}
