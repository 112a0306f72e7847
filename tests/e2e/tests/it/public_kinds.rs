//! The kinds of three operators that everybody knows, in the form that theirs have: installed, used, removed.

use coracle_testkit::{Cluster, workspace};
use serde_json::{Value, json};

fn install(cluster: &Cluster, operator: &str) {
    let file = workspace().join(format!("tests/e2e/operators/{operator}.yaml")).display().to_string();
    cluster.kubectl(&["apply", "--server-side", "-f", &file]).ok();
    cluster
        .kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "-l", "app=operators"])
        .ok();
    // Applied again by another way, nothing is new: the defaults are known.
    let again = cluster.kubectl(&["diff", "--server-side", "-f", &file]);
    assert_eq!(again.code, 0, "{again:#?}");
}

fn remove(cluster: &Cluster, operator: &str) {
    let file = workspace().join(format!("tests/e2e/operators/{operator}.yaml")).display().to_string();
    cluster.kubectl(&["delete", "-f", &file, "--timeout=30s"]).ok();
    assert_eq!(cluster.kubectl(&["get", "crd", "-o", "name"]).ok(), "");
}

fn object(kind: &str, api_version: &str, name: &str, spec: Value) -> String {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string()
}

#[track_caller]
fn refused(cluster: &Cluster, object: &str, words: &str) {
    let answer = cluster.kubectl_input(&["create"], object);
    assert!(!answer.success() && answer.stderr.contains(words), "{words}\n{answer:#?}");
}

#[test]
fn certificates_with_conditions_and_columns() {
    let cluster = Cluster::api_only();
    install(&cluster, "certificates");
    let certificate = |spec: Value| {
        let mut whole = json!({"secretName": "tls", "issuerRef": {"name": "ca"}});
        whole.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        object("Certificate", "cert.example.com/v1", "web", whole)
    };
    refused(&cluster, &certificate(json!({})), "spec.commonName: Invalid value: ");
    refused(&cluster, &certificate(json!({})), "a certificate needs a name");
    refused(
        &cluster,
        &certificate(json!({"commonName": "a", "duration": "1h", "renewBefore": "2h"})),
        "spec.renewBefore: Forbidden: it cannot be renewed 2h before an end that is 1h off",
    );
    let small = json!({"commonName": "a", "privateKey": {"size": 1024}});
    refused(&cluster, &certificate(small), "an RSA key of this size is none");
    refused(
        &cluster,
        &certificate(json!({"commonName": "a", "usages": ["signing", "all"]})),
        r#"spec.usages[1]: Unsupported value: "all": supported values: "signing", "digital signature", "server auth", "client auth""#,
    );
    cluster.apply(&certificate(json!({"dnsNames": ["a.example", "b.example"]})));
    let made = cluster.kubectl(&["get", "cert", "web", "-o", "json"]).json();
    assert_eq!(made["spec"]["privateKey"], json!({"algorithm": "RSA"}));
    assert_eq!(
        made["spec"]["issuerRef"],
        json!({"group": "cert.example.com", "kind": "Issuer", "name": "ca"})
    );
    assert_eq!(made["spec"]["duration"], "2160h");
    // Two controllers report in conditions of their own.
    for (manager, kind, status) in [("issuing", "Issuing", "False"), ("ready", "Ready", "True")] {
        let condition = json!({"type": kind, "status": status, "message": "as it should be"});
        let status = json!({"apiVersion": "cert.example.com/v1", "kind": "Certificate", "metadata": {"name": "web"},
            "status": {"conditions": [condition]}});
        let manager = format!("--field-manager={manager}");
        cluster
            .kubectl_input(&["apply", "--server-side", "--subresource=status", &manager], &status.to_string())
            .ok();
    }
    cluster.kubectl(&["wait", "--for=condition=Ready", "cert/web", "--timeout=10s"]).ok();
    let row = cluster.kubectl(&["get", "cert", "--no-headers", "-o", "wide"]).ok();
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[..8], ["web", "True", "tls", "ca", "as", "it", "should", "be"], "{row:?}");
    let of = ["get", "certs", "--field-selector=spec.issuerRef.name=ca", "-o", "name"];
    assert_eq!(cluster.kubectl(&of).ok(), "certificate.cert.example.com/web\n");
    remove(&cluster, "certificates");
}

#[test]
fn monitors_with_deep_schemas() {
    let cluster = Cluster::api_only();
    install(&cluster, "monitors");
    let monitor = |endpoint: Value| {
        let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "endpoints": [endpoint]});
        object("ServiceMonitor", "monitoring.example.com/v1", "web", spec)
    };
    refused(
        &cluster,
        &monitor(json!({"interval": "soon"})),
        "spec.endpoints[0].interval in body should match",
    );
    refused(&cluster, &monitor(json!({"targetPort": true})), "spec.endpoints[0].targetPort");
    refused(
        &cluster,
        &monitor(json!({"authorization": {"credentials": {}}})),
        "credentials.key: Required value",
    );
    let relabel =
        json!({"relabelings": [{"sourceLabels": ["__meta"], "targetLabel": "a"}, {"sourceLabels": ["0"]}]});
    refused(
        &cluster,
        &monitor(relabel),
        "spec.endpoints[0].relabelings[1].sourceLabels[0] in body should match",
    );
    refused(&cluster, &monitor(json!({"portt": "web"})), r#"unknown field "spec.endpoints[0].portt""#);
    for (port, apply) in [(json!("http"), "created"), (json!(8080), "configured")] {
        let endpoint = json!({"targetPort": port, "interval": "1m30s", "params": {"a": ["b"]},
            "authorization": {"credentials": {"key": "k"}}, "relabelings": [{"regex": "x"}]});
        let said = cluster.apply(&monitor(endpoint));
        assert_eq!(said, format!("servicemonitor.monitoring.example.com/web {apply}\n"));
        let made = cluster.kubectl(&["get", "smon", "web", "-o", "json"]).json();
        let endpoint = &made["spec"]["endpoints"][0];
        assert_eq!((&endpoint["targetPort"], &endpoint["path"]), (&port, &json!("/metrics")));
        assert_eq!(endpoint["authorization"]["credentials"], json!({"key": "k", "name": ""}));
        assert_eq!(endpoint["relabelings"], json!([{"regex": "x", "action": "replace"}]));
    }
    let told = cluster.kubectl(&["explain", "smon.spec.endpoints.relabelings"]).ok();
    assert!(told.contains("  action\t<string>\n  enum: replace, keep, drop, labelmap\n"), "{told}");
    cluster.kubectl(&["create", "rolebinding", "jane", "--clusterrole=edit", "--user=jane"]).ok();
    coracle_testkit::eventually("who may edit may edit monitors", || {
        let may = cluster.kubectl(&["delete", "smon", "web", "--as=jane"]);
        if may.success() { Ok(()) } else { Err(may.stderr) }
    });
    remove(&cluster, "monitors");
}

#[test]
fn routes_whose_rules_are_in_cel() {
    let cluster = Cluster::api_only();
    install(&cluster, "routes");
    let route = |spec: Value| object("HTTPRoute", "gateway.example.com/v1", "web", spec);
    let rule = |rule: Value| route(json!({"rules": [rule]}));
    let twice = json!({"parentRefs": [{"name": "a"}, {"name": "a", "sectionName": "x"}, {"name": "a"}]});
    refused(&cluster, &route(twice), "a parent is named once, or by sections that differ");
    refused(&cluster, &rule(json!({"matches": [{"path": {"value": "x"}}]})), "a path begins with '/'");
    refused(
        &cluster,
        &rule(json!({"matches": [{"path": {"value": "/a//b"}}]})),
        "spec.rules[0].matches[0].path: Invalid value: ",
    );
    refused(&cluster, &rule(json!({"backendRefs": [{"name": "a"}]})), "a Service is reached at a port");
    let redirect = json!({"type": "RequestRedirect", "requestRedirect": {}});
    let both = json!({"filters": [redirect], "backendRefs": [{"name": "a", "port": 80}]});
    refused(&cluster, &rule(both), "who redirects has no backends");
    refused(
        &cluster,
        &rule(json!({"filters": [{"type": "RequestRedirect"}]})),
        "a filter says what its type is for",
    );
    let late = json!({"timeouts": {"request": "1s", "backendRequest": "1s1ms"}});
    refused(&cluster, &rule(late), "a backend has no longer than the request");
    let many: Vec<Value> = (0..3).map(|_| json!({"matches": vec![json!({}); 50]})).collect();
    refused(&cluster, &route(json!({"rules": many})), "there are more matches than 128 in all");
    refused(
        &cluster,
        &rule(json!({"matches": vec![json!({}); 65]})),
        "spec.rules[0].matches: Too many: 65: must have at most 64 items",
    );

    cluster
        .apply(&route(json!({"hostnames": ["a.example", "*.b.example"], "parentRefs": [{"name": "gate"}]})));
    let made = cluster.kubectl(&["get", "httproute", "web", "-o", "json"]).json();
    let everything = json!([{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]);
    assert_eq!(made["spec"]["rules"], everything);
    let table = cluster.kubectl(&["get", "httproutes", "--no-headers"]).ok();
    assert!(table.starts_with(r#"web   ["a.example","*.b.example"]   "#), "{table}");
    // The older version is served with a warning, and a word on what to use.
    let older = cluster.kubectl(&[
        "get",
        "httproutes.v1beta1.gateway.example.com",
        "web",
        "-o",
        "jsonpath={.apiVersion}",
    ]);
    assert_eq!(older.stdout, "gateway.example.com/v1beta1");
    assert!(
        older.stderr.contains("Warning: gateway.example.com/v1beta1 HTTPRoute is deprecated; use v1"),
        "{older:#?}"
    );
    remove(&cluster, "routes");
}
