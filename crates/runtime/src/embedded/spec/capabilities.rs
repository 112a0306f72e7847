//! Capabilities of a container: Docker's and containerd's default set, changed by the security context.

use crate::SecurityContext;

/// What a container's root can do without being asked for.
const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Every capability, in the order of the kernel's numbers.
const ALL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The capabilities that this process could hand on: a machine may itself be confined, or its kernel too old for some.
pub(crate) fn available() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    permitted.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn among(available: u64) -> impl Fn(&&str) -> bool {
    move |name| ALL.iter().position(|known| known == name).is_some_and(|number| available >> number & 1 == 1)
}

/// `device_rules`: whether the cgroup keeps device nodes that the container makes from working. Where it does not
/// (cgroup v2 without a device program), making nodes is not for everybody.
pub(super) fn granted(
    security: &SecurityContext,
    device_rules: bool,
    available: u64,
) -> Result<Vec<String>, String> {
    let wanted = if security.privileged { ALL.to_vec() } else { wanted(security, device_rules)? };
    Ok(wanted.into_iter().filter(among(available)).map(str::to_owned).collect())
}

fn wanted(security: &SecurityContext, device_rules: bool) -> Result<Vec<&'static str>, String> {
    let usable = |name: &&&str| device_rules || **name != "CAP_MKNOD";
    let mut granted: Vec<&'static str> = DEFAULT.iter().filter(usable).copied().collect();
    // As in Kubernetes: `ALL` first, whichever way, then the single ones.
    let names_all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    if names_all(&security.add_capabilities) {
        granted = ALL.to_vec();
    }
    if names_all(&security.drop_capabilities) {
        granted.clear();
    }
    for name in security.add_capabilities.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")) {
        let name = known(name)?;
        if !granted.contains(&name) {
            granted.push(name);
        }
    }
    for name in security.drop_capabilities.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")) {
        let name = known(name)?;
        granted.retain(|granted| *granted != name);
    }
    Ok(granted)
}

fn known(name: &str) -> Result<&'static str, String> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    ALL.iter().find(|known| **known == full).copied().ok_or_else(|| format!("unknown capability {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str]) -> Result<Vec<String>, String> {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let security = SecurityContext {
            add_capabilities: names(add),
            drop_capabilities: names(drop),
            ..SecurityContext::default()
        };
        granted(&security, true, u64::MAX)
    }

    #[test]
    fn adds_and_drops() {
        assert_eq!(check(&[], &["ALL"]).unwrap(), Vec::<String>::new());
        assert_eq!(check(&["NET_BIND_SERVICE"], &["ALL"]).unwrap(), ["CAP_NET_BIND_SERVICE"]);
        assert_eq!(check(&["ALL"], &["sys_admin"]).unwrap().len(), ALL.len() - 1);
        assert_eq!(check(&["CAP_SYS_PTRACE"], &[]).unwrap().len(), DEFAULT.len() + 1);
        assert_eq!(check(&["FLYING"], &[]).unwrap_err(), "unknown capability \"FLYING\"");
        assert_eq!(check(&[], &[]).unwrap().len(), DEFAULT.len());
    }

    #[test]
    fn nothing_is_given_that_the_machine_has_not() {
        let security = SecurityContext { privileged: true, ..SecurityContext::default() };
        assert_eq!(granted(&security, true, 0b10_0001).unwrap(), ["CAP_CHOWN", "CAP_KILL"]);
    }

    #[test]
    fn making_device_nodes_needs_a_device_cgroup() {
        let granted = granted(&SecurityContext::default(), false, u64::MAX).unwrap();
        assert!(!granted.contains(&"CAP_MKNOD".to_owned()));
    }
}
