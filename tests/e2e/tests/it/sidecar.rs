//! `coracle proxy` beside an app that has no credential: what it serves, and all that it refuses.

use coracle_testkit::{Answer, Cluster, coracle, is_root};

use crate::articles::{ROLE, ROLE_BINDING};

fn pod() -> String {
    let program = coracle();
    let dir = program.parent().expect("a program is in a directory").display();
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: pair}}
spec:
  containers:
  - name: app
    image: coracle.local/host
    volumeMounts: [{{name: nothing, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}}]
  - name: proxy
    image: coracle.local/host
    command: [/coracle/coracle, proxy]
    volumeMounts: [{{name: program, mountPath: /coracle, readOnly: true}}]
  volumes:
  - {{name: nothing, emptyDir: {{}}}}
  - {{name: program, hostPath: {{path: {dir}}}}}
"#
    )
}

/// A request from the app container: status line number and body, `STATUS BODY`.
fn ask(cluster: &Cluster, flags: &[&str], path: &str) -> String {
    let url = format!("http://localhost:8001{path}");
    let base = ["curl", "-s", "--path-as-is", "--max-time", "10", "-w", "\n%{http_code}"];
    cluster.exec("pair", "app", &[&base[..], flags, &[&url]].concat()).ok()
}

fn status(answer: &str) -> &str {
    answer.lines().last().unwrap_or_default()
}

#[test]
fn an_app_without_a_credential_reads_through_the_sidecar() {
    if !is_root("the sidecar") {
        return;
    }
    let cluster = Cluster::node();
    cluster.apply(&pod());
    cluster.await_ready_pod("pair");
    let files = cluster.exec("pair", "app", &["ls", "-A", "/var/run/secrets/kubernetes.io/serviceaccount"]);
    assert_eq!(files.ok(), "", "the app has no credential of its own");
    let direct: Answer =
        cluster.exec("pair", "app", &["curl", "-sk", "https://kubernetes.default.svc/api/v1/pods"]);
    assert!(direct.stdout.contains("system:anonymous"), "{direct:?}");

    let pods = "/api/v1/namespaces/default/pods";
    coracle_testkit::eventually("the proxy serves", || {
        let answer = ask(&cluster, &[], "/api");
        if status(&answer) == "200" { Ok(()) } else { Err(answer) }
    });
    let denied = ask(&cluster, &[], pods);
    assert_eq!(status(&denied), "403");
    assert!(denied.contains("system:serviceaccount:default:default"), "{denied}");
    cluster.apply(ROLE);
    cluster.apply(ROLE_BINDING);
    let list = ask(&cluster, &[], pods);
    assert!(status(&list) == "200" && list.contains("\"kind\": \"PodList\""), "{list}");
    refusals(&cluster);
    claims_of_the_caller_are_dropped(&cluster);
}

/// Paths that give more than reading and writing objects, in every spelling, and pages of foreign origin.
fn refusals(cluster: &Cluster) {
    // The account may do everything, so that only the sidecar can be what refuses.
    cluster
        .kubectl(&[
            "create",
            "clusterrolebinding",
            "all",
            "--clusterrole=cluster-admin",
            "--serviceaccount=default:default",
        ])
        .ok();
    assert_eq!(status(&ask(cluster, &[], "/api/v1/nodes")), "200");
    let pod = "/api/v1/namespaces/default/pods/pair";
    let post: &[&str] = &["-X", "POST"];
    let upgrade: &[&str] = &["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
    let refused: Vec<(&[&str], String)> = vec![
        (post, format!("{pod}/exec?command=id&stdout=true")),
        (upgrade, format!("{pod}/exec?command=id&stdout=true")),
        (post, format!("{pod}/attach?stdout=true")),
        (post, format!("{pod}/portforward?ports=80")),
        (&[], format!("{pod}/proxy/")),
        (&[], format!("{pod}/proxy")),
        (&[], "/api/v1/namespaces/default/services/kubernetes/proxy/".to_owned()),
        (&[], "/api/v1/nodes/node-1/proxy/pods".to_owned()),
        (post, "/api/v1/namespaces/default/serviceaccounts/default/token".to_owned()),
        (post, format!("/{pod}/exec?command=id")),
        (post, format!("/.{pod}/exec?command=id")),
        (post, "/api/v1/../v1/namespaces/default/pods/pair/exec?command=id".to_owned()),
        (post, "/api//v1/namespaces/default/pods/pair//exec?command=id".to_owned()),
        (post, "/api/v1/namespaces/default/pods/pair/./exec?command=id".to_owned()),
        (post, "/api/v1/namespaces/default/pods/pair/%65xec?command=id".to_owned()),
        (post, "/%61pi/v1/namespaces/default/pods/pair/exec?command=id".to_owned()),
        (&[], "/api/v1/nodes/node-1/%70roxy/pods".to_owned()),
        (&["-H", "Host: evil.example"], "/api".to_owned()),
        (&["-H", "Host: localhost.evil.example:8001"], "/api".to_owned()),
        (&["-H", "Origin: http://evil.example"], "/api".to_owned()),
        (&["-H", "Origin: null"], "/api".to_owned()),
    ];
    let mut wrong = vec![];
    for (flags, path) in &refused {
        let answer = ask(cluster, flags, path);
        // The sidecar's own refusal is a word, not a Status of the API server.
        if status(&answer) != "403" || answer.contains("\"kind\"") {
            wrong.push(format!("{flags:?} {path}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "not refused:\n{}", wrong.join("\n"));
    // The same requests in an innocent form pass: what is refused above is refused for what it is.
    for (flags, path) in [(&[][..], "//api"), (&[], "/./api"), (&["-H", "Host: localhost:8001"], "/api")] {
        let answer = ask(cluster, flags, path);
        assert_eq!(status(&answer), "200", "{path}: {answer}");
    }
    assert_eq!(status(&ask(cluster, &["-H", "Host: 127.0.0.1:8001"], "/api")), "200");
    assert_eq!(status(&ask(cluster, &["-H", "Origin: http://localhost:8001"], "/api")), "200");
}

/// Only the Pod's own identity goes upstream.
fn claims_of_the_caller_are_dropped(cluster: &Cluster) {
    let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    for claim in ["Authorization: Bearer nonsense", "Impersonate-User: mallory"] {
        let flags = ["-X", "POST", "-H", claim, "-H", "Content-Type: application/json", "-d", review];
        let answer = ask(cluster, &flags, "/apis/authentication.k8s.io/v1/selfsubjectreviews");
        assert_eq!(status(&answer), "201", "{claim}: {answer}");
        assert!(answer.contains("system:serviceaccount:default:default"), "{claim}: {answer}");
    }
}
