//! A Pod learns where it runs: the zone and region of its node become its own labels when it is bound.

use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::{Admit, Operation, Plugin};

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub(crate) struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
    fn mutate(&self, admit: &Admit<'_>, obj: &mut Value) -> Result<(), Status> {
        if admit.operation != Operation::Create {
            return Ok(());
        }
        let node = match (&*admit.kind.group, &*admit.kind.kind) {
            ("", "Pod") => object::text(obj, &["spec", "nodeName"]),
            ("", "Binding") if object::text(obj, &["target", "kind"]) == "Node" => {
                object::text(obj, &["target", "name"])
            }
            _ => return Ok(()),
        };
        if node.is_empty() {
            return Ok(());
        }
        let Some(node) = admit.core.stored("", "nodes", "", node) else { return Ok(()) };
        for (label, value) in LABELS.iter().filter_map(|label| Some((*label, node.meta.label(label)?))) {
            let labels = object::map_at_mut(obj, &["metadata", "labels"]);
            labels.entry(label).or_insert_with(|| json!(value));
        }
        Ok(())
    }
}
