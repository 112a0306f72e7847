//! The recorded answers and refusals.

use expect_test::{Expect, expect};

use super::*;
use crate::testing::{Objects, authorizer};

fn world() -> Authorizer {
    let objects = Objects::default();
    objects.put(
        "roles",
        json!({"metadata": {"namespace": "ct-reviews", "name": "r"}, "rules": [
            {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["only-me"], "verbs": ["get"]},
        ]}),
    );
    objects.put(
        "rolebindings",
        json!({
            "metadata": {"namespace": "ct-reviews", "name": "b"}, "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "ct-reviews"}],
        }),
    );
    for object in crate::bootstrap::objects() {
        let resource = format!("{}s", text(&object, &["kind"]).to_lowercase());
        objects.put(&resource, object);
    }
    authorizer(&objects)
}

const USER: &str = "system:serviceaccount:ct-reviews:default";

fn ask(review: Review, object: Value) -> String {
    let caller = Arc::new(User::service_account("ct-reviews", "default"));
    match attributes(review, &object, &caller) {
        Ok(asked) => answer(&world(), asked).to_string(),
        Err(status) => format!("{} {}", status.code, status.message),
    }
}

fn check(spec: Value, expected: Expect) {
    expected.assert_eq(&ask(Review::SubjectAccess, json!({"spec": spec})));
}

fn resource(fields: Value) -> Value {
    let mut attributes = json!({"namespace": "ct-reviews"});
    attributes.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"user": USER, "resourceAttributes": attributes})
}

#[test]
fn recorded_reviews() {
    let allowed = r#"{"allowed":true,"reason":"RBAC: allowed by RoleBinding \"b/ct-reviews\" of Role \"r\" to ServiceAccount \"default/ct-reviews\""}"#;
    for (fields, yes) in [
        (json!({"verb": "list", "resource": "deployments", "group": "apps"}), true),
        (json!({"verb": "list", "resource": "pods"}), false),
        (json!({"verb": "get", "resource": "configmaps", "name": "only-me"}), true),
        (json!({"verb": "get", "resource": "configmaps", "name": "else"}), false),
        (json!({"verb": "list", "resource": "configmaps"}), false),
        (json!({"verb": "patch", "resource": "deployments", "subresource": "scale", "group": "apps"}), true),
        (
            json!({"verb": "patch", "resource": "deployments", "subresource": "status", "group": "apps"}),
            false,
        ),
    ] {
        let expected = if yes { allowed } else { r#"{"allowed":false}"# };
        assert_eq!(
            ask(Review::SubjectAccess, json!({"spec": resource(fields.clone())})),
            expected,
            "{fields}"
        );
    }
    check(
        json!({"user": "x", "groups": ["system:masters"], "resourceAttributes": {"verb": "delete", "resource": "nodes"}}),
        expect![[r#"{"allowed":true}"#]],
    );
    check(
        json!({"user": "x", "groups": ["system:authenticated"], "nonResourceAttributes": {"path": "/api", "verb": "get"}}),
        expect![[
            r#"{"allowed":true,"reason":"RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\""}"#
        ]],
    );
    assert_eq!(
        ask(
            Review::SelfSubjectAccess,
            json!({"spec": {"resourceAttributes": {"namespace": "ct-reviews", "verb": "get", "resource": "pods"}}})
        ),
        r#"{"allowed":false}"#
    );
}

#[test]
fn refused_reviews() {
    check(
        json!({}),
        expect![[
            r#"422 .authorization.k8s.io "" is invalid: [spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified, spec.user: Invalid value: "": at least one of user or group must be specified]"#
        ]],
    );
    check(
        json!({"user": "x", "resourceAttributes": {"verb": "get", "resource": "pods"}, "nonResourceAttributes": {"path": "/", "verb": "get"}}),
        expect![[
            r#"422 .authorization.k8s.io "" is invalid: spec.nonResourceAttributes: Invalid value: {"path":"/","verb":"get"}: cannot be specified in combination with resourceAttributes"#
        ]],
    );
    let local = json!({
        "metadata": {"namespace": "ct-reviews"},
        "spec": {"user": USER, "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
    });
    expect![[r#"422 .authorization.k8s.io "" is invalid: spec.resourceAttributes.namespace: Invalid value: "default": must match metadata.namespace"#]]
        .assert_eq(&ask(Review::LocalSubjectAccess, local));
}

#[test]
fn recorded_rules() {
    let user = User::service_account("ct-reviews", "default");
    let status = rules(&world(), &user, "ct-reviews").unwrap();
    let mut said: Vec<String> = items(&status, &["resourceRules"]).iter().map(Value::to_string).collect();
    said.sort();
    expect![[r#"
        {"verbs":["*"],"apiGroups":["apps"],"resources":["deployments","deployments/scale"]}
        {"verbs":["create"],"apiGroups":["authentication.k8s.io"],"resources":["selfsubjectreviews"]}
        {"verbs":["create"],"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews","selfsubjectrulesreviews"]}
        {"verbs":["get"],"apiGroups":[""],"resources":["configmaps"],"resourceNames":["only-me"]}"#]]
    .assert_eq(&said.join("\n"));
    assert_eq!(status["incomplete"], json!(false));
    assert_eq!(items(&status, &["nonResourceRules"]).len(), 3);
    assert_eq!(rules(&world(), &user, "").unwrap_err().message, "no namespace on request");
}
