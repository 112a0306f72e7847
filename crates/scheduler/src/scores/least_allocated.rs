//! The node with most room left, of CPU and memory.

use k8s_openapi::api::core::v1::Pod;

use super::SCORE_MAX;
use crate::cluster::NodeState;
use crate::quantity;

pub(super) fn score(pod: &Pod, state: &NodeState) -> i64 {
    let requests = pod.spec.as_ref().map(quantity::requests).unwrap_or_default();
    let free = |name: &str| {
        let capacity = state.allocatable(name);
        let asked = requests.get(name).copied().unwrap_or(0);
        let used = state.used.get(name).copied().unwrap_or(0) + asked;
        if capacity <= 0 || used > capacity {
            0
        } else {
            (capacity - used) * i128::from(SCORE_MAX) / capacity
        }
    };
    i64::try_from((free("cpu") + free("memory")) / 2).unwrap_or(0)
}
