//! Admission webhooks: what the good ones say is done, what the bad ones do is judged by the failure policy, in time.

use std::collections::BTreeMap;

use coracle_testkit::{Answer, Cluster, is_root};
use serde_json::{Value, json};

use super::{EXPIRED, GOOD, NAMED, NOBODY, PLAIN, Place, SERVICE_NAME, Webhook};

const TIMEOUT_SECONDS: u64 = 1;
/// What a refusal may take beyond its hook's time, on a machine that compiles at the same time.
const SLACK_MS: u64 = 3000;

/// A webhook that fails, and what is said of it after `failed calling webhook "NAME": `. `URL` stands for its address.
struct Failure {
    name: &'static str,
    port: u16,
    words: &'static str,
}

const fn failure(name: &'static str, port: u16, words: &'static str) -> Failure {
    Failure { name, port, words }
}

/// Those of the program's own faults have the fault's name.
const FAILURES: &[Failure] = &[
    failure("silent", GOOD, r#"failed to call webhook: Post "URL": context deadline exceeded"#),
    failure(
        "trickle",
        GOOD,
        "failed to call webhook: unexpected error when reading response body. Please retry. Original error: context deadline exceeded",
    ),
    failure("cut", GOOD, r#"failed to call webhook: Post "URL": EOF"#),
    failure("garbage", GOOD, "failed to call webhook: couldn't get version/kind; json parse error"),
    failure(
        "500",
        GOOD,
        r#"failed to call webhook: an error on the server ("broken") has prevented the request from succeeding"#,
    ),
    failure("404", GOOD, "failed to call webhook: the server could not find the requested resource"),
    failure("empty", GOOD, "received invalid webhook response: webhook response was absent"),
    failure(
        "other",
        GOOD,
        "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /v1, Kind=Pod",
    ),
    failure("uid", GOOD, "received invalid webhook response: expected response.uid="),
    failure(
        "stranger",
        GOOD,
        r#"failed to call webhook: Post "URL": tls: failed to verify certificate: x509: certificate signed by unknown authority"#,
    ),
    failure(
        "expired",
        EXPIRED,
        r#"failed to call webhook: Post "URL": tls: failed to verify certificate: x509: certificate has expired or is not yet valid"#,
    ),
    failure(
        "named",
        NAMED,
        r#"failed to call webhook: Post "URL": tls: failed to verify certificate: x509: NAMED"#,
    ),
    failure(
        "plain",
        PLAIN,
        r#"failed to call webhook: Post "URL": http: server gave HTTP response to HTTPS client"#,
    ),
    failure("nobody", NOBODY, r#"failed to call webhook: Post "URL": dial tcp "#),
];

/// What Go says of a certificate for another name, for each way to reach the webhook.
fn named(place: Place) -> String {
    match place {
        Place::Pod => format!("certificate is valid for other.example, not {SERVICE_NAME}"),
        Place::Host => {
            "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs".to_owned()
        }
    }
}

impl Webhook {
    /// A webhook for the ConfigMaps that have its name as the label `case`.
    fn hook(&self, case: &str, port: u16, path: &str, policy: &str) -> Value {
        json!({
            "name": format!("{case}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "timeoutSeconds": TIMEOUT_SECONDS, "failurePolicy": policy,
            "clientConfig": self.client_config(port, path),
            "objectSelector": {"matchLabels": {"case": case}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["configmaps"]}],
        })
    }
}

fn configuration(kind: &str, hooks: &[Value]) -> String {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "it"},
        "webhooks": hooks})
    .to_string()
}

fn config_map(case: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": case, "labels": {"case": case}}})
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// How long the server took for each POST, as kubectl's log says.
fn milliseconds(kubectl: &Answer) -> Vec<u64> {
    let posts = kubectl.stderr.lines().filter(|line| line.contains(r#"verb="POST""#));
    let taken = posts.filter_map(|line| line.split_once("milliseconds="));
    taken.filter_map(|(_, after)| after.split(' ').next()?.parse().ok()).collect()
}

/// Every failure, by both kinds of webhook and under both policies, in one go: each object meets one webhook.
fn every_failure_is_judged_by_its_policy(place: Place) {
    if !is_root("webhooks beside real containers") {
        return;
    }
    let cluster = Cluster::node();
    let webhook = Webhook::start(&cluster, place);
    let (mut objects, mut refusals, mut let_through) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (kind, what) in
        [("MutatingWebhookConfiguration", "mutate"), ("ValidatingWebhookConfiguration", "validate")]
    {
        let mut hooks = Vec::new();
        for failure in FAILURES {
            let path = format!("/{what}/{}", failure.name);
            for policy in ["Fail", "Ignore"] {
                let case = format!("{what}.{}.{}", failure.name, policy.to_lowercase());
                let mut hook = webhook.hook(&case, failure.port, &path, policy);
                if failure.name == "stranger" {
                    hook["clientConfig"]["caBundle"] = json!(webhook.stranger.bundle());
                }
                hooks.push(hook);
                objects.push(config_map(&case));
                if policy == "Ignore" {
                    let_through.push(format!("configmap/{case}"));
                    continue;
                }
                let url = format!("{}?timeout={TIMEOUT_SECONDS}s", webhook.url(failure.port, &path));
                refusals.insert(case, failure.words.replace("URL", &url).replace("NAMED", &named(place)));
            }
        }
        cluster.apply(&configuration(kind, &hooks));
    }
    let said = cluster.kubectl_input(&["create", "-o", "name", "-v=6"], &list(&objects));
    let mut created: Vec<&str> = said.stdout.lines().collect();
    created.sort_unstable();
    let_through.sort_unstable();
    assert_eq!(created, let_through, "{said:#?}");
    for (case, words) in refusals {
        let refusal =
            format!(r#"Internal error occurred: failed calling webhook "{case}.example.com": {words}"#);
        assert!(said.stderr.contains(&refusal), "{refusal}\n{}", said.stderr);
    }
    let taken = milliseconds(&said);
    assert_eq!(taken.len(), objects.len(), "{}", said.stderr);
    let longest = taken.iter().max().expect("there are some");
    assert!(*longest < TIMEOUT_SECONDS * 1000 + SLACK_MS, "a request took {longest} ms");
}

#[test]
fn every_failure_in_a_pod_is_judged_by_its_policy() {
    every_failure_is_judged_by_its_policy(Place::Pod);
}

#[test]
fn every_failure_on_the_host_is_judged_by_its_policy() {
    every_failure_is_judged_by_its_policy(Place::Host);
}

fn what_webhooks_say_is_done(place: Place) {
    if !is_root("webhooks beside real containers") {
        return;
    }
    let cluster = Cluster::node();
    let webhook = Webhook::start(&cluster, place);
    let mutate = ["ok", "badpatch"];
    let validate = ["ok", "deny", "warn"];
    let hooks = |what: &str, faults: &[&str]| -> Vec<Value> {
        let hook =
            |f: &&str| webhook.hook(&format!("{what}.{f}.it"), GOOD, &format!("/{what}/{f}"), "Ignore");
        faults.iter().map(hook).collect()
    };
    cluster.apply(&configuration("MutatingWebhookConfiguration", &hooks("mutate", &mutate)));
    cluster.apply(&configuration("ValidatingWebhookConfiguration", &hooks("validate", &validate)));
    let create = |case: &str| cluster.kubectl_input(&["create", "-o", "json"], &config_map(case).to_string());

    assert_eq!(create("mutate.ok.it").json()["metadata"]["labels"]["seen"], "yes");
    // A dry run is shown to webhooks without side effects, too, and leaves nothing.
    let dry = ["create", "--dry-run=server", "-o", "jsonpath={.metadata.labels.seen}"];
    let mut labelled = config_map("mutate.ok.it");
    labelled["metadata"]["name"] = json!("dry");
    assert_eq!(cluster.kubectl_input(&dry, &labelled.to_string()).ok(), "yes");
    assert!(!cluster.kubectl(&["get", "configmap", "dry"]).success());
    // Ignore is for webhooks that cannot be called, not for what they say.
    let broken = create("mutate.badpatch.it");
    assert!(broken.stderr.contains("Error from server (InternalError): "), "{broken:#?}");
    assert_eq!(create("validate.ok.it").json()["metadata"]["labels"]["seen"], Value::Null);
    let denied = create("validate.deny.it");
    let words = r#"admission webhook "validate.deny.it.example.com" denied the request: the webhook says no"#;
    assert!(denied.stderr.contains(words), "{denied:#?}");
    let warned = create("validate.warn.it");
    assert!(warned.success() && warned.stderr.contains("Warning: the webhook warns"), "{warned:#?}");

    // Without its configuration a webhook has no say, from the next request on.
    cluster.kubectl(&["delete", "validatingwebhookconfiguration", "it"]).ok();
    create("validate.deny.it").ok();
}

#[test]
fn what_webhooks_in_a_pod_say_is_done() {
    what_webhooks_say_is_done(Place::Pod);
}

#[test]
fn what_webhooks_on_the_host_say_is_done() {
    what_webhooks_say_is_done(Place::Host);
}

#[test]
fn a_webhook_whose_pod_or_service_is_gone_is_no_webhook() {
    if !is_root("webhooks beside real containers") {
        return;
    }
    let cluster = Cluster::node();
    let webhook = Webhook::start(&cluster, Place::Pod);
    let hook = webhook.hook("validate.ok.it", GOOD, "/validate/ok", "Fail");
    cluster.apply(&configuration("ValidatingWebhookConfiguration", &[hook]));
    let create = |name: &str| {
        let mut object = config_map("validate.ok.it");
        object["metadata"]["name"] = json!(name);
        cluster.kubectl_input(&["create"], &object.to_string())
    };
    create("before").ok();
    let url = webhook.url(GOOD, "/validate/ok");
    let post = format!(
        r#"failed calling webhook "validate.ok.it.example.com": failed to call webhook: Post "{url}?timeout=1s": "#
    );
    cluster.kubectl(&["delete", "pod", super::SERVICE, "--now"]).ok();
    let refused = coracle_testkit::eventually("nobody is behind the Service", || {
        let refused = create("without-pod");
        // Until the endpoint is gone, the address of a Pod that was is tried.
        if refused.stderr.contains("no endpoints available") { Ok(refused) } else { Err(refused.stderr) }
    });
    let words = format!("{post}no endpoints available for service \"hooks\"");
    assert!(refused.stderr.contains(&words), "{refused:#?}");
    cluster.kubectl(&["delete", "service", super::SERVICE]).ok();
    let refused = create("without-service");
    assert!(refused.stderr.contains(&format!("{post}service \"hooks\" not found")), "{refused:#?}");
}
