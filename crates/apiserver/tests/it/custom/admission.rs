//! Webhooks, policies, quotas and grants see custom resources like any others.

use std::convert::Infallible;
use std::sync::Mutex;

use super::hooks::Webhook;
use super::*;

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const V2: &str = "/apis/stable.example.com/v2/namespaces/default/crontabs";

fn two_versions() -> Value {
    let mut definition = definition();
    definition["spec"]["versions"].as_array_mut().unwrap().push(version("v2", false));
    definition
}

/// Adds a label to whatever it is shown.
async fn label(
    request: Request<hyper::body::Incoming>,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    use base64::Engine as _;
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(review["request"].clone());
    let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}]).to_string();
    let patch = base64::engine::general_purpose::STANDARD.encode(patch);
    let response =
        json!({"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch});
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(http::Response::new(Full::new(review.to_string().into())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_shown_the_version_that_it_asks_for() {
    let (_world, root) = world().await;
    root.define(two_versions()).await;
    let webhook = Webhook::answering(label).await;
    let hook = json!({
        "name": "it.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("https://127.0.0.1:{}/", webhook.port), "caBundle": webhook.ca},
        "matchConditions": [{"name": "v2", "expression": "object.apiVersion == 'stable.example.com/v2'"}],
        "rules": [{"operations": ["CREATE"], "apiGroups": ["stable.example.com"], "apiVersions": ["v2"],
            "resources": ["crontabs"]}]});
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration", "metadata": {"name": "it"}, "webhooks": [hook]});
    root.post(&format!("{REGISTRATION}/mutatingwebhookconfigurations"), configuration).await.ok();
    let made = root.post(TABS, tab("a", json!({"replicas": 1}))).await.ok();
    assert_eq!(
        (&made["apiVersion"], &made["metadata"]["labels"]),
        (&json!("stable.example.com/v1"), &json!({"seen": "yes"}))
    );
    let asked = webhook.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["object"]["apiVersion"], "stable.example.com/v2");
    assert_eq!(
        (&asked[0]["kind"]["version"], &asked[0]["requestKind"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    root.post(V2, tab_in("v2", "b", json!({}))).await.ok();
    assert_eq!(webhook.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_judges_and_takes_its_parameters_from_custom_resources() {
    let (_world, root) = world().await;
    root.define(two_versions()).await;
    root.post(TABS, tab("limit", json!({"replicas": 3}))).await.ok();
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {
            "paramKind": {"apiVersion": "stable.example.com/v2", "kind": "CronTab"},
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": ["stable.example.com"],
                "apiVersions": ["v1"], "resources": ["crontabs"]}]},
            "validations": [{"expression": "!has(object.spec.replicas) || object.spec.replicas <= params.spec.replicas",
                "message": "too many"}]}});
    root.post(&format!("{REGISTRATION}/validatingadmissionpolicies"), policy).await.ok();
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"}, "spec": {"policyName": "p",
            "validationActions": ["Deny"], "paramRef": {"name": "limit", "namespace": "default",
                "parameterNotFoundAction": "Deny"}}});
    root.post(&format!("{REGISTRATION}/validatingadmissionpolicybindings"), binding).await.ok();
    root.post(TABS, tab("few", json!({"replicas": 3}))).await.ok();
    for (path, object) in
        [(TABS, tab("many", json!({"replicas": 4}))), (V2, tab_in("v2", "many", json!({"replicas": 4})))]
    {
        let said = root.post(path, object).await.refused(422);
        assert!(said.ends_with("denied request: too many"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_count_it_and_grants_are_for_it() {
    let (world, root) = world().await;
    root.define(definition()).await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"count/crontabs.stable.example.com": "1"}}});
    root.post("/api/v1/namespaces/default/resourcequotas", quota).await.ok();
    // The controller would have counted: nothing yet.
    let status = json!({"status": {"hard": {"count/crontabs.stable.example.com": "1"},
        "used": {"count/crontabs.stable.example.com": "0"}}});
    root.patch("/api/v1/namespaces/default/resourcequotas/q/status", MERGE, status).await.ok();
    root.post(TABS, tab("a", json!({}))).await.ok();
    let said = root.post(TABS, tab("b", json!({}))).await.refused(403);
    assert!(said.contains("exceeded quota: q, requested: count/crontabs.stable.example.com=1"), "{said}");
    let jane = Root(world.server.local(User { name: "jane".into(), ..User::default() }));
    assert_eq!(
        jane.get(TABS).await.refused(403),
        "crontabs.stable.example.com is forbidden: User \"jane\" cannot list resource \"crontabs\" in API group \
         \"stable.example.com\" in the namespace \"default\""
    );
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "r"},
        "rules": [{"apiGroups": ["stable.example.com"], "resources": ["crontabs"], "verbs": ["list"]}]});
    root.post(&format!("{rbac}/roles"), role).await.ok();
    let binding = json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}});
    root.post(&format!("{rbac}/rolebindings"), binding).await.ok();
    jane.get(TABS).await.ok();
    assert_eq!(jane.get(&format!("{TABS}/a")).await.code, 403);
}
