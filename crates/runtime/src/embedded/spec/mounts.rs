//! The mounts of a container, in the order in which they are made.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Plan;
use crate::embedded::cgroup::Hierarchy;
use crate::{Mount, Propagation};

/// A volume that the shim binds to `at` (in a mount namespace of its own) before the container is made, so that what
/// libcontainer is given can no longer be swapped for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staged {
    pub(crate) source: PathBuf,
    pub(crate) sub_path: Option<PathBuf>,
    /// Make `sub_path` when it is not there.
    pub(crate) create: bool,
    pub(crate) at: PathBuf,
    pub(crate) propagation: Propagation,
}

pub(super) fn plan(plan: &Plan<'_>) -> Result<(Vec<Value>, Vec<Staged>), String> {
    let mut mounts = system(plan);
    for (from, to) in plan.binds {
        // Recursively read-only: something mounted below /usr is no more to be written than /usr.
        mounts.push(bind(from, to, &["rro", "nodev"]));
    }
    let taken =
        |path: &str| plan.container.mounts.iter().any(|mount| mount.container_path == Path::new(path));
    let own: &[&str] =
        if plan.sandbox.host_network { &["resolv.conf"] } else { &["resolv.conf", "hostname"] };
    for name in own {
        let target = format!("/etc/{name}");
        if !taken(&target) {
            let ro = if plan.container.security.read_only_rootfs { &["ro"][..] } else { &[] };
            mounts.push(bind(&plan.sandbox_dir.join(name), Path::new(&target), ro));
        }
    }
    let mut volumes: Vec<&Mount> = plan.container.mounts.iter().collect();
    // What is inside of another volume comes after it.
    volumes.sort_by_key(|mount| mount.container_path.components().count());
    let mut staged = Vec::new();
    for (number, mount) in volumes.into_iter().enumerate() {
        let at = plan.bundle.join("volumes").join(number.to_string());
        staged.push(stage(mount, at.clone())?);
        mounts.push(bind(&at, &mount.container_path, if mount.readonly { &["rro"] } else { &[] }));
    }
    Ok((mounts, staged))
}

fn stage(mount: &Mount, at: PathBuf) -> Result<Staged, String> {
    let (from, to) = (&mount.host_path, &mount.container_path);
    if !to.is_absolute() || to == Path::new("/") || to.components().any(|part| part == Component::ParentDir) {
        return Err(format!(
            "cannot mount at {to:?}: it must be an absolute path other than /, without \"..\""
        ));
    }
    if !from.is_absolute() {
        return Err(format!("cannot mount {from:?}: it must be an absolute path"));
    }
    let sub_path = mount.sub_path.clone().filter(|path| !path.as_os_str().is_empty());
    if sub_path
        .as_ref()
        .is_some_and(|path| path.is_absolute() || path.components().any(|p| p == Component::ParentDir))
    {
        return Err(format!("subPath {sub_path:?} must be relative and without \"..\""));
    }
    let create = !mount.readonly;
    Ok(Staged { source: from.clone(), sub_path, create, at, propagation: mount.propagation })
}

fn bind(from: &Path, to: &Path, more: &[&str]) -> Value {
    let options: Vec<&str> = ["rbind"].iter().chain(more).copied().collect();
    json!({"type": "bind", "source": from, "destination": to, "options": options})
}

fn mount(kind: &str, to: &str, options: &[&str]) -> Value {
    json!({"type": kind, "source": kind, "destination": to, "options": options})
}

fn system(plan: &Plan<'_>) -> Vec<Value> {
    let privileged = plan.container.security.privileged;
    let mut mounts = vec![
        mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    let shm = if plan.sandbox.host_ipc { PathBuf::from("/dev/shm") } else { plan.sandbox_dir.join("shm") };
    mounts.push(bind(&shm, Path::new("/dev/shm"), &["nosuid", "noexec", "nodev"]));
    let sys: &[&str] =
        if privileged { &["nosuid", "noexec", "nodev"] } else { &["nosuid", "noexec", "nodev", "ro"] };
    mounts.push(mount("sysfs", "/sys", sys));
    mounts.extend(cgroups(plan, privileged));
    mounts
}

/// The container's own groups and nothing above them, read-only: their files could lift its limits.
fn cgroups(plan: &Plan<'_>, privileged: bool) -> Vec<Value> {
    let access = if privileged { "rw" } else { "ro" };
    let options = ["nosuid", "noexec", "nodev", access];
    match plan.hierarchy {
        Hierarchy::V2(_) => vec![mount("cgroup", "/sys/fs/cgroup", &options)],
        Hierarchy::V1(hierarchies) => {
            let mut mounts = vec![mount(
                "tmpfs",
                "/sys/fs/cgroup",
                &["nosuid", "noexec", "nodev", "mode=755", "size=64k"],
            )];
            for (name, point) in hierarchies.iter().filter(|(name, _)| name != "systemd") {
                let source = point.join(plan.cgroup.trim_start_matches('/'));
                mounts.push(bind(&source, &Path::new("/sys/fs/cgroup").join(name), &options));
            }
            mounts
        }
    }
}
