//! Turns what a Pod says about a container into what the runtime is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use coracle_api::quantity::Quantity;
use coracle_runtime::{
    ContainerConfig, Image, Mount, Propagation, Resources, SandboxConfig, Seccomp, SecurityContext,
};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::plan::IMAGE_ANNOTATION;
use super::spec::{self, Role};
use super::{dns, hosts};
use crate::Shared;
use crate::env::{EnvError, EnvInputs, environment, expand};
use crate::fields::Surroundings;
use crate::volumes::Volumes;

pub(crate) const UID_LABEL: &str = "io.kubernetes.pod.uid";
pub(crate) const POD_LABEL: &str = "io.kubernetes.pod.name";
pub(crate) const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
pub(crate) const CONTAINER_LABEL: &str = "io.kubernetes.container.name";
pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";

/// Bounds and fixed points of `oom_score_adj` by quality of service, as in the reference.
const OOM_GUARANTEED: i32 = -997;
const OOM_BEST_EFFORT: i32 = 1000;
const OOM_BURSTABLE: std::ops::RangeInclusive<i128> = 3..=999;
/// The period that CPU limits are counted in, in microseconds: the kernel's default.
const CPU_PERIOD: i128 = 100_000;
/// The smallest share and quota that the kernel takes.
const MIN_SHARES: i128 = 2;
const MIN_QUOTA: i128 = 1000;

/// Becomes `CreateContainerConfigError`, with this message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error("container has runAsNonRoot and image will run as root (pod: \"{0}\", container: {1})")]
    RunsAsRoot(String, String),
    #[error("container's runAsUser breaks non-root policy (pod: \"{0}\", container: {1})")]
    UserIsRoot(String, String),
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({0}), cannot verify user is non-root (pod: \"{1}\", container: {2})"
    )]
    NamedUser(String, String, String),
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
}

#[derive(Debug)]
pub(crate) struct ConfigInputs<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) attempt: u32,
    pub(crate) volumes: &'a Volumes,
    pub(crate) around: &'a Surroundings,
    pub(crate) image: Option<&'a Image>,
}

pub(crate) fn sandbox_config(shared: &Shared, pod: &Pod, attempt: u32) -> (SandboxConfig, Vec<String>) {
    let pod_spec = pod.spec.clone().unwrap_or_default();
    let node_file = fs::read_to_string(&shared.resolv_conf).unwrap_or_default();
    let (dns, warnings) = dns::pod_dns(pod, &shared.cluster, &node_file);
    let host_network = spec::is_host_network(pod);
    let (host_name, domain) = hosts::host_name(pod, &shared.cluster.domain);
    let qualified = pod_spec.set_hostname_as_fqdn == Some(true);
    let hostname = match domain {
        Some(domain) if qualified => format!("{host_name}.{domain}"),
        _ => host_name,
    };
    let context = pod_spec.security_context.clone().unwrap_or_default();
    let config = SandboxConfig {
        name: spec::name(pod).to_owned(),
        namespace: spec::namespace(pod).to_owned(),
        uid: spec::uid(pod).to_owned(),
        attempt,
        hostname: if host_network { String::new() } else { hostname },
        log_directory: shared.log_directory(pod),
        dns,
        labels: labels(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        host_network,
        host_pid: pod_spec.host_pid == Some(true),
        host_ipc: pod_spec.host_ipc == Some(true),
        share_process_namespace: pod_spec.share_process_namespace == Some(true),
        sysctls: context.sysctls.into_iter().flatten().map(|it| (it.name, it.value)).collect(),
        resources: Resources::default(),
    };
    (config, warnings)
}

fn labels(pod: &Pod) -> BTreeMap<String, String> {
    let own =
        [(POD_LABEL, spec::name(pod)), (NAMESPACE_LABEL, spec::namespace(pod)), (UID_LABEL, spec::uid(pod))];
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    labels
}

pub(crate) async fn container_config(inputs: &ConfigInputs<'_>) -> Result<ContainerConfig, ConfigError> {
    let ConfigInputs { shared, pod, container, attempt, .. } = *inputs;
    let services = shared.services();
    let env_inputs =
        EnvInputs { pod, container, services: &services, around: inputs.around, objects: &*shared.objects };
    let env = environment(&env_inputs).await?;
    let words = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, |name| env.get(name).map(str::to_owned))).collect()
    };
    let (command, args) = (words(&container.command), words(&container.args));
    let mounts = mounts(inputs, |name| env.get(name).map(str::to_owned))?;
    let mut labels = labels(pod);
    labels.insert(CONTAINER_LABEL.to_owned(), container.name.clone());
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt,
        image: container.image.clone().unwrap_or_default(),
        command,
        args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts,
        devices: Vec::new(),
        labels,
        annotations: annotations(container),
        log_path: Path::new(&container.name).join(format!("{attempt}.log")),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        resources: resources(shared, pod, container),
        security: security(inputs)?,
        stop_signal: container.lifecycle.as_ref().and_then(|it| it.stop_signal.clone()),
        env: env.into_pairs(),
    })
}

fn annotations(container: &Container) -> BTreeMap<String, String> {
    let pairs = [
        (IMAGE_ANNOTATION, &container.image),
        (MESSAGE_PATH, &container.termination_message_path),
        (MESSAGE_POLICY, &container.termination_message_policy),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect()
}

fn mounts(
    inputs: &ConfigInputs<'_>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, ConfigError> {
    let ConfigInputs { shared, pod, container, .. } = *inputs;
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        // A volume that the Pod does not have is refused by the API; an image volume is not supported.
        if let Some(path) = inputs.volumes.paths.get(&mount.name) {
            mounts.push(volume_mount(mount, path, &env));
        }
    }
    let dir = shared.pod_dir(spec::uid(pod));
    let taken = |path: &str| mounts.iter().any(|mount| mount.container_path == Path::new(path));
    let mut own = Vec::new();
    if !taken("/etc/hosts") && !inputs.around.pod_ips.is_empty() {
        own.push(file_mount(hosts_file(inputs, &dir)?, "/etc/hosts"));
    }
    let message = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    if let Some(path) = message.filter(|path| !taken(path)) {
        let place = dir.join("containers").join(&container.name);
        own.push(file_mount(message_file(&place, inputs.attempt)?, path));
    }
    mounts.extend(own);
    Ok(mounts)
}

fn file_mount(host_path: PathBuf, container_path: &str) -> Mount {
    Mount { host_path, container_path: container_path.into(), ..Mount::default() }
}

fn volume_mount(mount: &VolumeMount, path: &Path, env: &impl Fn(&str) -> Option<String>) -> Mount {
    let expression = mount.sub_path_expr.as_deref().filter(|it| !it.is_empty()).map(|it| expand(it, env));
    let sub_path = expression.or_else(|| mount.sub_path.clone()).filter(|it| !it.is_empty());
    Mount {
        host_path: path.to_owned(),
        container_path: Path::new("/").join(&mount.mount_path),
        sub_path: sub_path.map(PathBuf::from),
        readonly: mount.read_only == Some(true),
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::None,
        },
    }
}

fn hosts_file(inputs: &ConfigInputs<'_>, dir: &Path) -> Result<PathBuf, ConfigError> {
    let node_file = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let text =
        hosts::hosts_file(inputs.pod, &inputs.around.pod_ips, &inputs.shared.cluster.domain, &node_file);
    let path = dir.join("etc-hosts");
    write(&path, text.as_bytes(), 0o644)?;
    Ok(path)
}

fn message_file(place: &Path, attempt: u32) -> Result<PathBuf, ConfigError> {
    let path = place.join(format!("{attempt}-{:08x}", rand::random::<u32>()));
    // Any user of the container may write its message.
    write(&path, b"", 0o666)?;
    Ok(path)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt;
    let done = (|| {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    })();
    done.map_err(|error| ConfigError::Io(path.display().to_string(), error))
}

fn amount(container: &Container, limits: bool, name: &str) -> Option<i128> {
    let resources = container.resources.as_ref()?;
    let map = if limits { resources.limits.as_ref() } else { resources.requests.as_ref() };
    let amount = Quantity::parse(&map?.get(name)?.0).ok()?;
    Some(i128::from(amount.milli_value())).filter(|amount| *amount > 0)
}

fn resources(shared: &Shared, pod: &Pod, container: &Container) -> Resources {
    let limit = amount(container, true, "cpu");
    let request = amount(container, false, "cpu").or(limit).unwrap_or(0);
    let quota = limit.map(|milli| (milli * CPU_PERIOD / 1000).max(MIN_QUOTA));
    let memory = amount(container, true, "memory").map(|milli| milli / 1000);
    Resources {
        cpu_shares: u64::try_from((request * 1024 / 1000).max(MIN_SHARES)).ok(),
        cpu_quota: quota.and_then(|quota| i64::try_from(quota).ok()),
        cpu_period: quota.and_then(|_| u64::try_from(CPU_PERIOD).ok()),
        memory_limit: memory.and_then(|bytes| i64::try_from(bytes).ok()),
        pids_limit: None,
        oom_score_adj: Some(oom_score(shared, pod, container)),
    }
}

fn oom_score(shared: &Shared, pod: &Pod, container: &Container) -> i32 {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => OOM_GUARANTEED,
        Some("Burstable") => {
            let request = amount(container, false, "memory").unwrap_or(0) / 1000;
            let score = 1000 - 1000 * request / i128::from(shared.memory_bytes.max(1));
            i32::try_from(score.clamp(*OOM_BURSTABLE.start(), *OOM_BURSTABLE.end()))
                .unwrap_or(OOM_BEST_EFFORT)
        }
        _ => OOM_BEST_EFFORT,
    }
}

fn id(value: Option<i64>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

fn security(inputs: &ConfigInputs<'_>) -> Result<SecurityContext, ConfigError> {
    let of_pod = inputs.pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let own = inputs.container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(of_pod.run_as_user);
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        refuse_root(inputs, user)?;
    }
    let mut groups: Vec<u32> =
        of_pod.supplemental_groups.iter().flatten().filter_map(|group| id(Some(*group))).collect();
    groups.extend(id(of_pod.fs_group));
    let capabilities = own.capabilities.unwrap_or_default();
    let seccomp = own.seccomp_profile.or(of_pod.seccomp_profile);
    let privileged = own.privileged == Some(true);
    Ok(SecurityContext {
        run_as_user: id(user),
        run_as_group: id(own.run_as_group.or(of_pod.run_as_group)),
        supplemental_groups: groups,
        privileged,
        read_only_rootfs: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
        seccomp: match seccomp.as_ref().map(|profile| profile.type_.as_str()) {
            Some("RuntimeDefault") => Seccomp::RuntimeDefault,
            Some("Localhost") => {
                let file = seccomp.and_then(|profile| profile.localhost_profile).unwrap_or_default();
                Seccomp::Localhost(inputs.shared.root_dir.join("seccomp").join(file))
            }
            _ => Seccomp::Unconfined,
        },
    })
}

fn refuse_root(inputs: &ConfigInputs<'_>, user: Option<i64>) -> Result<(), ConfigError> {
    let (pod, container) = (spec::full_name(inputs.pod), inputs.container.name.clone());
    match (user, inputs.image) {
        (Some(0), _) => Err(ConfigError::UserIsRoot(pod, container)),
        (Some(_), _) | (None, None) => Ok(()),
        (None, Some(image)) if !image.username.is_empty() && image.uid.is_none() => {
            Err(ConfigError::NamedUser(image.username.clone(), pod, container))
        }
        (None, Some(image)) if image.uid.unwrap_or(0) == 0 => Err(ConfigError::RunsAsRoot(pod, container)),
        (None, Some(_)) => Ok(()),
    }
}

/// The seconds that a container of this role has to stop, when one of its probes has failed.
pub(crate) fn probe_grace(pod: &Pod, container: &Container, role: Role) -> i64 {
    let probes = [&container.liveness_probe, &container.startup_probe];
    let own = probes.into_iter().flatten().find_map(|probe| probe.termination_grace_period_seconds);
    let own = own.filter(|_| role != Role::Ephemeral);
    own.unwrap_or_else(|| spec::grace_seconds(pod))
}
