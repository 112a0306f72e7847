//! The recorded names and rules, and what reconciling changes.

use std::collections::{BTreeSet, HashSet};

use coracle_api::object::{items, name, namespace, text};
use expect_test::expect;
use serde_json::{Value, json};

use super::*;

fn named(kind: &str, wanted: &str) -> Value {
    objects().into_iter().find(|o| text(o, &["kind"]) == kind && name(o) == wanted).expect("it is there")
}

fn names(kind: &str) -> Vec<String> {
    let all: BTreeSet<String> =
        objects().iter().filter(|o| text(o, &["kind"]) == kind).map(|o| name(o).to_owned()).collect();
    all.into_iter().filter(|n| !n.starts_with("system:controller:")).collect()
}

#[test]
fn the_names_are_the_recorded_ones() {
    expect![["admin cluster-admin edit system:aggregate-to-admin system:aggregate-to-edit system:aggregate-to-view system:auth-delegator system:basic-user system:certificates.k8s.io:certificatesigningrequests:nodeclient system:certificates.k8s.io:certificatesigningrequests:selfnodeclient system:certificates.k8s.io:kube-apiserver-client-approver system:certificates.k8s.io:kube-apiserver-client-kubelet-approver system:certificates.k8s.io:kubelet-serving-approver system:certificates.k8s.io:legacy-unknown-approver system:discovery system:heapster system:kube-aggregator system:kube-controller-manager system:kube-dns system:kube-scheduler system:kubelet-api-admin system:monitoring system:node system:node-bootstrapper system:node-problem-detector system:node-proxier system:persistent-volume-provisioner system:public-info-viewer system:service-account-issuer-discovery system:volume-scheduler view"]]
        .assert_eq(&names("ClusterRole").join(" "));
    expect![["cluster-admin system:basic-user system:discovery system:kube-controller-manager system:kube-dns system:kube-scheduler system:monitoring system:node system:node-proxier system:public-info-viewer system:service-account-issuer-discovery system:volume-scheduler"]]
        .assert_eq(&names("ClusterRoleBinding").join(" "));
    let count = |kind: &str| objects().iter().filter(|o| text(o, &["kind"]) == kind).count();
    assert_eq!((count("Role"), count("RoleBinding")), (7, 7));
    // 31 + 38 controllers + what they watch; a binding for each controller and for that.
    assert_eq!((count("ClusterRole"), count("ClusterRoleBinding")), (31 + 39, 12 + 39));
}

#[test]
fn recorded_rules() {
    let rules = |role: &str| json!(items(&named("ClusterRole", role), &["rules"])).to_string();
    expect![[r#"[{"verbs":["list","watch"],"apiGroups":[""],"resources":["endpoints","services"]},{"verbs":["get","list","watch"],"apiGroups":[""],"resources":["nodes"]},{"verbs":["create","patch","update"],"apiGroups":["","events.k8s.io"],"resources":["events"]},{"verbs":["list","watch"],"apiGroups":["networking.k8s.io"],"resources":["servicecidrs"]},{"verbs":["list","watch"],"apiGroups":["discovery.k8s.io"],"resources":["endpointslices"]}]"#]]
        .assert_eq(&rules("system:node-proxier"));
    expect![[r#"[{"verbs":["get"],"nonResourceURLs":["/flagz","/healthz","/healthz/*","/livez","/livez/*","/metrics","/metrics/slis","/readyz","/readyz/*","/statusz"]},{"verbs":["get"],"apiGroups":[""],"resources":["nodes/metrics"]}]"#]]
        .assert_eq(&rules("system:monitoring"));
    expect![[
        r#"[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]},{"verbs":["*"],"nonResourceURLs":["*"]}]"#
    ]]
    .assert_eq(&rules("cluster-admin"));
}

#[test]
fn view_is_aggregated() {
    let view = named("ClusterRole", "view");
    let core: BTreeSet<&str> = items(&view, &["rules"])
        .iter()
        .filter(|r| r["apiGroups"] == json!([""]))
        .flat_map(|r| items(r, &["resources"]))
        .filter_map(Value::as_str)
        .collect();
    expect![["bindings configmaps endpoints limitranges namespaces namespaces/status persistentvolumeclaims persistentvolumeclaims/status pods pods/log pods/status replicationcontrollers replicationcontrollers/scale replicationcontrollers/status resourcequotas resourcequotas/status serviceaccounts services services/status"]]
        .assert_eq(&core.into_iter().collect::<Vec<_>>().join(" "));
    let (admin, edit) = (named("ClusterRole", "admin"), named("ClusterRole", "edit"));
    let held: HashSet<String> = items(&admin, &["rules"]).iter().map(Value::to_string).collect();
    assert!(
        items(&edit, &["rules"])
            .iter()
            .chain(items(&view, &["rules"]))
            .all(|r| held.contains(&r.to_string()))
    );
    assert_eq!(edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"], "true");
}

#[test]
fn every_object_is_whole() {
    let all = objects();
    let keys: HashSet<_> = all.iter().map(|o| (text(o, &["kind"]), namespace(o), name(o))).collect();
    assert_eq!(keys.len(), all.len(), "no object is there twice");
    for object in &all {
        assert_eq!(object["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
        if object.get("roleRef").is_some() {
            let (kind, role) = (text(object, &["roleRef", "kind"]), text(object, &["roleRef", "name"]));
            let role_namespace = if kind == "Role" { namespace(object) } else { "" };
            assert!(keys.contains(&(kind, role_namespace, role)), "{object}");
        } else {
            for rule in items(object, &["rules"]) {
                let resources =
                    !items(rule, &["resources"]).is_empty() && !items(rule, &["apiGroups"]).is_empty();
                assert!(resources != rule.get("nonResourceURLs").is_some(), "{object}");
            }
        }
    }
}

#[test]
fn reconciling_adds_and_never_takes() {
    let wanted = named("ClusterRole", "system:node-proxier");
    assert_eq!(reconcile(None, &wanted), Reconciled::Create(wanted.clone()));
    assert_eq!(reconcile(Some(&wanted), &wanted), Reconciled::Unchanged);

    let mut widened = wanted.clone();
    let extra = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]});
    widened["rules"].as_array_mut().unwrap().push(extra.clone());
    widened["metadata"]["labels"]["mine"] = json!("x");
    assert_eq!(reconcile(Some(&widened), &wanted), Reconciled::Unchanged);

    let mut narrowed = widened.clone();
    narrowed["rules"].as_array_mut().unwrap().remove(0);
    let Reconciled::Update(mended) = reconcile(Some(&narrowed), &wanted) else { panic!("an update") };
    assert!(items(&mended, &["rules"]).contains(&extra));
    assert_eq!(mended["metadata"]["labels"]["mine"], "x");
    assert_eq!(reconcile(Some(&mended), &wanted), Reconciled::Unchanged);

    narrowed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = json!("false");
    assert_eq!(reconcile(Some(&narrowed), &wanted), Reconciled::Unchanged);
}

#[test]
fn bindings_get_their_subjects_back() {
    let wanted = named("ClusterRoleBinding", "cluster-admin");
    let mut other = wanted.clone();
    other["subjects"] = json!([{"kind": "User", "apiGroup": crate::rbac::GROUP, "name": "me"}]);
    let Reconciled::Update(mended) = reconcile(Some(&other), &wanted) else { panic!("an update") };
    assert_eq!(items(&mended, &["subjects"]).len(), 2);
    other["roleRef"]["name"] = json!("view");
    assert_eq!(reconcile(Some(&other), &wanted), Reconciled::Recreate(wanted));
    let empty = named("ClusterRoleBinding", "system:node");
    assert_eq!(reconcile(Some(&empty), &empty), Reconciled::Unchanged);
}
