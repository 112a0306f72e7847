//! Custom resources by stock kubectl: defined and used in one breath, and handled like any other kind.

use coracle_testkit::Cluster;
use serde_json::{Value, json};

use super::{get, managers};

const NAME: &str = "crontabs.stable.example.com";
const ONE: [&str; 2] = ["crontab", "one"];

/// A kind with everything that kubectl looks at.
fn definition() -> Value {
    let spec = json!({
        "type": "object", "description": "What is run, and when.", "required": ["schedule"],
        "x-kubernetes-validations": [
            {"rule": "self.replicas <= self.most", "message": "more replicas than there may be"},
            {"rule": "self.most >= oldSelf.most", "message": "what may be never shrinks"}],
        "properties": {
            "schedule": {"type": "string", "pattern": r"^\S+ \S+$", "description": "Minute and hour."},
            "replicas": {"type": "integer", "format": "int32", "minimum": 0, "default": 1},
            "most": {"type": "integer", "default": 10},
            "tier": {"type": "string", "enum": ["front", "back"]},
            "steps": {"type": "array", "maxItems": 20, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "run": {"type": "string"}, "after": {"type": "string"}}}},
            "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    });
    let status = json!({"type": "object", "properties": {
        "phase": {"type": "string"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": NAME},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"],
                "categories": ["all", "timers"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "description": "Something that runs at times.",
                    "properties": {"spec": spec, "status": status}}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                "selectableFields": [{"jsonPath": ".spec.tier"}],
                "additionalPrinterColumns": [
                    {"name": "Schedule", "type": "string", "jsonPath": ".spec.schedule"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Tier", "type": "string", "jsonPath": ".spec.tier", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]}],
        },
    })
}

fn cron_tab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

/// With the definition and an object.
fn start() -> Cluster {
    let cluster = Cluster::api_only();
    cluster.apply(&definition().to_string());
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", &format!("crd/{NAME}")]).ok();
    let one = cron_tab("one", json!({"schedule": "5 4", "tier": "front"}));
    cluster.kubectl_input(&["create"], &one.to_string()).ok();
    cluster
}

#[test]
fn a_definition_is_used_as_soon_as_it_is_established() {
    let cluster = Cluster::api_only();
    assert!(!cluster.kubectl(&["get", "ct"]).success());
    let said = cluster.kubectl_input(&["create"], &definition().to_string()).ok();
    assert_eq!(said, format!("customresourcedefinition.apiextensions.k8s.io/{NAME} created\n"));
    let wait = ["wait", "--for=condition=Established", "--timeout=10s"];
    cluster.kubectl(&[&wait[..], &[&format!("crd/{NAME}")]].concat()).ok();
    let said =
        cluster.kubectl_input(&["create"], &cron_tab("one", json!({"schedule": "5 4"})).to_string()).ok();
    assert_eq!(said, "crontab.stable.example.com/one created\n");
    // In every spelling of the kind; in its categories; with its columns.
    for name in ["ct", "crontab", "crontabs", "CronTab", NAME, "crontabs.v1.stable.example.com"] {
        assert_eq!(cluster.kubectl(&["get", name, "-o", "name"]).ok(), "crontab.stable.example.com/one\n");
    }
    for category in ["all", "timers"] {
        let found = cluster.kubectl(&["get", category, "-o", "name"]).ok();
        assert!(found.contains("crontab.stable.example.com/one\n"), "{category}: {found}");
    }
    let table = cluster.kubectl(&["get", "ct"]).ok();
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(words[..8], ["NAME", "SCHEDULE", "REPLICAS", "AGE", "one", "5", "4", "1"], "{table}");
    let wide = cluster.kubectl(&["get", "ct", "-o", "wide"]).ok();
    assert!(wide.lines().next().is_some_and(|line| line.contains("TIER")), "{wide}");
    let resources =
        cluster.kubectl(&["api-resources", "--api-group=stable.example.com", "--no-headers"]).ok();
    let row: Vec<&str> = resources.split_whitespace().collect();
    assert_eq!(row, ["crontabs", "ct", "stable.example.com/v1", "true", "CronTab"]);
    let named = cluster.kubectl(&["api-resources", "--categories=timers", "-o", "name"]).ok();
    assert_eq!(named, format!("{NAME}\n"));
    assert!(cluster.kubectl(&["api-versions"]).ok().lines().any(|line| line == "stable.example.com/v1"));
    // With its objects the kind goes, and is known no more.
    let gone = cluster.kubectl(&["delete", "crd", NAME, "--timeout=30s"]).ok();
    assert_eq!(gone, format!("customresourcedefinition.apiextensions.k8s.io \"{NAME}\" deleted\n"));
    // kubectl remembers the kind for a while; the server does not.
    let unknown = cluster.kubectl(&["get", "ct"]);
    assert!(unknown.stderr.contains("the server could not find the requested resource"), "{unknown:#?}");
    cluster.kubectl_input(&["create"], &definition().to_string()).ok();
    cluster.kubectl(&[&wait[..], &[&format!("crd/{NAME}")]].concat()).ok();
    assert_eq!(cluster.kubectl(&["get", "ct", "-o", "name"]).ok(), "", "none has come back");
}

#[test]
fn a_definition_explains_its_objects() {
    let cluster = start();
    let told = cluster.kubectl(&["explain", "crontab"]).ok();
    assert!(
        told.starts_with("GROUP:      stable.example.com\nKIND:       CronTab\nVERSION:    v1\n"),
        "{told}"
    );
    for words in ["    Something that runs at times.\n", "  spec\t<Object>\n    What is run, and when.\n"] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let deep = cluster.kubectl(&["explain", "crontab.spec", "--recursive"]).ok();
    for words in [
        "  replicas\t<integer>\n",
        "  schedule\t<string> -required-\n",
        "  steps\t<[]Object>\n    after\t<string>\n    name\t<string> -required-\n",
        "  tier\t<string>\n  enum: front, back\n",
    ] {
        assert!(deep.contains(words), "{words}\n{deep}");
    }
    let metadata = cluster.kubectl(&["explain", "ct.metadata.labels"]).ok();
    assert!(metadata.contains("FIELD: labels <map[string]string>\n"), "{metadata}");
    let older = cluster.kubectl(&["explain", "crontab.spec.schedule", "--output=plaintext-openapiv2"]).ok();
    assert!(older.contains("     Minute and hour.\n"), "{older}");
}

#[test]
fn objects_are_checked_defaulted_and_pruned() {
    let cluster = start();
    let found = get(&cluster, &ONE);
    assert_eq!(found["spec"], json!({"schedule": "5 4", "tier": "front", "replicas": 1, "most": 10}));
    let create = |spec: Value| cluster.kubectl_input(&["create"], &cron_tab("two", spec).to_string());
    let refusals = [
        (json!({"schedule": "5 4", "replicas": 11}), "spec: Invalid value: "),
        (json!({"schedule": "5 4", "replicas": 11}), ": more replicas than there may be"),
        (json!({"schedule": "never"}), r"spec.schedule in body should match '^\S+ \S+$'"),
        (json!({}), "spec.schedule: Required value"),
        (
            json!({"schedule": "5 4", "tier": "top"}),
            r#"spec.tier: Unsupported value: "top": supported values: "front", "back""#,
        ),
        (
            json!({"schedule": "5 4", "steps": [{"name": "a"}, {"name": "a"}]}),
            r#"spec.steps[1]: Duplicate value: {"name":"a"}"#,
        ),
        (json!({"schedule": "5 4", "times": 3}), r#"strict decoding error: unknown field "spec.times""#),
    ];
    for (spec, words) in refusals {
        let refused = create(spec);
        assert!(!refused.success() && refused.stderr.contains(words), "{words}\n{refused:#?}");
    }
    let loose = cron_tab("loose", json!({"schedule": "5 4", "times": 3, "raw": {"any": [1]}})).to_string();
    cluster.kubectl_input(&["create", "--validate=ignore"], &loose).ok();
    let kept = get(&cluster, &["ct", "loose"])["spec"].clone();
    assert_eq!((&kept["times"], &kept["raw"]), (&Value::Null, &json!({"any": [1]})));
    let shrink = r#"{"spec": {"most": 5}}"#;
    let refused = cluster.kubectl(&["patch", "ct", "one", "--type=merge", "-p", shrink]);
    assert!(refused.stderr.contains("what may be never shrinks"), "{refused:#?}");
    let front = ["get", "ct", "--field-selector=spec.tier=front", "-o", "name"];
    assert_eq!(cluster.kubectl(&front).ok(), "crontab.stable.example.com/one\n");
    let other = cluster.kubectl(&["get", "ct", "--field-selector=spec.schedule=x"]);
    assert!(other.stderr.contains("field label not supported: spec.schedule"), "{other:#?}");
}

#[test]
fn objects_are_patched_applied_and_edited() {
    let cluster = start();
    let patch = |kind: &str, patch: &str| {
        cluster.kubectl(&["patch", "ct", "one", &format!("--type={kind}"), "-p", patch])
    };
    assert_eq!(
        patch("merge", r#"{"spec": {"schedule": "6 5"}}"#).ok(),
        "crontab.stable.example.com/one patched\n"
    );
    patch("json", r#"[{"op": "replace", "path": "/spec/schedule", "value": "7 6"}]"#).ok();
    let strategic = patch("strategic", r#"{"spec": {"schedule": "8 7"}}"#);
    let words = "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    assert!(strategic.stderr.contains(words), "{strategic:#?}");
    assert_eq!(get(&cluster, &ONE)["spec"]["schedule"], "7 6");
    // Items of a list are owned one by one.
    let step = |name: &str, key: &str| json!({"schedule": "7 6", "steps": [{"name": name, key: "x"}]});
    for (manager, name, key) in [("alice", "build", "run"), ("bob", "build", "after"), ("bob", "ship", "run")]
    {
        let manager = format!("--field-manager={manager}-{name}");
        let apply = ["apply", "--server-side", "--force-conflicts", &manager];
        cluster.kubectl_input(&apply, &cron_tab("one", step(name, key)).to_string()).ok();
    }
    let steps = json!([{"name": "build", "run": "x", "after": "x"}, {"name": "ship", "run": "x"}]);
    assert_eq!(get(&cluster, &ONE)["spec"]["steps"], steps);
    let apply = ["apply", "--server-side", "--field-manager=alice-build"];
    cluster.kubectl_input(&apply, &cron_tab("one", json!({"schedule": "7 6"})).to_string()).ok();
    let steps = json!([{"name": "build", "after": "x"}, {"name": "ship", "run": "x"}]);
    assert_eq!(get(&cluster, &ONE)["spec"]["steps"], steps);
    let conflict = cluster.kubectl_input(&apply, &cron_tab("one", json!({"schedule": "1 1"})).to_string());
    assert!(conflict.stderr.contains("Apply failed with 3 conflicts"), "{conflict:#?}");
    // The client's own apply, on a kind that it has no patch strategy for.
    let mut two = cron_tab("two", json!({"schedule": "5 4", "raw": {"a": 1, "b": 2}}));
    cluster.apply(&two.to_string());
    two["spec"]["raw"] = json!({"a": 1});
    assert_eq!(cluster.apply(&two.to_string()), "crontab.stable.example.com/two configured\n");
    assert_eq!(get(&cluster, &["ct", "two"])["spec"]["raw"], json!({"a": 1}));
    let same = cluster.kubectl_input(&["diff"], &two.to_string());
    assert_eq!(same.code, 0, "{same:#?}");
    let mut edit = cluster.kubectl_command(&["edit", "ct", "two"]);
    edit.env("KUBE_EDITOR", "sed -i 's/schedule: 5 4/schedule: 6 6/'");
    assert_eq!(coracle_testkit::Answer::of(edit).ok(), "crontab.stable.example.com/two edited\n");
    assert_eq!(get(&cluster, &["ct", "two"])["spec"]["schedule"], "6 6");
    cluster.kubectl(&["label", "ct", "two", "a=b"]).ok();
    cluster.kubectl(&["annotate", "ct", "two", "a=b"]).ok();
    assert_eq!(
        cluster.kubectl(&["get", "ct", "-l", "a=b", "-o", "name"]).ok(),
        "crontab.stable.example.com/two\n"
    );
    let replaced = cron_tab("two", json!({"schedule": "9 9"})).to_string();
    cluster.kubectl_input(&["replace"], &replaced).ok();
    assert_eq!(get(&cluster, &["ct", "two"])["metadata"]["labels"], Value::Null);
}

#[test]
fn status_and_scale_are_apart() {
    let cluster = start();
    assert_eq!(get(&cluster, &ONE)["metadata"]["generation"], 1);
    let both =
        r#"{"spec": {"tier": "back"}, "status": {"phase": "Ready", "replicas": 2, "selector": "a=b"}}"#;
    let status = ["patch", "ct", "one", "--subresource=status", "--type=merge", "-p", both];
    cluster.kubectl(&status).ok();
    let found = get(&cluster, &ONE);
    assert_eq!((&found["spec"]["tier"], &found["status"]["phase"]), (&json!("front"), &json!("Ready")));
    assert_eq!(found["metadata"]["generation"], 1, "a status is no new wish");
    cluster.kubectl(&["patch", "ct", "one", "--type=merge", "-p", &both.replace("Ready", "Other")]).ok();
    let found = get(&cluster, &ONE);
    assert_eq!((&found["spec"]["tier"], &found["status"]["phase"]), (&json!("back"), &json!("Ready")));
    assert_eq!(found["metadata"]["generation"], 2);
    let only =
        cluster.kubectl(&["get", "ct", "one", "--subresource=status", "-o", "jsonpath={.status.phase}"]);
    assert_eq!(only.ok(), "Ready");
    assert_eq!(
        cluster.kubectl(&["scale", "ct/one", "--replicas=3"]).ok(),
        "crontab.stable.example.com/one scaled\n"
    );
    assert_eq!(get(&cluster, &ONE)["spec"]["replicas"], 3);
    let scale = get(&cluster, &["ct", "one", "--subresource=scale"]);
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(scale["spec"], json!({"replicas": 3}));
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    let too_many = cluster.kubectl(&["scale", "ct/one", "--replicas=11"]);
    assert!(too_many.stderr.contains("more replicas than there may be"), "{too_many:#?}");
    let told = managers(&cluster, &ONE);
    assert!(told.contains(&"kubectl Update/scale".to_owned()), "{told:?}");
    assert!(told.contains(&"kubectl-patch Update/status".to_owned()), "{told:?}");
}

#[test]
fn waiting_is_for_what_an_object_says() {
    let cluster = start();
    std::thread::scope(|scope| {
        let wait = |what: &'static str| {
            let cluster = &cluster;
            scope.spawn(move || cluster.kubectl(&["wait", what, "ct/one", "--timeout=30s"]))
        };
        let (ready, gone) = (wait("--for=jsonpath={.status.phase}=Ready"), wait("--for=delete"));
        let created = scope.spawn(|| cluster.kubectl(&["wait", "--for=create", "ct/later", "--timeout=30s"]));
        let status = r#"{"status": {"phase": "Ready"}}"#;
        cluster.kubectl(&["patch", "ct", "one", "--subresource=status", "--type=merge", "-p", status]).ok();
        assert_eq!(ready.join().expect("it was run").ok(), "crontab.stable.example.com/one condition met\n");
        cluster.apply(&cron_tab("later", json!({"schedule": "5 4"})).to_string());
        created.join().expect("it was run").ok();
        cluster.kubectl(&["delete", "ct", "one"]).ok();
        gone.join().expect("it was run").ok();
    });
    let never =
        cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Ready", "ct/later", "--timeout=200ms"]);
    assert!(never.stderr.contains("timed out waiting for the condition"), "{never:#?}");
    // An object with a finalizer holds up the end of its kind, and its namespace's.
    cluster.kubectl(&["create", "namespace", "n"]).ok();
    let mut held = cron_tab("held", json!({"schedule": "5 4"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    held["metadata"]["namespace"] = json!("n");
    cluster.apply(&held.to_string());
    cluster.kubectl(&["delete", "crd", NAME, "--wait=false"]).ok();
    cluster.kubectl(&["delete", "namespace", "n", "--wait=false"]).ok();
    let terminating = ["wait", "--for=condition=Terminating", "--timeout=30s", &format!("crd/{NAME}")];
    cluster.kubectl(&terminating).ok();
    let late = cluster.kubectl_input(&["create"], &cron_tab("late", json!({"schedule": "5 4"})).to_string());
    assert!(!late.success(), "{late:#?}");
    cluster
        .kubectl(&[
            "patch",
            "ct",
            "held",
            "-n",
            "n",
            "--type=merge",
            "-p",
            r#"{"metadata": {"finalizers": null}}"#,
        ])
        .ok();
    cluster.kubectl(&["wait", "--for=delete", "--timeout=30s", &format!("crd/{NAME}"), "namespace/n"]).ok();
}

#[test]
fn rights_to_a_custom_kind_are_given_like_any_other() {
    let cluster = start();
    let jane = |args: &[&str]| cluster.kubectl(&[args, &["--as=jane"]].concat());
    let denied = jane(&["get", "ct"]);
    let words = r#"crontabs.stable.example.com is forbidden: User "jane" cannot list resource "crontabs" in API group "stable.example.com" in the namespace "default""#;
    assert!(denied.stderr.contains(words), "{denied:#?}");
    cluster
        .kubectl(&[
            "create",
            "role",
            "reader",
            "--verb=get,list",
            &format!("--resource={NAME},{NAME}/status"),
        ])
        .ok();
    cluster.kubectl(&["create", "rolebinding", "jane", "--role=reader", "--user=jane"]).ok();
    jane(&["get", "ct"]).ok();
    assert!(!jane(&["delete", "ct", "one"]).success());
    // Roles that are gathered by labels give what the kind's author adds to them.
    let edit = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "crontabs",
        "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}},
        "rules": [{"apiGroups": ["stable.example.com"], "resources": ["crontabs"], "verbs": ["*"]}]});
    cluster.kubectl(&["create", "rolebinding", "joe", "--clusterrole=edit", "--user=joe"]).ok();
    cluster.apply(&edit.to_string());
    coracle_testkit::eventually("the role is gathered", || {
        let may = cluster.kubectl(&["auth", "can-i", "delete", "crontabs", "--as=joe"]);
        if may.stdout == "yes\n" { Ok(()) } else { Err(format!("{may:?}")) }
    });
}
