//! What a node may do, and the words of what it may not.

use std::sync::Arc;

use coracle_api::user::User;
use serde_json::json;

use crate::attributes::{Attributes, ResourceTarget};
use crate::testing::{Objects, authorizer};

fn world() -> Objects {
    let objects = Objects::default();
    let pod = |name: &str, node: &str, spec: serde_json::Value| {
        let mut pod = json!({"metadata": {"namespace": "ns", "name": name, "uid": name}, "spec": spec});
        pod["spec"]["nodeName"] = json!(node);
        pod
    };
    objects.put(
        "pods",
        pod(
            "p",
            "n1",
            json!({
                "serviceAccountName": "runner",
                "imagePullSecrets": [{"name": "pull"}],
                "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}],
                                "envFrom": [{"configMapRef": {"name": "env-map"}}]}],
                "volumes": [
                    {"name": "v", "secret": {"secretName": "mounted"}},
                    {"name": "c", "configMap": {"name": "map"}},
                    {"name": "x", "csi": {"driver": "d", "volumeAttributes": {"secretName": "trick"}}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}},
                    {"name": "tmp", "ephemeral": {}},
                    {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
                                                            {"secret": {"name": "projected"}}]}},
                ],
            }),
        ),
    );
    objects.put("pods", pod("q", "n2", json!({"volumes": [{"secret": {"secretName": "theirs"}}]})));
    let mut mirror = pod("m", "n1", json!({"volumes": [{"secret": {"secretName": "wished"}}]}));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    objects.put("pods", mirror);
    objects.put(
        "persistentvolumeclaims",
        json!({"metadata": {"namespace": "ns", "name": "claim"}, "spec": {"volumeName": "pv"}}),
    );
    objects.put(
        "persistentvolumes",
        json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "ns", "name": "claim"},
               "csi": {"nodePublishSecretRef": {"namespace": "ns", "name": "of-volume"}}}}),
    );
    objects.put("volumeattachments", json!({"metadata": {"name": "va"}, "spec": {"nodeName": "n1"}}));
    objects
}

fn ask(verb: &str, target: ResourceTarget) -> Result<(), String> {
    let user = Arc::new(User::node("n1"));
    authorizer(&world()).authorize(Attributes::resource(user, verb, target)).map(|_| ()).map_err(|status| {
        let message = status.message;
        message
            .split_once("the namespace \"ns\"")
            .or(message.split_once("cluster scope"))
            .unwrap()
            .1
            .to_owned()
    })
}

fn core(resource: &str) -> ResourceTarget {
    ResourceTarget::new("", resource)
}

#[test]
fn only_what_its_pods_name_is_read() {
    let read = |resource: &str, name: &str| ask("get", core(resource).within("ns").named(name)).is_ok();
    for (resource, name, yes) in [
        ("secrets", "pull", true),
        ("secrets", "env", true),
        ("secrets", "mounted", true),
        ("secrets", "projected", true),
        ("secrets", "of-volume", true),
        ("secrets", "theirs", false),
        ("secrets", "wished", false),
        ("secrets", "trick", false),
        ("secrets", "other", false),
        ("configmaps", "map", true),
        ("configmaps", "env-map", true),
        ("configmaps", "mounted", false),
        ("persistentvolumeclaims", "claim", true),
        ("persistentvolumeclaims", "p-tmp", true),
        ("persistentvolumeclaims", "other", false),
        ("pods", "p", true),
        ("pods", "q", false),
    ] {
        assert_eq!(read(resource, name), yes, "{resource} {name}");
    }
    assert!(ask("get", core("persistentvolumes").named("pv")).is_ok());
    assert!(ask("get", core("persistentvolumes").named("other")).is_err());
    assert!(ask("get", ResourceTarget::new("storage.k8s.io", "volumeattachments").named("va")).is_ok());
}

#[test]
fn refusals_say_why() {
    let says = |verb: &str, target: ResourceTarget| ask(verb, target).unwrap_err();
    let lease = |namespace: &str, name: &str| {
        ResourceTarget::new("coordination.k8s.io", "leases").within(namespace).named(name)
    };
    for (got, words) in [
        (says("list", core("pods")), ": can only list/watch pods with spec.nodeName field selector"),
        (says("list", core("secrets").within("ns")), ": No Object name found"),
        (says("list", core("secrets")), ": can only read namespaced object of this type"),
        (
            says("delete", core("secrets").within("ns").named("pull")),
            ": can only read resources of this type",
        ),
        (
            says("get", core("secrets").within("ns").named("x")),
            ": no relationship found between node 'n1' and this object",
        ),
        (says("list", core("nodes")), ": node 'n1' cannot read all nodes, only its own Node object"),
        (says("get", core("nodes").named("n2")), ": node 'n1' cannot read 'n2', only its own Node object"),
        (says("delete", core("nodes").named("n1")), ""),
        (
            says("get", lease("ns", "n1")),
            ": can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (
            says("create", core("serviceaccounts").within("ns")),
            ": can only create tokens for individual service accounts",
        ),
        (says("create", core("pods").subresource("exec").within("ns").named("p")), ""),
    ] {
        assert_eq!(got, words);
    }
}

#[test]
fn a_nodes_daily_work_is_allowed() {
    let mut own_pods = core("pods");
    own_pods.fields.push(("spec.nodeName".into(), "n1".into()));
    let lease = ResourceTarget::new("coordination.k8s.io", "leases").within("kube-node-lease");
    let csi = ResourceTarget::new("storage.k8s.io", "csinodes");
    for (verb, target) in [
        ("list", own_pods.clone()),
        ("watch", own_pods),
        ("create", core("nodes")),
        ("get", core("nodes").named("n1")),
        ("patch", core("nodes").subresource("status").named("n1")),
        ("patch", core("pods").subresource("status").within("ns").named("p")),
        ("delete", core("pods").within("ns").named("p")),
        ("create", lease.clone()),
        ("update", lease.named("n1")),
        ("create", csi.clone()),
        ("get", csi.named("n1")),
        ("create", core("events").within("ns")),
        ("list", core("services")),
        ("create", core("serviceaccounts").subresource("token").within("ns").named("runner")),
        ("list", ResourceTarget::new("node.k8s.io", "runtimeclasses")),
    ] {
        assert_eq!(ask(verb, target.clone()), Ok(()), "{verb} {target:?}");
    }
    assert!(
        ask("create", core("serviceaccounts").subresource("token").within("ns").named("default")).is_err()
    );
    let mut other = core("pods");
    other.fields.push(("spec.nodeName".into(), "n2".into()));
    assert!(ask("list", other).is_err());
}
