//! A Pod that names its node goes nowhere else.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::Verdict;
use crate::cluster::NodeState;

pub(super) fn check(pod: &Pod, state: &NodeState) -> Verdict {
    let wanted = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or("");
    if wanted.is_empty() || wanted == state.node.name_any() {
        Verdict::Fits
    } else {
        Verdict::refused("node(s) didn't match the requested node name")
    }
}
