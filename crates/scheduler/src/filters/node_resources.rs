//! A node must have what the Pod requests, beside what already runs there.

use k8s_openapi::api::core::v1::Pod;

use super::Verdict;
use crate::cluster::NodeState;
use crate::quantity;

pub(super) fn check(pod: &Pod, state: &NodeState) -> Verdict {
    let Some(spec) = &pod.spec else { return Verdict::Fits };
    let mut lacking = Vec::new();
    // Quantities are in thousandths here, Pods are whole.
    if (state.pods as i128 + 1) * 1000 > state.allocatable("pods") {
        lacking.push("Too many pods".to_owned());
    }
    for (name, amount) in quantity::requests(spec) {
        let used = state.used.get(&name).copied().unwrap_or(0);
        if amount > 0 && used + amount > state.allocatable(&name) {
            lacking.push(format!("Insufficient {name}"));
        }
    }
    if lacking.is_empty() { Verdict::Fits } else { Verdict::Refused(lacking) }
}
