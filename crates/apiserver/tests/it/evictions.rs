//! Evictions: what a disruption budget has to say about them.

use serde_json::{Value, json};

use crate::World;
use crate::proofs::denials::root;

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn ask(world: &World, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.by(&root(), method, path, &body).await
}

async fn made(world: &World, method: &str, path: &str, body: &Value) -> Value {
    let (code, answer) = ask(world, method, path, body).await;
    assert!(code < 300, "{method} {path}: {code} {answer}");
    answer
}

async fn world() -> World {
    let world = World::start().await;
    world.account(&world.admin().await, "default").await;
    world
}

/// A Pod that runs, and is ready or not.
async fn pod(world: &World, name: &str, ready: bool) {
    let body = json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let mut pod = made(world, "POST", PODS, &body).await;
    let status = if ready { "True" } else { "False" };
    pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status}]});
    made(world, "PUT", &format!("{PODS}/{name}/status"), &pod).await;
}

/// A budget of generation 1 in this state.
async fn budget(world: &World, spec: Value, status: Value) {
    let mut whole = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let _ = ask(world, "DELETE", &format!("{BUDGETS}/b"), &Value::Null).await;
    let body = json!({"metadata": {"name": "b"}, "spec": whole});
    let mut budget = made(world, "POST", BUDGETS, &body).await;
    let mut told = json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1,
        "expectedPods": 1});
    for (key, value) in status.as_object().unwrap() {
        told[key] = value.clone();
    }
    budget["status"] = told;
    made(world, "PUT", &format!("{BUDGETS}/b/status"), &budget).await;
}

async fn evict(world: &World, name: &str, query: &str) -> (u16, Value) {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    ask(world, "POST", &format!("{PODS}/{name}/eviction{query}"), &eviction).await
}

/// What a refusal says, with its cause.
fn said((code, status): &(u16, Value)) -> String {
    let cause = &status["details"]["causes"][0];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let wait = &status["details"]["retryAfterSeconds"];
    format!(
        "{code} {} | {} {} | {wait}",
        text(&status["message"]),
        text(&cause["reason"]),
        text(&cause["message"])
    )
}

const REFUSED: &str =
    "429 Cannot evict pod as it would violate the pod's disruption budget. | DisruptionBudget";

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_refuses_in_the_references_words() {
    let world = world().await;
    pod(&world, "p", true).await;
    budget(&world, json!({}), json!({})).await;
    let refused = evict(&world, "p", "").await;
    assert_eq!(
        said(&refused),
        format!("{REFUSED} The disruption budget b needs 1 healthy pods and has 1 currently | null")
    );
    budget(&world, json!({}), json!({"observedGeneration": 0})).await;
    let refused = evict(&world, "p", "").await;
    assert_eq!(
        said(&refused),
        format!("{REFUSED} The disruption budget b is still being processed by the server. | 10")
    );
    let failed = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    budget(&world, json!({}), json!({"conditions": failed})).await;
    let refused = evict(&world, "p", "").await;
    let words = "The disruption budget b does not allow evicting pods currently because it failed sync: why";
    assert_eq!(said(&refused), format!("{REFUSED} {words} | null"));
    let many: serde_json::Map<String, Value> =
        (0..2001).map(|n| (format!("q{n}"), json!("2026-01-01T00:00:00Z"))).collect();
    budget(&world, json!({}), json!({"disruptionsAllowed": 1, "disruptedPods": many})).await;
    let (code, status) = evict(&world, "p", "").await;
    let words = "poddisruptionbudget.policy \"b\" is forbidden: DisruptedPods map too big - too many evictions not \
                 confirmed by PDB controller";
    assert_eq!((code, status["message"].as_str()), (403, Some(words)));
    assert_eq!(ask(&world, "GET", &format!("{PODS}/p"), &Value::Null).await.0, 200, "it is still there");
    let other = json!({"metadata": {"name": "q"}});
    let (code, status) = ask(&world, "POST", &format!("{PODS}/p/eviction"), &other).await;
    let words = "name in URL does not match name in Eviction object";
    assert_eq!((code, status["message"].as_str()), (400, Some(words)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_takes_one_disruption_unless_it_is_only_tried() {
    let world = world().await;
    pod(&world, "p", true).await;
    budget(&world, json!({}), json!({"disruptionsAllowed": 1})).await;
    assert_eq!(evict(&world, "p", "?dryRun=All").await.0, 201);
    let one = format!("{BUDGETS}/b");
    let state = async || made(&world, "GET", &one, &Value::Null).await["status"].clone();
    assert_eq!(
        (&state().await["disruptionsAllowed"], &state().await["disruptedPods"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(evict(&world, "p", "").await.0, 201);
    let after = state().await;
    assert_eq!(after["disruptionsAllowed"], 0);
    assert!(after["disruptedPods"]["p"].is_string());
    assert_eq!(after["conditions"][0]["reason"], "InsufficientPods");
    let (_, pod) = ask(&world, "GET", &format!("{PODS}/p"), &Value::Null).await;
    assert!(pod["metadata"]["deletionTimestamp"].is_string() || pod["code"] == 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_not_ready_goes_where_its_budget_lets_it() {
    let world = world().await;
    // What is lacking already, and what the budget says of Pods that are not ready.
    let short = json!({"currentHealthy": 0, "desiredHealthy": 1});
    let enough = json!({"currentHealthy": 1, "desiredHealthy": 1});
    let cases = [
        (json!({}), &short, 429),
        (json!({"unhealthyPodEvictionPolicy": "IfHealthyBudget"}), &short, 429),
        (json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}), &short, 201),
        (json!({}), &enough, 201),
        (json!({"unhealthyPodEvictionPolicy": "IfHealthyBudget"}), &enough, 201),
    ];
    for (n, (spec, status, code)) in cases.into_iter().enumerate() {
        let name = format!("p{n}");
        pod(&world, &name, false).await;
        budget(&world, spec, status.clone()).await;
        let answer = evict(&world, &name, "").await;
        assert_eq!(answer.0, code, "{n}: {}", answer.1);
        assert_eq!(
            made(&world, "GET", &format!("{BUDGETS}/b"), &Value::Null).await["status"]["disruptedPods"],
            Value::Null
        );
    }
    // A Pod that has not begun is nobody's loss, whatever the budget says.
    let body = json!({"metadata": {"name": "new", "labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    made(&world, "POST", PODS, &body).await;
    assert_eq!(evict(&world, "new", "").await.0, 201);
}
