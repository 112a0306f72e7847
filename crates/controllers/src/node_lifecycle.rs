//! Nodes: taints that say what their conditions say, and `Unknown` for nodes that have gone silent.

use std::time::Duration;

use futures::stream::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

/// A node that has renewed nothing for this long is not known to live (the reference's `--node-monitor-grace-period`).
const GRACE: Duration = Duration::from_secs(50);
/// Looks for silence come this long after it would be too long, so that they find it.
const JUST_AFTER: Duration = Duration::from_millis(10);
const LEASES: &str = "kube-node-lease";

/// Condition, the status that taints, and the taint's key.
const TAINTS: &[(&str, &str, &str)] = &[
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
const CORDONED: &str = "node.kubernetes.io/unschedulable";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    if !cx.config.nodes_report {
        return std::future::pending().await;
    }
    let changed = cx.informers.nodes.changes().filter_map(async |c| c.new.is_some().then(|| c.key()));
    work::reconcile_all(changed.boxed(), &cx.clock, |key| reconcile(&cx, key)).await
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let Some(node) = cx.informers.nodes.get(&key) else { return Ok(Next::Wait) };
    let (mut node, name) = (Node::clone(&node), key.name);
    let nodes: Api<Node> = Api::all(cx.client.clone());
    let silent_for = silence(cx, &node).await?;
    if silent_for > GRACE
        && let Some(conditions) = silenced(&node, cx.clock.now())
    {
        let patch = json!({"status": {"conditions": conditions}});
        node = nodes.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
    }
    if let Some(taints) = plan(&node) {
        let patch =
            json!({"metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": taints}});
        found(nodes.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await)?;
    }
    // Until then it cannot have been silent for too long: 5,000 nodes cost some 100 reads a second. A node that is silent
    // already is heard of through its status, which is a change of its own.
    Ok(Next::After(if silent_for > GRACE { GRACE } else { GRACE - silent_for + JUST_AFTER }))
}

/// How long nothing has been heard of a node.
async fn silence(cx: &Context, node: &Node) -> Result<Duration, Error> {
    let leases: Api<Lease> = Api::namespaced(cx.informer.clone(), LEASES);
    let lease = work::read(&leases, &node.name_any()).await?;
    let renewed = lease.and_then(|l| l.spec).and_then(|s| s.renew_time).map(|t| t.0);
    let born = node.metadata.creation_timestamp.as_ref().map(|t| t.0);
    // What a node's clock says may be ahead of ours.
    let silent_for = renewed.max(born).map(|last| cx.clock.now().duration_since(last));
    Ok(silent_for.and_then(|d| Duration::try_from(d).ok()).unwrap_or_default())
}

/// The conditions of a node that has gone silent, each `Unknown`; `None` where they are so already.
fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let unknown = conditions.filter(|c| c.status != "Unknown").map(|c| NodeCondition {
        status: "Unknown".into(),
        reason: Some("NodeStatusUnknown".into()),
        message: Some("Kubelet stopped posting node status.".into()),
        last_transition_time: Some(Time(now)),
        ..c.clone()
    });
    let unknown: Vec<NodeCondition> = unknown.collect();
    (!unknown.is_empty()).then_some(unknown)
}

/// The node's taints as its conditions and its cordon want them; `None` where they already are so.
fn plan(node: &Node) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let have = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let is = |kind: &str, status: &str| {
        conditions.into_iter().flatten().any(|c| c.type_ == kind && c.status == status)
    };
    let mut wanted: Vec<&str> =
        TAINTS.iter().filter(|(kind, status, _)| is(kind, status)).map(|(_, _, key)| *key).collect();
    if spec.and_then(|s| s.unschedulable) == Some(true) {
        wanted.push(CORDONED);
    }
    let ours = |t: &Taint| {
        t.effect == "NoSchedule" && (t.key == CORDONED || TAINTS.iter().any(|(_, _, key)| *key == t.key))
    };
    // A node that has said nothing of itself yet keeps the taint it was born with.
    if conditions.is_none_or(|c| !c.iter().any(|c| c.type_ == "Ready")) {
        return None;
    }
    let mut taints: Vec<Taint> =
        have.iter().filter(|t| !ours(t) || wanted.contains(&t.key.as_str())).cloned().collect();
    for key in wanted {
        if !taints.iter().any(|t| t.key == key && t.effect == "NoSchedule") {
            taints.push(Taint { key: key.into(), effect: "NoSchedule".into(), ..Taint::default() });
        }
    }
    (taints != have).then_some(taints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[track_caller]
    fn check(ready: Option<&str>, cordoned: bool, taints: &[&str], expected: Option<&[&str]>) {
        let taint = |key: &&str| json!({"key": key, "effect": "NoSchedule"});
        let conditions: Vec<Value> =
            ready.iter().map(|status| json!({"type": "Ready", "status": status})).collect();
        let node = serde_json::from_value(json!({
            "spec": {"taints": taints.iter().map(taint).collect::<Vec<_>>(), "unschedulable": cordoned},
            "status": {"conditions": conditions},
        }))
        .unwrap();
        let planned = plan(&node).map(|taints| taints.into_iter().map(|t| t.key).collect::<Vec<_>>());
        assert_eq!(
            planned.as_deref().map(|p| p.iter().map(String::as_str).collect::<Vec<_>>()).as_deref(),
            expected
        );
    }

    #[test]
    fn taints_follow_conditions_and_leave_others_alone() {
        check(Some("True"), false, &["node.kubernetes.io/not-ready", "mine"], Some(&["mine"]));
        check(Some("True"), false, &["mine"], None);
        check(Some("False"), false, &[], Some(&["node.kubernetes.io/not-ready"]));
        check(Some("Unknown"), false, &[], Some(&["node.kubernetes.io/unreachable"]));
        check(Some("True"), true, &[], Some(&[CORDONED]));
        check(None, false, &["node.kubernetes.io/not-ready"], None);
    }
}
