//! The table of refusals.

use serde_json::json;

use super::*;
use crate::testing::{Objects, authorizer};

fn world() -> Objects {
    let rules = json!([{"verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["granted"]}]);
    let objects = Objects::default().grant("system:node:n1", rules);
    objects.put("nodes", json!({"metadata": {"name": "n1", "uid": "node-uid"}}));
    for (name, node) in [("mine", "n1"), ("theirs", "n2")] {
        objects.put(
            "pods",
            json!({"metadata": {"namespace": "ns", "name": name, "uid": name}, "spec": {"nodeName": node,
                   "volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}, {"serviceAccountToken": {"audience": "vault"}}]}}]}}),
        );
    }
    objects
}

const CREATE: Operation = Operation::Create;
const UPDATE: Operation = Operation::Update;
const DELETE: Operation = Operation::Delete;

/// `what` is `resource[/subresource]` of the core group, or `group resource`.
fn ask(operation: Operation, what: &str, name: &str, old: &Value, new: &Value) -> String {
    let (group, resource) = what.split_once(' ').unwrap_or(("", what));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let namespace = if resource == "leases" { LEASES } else { "ns" };
    let write = Write { operation, group, resource, subresource, namespace, name, object: new, old };
    match check(&Arc::new(User::node("n1")), &write, &authorizer(&world())) {
        Ok(()) => String::new(),
        Err(status) => status.message,
    }
}

fn mirror() -> Value {
    json!({
        "metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-uid", "controller": true}]},
        "spec": {"nodeName": "n1"},
    })
}

/// What is said of a mirror Pod with one part replaced.
fn altered(at: &str, value: &Value) -> String {
    let mut pod = mirror();
    *pod.pointer_mut(at).unwrap() = value.clone();
    ask(CREATE, "pods", "", &Value::Null, &pod)
}

#[test]
fn row_17_mirror_pods_only_and_of_its_own() {
    assert_eq!(ask(CREATE, "pods", "", &Value::Null, &mirror()), "");
    let owner = "/metadata/ownerReferences/0";
    for (at, value, words) in [
        (
            "/metadata/annotations",
            json!({}),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
        ),
        ("/spec/nodeName", json!("n2"), "node \"n1\" can only create pods with spec.nodeName set to itself"),
        (
            "/metadata/ownerReferences",
            json!([]),
            "node \"n1\" can only create pods with an owner reference set to itself",
        ),
        (
            "/metadata/ownerReferences",
            json!([1, 2]),
            "node \"n1\" can only create pods with a single owner reference set to itself",
        ),
        (
            owner,
            json!({"apiVersion": "v1", "kind": "Node", "name": "n2"}),
            "node \"n1\" can only create pods with an owner reference set to itself",
        ),
        (
            owner,
            json!({"apiVersion": "v1", "kind": "Node", "name": "n1"}),
            "node \"n1\" can only create pods with a controller owner reference set to itself",
        ),
        (
            owner,
            json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "controller": true, "blockOwnerDeletion": true}),
            "node \"n1\" must not set blockOwnerDeletion on an owner reference",
        ),
        (
            owner,
            json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "controller": true, "uid": "x"}),
            "node n1 UID mismatch: expected x got node-uid",
        ),
    ] {
        assert_eq!(altered(at, &value), format!("pods \"m\" is forbidden: {words}"));
    }
}

#[test]
fn row_17_mirror_pods_refer_to_nothing() {
    for (at, value, words) in [
        (
            "/spec",
            json!({"nodeName": "n1", "serviceAccountName": "default"}),
            "node \"n1\" can not create pods that reference a service account",
        ),
        (
            "/spec",
            json!({"nodeName": "n1", "volumes": [{"secret": {"secretName": "s"}}]}),
            "node \"n1\" can not create pods that reference secrets",
        ),
        (
            "/spec",
            json!({"nodeName": "n1", "volumes": [{"configMap": {"name": "c"}}]}),
            "node \"n1\" can not create pods that reference configmaps",
        ),
        (
            "/spec",
            json!({"nodeName": "n1", "volumes": [{"persistentVolumeClaim": {}}]}),
            "node \"n1\" can not create pods that reference persistentvolumeclaims",
        ),
        (
            "/spec",
            json!({"nodeName": "n1", "resourceClaims": [{}]}),
            "node \"n1\" can not create pods that reference resourceclaims",
        ),
    ] {
        assert_eq!(altered(at, &value), format!("pods \"m\" is forbidden: {words}"));
    }
}

#[test]
fn row_17_pods_of_others_are_out_of_reach() {
    let null = Value::Null;
    assert_eq!(ask(DELETE, "pods", "mine", &null, &null), "");
    assert_eq!(
        ask(DELETE, "pods", "theirs", &null, &null),
        "pods \"theirs\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself"
    );
    assert_eq!(ask(DELETE, "pods", "ghost", &null, &null), "pods \"ghost\" not found");
    assert_eq!(ask(CREATE, "pods/eviction", "mine", &null, &json!({})), "");
    assert!(
        ask(CREATE, "pods/eviction", "theirs", &null, &json!({})).contains("node n1 can only evict pods")
    );
    assert!(ask(UPDATE, "pods", "mine", &null, &null).contains("can only create and delete mirror pods"));
    assert!(
        ask(UPDATE, "pods/resize", "mine", &null, &null).contains("unexpected pod subresource \"resize\"")
    );
    let pod =
        |node: &str, label: &str| json!({"metadata": {"labels": {"a": label}}, "spec": {"nodeName": node}});
    assert_eq!(ask(UPDATE, "pods/status", "mine", &pod("n1", "x"), &pod("n1", "x")), "");
    assert!(
        ask(UPDATE, "pods/status", "p", &pod("n2", "x"), &pod("n2", "x"))
            .contains("can only update pod status for pods")
    );
    assert!(
        ask(UPDATE, "pods/status", "p", &pod("n1", "x"), &pod("n1", "y"))
            .contains("cannot update labels through pod status")
    );
}

#[test]
fn row_17_a_node_does_not_steer_work_to_itself() {
    let node = |key: &str, value: Value| {
        let mut node = json!({"metadata": {"name": "n1", "labels": {}}, "spec": {}});
        *node.pointer_mut("/metadata").unwrap().as_object_mut().unwrap().entry(key).or_insert(Value::Null) =
            value;
        node
    };
    let labels = |label: &str| node("labels", json!({label: "x"}));
    let plain = node("labels", json!({}));
    for (label, yes) in [
        ("mine", true),
        ("example.com/a", true),
        ("kubernetes.io/hostname", true),
        ("node.kubernetes.io/a", true),
        ("kubelet.kubernetes.io/a", true),
        ("x.node.kubernetes.io/a", true),
        ("node-restriction.kubernetes.io/a", false),
        ("x.node-restriction.kubernetes.io/a", false),
        ("kubernetes.io/a", false),
        ("node-role.kubernetes.io/control-plane", false),
        ("k8s.io/a", false),
        ("notk8s.io/a", true),
    ] {
        let created = ask(CREATE, "nodes", "", &Value::Null, &labels(label));
        let updated = ask(UPDATE, "nodes", "n1", &plain, &labels(label));
        if yes {
            assert_eq!((created.as_str(), updated.as_str()), ("", ""), "{label}");
        } else {
            assert_eq!(
                created,
                format!(
                    "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: {label}"
                )
            );
            assert_eq!(
                updated,
                format!("nodes \"n1\" is forbidden: is not allowed to modify labels: {label}")
            );
        }
    }
    let mut tainted = plain.clone();
    tainted["spec"]["taints"] = json!([{"key": "k"}]);
    assert!(
        ask(UPDATE, "nodes/status", "n1", &tainted, &plain)
            .contains("node \"n1\" is not allowed to modify taints")
    );
    assert_eq!(ask(CREATE, "nodes", "", &Value::Null, &tainted), "");
    let owned = node("ownerReferences", json!([{"name": "x"}]));
    assert!(
        ask(UPDATE, "nodes", "n1", &plain, &owned)
            .contains("node \"n1\" is not allowed to modify ownerReferences")
    );
    assert!(
        ask(UPDATE, "nodes/status", "n2", &plain, &plain)
            .contains("node \"n1\" is not allowed to modify node \"n2\"")
    );
}

#[test]
fn row_17_tokens_only_for_its_own_pods() {
    let request = |name: &str, uid: &str, audiences: Value| json!({"spec": {"audiences": audiences, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}});
    let token = |request: &Value| ask(CREATE, "serviceaccounts/token", "default", &Value::Null, request);
    let says = |request: &Value| token(request).replace("serviceaccounts \"default\" is forbidden: ", "");
    assert_eq!(token(&request("mine", "mine", json!([]))), "");
    assert_eq!(token(&request("mine", "mine", json!(["vault"]))), "");
    assert_eq!(token(&request("mine", "mine", json!(["granted"]))), "");
    for (request, words) in [
        (json!({"spec": {}}), "node requested token not bound to a pod"),
        (request("mine", "", json!([])), "node requested token with a pod binding without a uid"),
        (
            request("theirs", "theirs", json!([])),
            "node requested token bound to a pod scheduled on a different node",
        ),
        (request("mine", "mine", json!(["a", "b"])), "node may only request 0 or 1 audiences"),
        (
            request("mine", "mine", json!(["bank"])),
            "audience \"bank\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience",
        ),
    ] {
        assert_eq!(says(&request), words);
    }
    assert!(
        says(&request("mine", "old", json!([])))
            .starts_with("the UID in the bound object reference (old) does not match")
    );
    assert_eq!(token(&request("ghost", "x", json!([]))), "pods \"ghost\" not found");
}

#[test]
fn row_17_leases_and_csi_nodes_by_name() {
    let named = |name: &str| json!({"metadata": {"name": name}});
    for what in ["coordination.k8s.io leases", "storage.k8s.io csinodes"] {
        assert_eq!(ask(CREATE, what, "", &Value::Null, &named("n1")), "");
        assert!(
            ask(CREATE, what, "", &Value::Null, &named("n2"))
                .contains("with the same name as the requesting node")
        );
        assert_eq!(ask(UPDATE, what, "n1", &named("n1"), &named("n1")), "");
        assert!(
            ask(DELETE, what, "n2", &named("n2"), &Value::Null)
                .contains("with the same name as the requesting node")
        );
    }
    let anyone = Arc::new(User { name: "jane".into(), ..User::default() });
    let null = Value::Null;
    let write = Write {
        operation: DELETE,
        group: "",
        resource: "nodes",
        subresource: "",
        namespace: "",
        name: "n1",
        object: &null,
        old: &null,
    };
    assert!(check(&anyone, &write, &authorizer(&world())).is_ok());
}

#[test]
fn certificates_in_its_own_name_only() {
    use base64::Engine;
    let request = |name: &str, signer: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let encoded = base64::engine::general_purpose::STANDARD.encode(pem);
        json!({"metadata": {"name": "r"}, "spec": {"request": encoded, "signerName": signer}})
    };
    let ask = |request: Value| {
        ask(CREATE, "certificates.k8s.io certificatesigningrequests", "r", &Value::Null, &request)
    };
    let refused = "certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: can only create a node CSR with \
                   CN=system:node:n1";
    for signer in NODE_SIGNERS {
        assert_eq!(ask(request("system:node:n1", signer)), "");
        assert_eq!(ask(request("system:node:n2", signer)), refused);
        assert_eq!(ask(request("n1", signer)), refused);
    }
    assert_eq!(ask(request("system:node:n2", "example.com/other")), "");
    let unreadable =
        json!({"metadata": {"name": "r"}, "spec": {"request": "", "signerName": NODE_SIGNERS[0]}});
    assert!(ask(unreadable).ends_with("unable to parse csr: PEM block type must be CERTIFICATE REQUEST"));
}
