//! Nodes that would rather not have this Pod come last.

use k8s_openapi::api::core::v1::Pod;

use super::SCORE_MAX;
use crate::cluster::NodeState;
use crate::filters;

/// Each untolerated `PreferNoSchedule` taint costs this much; ten of them are as bad as it gets.
const COST: i64 = 10;

pub(super) fn score(pod: &Pod, state: &NodeState) -> i64 {
    let taints = state.node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    let soft = taints.filter(|t| t.effect == "PreferNoSchedule" && !filters::taints::tolerates(pod, t));
    (SCORE_MAX - COST * i64::try_from(soft.count()).unwrap_or(COST)).max(0)
}
