//! Control groups, both versions: the few operations that the runtime does itself (libcontainer does the rest).
//!
//! All of a cluster is below one parent: `PARENT/SANDBOX/CONTAINER`, and `PARENT/shims` for the shims, whose memory
//! must not count against a Pod's limit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::{Resources, Stats};

/// Rounds of killing a group's processes while they fork on; each one waits for what it killed.
const KILL_ROUNDS: usize = 50;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Hierarchy {
    /// Controller (or `systemd`) and mount point.
    V1(Vec<(String, PathBuf)>),
    V2(PathBuf),
}

impl Hierarchy {
    pub(crate) fn detect() -> io::Result<Hierarchy> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo")?)
            .ok_or_else(|| io::Error::other("no cgroup filesystem is mounted"))
    }

    fn parse(mountinfo: &str) -> Option<Hierarchy> {
        let (mut v1, mut v2) = (Vec::new(), None);
        for line in mountinfo.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
            let Some(point) = mount.split(' ').nth(4).map(PathBuf::from) else { continue };
            let fields: Vec<&str> = filesystem.split(' ').collect();
            match fields[..] {
                ["cgroup2", ..] if v2.is_none() => v2 = Some(point),
                ["cgroup", _, options] => {
                    if let Some(controller) = options.split(',').find_map(controller_name)
                        && !v1.iter().any(|(known, _)| *known == controller)
                    {
                        v1.push((controller, point));
                    }
                }
                _ => {}
            }
        }
        if v1.is_empty() { v2.map(Hierarchy::V2) } else { Some(Hierarchy::V1(v1)) }
    }

    pub(crate) fn is_v2(&self) -> bool {
        matches!(self, Hierarchy::V2(_))
    }

    /// Where the group is, in every hierarchy.
    pub(crate) fn directories(&self, path: &str) -> Vec<PathBuf> {
        let path = path.trim_start_matches('/');
        match self {
            Hierarchy::V1(mounts) => mounts.iter().map(|(_, point)| point.join(path)).collect(),
            Hierarchy::V2(point) => vec![point.join(path)],
        }
    }

    fn directory(&self, controller: &str, path: &str) -> Option<PathBuf> {
        let path = path.trim_start_matches('/');
        match self {
            Hierarchy::V1(mounts) => {
                mounts.iter().find(|(name, _)| name == controller).map(|(_, point)| point.join(path))
            }
            Hierarchy::V2(point) => Some(point.join(path)),
        }
    }

    /// Make a Pod's group with its limits. Only where something is limited or counted: cpuset groups, for one, would
    /// need to be filled in before use.
    pub(crate) fn create(&self, path: &str, limits: &Resources) -> io::Result<()> {
        for controller in ["cpu", "cpuacct", "memory", "pids"] {
            let Some(directory) = self.directory(controller, path) else { continue };
            fs::create_dir_all(&directory)?;
            if let Hierarchy::V2(root) = self {
                delegate(root, &directory);
            }
        }
        self.limit(path, limits)
    }

    fn limit(&self, path: &str, limits: &Resources) -> io::Result<()> {
        let set = |controller: &str, file: &str, value: String| match self.directory(controller, path) {
            Some(directory) => fs::write(directory.join(file), value),
            None => Ok(()),
        };
        let v2 = self.is_v2();
        if let Some(shares) = limits.cpu_shares {
            let (file, value) = if v2 { ("cpu.weight", weight(shares)) } else { ("cpu.shares", shares) };
            set("cpu", file, value.to_string())?;
        }
        if let Some(quota) = limits.cpu_quota.filter(|quota| *quota > 0) {
            let period = limits.cpu_period.unwrap_or(100_000);
            if v2 {
                set("cpu", "cpu.max", format!("{quota} {period}"))?;
            } else {
                set("cpu", "cpu.cfs_period_us", period.to_string())?;
                set("cpu", "cpu.cfs_quota_us", quota.to_string())?;
            }
        }
        if let Some(bytes) = limits.memory_limit.filter(|bytes| *bytes > 0) {
            set("memory", if v2 { "memory.max" } else { "memory.limit_in_bytes" }, bytes.to_string())?;
        }
        if let Some(pids) = limits.pids_limit.filter(|pids| *pids > 0) {
            set("pids", "pids.max", pids.to_string())?;
        }
        Ok(())
    }

    /// Move this process into a group.
    pub(crate) fn join(&self, path: &str) -> io::Result<()> {
        for controller in ["cpu", "cpuacct", "memory", "pids", "systemd"] {
            let Some(directory) = self.directory(controller, path) else { continue };
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Processes in the group and in all below it.
    fn pids(&self, path: &str) -> Vec<i32> {
        let directory = self.directory("pids", path).or_else(|| self.directory("memory", path));
        let mut pids = Vec::new();
        if let Some(directory) = directory {
            collect_pids(&directory, &mut pids);
        }
        pids
    }

    /// Kill all processes of the group, however they fork.
    pub(crate) fn kill(&self, path: &str) {
        if self.is_v2()
            && self.directories(path).iter().all(|dir| fs::write(dir.join("cgroup.kill"), "1").is_ok())
        {
            return;
        }
        for _ in 0..KILL_ROUNDS {
            let pids = self.pids(path);
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                // Gone already is fine.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                wait_for_end(pid);
            }
        }
    }

    /// Remove the group and all below it; processes must be gone.
    pub(crate) fn remove(&self, path: &str) {
        for directory in self.directories(path) {
            remove_tree(&directory);
        }
    }

    pub(crate) fn oom_kills(&self, path: &str) -> u64 {
        let file = if self.is_v2() { "memory.events" } else { "memory.oom_control" };
        let text = self.directory("memory", path).and_then(|dir| fs::read_to_string(dir.join(file)).ok());
        field(&text.unwrap_or_default(), "oom_kill")
    }

    pub(crate) fn stats(&self, path: &str) -> io::Result<Stats> {
        let read = |controller: &str, file: &str| match self.directory(controller, path) {
            Some(directory) => fs::read_to_string(directory.join(file)),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
        let (cpu_nanos, memory_usage, inactive) = if self.is_v2() {
            let cpu = field(&read("cpu", "cpu.stat")?, "usage_usec") * 1000;
            (
                cpu,
                number(read("memory", "memory.current")?),
                field(&read("memory", "memory.stat")?, "inactive_file"),
            )
        } else {
            let inactive = field(&read("memory", "memory.stat")?, "total_inactive_file");
            (
                number(read("cpuacct", "cpuacct.usage")?),
                number(read("memory", "memory.usage_in_bytes")?),
                inactive,
            )
        };
        Ok(Stats { cpu_nanos, memory_usage, memory_working_set: memory_usage.saturating_sub(inactive) })
    }
}

fn controller_name(option: &str) -> Option<String> {
    const KNOWN: &[&str] = &[
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls",
        "net_prio",
        "perf_event",
    ];
    let named = option.strip_prefix("name=");
    named.map(str::to_owned).or_else(|| KNOWN.contains(&option).then(|| option.to_owned()))
}

/// Let the groups below have their own limits (cgroup v2 gives a controller only to children of a group that says so).
fn delegate(root: &Path, directory: &Path) {
    let Ok(relative) = directory.strip_prefix(root) else { return };
    let mut current = root.to_path_buf();
    for component in std::iter::once(Path::new("")).chain(relative.iter().map(Path::new)) {
        if !component.as_os_str().is_empty() {
            current.push(component);
        }
        for controller in ["+cpu", "+memory", "+pids"] {
            // A controller that is not there limits nothing.
            let _ = fs::write(current.join("cgroup.subtree_control"), controller);
        }
    }
}

/// cgroup v2's 1..10000 for v1's 2..262144, by the formula that the kubelet uses.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn collect_pids(directory: &Path, pids: &mut Vec<i32>) {
    let own = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(own.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_pids(&entry.path(), pids);
        }
    }
}

/// Until the process has ended (or is a zombie, which no longer counts), without polling.
pub(crate) fn wait_for_end(pid: i32) {
    /// A killed process that is not gone after this hangs in the kernel; the next round looks again.
    const PATIENCE_MS: i32 = 1000;
    // SAFETY: pidfd_open takes two integers and returns a new file descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(fd @ 0..) = i32::try_from(fd) else { return };
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd; `fd` was returned by the kernel just now and is closed exactly once.
    unsafe {
        libc::poll(&raw mut poll, 1, PATIENCE_MS);
        libc::close(fd);
    }
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // Files of a cgroup directory go with it.
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn finds_the_hierarchies_of_a_machine() {
        let hybrid = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        expect![[r#"
            Some(
                V1(
                    [
                        (
                            "cpu",
                            "/sys/fs/cgroup/cpu,cpuacct",
                        ),
                        (
                            "memory",
                            "/sys/fs/cgroup/memory",
                        ),
                        (
                            "systemd",
                            "/sys/fs/cgroup/systemd",
                        ),
                    ],
                ),
            )
        "#]]
        .assert_debug_eq(&Hierarchy::parse(hybrid));
        let unified = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert!(Hierarchy::parse(unified).is_some_and(|found| found.is_v2()));
        assert!(Hierarchy::parse("22 27 0:21 / /proc rw - proc proc rw\n").is_none());
    }

    #[test]
    fn weights_span_the_range_of_shares() {
        assert_eq!([0, 2, 1024, 262_144, 1 << 40].map(weight), [1, 1, 39, 10_000, 10_000]);
    }
}
