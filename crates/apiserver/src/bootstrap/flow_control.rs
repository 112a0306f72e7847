//! The levels and flows of requests that every cluster begins with, as the reference suggests them.

use coracle_api::user::{AUTHENTICATED, MASTERS, NODES, SERVICE_ACCOUNTS, UNAUTHENTICATED};
use coracle_auth::bootstrap::users::{CONTROLLER_MANAGER, SCHEDULER};
use serde_json::{Value, json};

const VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
/// Whoever changes an object says so by taking this off.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Name, shares, what may be lent in percent, and how many queues there are, how many of them a flow may use.
const QUEUED: [(&str, u32, u32, u32, u32); 6] = [
    ("global-default", 20, 50, 128, 6),
    ("leader-election", 10, 0, 16, 4),
    ("node-high", 40, 25, 64, 6),
    ("system", 30, 33, 64, 6),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
];
const QUEUE_LENGTH: u32 = 50;
/// What is left for requests that no flow takes.
const CATCH_ALL_SHARES: u32 = 5;

pub(super) fn objects() -> Vec<Value> {
    let mut all = vec![
        object("PriorityLevelConfiguration", "exempt", json!({"type": "Exempt", "exempt": {}})),
        limited("catch-all", CATCH_ALL_SHARES, 0, json!({"type": "Reject"})),
    ];
    all.extend(QUEUED.map(|(name, shares, lendable, queues, hand)| {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": QUEUE_LENGTH});
        limited(name, shares, lendable, json!({"type": "Queue", "queuing": queuing}))
    }));
    all.extend(flows());
    all
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": VERSION, "kind": kind, "spec": spec,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}}})
}

fn limited(name: &str, shares: u32, lendable: u32, response: Value) -> Value {
    let limited =
        json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    object("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited}))
}

fn flows() -> Vec<Value> {
    let everybody = || vec![group(UNAUTHENTICATED), group(AUTHENTICATED)];
    let by_user = json!({"type": "ByUser"});
    let by_namespace = json!({"type": "ByNamespace"});
    let writes = ["get", "create", "update"];
    let leases = |namespace| on(&["*"], "coordination.k8s.io", &["leases"], namespace, false);
    let leads = |namespace| {
        vec![
            on(&writes, "", &["endpoints", "configmaps"], namespace, false),
            on(&writes, "coordination.k8s.io", &["leases"], "*", false),
        ]
    };
    let components = vec![user(CONTROLLER_MANAGER), user(SCHEDULER), account("*")];
    let endpoints = vec![
        user(CONTROLLER_MANAGER),
        account("endpoint-controller"),
        account("endpointslicemirroring-controller"),
    ];
    let of_nodes = vec![on(&["*"], "", &["nodes", "nodes/status"], "*", true), leases("*")];
    let probes = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    let probing = json!({"subjects": everybody(), "nonResourceRules": probes});
    let some =
        |subjects: Vec<Value>, rules: Vec<Value>| json!({"subjects": subjects, "resourceRules": rules});
    vec![
        flow("exempt", "exempt", 1, None, all(vec![group(MASTERS)])),
        flow("probes", "exempt", 2, None, probing),
        flow(
            "system-leader-election",
            "leader-election",
            100,
            Some(&by_user),
            some(components, leads("kube-system")),
        ),
        flow(
            "endpoint-controller",
            "workload-high",
            150,
            Some(&by_user),
            some(endpoints, vec![on(&writes, "", &["endpoints"], "*", false)]),
        ),
        flow(
            "workload-leader-election",
            "leader-election",
            200,
            Some(&by_user),
            some(vec![account("*")], leads("*")),
        ),
        flow("system-node-high", "node-high", 400, Some(&by_user), some(vec![group(NODES)], of_nodes)),
        flow("system-nodes", "system", 500, Some(&by_user), all(vec![group(NODES)])),
        flow(
            "kube-controller-manager",
            "workload-high",
            800,
            Some(&by_namespace),
            all(vec![user(CONTROLLER_MANAGER)]),
        ),
        flow("kube-scheduler", "workload-high", 800, Some(&by_namespace), all(vec![user(SCHEDULER)])),
        flow(
            "kube-system-service-accounts",
            "workload-high",
            900,
            Some(&by_namespace),
            all(vec![account("*")]),
        ),
        flow("service-accounts", "workload-low", 9000, Some(&by_user), all(vec![group(SERVICE_ACCOUNTS)])),
        flow("global-default", "global-default", 9900, Some(&by_user), all(everybody())),
        flow("catch-all", "catch-all", 10000, Some(&by_user), all(everybody())),
    ]
}

fn flow(name: &str, level: &str, precedence: u32, by: Option<&Value>, rule: Value) -> Value {
    let mut spec = json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence,
        "rules": [rule]});
    if let Some(by) = by {
        spec["distinguisherMethod"] = by.clone();
    }
    object("FlowSchema", name, spec)
}

fn all(subjects: Vec<Value>) -> Value {
    json!({"subjects": subjects, "resourceRules": [on(&["*"], "*", &["*"], "*", true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]})
}

fn on(verbs: &[&str], group: &str, resources: &[&str], namespace: &str, cluster_scope: bool) -> Value {
    let mut rule =
        json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": [namespace]});
    if cluster_scope {
        rule["clusterScope"] = json!(true);
    }
    rule
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}})
}

#[cfg(test)]
mod tests {
    use coracle_api::catalog::Catalog;
    use coracle_api::field::Errors;
    use coracle_api::object;

    use super::*;

    #[test]
    fn every_flow_is_valid_and_names_a_level_that_there_is() {
        let (levels, flows): (Vec<_>, Vec<_>) =
            objects().into_iter().partition(|o| o["kind"] == "PriorityLevelConfiguration");
        assert_eq!((levels.len(), flows.len()), (8, 13));
        for flow in &flows {
            let level = &flow["spec"]["priorityLevelConfiguration"]["name"];
            assert!(levels.iter().any(|l| l["metadata"]["name"] == *level), "{level}");
        }
        for mut one in levels.into_iter().chain(flows) {
            let kind = Catalog::builtin().by_api_version(VERSION, one["kind"].as_str().unwrap()).unwrap();
            kind.rules.default(&mut one);
            let mut errs = Errors::default();
            kind.rules.validate(&one, &mut errs);
            assert!(errs.is_empty(), "{}: {errs:?}", object::name(&one));
        }
    }
}
