//! A new Node takes no Pods until it is known to be ready.

use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::{Admit, Operation, Plugin};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(crate) struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn mutate(&self, admit: &Admit<'_>, node: &mut Value) -> Result<(), Status> {
        let creates =
            admit.operation == Operation::Create && admit.sub.is_none() && admit.is_kind("", "Node");
        if !creates {
            return Ok(());
        }
        let taints = object::items(node, &["spec", "taints"]);
        if taints.iter().any(|t| t["key"] == NOT_READY && t["effect"] == "NoSchedule") {
            return Ok(());
        }
        let list = object::map_at_mut(node, &["spec"]).entry("taints").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
