//! THE LIST of scores: of the nodes that fit, which is best? Each gives 0 to 100, times its weight.

mod least_allocated;
mod preferred_affinity;
mod soft_taints;

use k8s_openapi::api::core::v1::Pod;

use crate::cluster::NodeState;

pub(crate) const SCORE_MAX: i64 = 100;

pub(crate) struct Score {
    /// The reference's default weight.
    pub weight: i64,
    pub score: fn(&Pod, &NodeState) -> i64,
}

pub(crate) const SCORES: &[Score] = &[
    Score { weight: 3, score: soft_taints::score },
    Score { weight: 2, score: preferred_affinity::score },
    Score { weight: 1, score: least_allocated::score },
];
