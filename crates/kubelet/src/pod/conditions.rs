//! The conditions that the kubelet sets on a Pod. Pure.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition};

use super::spec;
use super::status::Phase;

#[derive(Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) phase: Phase,
    pub(crate) init: &'a [ContainerStatus],
    pub(crate) main: &'a [ContainerStatus],
    pub(crate) has_sandbox: bool,
}

pub(crate) fn conditions(situation: &Situation<'_>) -> Vec<PodCondition> {
    let containers = containers_ready(situation);
    let mut ready = containers.clone();
    ready.type_ = "Ready".to_owned();
    if containers.status == "True" {
        ready = gates(situation);
    }
    vec![
        condition("PodReadyToStartContainers", situation.has_sandbox, "", String::new()),
        initialized(situation),
        ready,
        containers,
    ]
}

fn condition(kind: &str, status: bool, reason: &str, message: String) -> PodCondition {
    PodCondition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message: (!message.is_empty()).then_some(message),
        ..PodCondition::default()
    }
}

fn containers<'a>(situation: &'a Situation<'_>) -> (&'a [Container], &'a [Container]) {
    match &situation.pod.spec {
        Some(spec) => (spec::init_containers(spec), &spec.containers),
        None => (&[], &[]),
    }
}

fn containers_ready(situation: &Situation<'_>) -> PodCondition {
    const KIND: &str = "ContainersReady";
    match situation.phase {
        Phase::Succeeded => return condition(KIND, false, "PodCompleted", String::new()),
        Phase::Failed => return condition(KIND, false, "PodFailed", String::new()),
        Phase::Pending | Phase::Running => {}
    }
    let (init, main) = containers(situation);
    let sidecars = init.iter().zip(situation.init).filter(|(container, _)| spec::is_sidecar(container));
    let all = sidecars.chain(main.iter().zip(situation.main));
    let unready: Vec<&str> =
        all.filter(|(_, status)| !status.ready).map(|(container, _)| container.name.as_str()).collect();
    if unready.is_empty() {
        return condition(KIND, true, "", String::new());
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    condition(KIND, false, "ContainersNotReady", message)
}

fn gates(situation: &Situation<'_>) -> PodCondition {
    let set =
        situation.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let gates = situation.pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let messages: Vec<String> = gates
        .filter_map(|gate| match set.iter().find(|it| it.type_ == gate.condition_type) {
            None => {
                let kind = &gate.condition_type;
                Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist."))
            }
            Some(found) if found.status != "True" => Some(format!(
                "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                gate.condition_type, found.status
            )),
            Some(_) => None,
        })
        .collect();
    if messages.is_empty() {
        condition("Ready", true, "", String::new())
    } else {
        condition("Ready", false, "ReadinessGatesNotReady", messages.join(", "))
    }
}

fn initialized(situation: &Situation<'_>) -> PodCondition {
    const KIND: &str = "Initialized";
    if situation.phase == Phase::Succeeded {
        return condition(KIND, true, "PodCompleted", String::new());
    }
    let started = situation.main.iter().any(|status| status.container_id.is_some());
    let (init, _) = containers(situation);
    let incomplete = |(container, status): &(&Container, &ContainerStatus)| {
        if spec::is_sidecar(container) { status.started != Some(true) } else { !status.ready }
    };
    let waiting = init.iter().zip(situation.init).filter(incomplete);
    let names: Vec<&str> = waiting.map(|(container, _)| container.name.as_str()).collect();
    if started || names.is_empty() {
        return condition(KIND, true, "", String::new());
    }
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    condition(KIND, false, "ContainersNotInitialized", message)
}
