//! The baseline: what gives a Pod known ways to more than its own.

use std::collections::BTreeSet;

use coracle_api::field::go_quote;
use coracle_api::object::{at, items, pairs, text};
use serde_json::Value;

use super::checks::{
    Subject, Violation, bad_containers, containers, named, plural, quoted, quoted_set, setters,
};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
pub(super) const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub(super) const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Each with the minor version since when it is allowed.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
const SE_LINUX_TYPES: [(&str, u32); 5] = [
    ("", 0),
    ("container_t", 0),
    ("container_init_t", 0),
    ("container_kvm_t", 0),
    ("container_engine_t", 31),
];

pub(super) fn app_armor(subject: Subject<'_>) -> Option<Violation> {
    const PATH: [&str; 2] = ["securityContext", "appArmorProfile"];
    let mut values = BTreeSet::new();
    let (of_pod, names) = bad_profiles(subject.spec, &PATH, &mut values);
    let mut annotations: Vec<String> = pairs(subject.annotations)
        .filter(|(key, value)| {
            let allowed = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APP_ARMOR) && !allowed
        })
        .map(|(key, value)| format!("{key}={}", go_quote(value)))
        .collect();
    annotations.sort_unstable();
    let mut who = vec![setters(of_pod, &names)];
    who.retain(|w| !w.is_empty());
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let bad: Vec<&str> = values.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", bad.len());
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(bad));
    Violation::new(reason, detail)
}

/// Whether the Pod's profile, and which containers', is neither the runtime's own nor one of the node's.
pub(super) fn bad_profiles<'a>(
    spec: &'a Value,
    path: &[&str],
    values: &mut BTreeSet<&'a str>,
) -> (bool, Vec<&'a str>) {
    let mut is_bad = |holder: &'a Value| {
        let profile = at(holder, path);
        let kind = text(profile, &["type"]);
        let bad = !profile.is_null() && kind != "RuntimeDefault" && kind != "Localhost";
        if bad {
            values.insert(kind);
        }
        bad
    };
    let of_pod = is_bad(spec);
    let names = containers(spec).filter(|c| is_bad(c)).map(|c| text(c, &["name"])).collect();
    (of_pod, names)
}

pub(super) fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    let (names, added) = added_beyond(subject.spec, &CAPABILITIES);
    if names.is_empty() {
        return None;
    }
    let added = quoted_set(&added);
    let detail = format!("{} must not include {added} in securityContext.capabilities.add", named(&names));
    Violation::new("non-default capabilities", detail)
}

/// Which containers add capabilities that are not among `allowed`, and which these are.
pub(super) fn added_beyond<'a>(spec: &'a Value, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let (mut names, mut added) = (Vec::new(), BTreeSet::new());
    for container in containers(spec) {
        let list = items(container, &["securityContext", "capabilities", "add"]);
        let beyond: Vec<&str> =
            list.iter().filter_map(Value::as_str).filter(|c| !allowed.contains(c)).collect();
        if !beyond.is_empty() {
            names.push(text(container, &["name"]));
            added.extend(beyond);
        }
    }
    (names, added)
}

pub(super) fn host_namespaces(subject: Subject<'_>) -> Option<Violation> {
    let shared =
        ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|key| is_true(subject.spec, &[key]));
    let shared: Vec<String> = shared.map(|key| format!("{key}=true")).collect();
    if shared.is_empty() { None } else { Violation::new("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(subject: Subject<'_>) -> Option<Violation> {
    let volumes = items(subject.spec, &["volumes"]).iter().filter(|v| v.get("hostPath").is_some());
    let names: Vec<&str> = volumes.map(|v| text(v, &["name"])).collect();
    let volumes = plural("volume", "volumes", names.len());
    if names.is_empty() {
        None
    } else {
        Violation::new("hostPath volumes", format!("{volumes} {}", quoted(names)))
    }
}

pub(super) fn host_ports(subject: Subject<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let names = bad_containers(subject.spec, |container| {
        let taken = items(container, &["ports"]).iter().filter_map(|p| p.get("hostPort")?.as_i64());
        let taken: Vec<i64> = taken.filter(|p| *p != 0).collect();
        ports.extend(taken.iter().map(i64::to_string));
        !taken.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", names.len());
    let what = plural("hostPort", "hostPorts", ports.len());
    let ports: Vec<String> = ports.into_iter().collect();
    Violation::new("hostPort", format!("{} {uses} {what} {}", named(&names), ports.join(", ")))
}

pub(super) fn probe_hosts(subject: Subject<'_>) -> Option<Violation> {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let (mut names, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in containers(subject.spec) {
        for handler in HANDLERS.iter().map(|path| at(container, path)) {
            for host in ["httpGet", "tcpSocket"].map(|way| text(handler, &[way, "host"])) {
                if !host.is_empty() {
                    names.insert(text(container, &["name"]));
                    hosts.insert(host);
                }
            }
        }
    }
    if names.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", names.len());
    let what = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
    let names: Vec<&str> = names.into_iter().collect();
    let detail = format!("{} {uses} {what} {}", named(&names), quoted_set(&hosts));
    Violation::new("probe or lifecycle host", detail)
}

pub(super) fn privileged(subject: Subject<'_>) -> Option<Violation> {
    let names = bad_containers(subject.spec, |c| is_true(c, &["securityContext", "privileged"]));
    if names.is_empty() {
        return None;
    }
    Violation::new("privileged", format!("{} must not set securityContext.privileged=true", named(&names)))
}

pub(super) fn proc_mount(subject: Subject<'_>) -> Option<Violation> {
    let (mut names, mut mounts) = (Vec::new(), BTreeSet::new());
    for container in containers(subject.spec) {
        let said = at(container, &["securityContext", "procMount"]).as_str();
        if let Some(mount) = said.filter(|m| *m != "Default") {
            names.push(text(container, &["name"]));
            mounts.insert(mount);
        }
    }
    if names.is_empty() {
        return None;
    }
    let mounts = quoted_set(&mounts);
    Violation::new(
        "procMount",
        format!("{} must not set securityContext.procMount to {mounts}", named(&names)),
    )
}

pub(super) fn se_linux(subject: Subject<'_>, minor: u32) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |holder: &Value| {
        let options = at(holder, &["securityContext", "seLinuxOptions"]);
        let kind = text(options, &["type"]);
        let good_type = SE_LINUX_TYPES.iter().any(|(name, since)| *name == kind && *since <= minor);
        let (sets_user, sets_role) =
            (!text(options, &["user"]).is_empty(), !text(options, &["role"]).is_empty());
        if !good_type {
            types.insert(kind.to_owned());
        }
        user |= sets_user;
        role |= sets_role;
        !good_type || sets_user || sets_role
    };
    let of_pod = is_bad(subject.spec);
    let names = bad_containers(subject.spec, is_bad);
    if !of_pod && names.is_empty() {
        return None;
    }
    let mut what = Vec::new();
    if !types.is_empty() {
        let listed = quoted(types.iter().map(String::as_str));
        what.push(format!("{} {listed}", plural("type", "types", types.len())));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    let who = setters(of_pod, &names);
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Violation::new("seLinuxOptions", detail)
}

/// As it was before there was a field for it.
pub(super) fn seccomp_annotations(subject: Subject<'_>) -> Option<Violation> {
    let of_containers =
        containers(subject.spec).map(|c| format!("{SECCOMP_OF_CONTAINER}{}", text(c, &["name"])));
    let mut bad = BTreeSet::new();
    for key in std::iter::once(SECCOMP_OF_POD.to_owned()).chain(of_containers) {
        let Some(value) = at(subject.annotations, &[&key]).as_str() else { continue };
        let good = ["runtime/default", "docker/default"].contains(&value) || value.starts_with("localhost/");
        if !good {
            bad.insert(format!("{key}={}", go_quote(value)));
        }
    }
    if bad.is_empty() {
        return None;
    }
    let what = plural("annotation", "annotations", bad.len());
    let bad: Vec<String> = bad.into_iter().collect();
    Violation::new("seccompProfile", format!("forbidden {what} {}", bad.join(", ")))
}

pub(super) fn seccomp(subject: Subject<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let (of_pod, names) = bad_profiles(subject.spec, &["securityContext", "seccompProfile"], &mut values);
    if !of_pod && names.is_empty() {
        return None;
    }
    let (who, what) = (setters(of_pod, &names), quoted_set(&values));
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {what}");
    Violation::new("seccompProfile", detail)
}

pub(super) fn sysctls(subject: Subject<'_>, minor: u32) -> Option<Violation> {
    let set = items(subject.spec, &["securityContext", "sysctls"]).iter().map(|s| text(s, &["name"]));
    let is_good = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && *since <= minor);
    let bad: Vec<&str> = set.filter(|name| !is_good(name)).collect();
    if bad.is_empty() { None } else { Violation::new("forbidden sysctls", bad.join(", ")) }
}

pub(super) fn windows_host_process(subject: Subject<'_>) -> Option<Violation> {
    const PATH: [&str; 3] = ["securityContext", "windowsOptions", "hostProcess"];
    let of_pod = is_true(subject.spec, &PATH);
    let names = bad_containers(subject.spec, |c| is_true(c, &PATH));
    if !of_pod && names.is_empty() {
        return None;
    }
    let who = setters(of_pod, &names);
    Violation::new(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

fn is_true(v: &Value, path: &[&str]) -> bool {
    at(v, path).as_bool() == Some(true)
}
