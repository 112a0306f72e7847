//! Nodes that the Pod would rather have.

use k8s_openapi::api::core::v1::Pod;

use super::SCORE_MAX;
use crate::cluster::NodeState;
use crate::filters;

pub(super) fn score(pod: &Pod, state: &NodeState) -> i64 {
    let preferred = pod
        .spec
        .as_ref()
        .and_then(|s| s.affinity.as_ref())
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref());
    let Some(terms) = preferred else { return 0 };
    let total: i64 = terms.iter().map(|t| i64::from(t.weight)).sum();
    let met: i64 = terms
        .iter()
        .filter(|t| filters::node_affinity::matches(&t.preference, state))
        .map(|t| i64::from(t.weight))
        .sum();
    if total == 0 { 0 } else { met * SCORE_MAX / total }
}
