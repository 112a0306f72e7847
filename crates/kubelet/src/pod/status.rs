//! The status of a Pod as the API shows it. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;
use super::container_status::{container_status, has_ended};
use super::observed::Observed;
use super::plan::Termination;
use super::spec;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }

    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

pub(crate) fn pod_status(
    pod: &Pod,
    observed: &Observed,
    termination: Termination,
    now: Timestamp,
) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let Some(pod_spec) = pod.spec.as_ref() else { return old };
    let ended = termination == Termination::Ended;
    let one = |container: &Container| container_status(pod_spec, container, observed, &old, ended);
    let init: Vec<_> = spec::init_containers(pod_spec).iter().map(one).collect();
    let main: Vec<_> = pod_spec.containers.iter().map(one).collect();
    let ephemeral: Vec<_> = spec::ephemeral_containers(pod_spec).iter().map(one).collect();
    let phase = phase(pod, pod_spec, &init, &main, observed, termination);
    let generation = pod.metadata.generation;
    let situation = conditions::Situation {
        pod,
        phase,
        init: &init,
        main: &main,
        has_sandbox: observed.ready_sandbox().is_some(),
    };
    let ips = observed.pod_ips();
    let failure = observed.failure.as_ref();
    let keep = ips.is_empty();
    PodStatus {
        phase: Some(phase.as_str().to_owned()),
        conditions: Some(stamp(conditions::conditions(&situation), &old, generation, now)),
        message: failure.map(|it| it.message.clone()).or_else(|| old.message.clone()),
        reason: failure.map(|it| it.reason.clone()).or_else(|| old.reason.clone()),
        host_ip: Some(observed.host_ip.clone()),
        host_ips: Some(vec![HostIP { ip: observed.host_ip.clone() }]),
        pod_ip: if keep { old.pod_ip.clone() } else { ips.first().cloned() },
        pod_ips: if keep {
            old.pod_ips.clone()
        } else {
            Some(ips.into_iter().map(|ip| PodIP { ip }).collect())
        },
        start_time: old.start_time.clone().or_else(|| observed.started.map(whole_seconds)),
        init_container_statuses: some(init),
        container_statuses: some(main),
        ephemeral_container_statuses: some(ephemeral),
        observed_generation: generation,
        ..old
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// The API keeps whole seconds only.
pub(crate) fn whole_seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// The kubelet's own conditions, with the time of their last change, before those that others have set.
fn stamp(
    mut conditions: Vec<PodCondition>,
    old: &PodStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<PodCondition> {
    let before = old.conditions.as_deref().unwrap_or_default();
    for condition in &mut conditions {
        condition.observed_generation = generation;
        let same = before.iter().find(|it| it.type_ == condition.type_ && it.status == condition.status);
        let since = same.and_then(|same| same.last_transition_time.clone());
        condition.last_transition_time = Some(since.unwrap_or_else(|| whole_seconds(now)));
    }
    let others = before.iter().filter(|it| !conditions.iter().any(|own| own.type_ == it.type_));
    let others: Vec<_> = others.cloned().collect();
    conditions.extend(others);
    conditions
}

fn phase(
    pod: &Pod,
    spec: &PodSpec,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    observed: &Observed,
    termination: Termination,
) -> Phase {
    let reported = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    match reported {
        Some("Succeeded") => return Phase::Succeeded,
        Some("Failed") => return Phase::Failed,
        _ => {}
    }
    if termination == Termination::Ended {
        return final_phase(spec, init, main, observed);
    }
    let phase = living_phase(spec, init, main);
    // What still runs has not ended, whatever its containers' states promise.
    if phase.is_terminal() {
        return if reported == Some("Pending") && !ever_ran(main) { Phase::Pending } else { Phase::Running };
    }
    phase
}

fn ever_ran(main: &[ContainerStatus]) -> bool {
    main.iter().any(|it| it.container_id.is_some())
}

fn final_phase(
    spec: &PodSpec,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    observed: &Observed,
) -> Phase {
    if observed.failure.is_some() || init_failed(spec, init) {
        return Phase::Failed;
    }
    let succeeded = |it: &ContainerStatus| exit_code(it) == Some(0);
    if main.iter().all(succeeded) { Phase::Succeeded } else { Phase::Failed }
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    status.state.as_ref()?.terminated.as_ref().map(|it| it.exit_code)
}

fn init_failed(spec: &PodSpec, init: &[ContainerStatus]) -> bool {
    let never = spec.restart_policy.as_deref() == Some("Never");
    never && plain_init(spec, init).any(|status| exit_code(status).is_some_and(|code| code != 0))
}

fn plain_init<'a>(
    spec: &'a PodSpec,
    init: &'a [ContainerStatus],
) -> impl Iterator<Item = &'a ContainerStatus> {
    let pairs = spec::init_containers(spec).iter().zip(init);
    pairs.filter(|(container, _)| !spec::is_sidecar(container)).map(|(_, status)| status)
}

fn living_phase(spec: &PodSpec, init: &[ContainerStatus], main: &[ContainerStatus]) -> Phase {
    let started = ever_ran(main);
    let uninitialized = plain_init(spec, init).any(|status| exit_code(status) != Some(0));
    if uninitialized && !started {
        return Phase::Pending;
    }
    let is_running = |it: &&ContainerStatus| it.state.as_ref().is_some_and(|state| state.running.is_some());
    let running = main.iter().filter(is_running).count();
    let stopped = main.iter().filter(|it| has_ended(it)).count();
    if running + stopped < main.len() {
        return Phase::Pending;
    }
    if running > 0 {
        return Phase::Running;
    }
    let restarts = |(container, status): (&Container, &ContainerStatus)| {
        exit_code(status).is_none_or(|code| spec::restarts(spec, container, code))
    };
    if spec.containers.iter().zip(main).any(restarts) {
        return Phase::Running;
    }
    if main.iter().all(|it| exit_code(it) == Some(0)) { Phase::Succeeded } else { Phase::Failed }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
