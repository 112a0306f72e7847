//! What controllers and admission do together, with stock kubectl.

use coracle_testkit::{Cluster, eventually};
use serde_json::{Value, json};

fn get(cluster: &Cluster, what: &[&str]) -> Value {
    cluster.kubectl(&[&["get", "-o", "json"], what].concat()).json()
}

/// Wait until an object's status says this.
#[track_caller]
fn await_status(cluster: &Cluster, what: &[&str], pointer: &str, want: &Value) {
    eventually(&format!("{what:?} says {want} at {pointer}"), || {
        let found = get(cluster, what);
        let said = found.pointer(pointer).unwrap_or(&Value::Null);
        if said == want { Ok(()) } else { Err(found.to_string()) }
    });
}

#[test]
fn a_quota_is_counted_charged_and_given_back() {
    let cluster = Cluster::api_only();
    cluster.kubectl(&["create", "configmap", "before"]).ok();
    let hard = "--hard=count/configmaps=4,pods=1,requests.cpu=1";
    cluster.kubectl(&["create", "quota", "q", hard]).ok();
    // One of them is the CA's, which every namespace has.
    let quota = ["quota", "q"];
    await_status(&cluster, &quota, "/status/used/count~1configmaps", &json!("2"));
    await_status(&cluster, &quota, "/status/used/pods", &json!("0"));
    cluster.kubectl(&["create", "configmap", "a"]).ok();
    cluster.kubectl(&["create", "configmap", "b"]).ok();
    let refused = cluster.kubectl(&["create", "configmap", "c"]);
    let words = "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=4, limited: count/configmaps=4";
    assert!(refused.stderr.contains(words), "{refused:#?}");
    cluster.kubectl(&["delete", "configmap", "a"]).ok();
    await_status(&cluster, &quota, "/status/used/count~1configmaps", &json!("3"));
    cluster.kubectl(&["create", "configmap", "c"]).ok();
    let pod = |name: &str, cpu: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers":
            [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}})
        .to_string()
    };
    let silent = cluster.kubectl(&["run", "silent", "--image=i"]);
    assert!(silent.stderr.contains("failed quota: q: must specify requests.cpu for: silent"), "{silent:#?}");
    cluster.apply(&pod("one", "600m"));
    let second = cluster.kubectl_input(&["apply"], &pod("two", "500m"));
    let words = "exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=1,requests.cpu=600m, limited: \
                 pods=1,requests.cpu=1";
    assert!(second.stderr.contains(words), "{second:#?}");
    cluster.kubectl(&["delete", "pod", "one", "--now"]).ok();
    await_status(&cluster, &quota, "/status/used/requests.cpu", &json!("0"));
    cluster.apply(&pod("two", "1"));
}

#[test]
fn a_claim_stays_while_a_pod_uses_it() {
    let cluster = Cluster::api_only();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec":
        {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n",
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}).to_string());
    cluster.apply(&claim.to_string());
    cluster.apply(&pod.to_string());
    cluster.kubectl(&["delete", "pvc", "c", "--wait=false"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let kept = get(&cluster, &["pvc", "c"]);
    assert_eq!(kept["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    cluster.kubectl(&["delete", "pod", "p", "--force", "--grace-period=0"]).ok();
    eventually("the claim is gone", || {
        let left = cluster.kubectl(&["get", "pvc", "c", "--ignore-not-found"]).ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    cluster.apply(&claim.to_string());
    cluster.kubectl(&["delete", "pvc", "c", "--timeout=30s"]).ok();
}

#[test]
fn a_budget_says_how_many_pods_may_go() {
    let cluster = Cluster::api_only();
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}})
        .to_string()
    };
    cluster.kubectl(&["create", "pdb", "b", "--selector=app=a", "--min-available=1"]).ok();
    for name in ["one", "two"] {
        cluster.apply(&pod(name));
        let ready =
            r#"{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}"#;
        cluster.kubectl(&["patch", "pod", name, "--subresource=status", "--type=merge", "-p", ready]).ok();
    }
    await_status(&cluster, &["pdb", "b"], "/status/disruptionsAllowed", &json!(1));
    await_status(&cluster, &["pdb", "b"], "/status/conditions/0/reason", &json!("SufficientPods"));
    let evict = |name: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
        cluster.kubectl_input(&["create", "--raw", &path], &eviction.to_string())
    };
    evict("one").ok();
    let refused = evict("two");
    assert!(
        refused.stderr.contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{refused:#?}"
    );
    cluster.kubectl(&["delete", "pod", "one", "--force", "--grace-period=0", "--ignore-not-found"]).ok();
    await_status(&cluster, &["pdb", "b"], "/status/currentHealthy", &json!(1));
    await_status(&cluster, &["pdb", "b"], "/status/disruptionsAllowed", &json!(0));
}

/// Made with `openssl req -new -key` of a P-256 key, for `/O=devs/CN=jane`.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIYU1JR0FBZ0VBTUI0eERUQUxCZ05WQkFvTUJHUmxkbk14RFRBTEJnTlZCQU1NQkdwaGJtVXdXVEFUQmdjcQpoa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVFST3NqZVRFeldPREpIZW55MVBzQ3k5VnUxcks5UVBKRUFyVTNZClU0aHNNZG1HOUoxTVJwWG54aUxTZmRyZUlSeDNDZkRuVjJjL0RxdDluK1VEOWVCNG9BQXdDZ1lJS29aSXpqMEUKQXdJRFNRQXdSZ0loQUlhWWkvd0ttQU1adDRYWmxuRFltQVlSVUVrbkVMUHRBSGF5enI3OU9aT1VBaUVBOXludwpDcVhwVmd4UURhRFdKZmNGL1Y3UU5GeUltQ2dnbk1yY1lEcnpKTHc9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
/// The same for `/O=system:masters/CN=jane`.
const MASTERS: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIaU1JR0tBZ0VBTUNneEZ6QVZCZ05WQkFvTURuTjVjM1JsYlRwdFlYTjBaWEp6TVEwd0N3WURWUVFEREFScQpZVzVsTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFRVRySTNreE0xamd5UjNwOHRUN0FzdlZiCnRheXZVRHlSQUsxTjJGT0liREhaaHZTZFRFYVY1OFlpMG4zYTNpRWNkd253NTFkblB3NnJmWi9sQS9YZ2VLQUEKTUFvR0NDcUdTTTQ5QkFNQ0EwY0FNRVFDSUc0eVZwSGs0bXdBUHFBMVBTSWpQaUszVk41QXExTkd4N0RzQ2hBWQo3NlJLQWlCNUxLalNiWEVVdXI1STFUY2xTK2FvRTJqQUlNYUI1MEpDcnNEVVdXb3JKQT09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
const KEY: &str = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0hBZ0VBTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEJHMHdhd0lCQVFRZzMrcmUzUGxGY3RIb1RxZFcKNVd3VEFONFdHVEE4V1h0a2hBWWtZTnFQVS9DaFJBTkNBQVFST3NqZVRFeldPREpIZW55MVBzQ3k5VnUxcks5UQpQSkVBclUzWVU0aHNNZG1HOUoxTVJwWG54aUxTZmRyZUlSeDNDZkRuVjJjL0RxdDluK1VEOWVCNAotLS0tLUVORCBQUklWQVRFIEtFWS0tLS0tCg==";

#[test]
fn an_approved_request_gets_a_certificate_that_the_server_takes() {
    let cluster = Cluster::api_only();
    let request = |name: &str, usages: Value| {
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name}, "spec": {"request": REQUEST, "usages": usages,
            "signerName": "kubernetes.io/kube-apiserver-client"}})
        .to_string()
    };
    cluster.apply(&request("good", json!(["client auth"])));
    cluster.apply(&request("bad", json!(["server auth"])));
    cluster.kubectl(&["certificate", "approve", "good", "bad"]).ok();
    await_status(&cluster, &["csr", "bad"], "/status/conditions/1/reason", &json!("SignerValidationFailure"));
    let failed = get(&cluster, &["csr", "bad"]);
    assert_eq!(
        failed["status"]["conditions"][1]["message"],
        "invalid usage for client certificate: server auth"
    );
    eventually("the certificate is there", || {
        let found = get(&cluster, &["csr", "good"]);
        if found["status"]["certificate"].is_string() { Ok(()) } else { Err(found.to_string()) }
    });
    let again = cluster.kubectl(&["get", "csr", "good", "-o", "jsonpath={.status.certificate}"]).ok();
    let config = cluster.dir().join("jane");
    std::fs::write(cluster.dir().join("jane.b64"), &again).expect("the directory can be written");
    let mut user =
        serde_json::from_str::<Value>(&cluster.kubectl(&["config", "view", "--raw", "-o", "json"]).ok())
            .expect("a kubeconfig");
    user["users"][0]["user"] = json!({"client-certificate-data": again, "client-key-data": KEY});
    std::fs::write(&config, user.to_string()).expect("the directory can be written");
    let mut whoami = std::process::Command::new(coracle_testkit::kubectl());
    whoami.arg("--kubeconfig").arg(&config).args(["auth", "whoami", "-o", "json"]);
    let told = coracle_testkit::Answer::of(whoami).json();
    assert_eq!(told["status"]["userInfo"]["username"], "jane");
    let groups = told["status"]["userInfo"]["groups"].clone();
    assert_eq!(groups, json!(["devs", "system:authenticated"]));
    let masters =
        cluster.kubectl_input(&["apply"], &request("x", json!(["client auth"])).replace(REQUEST, MASTERS));
    assert!(
        masters.stderr.contains(
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        ),
        "{masters:#?}"
    );
}

const TABS: &str = r#"{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "tabs.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "tabs", "kind": "Tab", "shortNames": ["tb"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true}}}]}}"#;

#[test]
fn what_controllers_do_they_do_for_custom_resources() {
    let cluster = Cluster::api_only();
    let tab = |namespace: &str, name: &str, owner: &Value| {
        let owners = if owner.is_null() { json!([]) } else { json!([owner]) };
        let metadata = json!({"name": name, "namespace": namespace, "ownerReferences": owners});
        json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": metadata}).to_string()
    };
    let gone = |what: &[&str]| {
        eventually(&format!("{what:?} is gone"), || {
            let left = cluster.kubectl(&[&["get", "--ignore-not-found"], what].concat()).ok();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    };
    cluster.kubectl(&["create", "namespace", "other"]).ok();
    // Used in one call with its definition: kubectl looks again at what it has not asked about in this call.
    cluster.kubectl(&["api-resources"]).ok();
    cluster.kubectl_input(&["create"], &format!("{TABS}\n{}", tab("default", "owner", &Value::Null))).ok();
    cluster.apply(&tab("other", "inside", &Value::Null));
    let uid = get(&cluster, &["tb", "owner"])["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "example.com/v1", "kind": "Tab", "name": "owner", "uid": uid});
    cluster.apply(&tab("default", "owned", &owner));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "owned", "ownerReferences": [owner]}});
    cluster.apply(&map.to_string());
    cluster.kubectl(&["create", "quota", "q", "--hard=count/tabs.example.com=2"]).ok();
    let used = "/status/used/count~1tabs.example.com";
    await_status(&cluster, &["quota", "q"], used, &json!("2"));
    let third = cluster.kubectl_input(&["apply"], &tab("default", "third", &Value::Null));
    assert!(third.stderr.contains("exceeded quota: q"), "{third:#?}");
    cluster.kubectl(&["delete", "tab", "owner", "--wait=false"]).ok();
    gone(&["tab", "owned"]);
    gone(&["configmap", "owned"]);
    await_status(&cluster, &["quota", "q"], used, &json!("0"));
    cluster.kubectl(&["delete", "namespace", "other", "--timeout=30s"]).ok();
    cluster.kubectl(&["delete", "crd", "tabs.example.com", "--timeout=30s"]).ok();
    let none = cluster.kubectl(&["get", "tabs"]);
    // kubectl still knows the kind from before.
    assert!(none.stderr.contains("the server could not find the requested resource"), "{none:#?}");
}

#[test]
fn a_service_cidr_stays_while_services_have_addresses_from_it() {
    let cluster = Cluster::api_only();
    let finalizers = json!(["networking.k8s.io/service-cidr-finalizer"]);
    await_status(&cluster, &["servicecidr", "kubernetes"], "/metadata/finalizers", &finalizers);
    let ready = json!("Kubernetes Service CIDR is ready");
    await_status(&cluster, &["servicecidr", "kubernetes"], "/status/conditions/0/message", &ready);
    let more = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
        "spec": {"cidrs": ["10.200.0.0/24"]}});
    cluster.apply(&more.to_string());
    await_status(&cluster, &["servicecidr", "more"], "/status/conditions/0/message", &ready);
    cluster.kubectl(&["create", "service", "clusterip", "s", "--tcp=80", "--clusterip=10.200.0.9"]).ok();
    let parent = get(&cluster, &["ipaddress", "10.200.0.9"])["spec"]["parentRef"].clone();
    assert_eq!(parent, json!({"resource": "services", "namespace": "default", "name": "s"}));
    cluster.kubectl(&["delete", "servicecidr", "more", "--wait=false"]).ok();
    await_status(&cluster, &["servicecidr", "more"], "/status/conditions/0/reason", &json!("Terminating"));
    let refused =
        cluster.kubectl(&["create", "service", "clusterip", "t", "--tcp=80", "--clusterip=10.200.0.10"]);
    assert!(refused.stderr.contains("the provided network does not match the current range"), "{refused:#?}");
    cluster.kubectl(&["delete", "service", "s"]).ok();
    // Ten seconds after it was deleted, and once nobody has an address from it.
    cluster.kubectl(&["wait", "--for=delete", "servicecidr/more", "--timeout=30s"]).ok();
}

#[test]
fn a_policy_is_told_what_its_expressions_do_not_fit() {
    let cluster = Cluster::api_only();
    let policy = |expression: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "p"}, "spec": {"validations": [{"expression": expression}],
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": ["apps"],
                "apiVersions": ["v1"], "resources": ["deployments"]}]}}})
        .to_string()
    };
    cluster.apply(&policy("object.replicas > 1"));
    let warning = json!([{"fieldRef": "spec.validations[0].expression", "warning":
        "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n"}]);
    let what = ["validatingadmissionpolicy", "p"];
    await_status(&cluster, &what, "/status/typeChecking/expressionWarnings", &warning);
    cluster.apply(&policy("object.spec.replicas > 1"));
    await_status(&cluster, &what, "/status/observedGeneration", &json!(2));
    assert_eq!(get(&cluster, &what)["status"]["typeChecking"]["expressionWarnings"], Value::Null);
}

#[test]
fn the_parts_of_the_control_plane_are_healthy() {
    let cluster = Cluster::api_only();
    let shown = cluster.kubectl(&["get", "componentstatuses"]);
    assert!(shown.stderr.contains("v1 ComponentStatus is deprecated in v1.19+"), "{shown:#?}");
    let rows: Vec<Vec<&str>> = shown.stdout.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
    let healthy = |name| vec![name, "Healthy", "ok"];
    assert_eq!(rows, ["controller-manager", "etcd-0", "scheduler"].map(healthy));
}
