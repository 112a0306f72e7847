//! Conversion webhooks: a kind in two versions that only its webhook can translate, and webhooks that fail at it.

use coracle_testkit::{Answer, Cluster, eventually, is_root, stopwatch};
use serde_json::{Value, json};

use super::{EXPIRED, GOOD, NAMED, PLAIN, Place, Webhook};

/// A conversion has no timeout of its own to set: this is the reference's.
const TIMEOUT_SECONDS: u64 = 30;
const SLACK_SECONDS: u64 = 10;

/// A webhook that fails, and what is said of it after `conversion webhook for GROUP/v1, Kind=Schedule `.
struct Failure {
    name: &'static str,
    port: u16,
    words: &'static str,
}

const fn failure(name: &'static str, port: u16, words: &'static str) -> Failure {
    Failure { name, port, words }
}

const FAILURES: &[Failure] = &[
    failure("garbage", GOOD, "failed: couldn't get version/kind; json parse error"),
    failure(
        "500",
        GOOD,
        r#"failed: an error on the server ("broken") has prevented the request from succeeding"#,
    ),
    failure("cut", GOOD, r#"failed: Post "URL": EOF"#),
    failure(
        "other",
        GOOD,
        "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /v1, Kind=Pod",
    ),
    failure("empty", GOOD, "failed: no response provided"),
    failure("uid", GOOD, "failed: expected response.uid="),
    failure("failed", GOOD, "failed: no way from here to there"),
    failure("fewer", GOOD, "returned 0 objects, expected 1"),
    failure("renamed", GOOD, "returned invalid object: must have the same name: it != it-else"),
    failure(
        "sameversion",
        GOOD,
        "returned invalid object at index 0: invalid groupVersion (expected GROUP/v2, received GROUP/v3)",
    ),
    failure(
        "stranger",
        GOOD,
        r#"failed: Post "URL": tls: failed to verify certificate: x509: certificate signed by unknown authority"#,
    ),
    failure(
        "expired",
        EXPIRED,
        r#"failed: Post "URL": tls: failed to verify certificate: x509: certificate has expired or is not yet valid"#,
    ),
    failure("named", NAMED, r#"failed: Post "URL": tls: failed to verify certificate: x509: "#),
    failure("plain", PLAIN, r#"failed: Post "URL": http: server gave HTTP response to HTTPS client"#),
];

impl Webhook {
    /// The definition of Schedules of the group `FAULT.example.com`, converted by the webhook with this fault.
    fn definition(&self, fault: &str, port: u16) -> Value {
        let group = group(fault);
        let text = json!({"type": "string"});
        let version = |name: &str, storage: bool, fields: Value| {
            json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": fields}}}}})
        };
        let mut config = self.client_config(port, &format!("/convert/{fault}"));
        if fault == "stranger" {
            config["caBundle"] = json!(self.stranger.bundle());
        }
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("schedules.{group}")},
            "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "schedules", "kind": "Schedule"},
                "versions": [version("v1", true, json!({"schedule": text})),
                    version("v2", false, json!({"minute": text, "hour": text}))],
                "conversion": {"strategy": "Webhook",
                    "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": config}}}})
    }
}

fn group(fault: &str) -> String {
    format!("{fault}.example.com")
}

fn schedule(fault: &str, version: &str, name: &str, spec: Value) -> String {
    json!({"apiVersion": format!("{}/{version}", group(fault)), "kind": "Schedule", "metadata": {"name": name},
        "spec": spec})
    .to_string()
}

fn define(cluster: &Cluster, definitions: &[Value]) {
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": definitions}).to_string());
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).ok();
}

fn get(cluster: &Cluster, fault: &str, version: &str, name: &str) -> Answer {
    cluster.kubectl(&["get", &format!("schedules.{version}.{}", group(fault)), name, "-o", "json"])
}

fn objects_are_converted(place: Place) {
    if !is_root("webhooks beside real containers") {
        return;
    }
    let cluster = Cluster::node();
    let webhook = Webhook::start(&cluster, place);
    define(&cluster, &[webhook.definition("ok", GOOD), webhook.definition("labels", GOOD)]);
    let (first, second) = ("schedules.v1.ok.example.com", "schedules.v2.ok.example.com");

    // Written in either version, read in either.
    cluster.apply(&schedule("ok", "v1", "a", json!({"schedule": "5 4"})));
    cluster.apply(&schedule("ok", "v2", "b", json!({"minute": "7", "hour": "6"})));
    assert_eq!(get(&cluster, "ok", "v2", "a").json()["spec"], json!({"minute": "5", "hour": "4"}));
    assert_eq!(get(&cluster, "ok", "v1", "b").json()["spec"], json!({"schedule": "7 6"}));
    let hours = ["get", second, "-o", "jsonpath={.items[*].spec.hour}"];
    assert_eq!(cluster.kubectl(&hours).ok(), "4 6");

    // Patched in the other version, by merge and by apply, and stored in its own.
    cluster.kubectl(&["patch", second, "a", "--type=merge", "-p", r#"{"spec": {"hour": "9"}}"#]).ok();
    assert_eq!(get(&cluster, "ok", "v1", "a").json()["spec"], json!({"schedule": "5 9"}));
    let apply = ["apply", "--server-side", "--field-manager=it", "--force-conflicts"];
    cluster.kubectl_input(&apply, &schedule("ok", "v2", "a", json!({"minute": "1", "hour": "2"}))).ok();
    assert_eq!(get(&cluster, "ok", "v1", "a").json()["spec"], json!({"schedule": "1 2"}));

    // A watch of one version tells of writes in the other.
    let mut watch =
        cluster.kubectl_command(&["get", second, "--watch", "-o", "jsonpath={.spec.hour}{'\\n'}"]);
    let seen = cluster.dir().join("watched");
    watch.stdout(std::fs::File::create(&seen).expect("the directory can be written"));
    let mut watching = watch.spawn().expect("kubectl can be run");
    let shown = |hour: &str| {
        eventually(&format!("the watch shows {hour}"), || {
            let shown = std::fs::read_to_string(&seen).unwrap_or_default();
            if shown.lines().any(|line| line == hour) { Ok(()) } else { Err(shown) }
        });
    };
    shown("2");
    cluster.kubectl(&["patch", first, "b", "--type=merge", "-p", r#"{"spec": {"schedule": "0 23"}}"#]).ok();
    shown("23");
    let _ = watching.kill();
    let _ = watching.wait();

    // Labels and annotations are all that a webhook may change of the metadata.
    cluster.apply(&schedule("labels", "v1", "a", json!({"schedule": "5 4"})));
    let labelled = get(&cluster, "labels", "v2", "a").json();
    assert_eq!(labelled["metadata"]["labels"], json!({"converted": "yes"}));

    cluster.kubectl(&["delete", second, "--all"]).ok();
    assert_eq!(cluster.kubectl(&["get", first, "-o", "name"]).ok(), "");
}

#[test]
fn objects_are_converted_by_a_pod() {
    objects_are_converted(Place::Pod);
}

#[test]
fn objects_are_converted_by_the_host() {
    objects_are_converted(Place::Host);
}

fn every_failure_is_told(place: Place) {
    if !is_root("webhooks beside real containers") {
        return;
    }
    let cluster = Cluster::node();
    let webhook = Webhook::start(&cluster, place);
    let definitions: Vec<Value> = FAILURES.iter().map(|f| webhook.definition(f.name, f.port)).collect();
    define(&cluster, &definitions);
    for failure in FAILURES {
        let (name, group) = (failure.name, group(failure.name));
        // Stored as it is written, no webhook is needed.
        cluster.apply(&schedule(name, "v1", "it", json!({"schedule": "5 4"})));
        let url = webhook.url(failure.port, &format!("/convert/{name}?timeout={TIMEOUT_SECONDS}s"));
        let words = failure.words.replace("URL", &url).replace("GROUP", &group);
        let refused = get(&cluster, name, "v2", "it");
        let wanted = format!("conversion webhook for {group}/v1, Kind=Schedule {words}");
        assert!(!refused.success() && refused.stderr.contains(&wanted), "{wanted}\n{refused:#?}");
        // The object is none the worse for it.
        assert_eq!(get(&cluster, name, "v1", "it").json()["spec"], json!({"schedule": "5 4"}));
        // Nothing is stored that could not be converted.
        let written = cluster.kubectl_input(
            &["create", "--validate=ignore"],
            &schedule(name, "v2", "other", json!({"minute": "1", "hour": "2"})),
        );
        assert!(!written.success(), "{name}: {written:#?}");
        let left = cluster.kubectl(&["get", &format!("schedules.v1.{group}"), "-o", "name"]).ok();
        assert_eq!(left, format!("schedule.{group}/it\n"));
    }
}

#[test]
fn every_failure_of_a_conversion_in_a_pod_is_told() {
    every_failure_is_told(Place::Pod);
}

#[test]
fn every_failure_of_a_conversion_on_the_host_is_told() {
    every_failure_is_told(Place::Host);
}

#[test]
fn a_silent_conversion_ends_and_holds_up_nothing() {
    if !is_root("webhooks beside real containers") {
        return;
    }
    let cluster = Cluster::node();
    let webhook = Webhook::start(&cluster, Place::Host);
    let names = ["silent", "trickle"];
    define(&cluster, &names.map(|name| webhook.definition(name, GOOD)));
    for name in names {
        cluster.apply(&schedule(name, "v1", "it", json!({"schedule": "5 4"})));
    }
    let start = stopwatch();
    std::thread::scope(|scope| {
        let cluster = &cluster;
        let waiting = names.map(|name| scope.spawn(move || get(cluster, name, "v2", "it")));
        // Meanwhile the version that is stored, and everything else, is served.
        for name in names {
            get(cluster, name, "v1", "it").ok();
        }
        cluster.kubectl(&["get", "nodes"]).ok();
        assert!(start.elapsed().as_secs() < TIMEOUT_SECONDS, "others have waited for the webhook");
        for answer in waiting.map(|waiting| waiting.join().expect("kubectl was run")) {
            assert!(answer.stderr.contains("context deadline exceeded"), "{answer:#?}");
        }
    });
    let taken = start.elapsed().as_secs();
    assert!(taken < TIMEOUT_SECONDS + SLACK_SECONDS, "it took {taken} s");
}
