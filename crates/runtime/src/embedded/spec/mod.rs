//! From a container's configuration and its image to the OCI runtime specification that libcontainer carries out.

mod capabilities;
mod mounts;
mod seccomp;
mod syscalls;
mod user;

use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;
use serde_json::{Value, json};

pub(crate) use capabilities::available as available_capabilities;
pub(crate) use mounts::Staged;
pub(crate) use user::Accounts;

use super::cgroup::Hierarchy;
use crate::{ContainerConfig, SandboxConfig, Seccomp};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What tells about the machine or could change it; hidden from containers that are not privileged.
const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a specification is made from.
pub(crate) struct Plan<'a> {
    pub(crate) sandbox: &'a SandboxConfig,
    pub(crate) container: &'a ContainerConfig,
    pub(crate) image: &'a ImageConfiguration,
    pub(crate) accounts: &'a Accounts,
    pub(crate) hierarchy: &'a Hierarchy,
    /// Below the root of the hierarchies.
    pub(crate) cgroup: &'a str,
    /// Process that holds the sandbox's namespaces.
    pub(crate) pause_pid: i32,
    /// Sandbox files: `resolv.conf`, `hostname`, `shm`.
    pub(crate) sandbox_dir: &'a Path,
    /// Where the specification will be, and what is staged for it.
    pub(crate) bundle: &'a Path,
    /// Capabilities that there are to give, see [`available_capabilities`].
    pub(crate) available: u64,
    /// Directories of the node that the image shows read-only.
    pub(crate) binds: &'a [(PathBuf, PathBuf)],
}

pub(crate) struct Planned {
    pub(crate) spec: Value,
    /// To be put in place before the specification is carried out.
    pub(crate) staged: Vec<Staged>,
}

pub(crate) fn plan(plan: &Plan<'_>) -> Result<Planned, String> {
    let security = &plan.container.security;
    let image = plan.image.config().clone().unwrap_or_default();
    let user = plan.accounts.resolve(image.user().as_deref().unwrap_or_default(), security)?;
    let capabilities = capabilities::granted(security, !plan.hierarchy.is_v2(), plan.available)?;
    let home = plan.accounts.home(user.uid).unwrap_or(if user.uid == 0 { "/root" } else { "/" });
    let (mounts, staged) = mounts::plan(plan)?;
    let mut process = json!({
        "terminal": plan.container.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids},
        "args": args(plan.container, &image)?,
        "env": env(plan, &image, home)?,
        "cwd": working_dir(plan.container, &image)?,
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            // Absent ones would be read as some of the usual capabilities.
            "inheritable": [], "ambient": [],
        },
    });
    // libcontainer takes a present `false` for true when it decides when to load the seccomp filter.
    if security.no_new_privileges && !security.privileged {
        process["noNewPrivileges"] = true.into();
    }
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": plan.bundle.join("rootfs"), "readonly": security.read_only_rootfs},
        "mounts": mounts,
        "linux": linux(plan, &capabilities)?,
    });
    Ok(Planned { spec, staged })
}

fn args(container: &ContainerConfig, image: &oci_spec::image::Config) -> Result<Vec<String>, String> {
    let entrypoint = image.entrypoint().clone().unwrap_or_default();
    let cmd = image.cmd().clone().unwrap_or_default();
    let args = match (container.command.is_empty(), container.args.is_empty()) {
        (true, true) => [entrypoint, cmd].concat(),
        (true, false) => [entrypoint, container.args.clone()].concat(),
        (false, _) => [container.command.clone(), container.args.clone()].concat(),
    };
    if args.first().is_none_or(String::is_empty) {
        return Err("no command specified".into());
    }
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err("command contains a zero byte".into());
    }
    Ok(args)
}

fn working_dir(container: &ContainerConfig, image: &oci_spec::image::Config) -> Result<String, String> {
    let from_image = image.working_dir().clone().unwrap_or_default();
    let dir = if container.working_dir.is_empty() { from_image } else { container.working_dir.clone() };
    match dir.as_str() {
        "" => Ok("/".into()),
        // A descriptor left open could lead out of the container (CVE-2024-21626).
        dir if dir.starts_with("/proc/") => Err(format!("working directory {dir:?} is in /proc")),
        dir if dir.starts_with('/') => Ok(dir.into()),
        dir => Ok(format!("/{dir}")),
    }
}

/// The image's, then what the runtime knows, then the container's; the last one of a name counts.
fn env(plan: &Plan<'_>, image: &oci_spec::image::Config, home: &str) -> Result<Vec<String>, String> {
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOME={home}")];
    if plan.container.tty {
        env.push("TERM=xterm".into());
    }
    if !plan.sandbox.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", plan.sandbox.hostname));
    }
    env.extend(image.env().clone().unwrap_or_default());
    env.extend(plan.container.env.iter().map(|(name, value)| format!("{name}={value}")));
    let mut last: Vec<String> = Vec::new();
    for variable in env {
        if variable.contains('\0') {
            return Err(format!("environment variable {variable:?} contains a zero byte"));
        }
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        let key = name(&variable);
        match last.iter_mut().find(|known| name(known) == key) {
            Some(known) => *known = variable,
            None => last.push(variable),
        }
    }
    Ok(last)
}

fn linux(plan: &Plan<'_>, capabilities: &[String]) -> Result<Value, String> {
    let security = &plan.container.security;
    let mut linux = json!({
        "cgroupsPath": plan.cgroup,
        "namespaces": namespaces(plan),
        "resources": resources(plan),
        "rootfsPropagation": "slave",
        "maskedPaths": [],
        "readonlyPaths": [],
        "devices": devices(plan)?,
    });
    if !security.privileged && !security.unmasked_proc {
        linux["maskedPaths"] = json!(MASKED_PATHS);
        linux["readonlyPaths"] = json!(READONLY_PATHS);
    }
    match &security.seccomp {
        _ if security.privileged => {}
        Seccomp::Unconfined => {}
        Seccomp::RuntimeDefault => linux["seccomp"] = seccomp::default_profile(capabilities),
        Seccomp::Localhost(path) => {
            let profile =
                std::fs::read(path).map_err(|error| format!("seccomp profile {path:?}: {error}"))?;
            let profile = serde_json::from_slice(&profile);
            linux["seccomp"] = profile.map_err(|error| format!("seccomp profile {path:?}: {error}"))?;
        }
    }
    if plan.container.mounts.iter().any(|mount| mount.propagation == crate::Propagation::Bidirectional) {
        linux["rootfsPropagation"] = "shared".into();
    }
    Ok(linux)
}

fn namespaces(plan: &Plan<'_>) -> Value {
    let of_pause =
        |kind: &str, file: &str| json!({"type": kind, "path": format!("/proc/{}/ns/{file}", plan.pause_pid)});
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
    if !plan.sandbox.host_network {
        namespaces.push(of_pause("network", "net"));
        namespaces.push(of_pause("uts", "uts"));
    }
    if !plan.sandbox.host_ipc {
        namespaces.push(of_pause("ipc", "ipc"));
    }
    if plan.sandbox.share_process_namespace {
        namespaces.push(of_pause("pid", "pid"));
    } else if !plan.sandbox.host_pid {
        namespaces.push(json!({"type": "pid"}));
    }
    namespaces.into()
}

fn resources(plan: &Plan<'_>) -> Value {
    let limits = &plan.container.resources;
    let mut resources = json!({"devices": device_rules(plan)});
    let cpu = json!({"shares": limits.cpu_shares, "quota": limits.cpu_quota, "period": limits.cpu_period});
    let cpu: serde_json::Map<String, Value> = cpu
        .as_object()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    if !cpu.is_empty() {
        resources["cpu"] = cpu.into();
    }
    if let Some(limit) = limits.memory_limit.filter(|limit| *limit > 0) {
        resources["memory"] = json!({"limit": limit});
    }
    if let Some(limit) = limits.pids_limit.filter(|limit| *limit > 0) {
        resources["pids"] = json!({"limit": limit});
    }
    resources
}

/// libcontainer adds the usual character devices itself.
fn device_rules(plan: &Plan<'_>) -> Value {
    if plan.container.security.privileged {
        return json!([{"allow": true, "access": "rwm"}]);
    }
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    for device in &plan.container.devices {
        if let Some((kind, major, minor)) = device_number(&device.host_path) {
            let access = &device.permissions;
            rules
                .push(json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access}));
        }
    }
    rules.into()
}

fn devices(plan: &Plan<'_>) -> Result<Value, String> {
    let mut devices = Vec::new();
    for device in &plan.container.devices {
        let path = &device.host_path;
        let (kind, major, minor) = device_number(path).ok_or_else(|| format!("{path:?} is not a device"))?;
        devices.push(json!({"path": device.container_path, "type": kind, "major": major, "minor": minor,
            "fileMode": 0o666, "uid": 0, "gid": 0}));
    }
    Ok(devices.into())
}

fn device_number(path: &Path) -> Option<(&'static str, u64, u64)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let metadata = std::fs::metadata(path).ok()?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    Some((kind, libc::major(metadata.rdev()).into(), libc::minor(metadata.rdev()).into()))
}

#[cfg(test)]
mod tests;
