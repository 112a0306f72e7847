//! Pods bear an unready or unreachable node for five minutes unless they say otherwise.

use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::{Admit, Plugin};

/// The reference's `--default-not-ready-toleration-seconds` and its sister.
const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(crate) struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn mutate(&self, admit: &Admit<'_>, pod: &mut Value) -> Result<(), Status> {
        if !admit.creates_pod() {
            return Ok(());
        }
        for taint in TAINTS {
            let tolerated = object::items(pod, &["spec", "tolerations"]).iter().any(|t| tolerates(t, taint));
            if !tolerated {
                let toleration = json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
                let list =
                    object::map_at_mut(pod, &["spec"]).entry("tolerations").or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(toleration);
                }
            }
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let key = object::text(toleration, &["key"]);
    let effect = object::text(toleration, &["effect"]);
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}
