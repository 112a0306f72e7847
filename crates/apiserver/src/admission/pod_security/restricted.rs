//! The restricted level: what hardening asks of a Pod, at the expense of what some programs need.

use std::collections::BTreeSet;

use coracle_api::object::{at, items, text};
use serde_json::Value;

use super::baseline::{added_beyond, bad_profiles};
use super::checks::{Subject, Violation, bad_containers, named, plural, quoted, quoted_set, setters};

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
/// Those that the reference tells by name.
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn privilege_escalation(subject: Subject<'_>) -> Option<Violation> {
    let names = bad_containers(subject.spec, |c| {
        at(c, &["securityContext", "allowPrivilegeEscalation"]).as_bool() != Some(false)
    });
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&names));
    Violation::new("allowPrivilegeEscalation != false", detail)
}

pub(super) fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    let keeping = bad_containers(subject.spec, |c| {
        !items(c, &["securityContext", "capabilities", "drop"]).iter().any(|d| d == "ALL")
    });
    let (adding, added) = added_beyond(subject.spec, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    if !adding.is_empty() {
        let added = quoted_set(&added);
        let who = named(&adding);
        details.push(format!("{who} must not include {added} in securityContext.capabilities.add"));
    }
    if details.is_empty() { None } else { Violation::new("unrestricted capabilities", details.join("; ")) }
}

pub(super) fn volumes(subject: Subject<'_>) -> Option<Violation> {
    let (mut names, mut types) = (Vec::new(), BTreeSet::new());
    for volume in items(subject.spec, &["volumes"]) {
        if VOLUMES.iter().any(|kind| volume.get(kind).is_some()) {
            continue;
        }
        names.push(text(volume, &["name"]));
        let kind = OTHER_VOLUMES.iter().find(|kind| volume.get(kind).is_some());
        types.insert(kind.copied().unwrap_or("unknown"));
    }
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", names.len()),
        quoted(names.iter().copied()),
        plural("uses", "use", names.len()),
        plural("restricted volume type", "restricted volume types", types.len()),
        quoted_set(&types)
    );
    Violation::new("restricted volume types", detail)
}

pub(super) fn run_as_non_root(subject: Subject<'_>) -> Option<Violation> {
    const PATH: [&str; 2] = ["securityContext", "runAsNonRoot"];
    const REASON: &str = "runAsNonRoot != true";
    let of_pod = at(subject.spec, &PATH).as_bool();
    let says = |container: &Value| at(container, &PATH).as_bool();
    let explicit = bad_containers(subject.spec, |c| says(c) == Some(false));
    if of_pod == Some(false) || !explicit.is_empty() {
        let who = setters(of_pod == Some(false), &explicit);
        return Violation::new(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    let implicit = bad_containers(subject.spec, |c| says(c).is_none() && of_pod != Some(true));
    if implicit.is_empty() {
        return None;
    }
    Violation::new(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", named(&implicit)))
}

pub(super) fn run_as_user(subject: Subject<'_>) -> Option<Violation> {
    let is_root = |holder: &Value| at(holder, &["securityContext", "runAsUser"]).as_i64() == Some(0);
    let (of_pod, names) = (is_root(subject.spec), bad_containers(subject.spec, is_root));
    if !of_pod && names.is_empty() {
        return None;
    }
    Violation::new("runAsUser=0", format!("{} must not set runAsUser=0", setters(of_pod, &names)))
}

pub(super) fn seccomp(subject: Subject<'_>) -> Option<Violation> {
    const PATH: [&str; 2] = ["securityContext", "seccompProfile"];
    if let Some(refused) = super::baseline::seccomp(subject) {
        return Some(refused);
    }
    let (of_pod, _) = bad_profiles(subject.spec, &PATH, &mut BTreeSet::new());
    let is_set = |holder: &Value| !at(holder, &PATH).is_null();
    if is_set(subject.spec) && !of_pod {
        return None;
    }
    let names = bad_containers(subject.spec, |c| !is_set(c));
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        named(&names)
    );
    Violation::new("seccompProfile", detail)
}
