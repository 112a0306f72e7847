//! The status of one container as the API shows it. Pure.

use std::collections::BTreeMap;

use coracle_runtime::ContainerState as Seen;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, PodSpec, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::observed::Observed;
use super::spec;
use super::status::whole_seconds;
use crate::probes::Before;

/// The runtime's name in container IDs.
pub(crate) const RUNTIME_NAME: &str = "coracle";

pub(crate) fn container_id(id: &str) -> String {
    format!("{RUNTIME_NAME}://{id}")
}

/// `ended`: nothing of the Pod runs any more, so that nothing waits either.
pub(crate) fn container_status(
    pod: &PodSpec,
    container: &Container,
    observed: &Observed,
    old: &PodStatus,
    ended: bool,
) -> ContainerStatus {
    let mut attempts = observed.attempts(&container.name).filter(|it| it.state != Seen::Created);
    let latest = attempts.next();
    let previous = attempts.next();
    let waiting = observed.waiting.get(&container.name).filter(|_| !ended);
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        ..ContainerStatus::default()
    };
    let Some(latest) = latest else {
        let before = old_status(old, &container.name);
        let told = before.filter(|it| it.state.as_ref().is_some_and(|state| state.terminated.is_some()));
        if let Some(told) = told.filter(|_| ended) {
            return told.clone();
        }
        status.restart_count = before.map_or(0, |before| before.restart_count);
        status.last_state = Some(before.and_then(|it| it.last_state.clone()).unwrap_or_default());
        status.state = Some(match waiting {
            Some(waiting) => wait(&waiting.reason, &waiting.message),
            None if ended => lost(),
            None if spec::init_containers(pod).is_empty() => wait("ContainerCreating", ""),
            None => wait("PodInitializing", ""),
        });
        return status;
    };
    status.container_id = Some(container_id(&latest.id));
    status.image_id.clone_from(&latest.image_ref);
    status.image.clone_from(&latest.image);
    status.restart_count = i32::try_from(latest.attempt).unwrap_or(i32::MAX);
    status.last_state = Some(previous.map(|it| terminated(it, observed)).unwrap_or_default());
    let is_init =
        spec::init_containers(pod).iter().any(|it| it.name == container.name && !spec::is_sidecar(it));
    if latest.state == Seen::Running {
        let since = latest.started_at.map(whole_seconds);
        let running = Some(ContainerStateRunning { started_at: since });
        status.state = Some(ContainerState { running, ..ContainerState::default() });
        status.started = Some(observed.is_started(latest));
        status.ready = !is_init && observed.is_ready(latest);
    } else if let Some(waiting) = waiting {
        status.last_state = Some(terminated(latest, observed));
        status.state = Some(wait(&waiting.reason, &waiting.message));
    } else {
        status.ready = is_init && latest.exit_code == 0;
        status.state = Some(terminated(latest, observed));
    }
    status.resources = Some(container.resources.clone().unwrap_or_default());
    let requests = container.resources.as_ref().and_then(|it| it.requests.clone());
    status.allocated_resources = requests.filter(|requests: &BTreeMap<_, _>| !requests.is_empty());
    status.volume_mounts = volume_mounts(container);
    status
}

fn old_status<'a>(old: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let all = [&old.container_statuses, &old.init_container_statuses, &old.ephemeral_container_statuses];
    all.into_iter().flatten().flatten().find(|status| status.name == name)
}

/// What the API last said of the container with this ID.
pub(crate) fn before(pod: &Pod, id: &str) -> Before {
    let Some(status) = pod.status.as_ref() else { return Before::default() };
    let id = container_id(id);
    let all = [&status.container_statuses, &status.init_container_statuses];
    let found = all.into_iter().flatten().flatten().find(|it| it.container_id.as_ref() == Some(&id));
    found.map_or_else(Before::default, |it| Before { started: it.started == Some(true), ready: it.ready })
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_deref()?;
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| {
        let read_only = mount.read_only.filter(|read_only| *read_only);
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only,
            recursive_read_only: read_only.map(|_| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        }
    };
    Some(mounts.iter().map(status).collect::<Vec<_>>()).filter(|mounts| !mounts.is_empty())
}

fn wait(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: (!message.is_empty()).then(|| message.to_owned()),
    };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// Of a container that the Pod ended without, such as one that never came to run.
fn lost() -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn terminated(container: &coracle_runtime::ContainerStatus, observed: &Observed) -> ContainerState {
    let message =
        observed.messages.get(&container.id).filter(|it| !it.is_empty()).unwrap_or(&container.message);
    let reason = match container.state {
        Seen::Unknown => "ContainerStatusUnknown",
        _ if !container.reason.is_empty() => &container.reason,
        _ if container.exit_code == 0 => "Completed",
        _ => "Error",
    };
    let terminated = ContainerStateTerminated {
        container_id: Some(container_id(&container.id)),
        exit_code: container.exit_code,
        finished_at: container.finished_at.map(whole_seconds),
        message: (!message.is_empty()).then(|| message.clone()),
        reason: Some(reason.to_owned()),
        signal: None,
        // Of one that never came to run, the reference says that it was at the beginning of time.
        started_at: Some(container.started_at.map_or(Time(Timestamp::UNIX_EPOCH), whole_seconds)),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// Whether the container has run and does not now: it has ended, or waits for its next start.
pub(crate) fn has_ended(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    let terminated = state.is_some_and(|state| state.terminated.is_some());
    let waiting = state.is_some_and(|state| state.waiting.is_some());
    let before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    terminated || (waiting && before)
}
