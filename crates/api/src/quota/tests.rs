//! What objects use up, and what quotas say to it.

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:30Z".parse().unwrap()
}

fn used(group: &str, plural: &str, obj: &Value) -> String {
    let used = Evaluator::for_resource(group, plural).usage(obj, now());
    let shown: Vec<String> = used.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    shown.join(" ")
}

fn quota(hard: Value, used: Value) -> Value {
    json!({"metadata": {"name": "q"}, "status": {"hard": hard, "used": used}})
}

fn pod() -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources":
        {"requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "2"}, "limits": {"cpu": "2"}}}]}})
}

#[test]
fn pods_hold_what_they_ask_for_until_they_end() {
    let whole = "count/pods=1 cpu=1 limits.cpu=2 memory=1Gi pods=1 requests.cpu=1 requests.example.com/gpu=2 \
                 requests.memory=1Gi";
    assert_eq!(used("", "pods", &pod()), whole);
    let with = |part: &str, value: Value| {
        let mut pod = pod();
        pod[part] = value;
        used("", "pods", &pod)
    };
    assert_eq!(with("status", json!({"phase": "Succeeded"})), "count/pods=1");
    let deleted = |grace: i64| json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace});
    assert_eq!(with("metadata", deleted(29)), "count/pods=1");
    assert_eq!(with("metadata", deleted(30)), whole);
}

#[test]
fn what_other_objects_use_up() {
    let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30000}]);
    let service = |spec: Value| {
        let mut service = json!({"spec": spec});
        service["spec"]["ports"] = ports.clone();
        used("", "services", &service)
    };
    let cases = [
        (service(json!({})), "count/services=1 services=1 services.loadbalancers=0 services.nodeports=0"),
        (
            service(json!({"type": "NodePort"})),
            "count/services=1 services=1 services.loadbalancers=0 services.nodeports=2",
        ),
        (
            service(json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false})),
            "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1",
        ),
        (used("", "secrets", &json!({})), "count/secrets=1 secrets=1"),
        (used("apps", "deployments", &json!({})), "count/deployments.apps=1"),
        (
            used(
                "",
                "persistentvolumeclaims",
                &json!({"spec": {"storageClassName": "gold",
            "resources": {"requests": {"storage": "1500m"}}}, "status": {"allocatedResources": {"storage": "1"}}}),
            ),
            "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
          gold.storageclass.storage.k8s.io/requests.storage=2 persistentvolumeclaims=1 requests.storage=2",
        ),
        (
            used(
                "resource.k8s.io",
                "resourceclaims",
                &json!({"spec": {"devices": {"requests": [
            {"exactly": {"deviceClassName": "gpu", "count": 2}},
            {"firstAvailable": [{"deviceClassName": "gpu"}, {"deviceClassName": "gpu", "count": 3},
                {"deviceClassName": "fpga", "allocationMode": "All"}]}]}}}),
            ),
            "count/resourceclaims.resource.k8s.io=1 fpga.deviceclass.resource.k8s.io/devices=32 \
          gpu.deviceclass.resource.k8s.io/devices=5",
        ),
    ];
    for (used, want) in cases {
        assert_eq!(used, want);
    }
}

#[test]
fn every_name_finds_its_resource() {
    let cases = [
        ("count/pods", Some(("", "pods"))),
        ("count/deployments.apps", Some(("apps", "deployments"))),
        ("count/crontabs.stable.example.com", Some(("stable.example.com", "crontabs"))),
        ("limits.cpu", Some(("", "pods"))),
        ("requests.nvidia.com/gpu", Some(("", "pods"))),
        ("requests.hugepages-2Mi", Some(("", "pods"))),
        ("requests.storage", Some(("", "persistentvolumeclaims"))),
        ("gold.storageclass.storage.k8s.io/requests.storage", Some(("", "persistentvolumeclaims"))),
        ("services.nodeports", Some(("", "services"))),
        ("secrets", Some(("", "secrets"))),
        ("gpu.deviceclass.resource.k8s.io/devices", Some(("resource.k8s.io", "resourceclaims"))),
        ("nonsense", None),
    ];
    for (name, want) in cases {
        assert_eq!(counted(name), want, "{name}");
    }
}

#[test]
fn what_a_quota_says_to_a_pod() {
    let cases = [
        (quota(json!({"pods": "2"}), json!({"pods": "1"})), Ok("pods=2")),
        (
            quota(json!({"pods": "1"}), json!({"pods": "1"})),
            Err("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        ),
        (
            quota(
                json!({"requests.memory": "1Gi", "limits.cpu": "2500m", "pods": "9"}),
                json!({"requests.memory": "512Mi", "limits.cpu": "1", "pods": "0"}),
            ),
            Err(
                "exceeded quota: q, requested: limits.cpu=2,requests.memory=1Gi, used: limits.cpu=1,requests.memory=512Mi, \
              limited: limits.cpu=2500m,requests.memory=1Gi",
            ),
        ),
        (
            quota(json!({"pods": "2", "cpu": "1"}), json!({"cpu": "0"})),
            Err("status unknown for quota: q, resources: cpu,pods"),
        ),
        (
            quota(json!({"limits.memory": "1Gi"}), json!({"limits.memory": "0"})),
            Err("failed quota: q: must specify limits.memory for: c"),
        ),
        (quota(json!({"count/secrets": "0"}), json!({"count/secrets": "0"})), Ok("")),
    ];
    let pods = Evaluator::for_resource("", "pods");
    for (quota, want) in cases {
        let charged = charge(std::slice::from_ref(&quota), &pods, Write::Main, &pod(), None, now());
        let shown = charged.map(|list| {
            let used = list.iter().flat_map(|(_, used)| used.iter().map(|(n, a)| format!("{n}={a}")));
            used.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(shown.as_deref().map_err(String::as_str), want, "{quota}");
    }
}

#[test]
fn an_update_is_charged_what_it_adds() {
    let services = Evaluator::for_resource("", "services");
    let quota = quota(
        json!({"services": "1", "services.nodeports": "2"}),
        json!({"services": "1", "services.nodeports": "0"}),
    );
    let of = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}, {"port": 2}]}});
    let charged = |new: &str, old: &str| {
        charge(std::slice::from_ref(&quota), &services, Write::Main, &of(new), Some(&of(old)), now()).unwrap()
    };
    assert_eq!(charged("NodePort", "ClusterIP")[0].1["services.nodeports"], Quantity::from_int(2));
    assert!(charged("ClusterIP", "NodePort").is_empty(), "what is given back the controller counts");
}

#[test]
fn scopes_choose_the_pods() {
    let pods = Evaluator::for_resource("", "pods");
    let priority = |name: &str| json!({"spec": {"priorityClassName": name}});
    let selector = |operator: &str, values: Value| {
        json!({"spec": {"scopeSelector": {"matchExpressions":
            [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}}})
    };
    let scope = |name: &str| json!({"spec": {"scopes": [name]}});
    let affinity = json!({"spec": {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"podAffinityTerm": {"namespaceSelector": {}}}]}}}});
    let cases = [
        (scope("Terminating"), json!({"spec": {"activeDeadlineSeconds": 1}}), true),
        (scope("NotTerminating"), json!({"spec": {"activeDeadlineSeconds": 1}}), false),
        (scope("BestEffort"), pod(), false),
        (scope("NotBestEffort"), pod(), true),
        (scope("CrossNamespacePodAffinity"), affinity, true),
        (scope("CrossNamespacePodAffinity"), pod(), false),
        (scope("PriorityClass"), priority("high"), true),
        (scope("PriorityClass"), pod(), false),
        (selector("In", json!(["high"])), priority("high"), true),
        (selector("NotIn", json!(["high"])), priority("high"), false),
        (selector("NotIn", json!(["high"])), pod(), true),
        (selector("DoesNotExist", json!([])), pod(), true),
        (json!({}), pod(), true),
    ];
    for (quota, pod, want) in cases {
        assert_eq!(pods.is_in_scope(&quota, &pod), want, "{quota} {pod}");
    }
    assert!(!Evaluator::for_resource("", "services").is_in_scope(&scope("BestEffort"), &json!({})));
}
