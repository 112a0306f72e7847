//! The security contexts of a Pod and of its containers.

use super::internal;
use super::volumes::descending_path;
use crate::at::At;
use crate::field::Errors;
use crate::names;

/// Users and groups are unsigned 32-bit numbers.
const ID_MAX: i64 = u32::MAX as i64;
/// The longest name of an AppArmor profile on a node: PATH_MAX less its end.
const PROFILE_PATH_MAX: usize = 4095;
/// `Default` sysctls that live in the Pod's own network namespace.
const NET_SYSCTL: &str = "net.";
const IPC_SYSCTLS: [&str; 3] = ["kernel.shm", "kernel.msg", "fs.mqueue."];

const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// `spec.securityContext`; `spec` is the Pod's, for the host namespaces that it shares.
pub fn pod(at: &At<'_>, spec: &At<'_>, errs: &mut Errors) {
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&at.get(key), errs);
    }
    for group in at.get("supplementalGroups").items() {
        id(&group, errs);
    }
    if spec.peek_true("shareProcessNamespace") && spec.peek_true("hostPID") {
        let share = At::new(spec.peek("shareProcessNamespace"), at.path.child("shareProcessNamespace"));
        errs.bad(&share, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(&at.get("sysctls"), spec, errs);
    errs.one_of_if_set(&at.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
    seccomp(&at.get("seccompProfile"), errs);
    app_armor(&at.get("appArmorProfile"), errs);
    errs.one_of_if_set(&at.get("supplementalGroupsPolicy"), &["Merge", "Strict"]);
    errs.one_of_if_set(&at.get("seLinuxChangePolicy"), &["MountOption", "Recursive"]);
}

fn id(at: &At<'_>, errs: &mut Errors) {
    if at.is_set() {
        errs.bad_ints(at, names::in_range(at.int(), 0, ID_MAX));
    }
}

fn sysctls(at: &At<'_>, spec: &At<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for sysctl in at.items() {
        let name = sysctl.get("name");
        if name.is_empty() {
            errs.required(&name.path, "");
        } else if !names::is_sysctl(name.text()) {
            let words = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errs.bad_text(&name, words);
        } else if seen.contains(&name.text()) {
            errs.duplicate(&name.path, name.value);
        }
        let dotted = name.text().replace('/', ".");
        if spec.peek_true("hostNetwork") && dotted.starts_with(NET_SYSCTL) {
            errs.bad_text(&name, "may not be specified when 'hostNetwork' is true");
        }
        if spec.peek_true("hostIPC") && IPC_SYSCTLS.iter().any(|start| dotted.starts_with(start)) {
            errs.bad_text(&name, "may not be specified when 'hostIPC' is true");
        }
        seen.push(name.text());
    }
}

fn seccomp(at: &At<'_>, errs: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    if kind.is_empty() {
        errs.required(&kind.path, "type is required when seccompProfile is set");
    } else {
        errs.one_of(&kind, &PROFILE_TYPES);
    }
    if kind.text() != "Localhost" {
        if profile.is_set() {
            let shown = internal::value(internal::SECCOMP_PROFILE, at.value);
            errs.invalid(&profile.path, &shown, "can only be set when seccomp type is Localhost");
        }
    } else if profile.is_set() {
        descending_path(&profile, errs);
    } else {
        errs.required(&profile.path, "must be set when seccomp type is Localhost");
    }
}

fn app_armor(at: &At<'_>, errs: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    match kind.text() {
        "Localhost" => {
            if profile.text().trim().is_empty() && profile.text().is_empty() {
                errs.required(&profile.path, "must be set when AppArmor type is Localhost");
            } else if profile.text().trim() != profile.text() {
                errs.bad_text(&profile, "must not be padded with whitespace");
            }
            if profile.text().len() > PROFILE_PATH_MAX {
                errs.too_long(&profile.path, PROFILE_PATH_MAX);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if profile.is_set() {
                errs.bad_text(&profile, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errs.required(&kind.path, "type is required when appArmorProfile is set"),
        _ => errs.not_supported(&kind.path, kind.value, &PROFILE_TYPES),
    }
}

/// `securityContext` of a container.
pub fn container(at: &At<'_>, host_users: bool, errs: &mut Errors) {
    if !at.is_set() {
        return;
    }
    for key in ["runAsUser", "runAsGroup"] {
        id(&at.get(key), errs);
    }
    let mount = at.get("procMount");
    errs.one_of_if_set(&mount, &["Default", "Unmasked"]);
    if host_users && mount.text() == "Unmasked" {
        errs.bad_text(&mount, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(&at.get("seccompProfile"), errs);
    app_armor(&at.get("appArmorProfile"), errs);
    let escalation = at.get("allowPrivilegeEscalation");
    if escalation.value.as_bool() == Some(false) {
        let adds_admin = at.get("capabilities").get("add").texts().any(|c| c == "CAP_SYS_ADMIN");
        if at.peek_true("privileged") {
            let words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errs.invalid(&at.path, &internal::value(internal::SECURITY_CONTEXT, at.value), words);
        }
        if adds_admin {
            let words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errs.invalid(&at.path, &internal::value(internal::SECURITY_CONTEXT, at.value), words);
        }
    }
}
