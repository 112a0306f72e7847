//! `apply` in both its forms, and from one to the other.

use coracle_testkit::Cluster;
use serde_json::{Value, json};

use super::{get, managers, owned};

const DEPLOYMENT: [&str; 2] = ["deployment", "web"];

fn deployment(replicas: u32, image: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]}}},
    })
}

fn server_side(cluster: &Cluster, manager: &str, more: &[&str], object: &Value) -> coracle_testkit::Answer {
    let manager = format!("--field-manager={manager}");
    let args = [&["apply", "--server-side", &manager], more].concat();
    cluster.kubectl_input(&args, &object.to_string())
}

#[test]
fn managers_conflict_over_a_field_until_one_is_forced() {
    let cluster = Cluster::api_only();
    let first = deployment(1, "one", json!({"tier": "front"}));
    assert_eq!(server_side(&cluster, "alice", &[], &first).ok(), "deployment.apps/web serverside-applied\n");
    // The same values are no conflict: they are owned by both.
    server_side(&cluster, "bob", &[], &deployment(1, "one", json!({"team": "b"}))).ok();
    let conflict = server_side(&cluster, "bob", &[], &deployment(2, "two", json!({"team": "b"})));
    assert_eq!(conflict.code, 1, "{conflict:#?}");
    let words = "error: Apply failed with 2 conflicts: conflicts with \"alice\":\n- .spec.replicas\n\
                 - .spec.template.spec.containers[name=\"main\"].image\n";
    assert!(conflict.stderr.starts_with(words), "{conflict:#?}");
    assert_eq!(get(&cluster, &DEPLOYMENT)["spec"]["replicas"], 1);
    // Forced in a dry run, nothing happens; forced in earnest, the field changes its owner.
    let dry = ["--force-conflicts", "--dry-run=server"];
    let second = deployment(2, "two", json!({"team": "b"}));
    let said = server_side(&cluster, "bob", &dry, &second).ok();
    assert_eq!(said, "deployment.apps/web serverside-applied (server dry run)\n");
    assert_eq!(get(&cluster, &DEPLOYMENT)["spec"]["replicas"], 1);
    server_side(&cluster, "bob", &["--force-conflicts"], &second).ok();
    let found = get(&cluster, &DEPLOYMENT);
    assert_eq!(found["spec"]["replicas"], 2);
    assert_eq!(found["metadata"]["labels"], json!({"tier": "front", "team": "b"}));
    let alices = owned(&cluster, &DEPLOYMENT, "alice");
    assert_eq!(alices["f:spec"]["f:replicas"], Value::Null, "{alices}");
    assert_eq!(alices["f:metadata"]["f:labels"], json!({"f:tier": {}}));
    assert_eq!(owned(&cluster, &DEPLOYMENT, "bob")["f:spec"]["f:replicas"], json!({}));
}

#[test]
fn what_is_applied_no_more_goes_unless_another_applies_it() {
    let cluster = Cluster::api_only();
    let mut first = deployment(3, "one", json!({"own": "1", "shared": "1"}));
    first["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "OWN", "value": "1"}, {"name": "SHARED", "value": "1"}]);
    server_side(&cluster, "alice", &[], &first).ok();
    let other = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"shared": "1"}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers":
            [{"name": "main", "env": [{"name": "SHARED", "value": "1"}]}]}}},
    });
    server_side(&cluster, "bob", &[], &other).ok();
    let mut less = deployment(3, "one", json!({}));
    less["spec"].as_object_mut().expect("an object").remove("replicas");
    server_side(&cluster, "alice", &[], &less).ok();
    let found = get(&cluster, &DEPLOYMENT);
    assert_eq!(found["metadata"]["labels"], json!({"shared": "1"}));
    let container = &found["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["env"], json!([{"name": "SHARED", "value": "1"}]));
    // Nobody says any more how many: the default is back.
    assert_eq!(found["spec"]["replicas"], 1);
}

#[test]
fn scale_and_status_have_owners_of_their_own() {
    let cluster = Cluster::api_only();
    server_side(&cluster, "alice", &[], &deployment(1, "one", json!({}))).ok();
    cluster.kubectl(&["scale", "deployment/web", "--replicas=4"]).ok();
    assert_eq!(get(&cluster, &DEPLOYMENT)["spec"]["replicas"], 4);
    let told = managers(&cluster, &DEPLOYMENT);
    assert!(told.contains(&"kubectl Update/scale".to_owned()), "{told:?}");
    let conflict = server_side(&cluster, "alice", &[], &deployment(1, "one", json!({})));
    assert!(
        conflict
            .stderr
            .contains(r#"conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas"#),
        "{conflict:#?}"
    );
    let status =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Running"}});
    cluster.kubectl(&["run", "p", "--image=i"]).ok();
    server_side(&cluster, "prober", &["--subresource=status"], &status).ok();
    assert_eq!(get(&cluster, &["pod", "p"])["status"]["phase"], "Running");
    assert!(managers(&cluster, &["pod", "p"]).contains(&"prober Apply/status".to_owned()));
}

#[test]
fn unknown_fields_are_refused_told_or_ignored() {
    let cluster = Cluster::api_only();
    let mut wrong = deployment(1, "one", json!({}));
    wrong["spec"]["replica"] = json!(2);
    wrong["spec"]["template"]["spec"]["containers"][0]["imagee"] = json!("x");
    let wrong = wrong.to_string();
    let unknown =
        [r#"unknown field "spec.replica""#, r#"unknown field "spec.template.spec.containers[0].imagee""#];
    let refused = cluster.kubectl_input(&["apply", "--validate=strict"], &wrong);
    let words = r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: "#;
    assert!(!refused.success() && refused.stderr.contains(words), "{refused:#?}");
    for field in unknown {
        assert!(refused.stderr.contains(field), "{refused:#?}");
    }
    let warned = cluster.kubectl_input(&["apply", "--validate=warn"], &wrong);
    for field in unknown {
        assert!(warned.success() && warned.stderr.contains(&format!("Warning: {field}")), "{warned:#?}");
    }
    let ignored = cluster.kubectl_input(&["apply", "--validate=ignore"], &wrong);
    assert!(ignored.success() && ignored.stderr.is_empty(), "{ignored:#?}");
    // What is named twice counts, too.
    let twice = "{apiVersion: v1, kind: ConfigMap, metadata: {name: twice}, data: {a: x, a: y}}";
    let refused = cluster.kubectl_input(&["apply", "--server-side", "--validate=strict"], twice);
    assert!(!refused.success(), "{refused:#?}");
    let typo = server_side(&cluster, "alice", &[], &serde_json::from_str(&wrong).expect("JSON"));
    assert!(typo.stderr.contains(".spec.replica: field not declared in schema"), "{typo:#?}");
}

#[test]
fn client_side_apply_patches_what_it_last_applied() {
    let cluster = Cluster::api_only();
    let apply =
        |object: &Value| cluster.kubectl_input(&["apply", "--validate=strict"], &object.to_string()).ok();
    let mut first = deployment(2, "one", json!({"a": "1", "b": "2"}));
    first["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "side", "image": "s", "ports": [{"containerPort": 80}, {"containerPort": 81}]}));
    assert_eq!(apply(&first), "deployment.apps/web created\n");
    assert_eq!(apply(&first), "deployment.apps/web unchanged\n");
    // Others' changes stay; what is left out of the manifest goes.
    cluster.kubectl(&["scale", "deployment/web", "--replicas=5"]).ok();
    cluster.kubectl(&["label", "deployment", "web", "c=3"]).ok();
    let mut second = first.clone();
    second["metadata"]["labels"] = json!({"a": "9"});
    second["spec"].as_object_mut().expect("an object").remove("replicas");
    second["spec"]["template"]["spec"]["containers"][1]["ports"] = json!([{"containerPort": 81}]);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=5"]).ok();
    assert_eq!(apply(&second), "deployment.apps/web configured\n");
    let found = get(&cluster, &DEPLOYMENT);
    assert_eq!(found["metadata"]["labels"], json!({"a": "9", "c": "3"}));
    assert_eq!(found["spec"]["template"]["spec"]["containers"][1]["ports"][0]["containerPort"], 81);
    assert_eq!(found["spec"]["template"]["spec"]["containers"][1]["ports"].as_array().map(Vec::len), Some(1));
    // It was applied before and is not any more.
    assert_eq!(found["spec"]["replicas"], 1);
    // Objects of a set that are not in the manifest any more go with --prune.
    let maps = |names: &[&str]| {
        let maps: Vec<Value> = names
            .iter()
            .map(|n| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n, "labels": {"set": "s"}}}))
            .collect();
        json!({"apiVersion": "v1", "kind": "List", "items": maps}).to_string()
    };
    let prune = ["apply", "--prune", "-l", "set=s", "--prune-allowlist=core/v1/ConfigMap"];
    cluster.kubectl_input(&prune, &maps(&["x", "y"])).ok();
    assert_eq!(
        cluster.kubectl_input(&prune, &maps(&["x"])).ok(),
        "configmap/x unchanged\nconfigmap/y pruned\n"
    );
}

#[test]
fn client_side_apply_migrates_to_the_server() {
    let cluster = Cluster::api_only();
    let first = deployment(2, "one", json!({"a": "1", "b": "2"}));
    cluster.apply(&first.to_string());
    assert!(managers(&cluster, &DEPLOYMENT).contains(&"kubectl-client-side-apply Update".to_owned()));
    // The same manifest, and one without a label: the former owner is gone, and so is what it alone has owned.
    let apply = |object: &Value| cluster.kubectl_input(&["apply", "--server-side"], &object.to_string()).ok();
    apply(&first);
    let told = managers(&cluster, &DEPLOYMENT);
    assert!(told.contains(&"kubectl Apply".to_owned()), "{told:?}");
    assert!(!told.contains(&"kubectl-client-side-apply Update".to_owned()), "{told:?}");
    apply(&deployment(2, "one", json!({"a": "1"})));
    assert_eq!(get(&cluster, &DEPLOYMENT)["metadata"]["labels"], json!({"a": "1"}));
    // And back: what the server's apply has kept as last applied is what the client's begins from.
    let back = cluster.kubectl_input(&["apply"], &deployment(3, "one", json!({})).to_string());
    assert_eq!(back.ok(), "deployment.apps/web configured\n");
    let found = get(&cluster, &DEPLOYMENT);
    assert_eq!((&found["metadata"]["labels"], &found["spec"]["replicas"]), (&Value::Null, &json!(3)));
    // The last-applied annotation follows server-side applies.
    let last = found["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str();
    let last: Value = serde_json::from_str(last.expect("an annotation")).expect("JSON");
    assert_eq!(last["spec"]["replicas"], 3);
}
