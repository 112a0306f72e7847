//! Words for what a Pod's specification says.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// What kind of container of the Pod it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Init,
    Sidecar,
    Main,
    Ephemeral,
}

pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// As the reference names a Pod in messages.
pub(crate) fn full_name(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

pub(crate) fn init_containers(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

/// The ephemeral containers as ordinary ones.
pub(crate) fn ephemeral_containers(spec: &PodSpec) -> Vec<Container> {
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    ephemeral
        .map(|it| Container {
            args: it.args.clone(),
            command: it.command.clone(),
            env: it.env.clone(),
            env_from: it.env_from.clone(),
            image: it.image.clone(),
            image_pull_policy: it.image_pull_policy.clone(),
            name: it.name.clone(),
            resources: it.resources.clone(),
            security_context: it.security_context.clone(),
            stdin: it.stdin,
            stdin_once: it.stdin_once,
            termination_message_path: it.termination_message_path.clone(),
            termination_message_policy: it.termination_message_policy.clone(),
            tty: it.tty,
            volume_mounts: it.volume_mounts.clone(),
            working_dir: it.working_dir.clone(),
            ..Container::default()
        })
        .collect()
}

/// The container of that name with its role.
pub(crate) fn find(pod: &Pod, name: &str) -> Option<(Container, Role)> {
    let spec = pod.spec.as_ref()?;
    if let Some(container) = init_containers(spec).iter().find(|container| container.name == name) {
        let role = if is_sidecar(container) { Role::Sidecar } else { Role::Init };
        return Some((container.clone(), role));
    }
    if let Some(container) = spec.containers.iter().find(|container| container.name == name) {
        return Some((container.clone(), Role::Main));
    }
    ephemeral_containers(spec).into_iter().find(|it| it.name == name).map(|it| (it, Role::Ephemeral))
}

/// The path of a container in the Pod, as events name it.
pub(crate) fn field_path(role: Role, container: &str) -> String {
    match role {
        Role::Init | Role::Sidecar => format!("spec.initContainers{{{container}}}"),
        Role::Main => format!("spec.containers{{{container}}}"),
        Role::Ephemeral => format!("spec.ephemeralContainers{{{container}}}"),
    }
}

/// Whether a container that ended with `exit_code` is to run again.
pub(crate) fn restarts(spec: &PodSpec, container: &Container, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        if listed == (codes.operator == "In") {
            return rule.action == "Restart";
        }
    }
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref());
    match policy.unwrap_or("Always") {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

pub(crate) fn is_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true)
}

pub(crate) fn grace_seconds(pod: &Pod) -> i64 {
    let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    pod.metadata.deletion_grace_period_seconds.or(spec).unwrap_or(30).max(0)
}
