//! Writes a Pod's status: in order, the newest only, nothing twice.

use std::sync::Arc;
use std::time::Duration;

use coracle_clock::Clock;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::spec;

/// Between tries while the API server cannot be reached or refuses.
const RETRY: Duration = Duration::from_millis(500);

/// Lists that a strategic patch would merge, though the kubelet means to replace them.
const REPLACED: [&str; 2] = ["podIPs", "hostIPs"];

#[derive(Debug)]
pub(crate) struct StatusWriter {
    wanted: watch::Sender<Option<Arc<Value>>>,
    written: watch::Receiver<Option<Arc<Value>>>,
}

impl StatusWriter {
    /// A writer for `pod`, and its task, which ends with the writer or when the Pod is gone.
    pub(crate) fn new(
        client: kube::Client,
        clock: Clock,
        pod: &Pod,
    ) -> (StatusWriter, impl Future<Output = ()> + Send + use<>) {
        let (wanted, to_write) = watch::channel(None);
        let (done, written) = watch::channel(None);
        let present = pod.status.as_ref().and_then(|status| serde_json::to_value(status).ok());
        let task = Task {
            api: Api::namespaced(client, spec::namespace(pod)),
            clock,
            name: spec::name(pod).to_owned(),
            uid: spec::uid(pod).to_owned(),
            present: present.unwrap_or_else(|| json!({})),
        };
        (StatusWriter { wanted, written }, task.run(to_write, done))
    }

    pub(crate) fn set(&self, status: &PodStatus) {
        let Ok(value) = serde_json::to_value(status) else { return };
        self.wanted.send_if_modified(|wanted| {
            let new = wanted.as_deref() != Some(&value);
            if new {
                *wanted = Some(Arc::new(value));
            }
            new
        });
    }

    /// Returns when what was last set is written, or the Pod is gone.
    pub(crate) async fn flush(&mut self) {
        let wanted = self.wanted.borrow().clone();
        // An error means that the task has ended: there is no Pod to write to.
        let _ = self.written.wait_for(|written| *written == wanted).await;
    }
}

struct Task {
    api: Api<Pod>,
    clock: Clock,
    name: String,
    uid: String,
    present: Value,
}

impl Task {
    async fn run(
        mut self,
        mut wanted: watch::Receiver<Option<Arc<Value>>>,
        done: watch::Sender<Option<Arc<Value>>>,
    ) {
        while wanted.changed().await.is_ok() {
            loop {
                let Some(status) = wanted.borrow_and_update().clone() else { break };
                match self.write(&status).await {
                    Ok(()) => {
                        done.send_replace(Some(status));
                        break;
                    }
                    Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return,
                    Err(error) => tracing::warn!(pod = self.name, %error, "cannot write status"),
                }
                self.clock.sleep(RETRY).await;
            }
        }
    }

    async fn write(&mut self, status: &Value) -> kube::Result<()> {
        if let Some(changes) = changes(&self.present, status) {
            let patch = json!({"metadata": {"uid": self.uid}, "status": changes});
            self.api.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
            self.present = status.clone();
        }
        Ok(())
    }
}

/// The strategic merge patch that leads from one status to another; `None` when they are the same.
fn changes(old: &Value, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in new {
        if old.get(key) == Some(value) {
            continue;
        }
        if key == "conditions" {
            let kinds: Vec<Value> = types(value).map(|kind| json!({"type": kind})).collect();
            patch.insert("$setElementOrder/conditions".to_owned(), Value::Array(kinds));
            patch.insert(key.clone(), changed_conditions(old.get(key), value));
        } else if REPLACED.contains(&key.as_str()) && old.contains_key(key) {
            let mut list = value.as_array().cloned().unwrap_or_default();
            list.push(json!({"$patch": "replace"}));
            patch.insert(key.clone(), Value::Array(list));
        } else {
            patch.insert(key.clone(), value.clone());
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn types(conditions: &Value) -> impl Iterator<Item = &Value> {
    conditions.as_array().into_iter().flatten().filter_map(|it| it.get("type"))
}

fn changed_conditions(old: Option<&Value>, new: &Value) -> Value {
    let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut changed = Vec::new();
    for condition in new.as_array().into_iter().flatten() {
        let before = old.iter().find(|it| it.get("type") == condition.get("type"));
        if before == Some(condition) {
            continue;
        }
        let mut condition = condition.clone();
        for key in before.and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            if condition.get(key).is_none() {
                condition[key] = Value::Null;
            }
        }
        changed.push(condition);
    }
    Value::Array(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_written() {
        let old = json!({"phase": "Pending", "reason": "x", "podIPs": [{"ip": "1"}], "qosClass": "BestEffort",
            "conditions": [{"type": "Ready", "status": "False", "message": "m"}, {"type": "PodScheduled", "status": "True"}]});
        let new = json!({"phase": "Running", "podIPs": [{"ip": "2"}], "qosClass": "BestEffort",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]});
        assert_eq!(
            changes(&old, &new),
            Some(json!({
                "phase": "Running", "reason": null,
                "podIPs": [{"ip": "2"}, {"$patch": "replace"}],
                "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "PodScheduled"}],
                "conditions": [{"type": "Ready", "status": "True", "message": null}],
            }))
        );
        assert_eq!(changes(&new, &new), None);
    }
}
