//! What the machine is and how it does: read from /proc, /etc and the file system.

use std::fs;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Below this much available memory the node says that it is under pressure: the reference's `memory.available<100Mi`.
const MIN_MEMORY: u64 = 100 << 20;
/// Below this much free disk: an absolute amount, since a developer's disk is often nearly full and works.
const MIN_DISK: u64 = 512 << 20;
/// Below this share of free process IDs, in percent.
const MIN_PIDS_PERCENT: u64 = 5;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cpus: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) architecture: &'static str,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) machine_id: String,
    pub(crate) system_uuid: String,
    pub(crate) boot_id: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// A line of /proc/meminfo, in bytes.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn os_image(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_owned())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

pub(crate) fn machine(root: &Path) -> Machine {
    let disk = statvfs(root).map(|it| it.blocks() * it.fragment_size()).unwrap_or_default();
    Machine {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: meminfo(&read("/proc/meminfo"), "MemTotal").unwrap_or_default(),
        disk_bytes: disk,
        architecture: architecture(),
        kernel: read("/proc/sys/kernel/osrelease"),
        os_image: os_image(&read("/etc/os-release")).unwrap_or_else(|| "Linux".to_owned()),
        machine_id: read("/etc/machine-id"),
        system_uuid: read("/sys/class/dmi/id/product_uuid"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
    }
}

pub(crate) fn pressure(root: &Path) -> Pressure {
    let available = meminfo(&read("/proc/meminfo"), "MemAvailable");
    let free = statvfs(root).map(|it| it.blocks_available() * it.fragment_size()).ok();
    Pressure {
        memory: available.is_some_and(|available| available < MIN_MEMORY),
        disk: free.is_some_and(|free| free < MIN_DISK),
        pids: pids_are_short(&read("/proc/loadavg"), &read("/proc/sys/kernel/pid_max")),
    }
}

fn pids_are_short(loadavg: &str, pid_max: &str) -> bool {
    let used = loadavg.split_whitespace().nth(3).and_then(|it| it.split_once('/')?.1.parse::<u64>().ok());
    match (used, pid_max.parse::<u64>()) {
        (Some(used), Ok(max)) => max.saturating_sub(used) * 100 < max * MIN_PIDS_PERCENT,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_files_are_read() {
        assert_eq!(meminfo("MemTotal:  16 kB\nMemAvailable: 4 kB\n", "MemAvailable"), Some(4096));
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian 13\"\n").as_deref(), Some("Debian 13"));
        assert!(!pids_are_short("0.1 0.2 0.3 1/900 77", "32768"));
        assert!(pids_are_short("0.1 0.2 0.3 1/32000 77", "32768"));
    }
}
