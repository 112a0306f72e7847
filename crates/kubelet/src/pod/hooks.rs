//! Lifecycle hooks and the stopping of containers in their order.

use std::time::Duration;

use coracle_runtime::ContainerStatus;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use super::spec::{self, Role};
use crate::Shared;
use crate::probes::check::{Outcome, Target};
use crate::recorder::Kind;

/// How the kubelet names itself to a hook.
const AGENT: &str = "kube-lifecycle/1.36";
/// A container gets at least this long to stop, however long its preStop hook took.
const MIN_GRACE: Duration = Duration::from_secs(2);
/// A postStart hook has no limit of its own; this one keeps a hanging hook from holding its Pod for ever.
const MAX_POST_START: Duration = Duration::from_secs(3600);

/// Runs one handler; `Err` says why it failed.
async fn run(handler: &LifecycleHandler, target: &Target, limit: Duration) -> Outcome {
    if let Some(action) = &handler.exec {
        target.exec(action, limit).await
    } else if let Some(action) = &handler.http_get {
        target.http(action, AGENT, limit).await
    } else if let Some(action) = &handler.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        target.clock.sleep(Duration::from_secs(seconds).min(limit)).await;
        Ok(String::new())
    } else {
        Err("invalid handler".to_owned())
    }
}

pub(crate) async fn post_start(
    shared: &Shared,
    pod: &Pod,
    target: &Target,
    role: Role,
) -> Result<(), String> {
    let Some(handler) = target.container.lifecycle.as_ref().and_then(|it| it.post_start.as_ref()) else {
        return Ok(());
    };
    run(handler, target, MAX_POST_START).await.map(drop).map_err(|error| {
        let message = format!("PostStartHook failed: {error}");
        shared.recorder.container(
            pod,
            role,
            &target.container.name,
            Kind::Warning,
            "FailedPostStartHook",
            message.clone(),
        );
        message
    })
}

/// Stops one container: event, preStop hook, stop signal, and SIGKILL when its time is over.
pub(crate) async fn stop(
    shared: &Shared,
    pod: &Pod,
    status: &ContainerStatus,
    pod_ip: &str,
    message: String,
    grace: Duration,
) {
    let (container, role) = spec::find(pod, &status.name)
        .unwrap_or((Container { name: status.name.clone(), ..Container::default() }, Role::Main));
    shared.recorder.container(pod, role, &status.name, Kind::Normal, "Killing", message);
    let began = shared.clock.elapsed();
    let hook = container.lifecycle.as_ref().and_then(|it| it.pre_stop.clone());
    if let Some(handler) = hook.filter(|_| !grace.is_zero()) {
        let target = shared.target(&status.id, pod_ip, container);
        let outcome = shared.clock.timeout(grace, run(&handler, &target, grace)).await;
        let failed = match outcome {
            Some(Ok(_)) => None,
            Some(Err(error)) => Some(format!("PreStopHook failed: {error}")),
            None => Some("PreStopHook failed: it did not end within the grace period".to_owned()),
        };
        if let Some(message) = failed {
            shared.recorder.container(pod, role, &status.name, Kind::Warning, "FailedPreStopHook", message);
        }
    }
    let left = grace.saturating_sub(shared.clock.elapsed() - began);
    let left = if grace.is_zero() { grace } else { left.max(MIN_GRACE) };
    if let Err(error) = shared.runtime.stop_container(&status.id, left).await
        && !error.is_not_found()
    {
        tracing::warn!(container = status.name, %error, "cannot stop container");
    }
}

/// Stops all containers: the main ones together, then the sidecars, the last started first.
pub(crate) async fn stop_all(
    shared: &Shared,
    pod: &Pod,
    running: Vec<ContainerStatus>,
    pod_ip: &str,
    grace: Duration,
) {
    let began = shared.clock.elapsed();
    let order = |name: &str| {
        let init = pod.spec.as_ref().map(spec::init_containers).unwrap_or_default();
        init.iter().position(|it| it.name == name && spec::is_sidecar(it))
    };
    let (mut sidecars, others): (Vec<_>, Vec<_>) =
        running.into_iter().partition(|it| order(&it.name).is_some());
    let message = |status: &ContainerStatus| format!("Stopping container {}", status.name);
    join_all(others.iter().map(|status| stop(shared, pod, status, pod_ip, message(status), grace))).await;
    sidecars.sort_by_key(|status| std::cmp::Reverse(order(&status.name)));
    for status in &sidecars {
        let left = grace.saturating_sub(shared.clock.elapsed() - began);
        let left = if grace.is_zero() { grace } else { left.max(MIN_GRACE) };
        stop(shared, pod, status, pod_ip, message(status), left).await;
    }
}
