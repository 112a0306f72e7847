//! A tainted node takes only Pods that tolerate its taints.

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

use super::Verdict;
use crate::cluster::NodeState;

pub(super) fn check(pod: &Pod, state: &NodeState) -> Verdict {
    let taints = state.node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    let mut hard = taints.filter(|t| t.effect == "NoSchedule" || t.effect == "NoExecute");
    match hard.find(|t| !tolerates(pod, t)) {
        None => Verdict::Fits,
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or("");
            Verdict::refused(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
        }
    }
}

pub(crate) fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    pod.spec.iter().flat_map(|s| s.tolerations.iter().flatten()).any(|t| matches(t, taint))
}

fn matches(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or("")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::pod;
    use serde_json::{Value, json};

    #[track_caller]
    fn check_toleration(toleration: Value, tolerated: bool) {
        let taint: Taint =
            serde_json::from_value(json!({"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}))
                .unwrap();
        assert_eq!(tolerates(&pod(json!({"tolerations": [toleration]})), &taint), tolerated);
    }

    #[test]
    fn tolerations_match_by_key_value_and_effect() {
        check_toleration(json!({"key": "dedicated", "value": "gpu"}), true);
        check_toleration(json!({"key": "dedicated", "value": "cpu"}), false);
        check_toleration(json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}), false);
        check_toleration(json!({"operator": "Exists"}), true);
    }
}
