//! Helm, with a chart in the form that operators have: a kind, its webhook with a certificate that the chart makes, hooks
//! of Pods and custom resources; installed, upgraded, failed, rolled back, tested and removed.

use coracle_testkit::{Answer, Cluster, clients_dir, is_root, workspace};
use serde_json::{Value, json};

const RELEASE: &str = "lights";
const TIMEOUT: &str = "--timeout=90s";

fn helm(cluster: &Cluster, args: &[&str]) -> Answer {
    let mut command = cluster.machine().command(clients_dir().join("helm"));
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(args);
    // Nothing of the user's, nothing left in the home directory.
    for (variable, dir) in
        [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
    {
        command.env(variable, cluster.dir().join("helm").join(dir));
    }
    Answer::of(command)
}

/// `helm VERB RELEASE CHART` with values.
fn release(cluster: &Cluster, verb: &[&str], values: &[&str]) -> Answer {
    let chart = workspace().join("tests/e2e/charts/beacon").display().to_string();
    let programs = format!("programs={}", workspace().join("tests/e2e/programs").display());
    let mut args = verb.to_vec();
    args.extend([RELEASE, &chart, "--wait", TIMEOUT, "--set", &programs]);
    values.iter().for_each(|value| args.extend(["--set", value]));
    helm(cluster, &args)
}

fn beacon(name: &str, spec: Value) -> String {
    json!({"apiVersion": "lights.example.com/v1", "kind": "Beacon", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

/// The chart's values as they have come to be objects: the greeting, and the revision that the hook has noted.
fn state(cluster: &Cluster) -> [String; 2] {
    let read = |name: &str, path: &str| {
        cluster.kubectl(&["get", "configmap", name, "-o", &format!("jsonpath={{{path}}}")]).ok()
    };
    [read(RELEASE, ".data.greeting"), read("migrations", ".data.revision")]
}

fn is_ready(cluster: &Cluster) -> bool {
    let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    cluster.kubectl(&["get", "pod", RELEASE, "-o", ready]).ok() == "True"
}

#[test]
fn a_chart_is_installed_upgraded_rolled_back_and_removed() {
    if !is_root("a chart with Pods") {
        return;
    }
    let cluster = Cluster::node();
    let told = release(&cluster, &["install"], &[]).ok();
    assert!(told.contains("STATUS: deployed") && told.contains("hello from lights"), "{told}");
    assert_eq!(state(&cluster), ["hello", "1"]);
    assert!(is_ready(&cluster), "--wait waits for it");
    // The kind that came with the chart, its defaults, its rules, and its webhook.
    let made = cluster.kubectl(&["get", "bcn", "default", "-o", "json"]).json();
    assert_eq!(made["spec"], json!({"color": "white", "range": 10}));
    let fast = beacon("fast", json!({"color": "red", "period": "10ms"}));
    let refused = cluster.kubectl_input(&["create"], &fast);
    assert!(refused.stderr.contains("a beacon that is too fast is no beacon"), "{refused:#?}");
    cluster.apply(&beacon("slow", json!({"color": "red", "period": "10s"})));

    release(&cluster, &["upgrade"], &["greeting=hi", "answer=deny"]).ok();
    assert_eq!(state(&cluster), ["hi", "2"]);
    let denied = cluster.kubectl_input(&["create"], &beacon("late", json!({"color": "green"})));
    assert!(denied.stderr.contains("denied the request: the webhook says no"), "{denied:#?}");

    // What the server refuses fails the upgrade, and the next step goes on from what is there.
    let failed = release(&cluster, &["upgrade"], &["port=70000"]);
    let words = "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive";
    assert!(!failed.success() && failed.stderr.contains(words), "{failed:#?}");
    helm(&cluster, &["rollback", RELEASE, "1", "--wait", TIMEOUT]).ok();
    assert_eq!(state(&cluster)[0], "hello");
    cluster.apply(&beacon("late", json!({"color": "green"})));
    let history = helm(&cluster, &["history", RELEASE, "-o", "json"]).json();
    let entries = history.as_array().expect("a list").iter();
    let statuses: Vec<&str> = entries.filter_map(|r| r["status"].as_str()).collect();
    assert_eq!(statuses, ["superseded", "superseded", "failed", "deployed"]);

    let tested = helm(&cluster, &["test", RELEASE, TIMEOUT]).ok();
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");
    let list = helm(&cluster, &["list", "-o", "json"]).json();
    assert_eq!(list[0]["status"], "deployed");
    drift_is_taken_back(&cluster);
    removed(&cluster);
}

/// Helm applies on the server's side: what somebody else has changed is a conflict, which may be forced.
fn drift_is_taken_back(cluster: &Cluster) {
    cluster.kubectl(&["patch", "configmap", RELEASE, "-p", r#"{"data": {"greeting": "hacked"}}"#]).ok();
    let refused = release(cluster, &["upgrade"], &[]);
    let words = r#"conflict with "kubectl-patch" using v1: .data.greeting"#;
    assert!(!refused.success() && refused.stderr.contains(words), "{refused:#?}");
    assert_eq!(state(cluster)[0], "hacked");
    release(cluster, &["upgrade", "--install", "--force-conflicts"], &[]).ok();
    assert_eq!(state(cluster), ["hello", "6"]);
}

/// Everything of the release goes, but its kinds and what the hooks have made.
fn removed(cluster: &Cluster) {
    helm(cluster, &["uninstall", RELEASE, "--wait", TIMEOUT]).ok();
    for kind in ["pods", "services", "configmaps", "validatingwebhookconfigurations"] {
        let of = "app.kubernetes.io/instance=lights";
        assert_eq!(cluster.kubectl(&["get", kind, "-l", of, "-o", "name"]).ok(), "", "{kind}");
    }
    assert_eq!(
        cluster.kubectl(&["get", "secrets", "-o", "name"]).ok(),
        "",
        "the releases' records are gone, too"
    );
    // Nobody judges any more.
    cluster.apply(&beacon("after", json!({"color": "green"})));
    cluster.kubectl(&["delete", "crd", "beacons.lights.example.com", "--timeout=30s"]).ok();
}
