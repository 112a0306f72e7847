//! A cordoned node takes only Pods that tolerate being there.

use k8s_openapi::api::core::v1::{Pod, Taint};

use super::{Verdict, taints};
use crate::cluster::NodeState;

pub(super) fn check(pod: &Pod, state: &NodeState) -> Verdict {
    if state.node.spec.as_ref().and_then(|s| s.unschedulable) != Some(true) {
        return Verdict::Fits;
    }
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    if taints::tolerates(pod, &cordon) {
        Verdict::Fits
    } else {
        Verdict::refused("node(s) were unschedulable")
    }
}
