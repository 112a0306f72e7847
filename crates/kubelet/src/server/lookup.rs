//! Finds the container that a request is about.

use std::sync::Arc;

use http::StatusCode;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

use crate::Shared;

/// Why a request cannot be served, as plain text.
pub(crate) type Refusal = (StatusCode, String);

pub(crate) fn pod(shared: &Shared, namespace: &str, name: &str) -> Result<Arc<Pod>, Refusal> {
    let found = shared.find_pod(namespace, name);
    found.ok_or_else(|| (StatusCode::NOT_FOUND, "pod does not exist\n".to_owned()))
}

fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    all.into_iter().flatten().flatten().find(|it| it.name == container)
}

/// The runtime's ID out of `coracle://ID`.
fn runtime_id(id: &Option<String>) -> Option<String> {
    Some(id.as_deref()?.split_once("://")?.1.to_owned())
}

fn terminated_id(state: &Option<ContainerState>) -> Option<String> {
    runtime_id(&state.as_ref()?.terminated.as_ref()?.container_id)
}

/// The ID of the running container of that name.
pub(crate) fn running(pod: &Pod, container: &str) -> Result<String, Refusal> {
    let status = status(pod, container);
    let running = status.filter(|it| it.state.as_ref().is_some_and(|state| state.running.is_some()));
    let missing = || (StatusCode::NOT_FOUND, format!("container not found (\"{container}\")"));
    running.and_then(|it| runtime_id(&it.container_id)).ok_or_else(missing)
}

/// The ID of the container whose log is asked for.
pub(crate) fn logged(pod: &Pod, container: &str, previous: bool) -> Result<String, Refusal> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let refuse = |text: String| (StatusCode::BAD_REQUEST, text);
    let Some(status) = status(pod, container) else {
        let text = format!("container \"{container}\" in pod \"{pod_name}\" is not available");
        return Err(refuse(text));
    };
    let last = terminated_id(&status.last_state);
    if previous {
        let text = format!("previous terminated container \"{container}\" in pod \"{pod_name}\" not found");
        return last.ok_or_else(|| refuse(text));
    }
    let state = status.state.clone().unwrap_or_default();
    let Some(waiting) = state.waiting else {
        let text = format!("container \"{container}\" in pod \"{pod_name}\" is not available");
        return runtime_id(&status.container_id).ok_or_else(|| refuse(text));
    };
    let reason = match waiting.reason.as_deref().unwrap_or_default() {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    };
    let text = format!("container \"{container}\" in pod \"{pod_name}\" is waiting to start: {reason}");
    last.ok_or_else(|| refuse(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(state: serde_json::Value, last: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "containerID": "coracle://now",
             "state": state, "lastState": last}]}}))
        .unwrap()
    }

    #[test]
    fn the_container_of_a_log() {
        let ended = json!({"terminated": {"exitCode": 1, "containerID": "coracle://before"}});
        let running = pod(json!({"running": {}}), ended.clone());
        assert_eq!(logged(&running, "c", false).unwrap(), "now");
        assert_eq!(logged(&running, "c", true).unwrap(), "before");
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        assert_eq!(logged(&pod(waiting("CrashLoopBackOff"), ended), "c", false).unwrap(), "before");
        let error = |reason: &str| logged(&pod(waiting(reason), json!({})), "c", false).unwrap_err().1;
        assert_eq!(
            error("ContainerCreating"),
            "container \"c\" in pod \"p\" is waiting to start: ContainerCreating"
        );
        assert_eq!(
            error("ErrImagePull"),
            "container \"c\" in pod \"p\" is waiting to start: image can't be pulled"
        );
        let fresh = pod(json!({"running": {}}), json!({}));
        let missing = logged(&fresh, "c", true).unwrap_err().1;
        assert_eq!(missing, "previous terminated container \"c\" in pod \"p\" not found");
    }
}
