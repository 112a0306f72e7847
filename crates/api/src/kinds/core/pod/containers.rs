//! Containers, init containers and ephemeral containers: names, images, ports, mounts, devices.

use serde_json::Value;

use super::spec::PodContext;
use super::volumes::{descending_path, no_backsteps};
use super::{env, probes, security};
use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::amounts;
use crate::names;

pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// What an ephemeral container may not have: everything that a Pod's own work would need.
const NOT_EPHEMERAL: [&str; 8] = [
    "ports",
    "resources",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "restartPolicy",
    "resizePolicy",
];

pub fn containers(at: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    if at.is_empty() {
        errs.required(&at.path, "");
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut host_ports = Vec::new();
    for c in at.items() {
        container(&c, cx, errs);
        unique_name(&c, &mut seen, errs);
        probes::lifecycle(&c.get("lifecycle"), cx.grace, errs);
        probes::probes(&c, cx.grace, errs);
        restart_policy(&c, errs);
    }
    for c in at.items() {
        unique_host_ports(&c, &mut host_ports, errs);
    }
}

fn restart_policy(c: &At<'_>, errs: &mut Errors) {
    let policy = c.get("restartPolicy");
    errs.one_of_if_set(&policy, &["Always", "Never", "OnFailure"]);
    let rules = c.get("restartPolicyRules");
    if !rules.is_empty() && !policy.is_set() {
        errs.required(&policy.path, "must specify restartPolicy when restart rules are used");
    }
}

pub fn init_containers(at: &At<'_>, others: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = others.items().map(|c| c.peek_text("name")).collect();
    for c in at.items() {
        container(&c, cx, errs);
        let policy = c.get("restartPolicy");
        errs.one_of_if_set(&policy, &["Always", "Never", "OnFailure"]);
        unique_name(&c, &mut seen, errs);
        unique_host_ports(&c, &mut Vec::new(), errs);
        if policy.text() == "Always" {
            probes::lifecycle(&c.get("lifecycle"), cx.grace, errs);
            probes::probes(&c, cx.grace, errs);
            continue;
        }
        for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if c.has(key) {
                let words = "may not be set for init containers without restartPolicy=Always";
                errs.forbidden(&c.get(key).path, words);
            }
        }
    }
}

pub fn ephemeral_containers(spec: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    const WORDS: &str = "cannot be set for an Ephemeral Container";
    let other: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.get(list).items())
        .map(|c| c.peek_text("name"))
        .collect();
    let mut seen = other.clone();
    for c in spec.get("ephemeralContainers").items() {
        container(&c, cx, errs);
        image_is_trimmed(&c, errs);
        unique_name(&c, &mut seen, errs);
        let target = c.get("targetContainerName");
        if !target.is_empty() && !other.contains(&target.text()) {
            errs.not_found(&target.path, target.value);
        }
        for key in NOT_EPHEMERAL {
            if !c.get(key).is_empty() {
                errs.forbidden(&c.get(key).path, WORDS);
            }
        }
        for mount in c.get("volumeMounts").items() {
            for key in ["subPath", "subPathExpr"] {
                if !mount.get(key).is_empty() {
                    errs.forbidden(&mount.get(key).path, WORDS);
                }
            }
        }
    }
}

/// What holds for every container of a Pod or a template.
fn container(c: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    let name = c.get("name");
    if name.is_empty() {
        errs.required(&name.path, "");
    } else {
        errs.bad_texts(&name, names::dns1123_label(name.text()));
    }
    if c.peek_text("image").is_empty() {
        errs.required(&c.get("image").path, "");
    }
    errs.one_of(&c.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]);
    ports(&c.get("ports"), errs);
    env::variables(&c.get("env"), errs);
    env::env_from(&c.get("envFrom"), errs);
    mounts(c, cx, errs);
    devices(c, cx, errs);
    errs.one_of(&c.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"]);
    amounts::requirements(&c.get("resources"), &cx.claims, errs);
    resize_policy(&c.get("resizePolicy"), cx, errs);
    security::container(&c.get("securityContext"), cx.host_users, errs);
}

fn unique_name<'a>(c: &At<'a>, seen: &mut Vec<&'a str>, errs: &mut Errors) {
    let name = c.get("name");
    if name.is_empty() {
        return;
    }
    if seen.contains(&name.text()) {
        errs.duplicate(&name.path, name.value);
    } else {
        seen.push(name.text());
    }
}

/// Only Pods are held to this, not templates: old templates have such images.
pub fn image_is_trimmed(c: &At<'_>, errs: &mut Errors) {
    let image = c.get("image");
    if image.text().trim() != image.text() {
        errs.bad_text(&image, "must not have leading or trailing whitespace");
    }
}

fn ports(at: &At<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for port in at.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let said = names::port_name(name.text());
            if !said.is_empty() {
                errs.bad_texts(&name, said);
            } else if seen.contains(&name.text()) {
                errs.duplicate(&name.path, name.value);
            } else {
                seen.push(name.text());
            }
        }
        let number = port.get("containerPort");
        if number.int() == 0 {
            errs.required(&number.path, "");
        } else {
            errs.bad_ints(&number, names::port_number(number.int()));
        }
        let host = port.get("hostPort");
        if host.int() != 0 {
            errs.bad_ints(&host, names::port_number(host.int()));
        }
        errs.one_of(&port.get("protocol"), &PROTOCOLS);
    }
}

fn unique_host_ports(c: &At<'_>, seen: &mut Vec<String>, errs: &mut Errors) {
    for port in c.get("ports").items() {
        let host = port.get("hostPort");
        if host.int() == 0 {
            continue;
        }
        let key = format!("{}/{}/{}", port.peek_text("protocol"), port.peek_text("hostIP"), host.int());
        if seen.contains(&key) {
            errs.duplicate(&host.path, &Value::from(key));
        } else {
            seen.push(key);
        }
    }
}

fn mounts(c: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    let list = c.get("volumeMounts");
    let devices = c.get("volumeDevices");
    let mut paths: Vec<&str> = Vec::new();
    for mount in list.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if name.is_empty() {
            errs.required(&name.path, "");
        }
        let volume = cx.volumes.get(name.text());
        if volume.is_none() {
            errs.not_found(&name.path, &Value::from(name.text()));
        }
        if path.is_empty() {
            errs.required(&path.path, "");
        }
        if paths.contains(&path.text()) {
            errs.bad_text(&path, "must be unique");
        }
        paths.push(path.text());
        if devices.items().any(|d| d.peek_text("name") == name.text()) {
            errs.bad_text(&name, "must not already exist in volumeDevices");
        }
        if devices.items().any(|d| d.peek_text("devicePath") == path.text()) {
            errs.bad_text(&path, "must not already exist as a path in volumeDevices");
        }
        let of_image = volume.is_some_and(|v| v.get("image").is_some_and(|i| !i.is_null()));
        sub_paths(&mount, &list, of_image, errs);
        propagation(&mount, &list, c, errs);
        recursive_read_only(&mount, &list, errs);
    }
}

/// The reference gives these at the list's path, without the mount's index.
fn sub_paths(mount: &At<'_>, list: &At<'_>, of_image: bool, errs: &mut Errors) {
    for key in ["subPath", "subPathExpr"] {
        let path = mount.get(key);
        if path.is_empty() {
            continue;
        }
        if of_image {
            errs.bad_text(&path, "not allowed in image volume sources");
        }
        if key == "subPathExpr" && mount.has("subPath") {
            errs.bad_text(&path, "subPathExpr and subPath are mutually exclusive");
        }
        descending_path(&At::new(path.value, list.path.child(key)), errs);
    }
}

fn propagation(mount: &At<'_>, list: &At<'_>, c: &At<'_>, errs: &mut Errors) {
    let mode = At::new(mount.peek("mountPropagation"), list.path.child("mountPropagation"));
    errs.one_of_if_set(&mode, &["Bidirectional", "HostToContainer", "None"]);
    if mode.text() == "Bidirectional" && !c.get("securityContext").peek_true("privileged") {
        let words = "Bidirectional mount propagation is available only to privileged containers";
        errs.forbidden(&mode.path, words);
    }
}

fn recursive_read_only(mount: &At<'_>, list: &At<'_>, errs: &mut Errors) {
    let mode = At::new(mount.peek("recursiveReadOnly"), list.path.child("recursiveReadOnly"));
    match mode.text() {
        "" if !mode.is_set() => {}
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.peek_true("readOnly") {
                errs.forbidden(&mode.path, "may only be specified when readOnly is true");
            }
            if !["", "None"].contains(&mount.peek_text("mountPropagation")) {
                errs.forbidden(
                    &mode.path,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        _ => errs.not_supported(&mode.path, mode.value, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(c: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    let mounts = c.get("volumeMounts");
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = Default::default();
    for device in c.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        device_volume(&name, cx, errs);
        if names.contains(&name.text()) {
            errs.bad_text(&name, "must be unique");
        }
        if path.is_empty() {
            errs.required(&path.path, "");
        }
        if paths.contains(&path.text()) {
            errs.bad_text(&path, "must be unique");
        }
        let mut steps = Errors::default();
        no_backsteps(&path, &mut steps);
        if !steps.is_empty() {
            errs.bad_text(&path, "can not contain backsteps ('..')");
        }
        if mounts.items().any(|m| m.peek_text("name") == name.text()) {
            errs.bad_text(&name, "must not already exist in volumeMounts");
        }
        if mounts.items().any(|m| m.peek_text("mountPath") == path.text()) {
            errs.bad_text(&path, "must not already exist as a path in volumeMounts");
        }
        names.push(name.text());
        paths.push(path.text());
    }
}

fn device_volume(name: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    if name.is_empty() {
        errs.required(&name.path, "");
    }
    match cx.volumes.get(name.text()) {
        None => errs.not_found(&name.path, &Value::from(name.text())),
        Some(v) if v.get("persistentVolumeClaim").is_none() && v.get("ephemeral").is_none() => errs.bad_text(
            name,
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
        ),
        Some(_) => {}
    }
}

fn resize_policy(at: &At<'_>, cx: &PodContext<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for policy in at.items() {
        let (name, restart) = (policy.peek_text("resourceName"), policy.peek_text("restartPolicy"));
        if seen.contains(&name) {
            errs.duplicate(&policy.path, &Value::from(name));
        }
        seen.push(name);
        errs.one_of(&At::new(policy.peek("resourceName"), at.path.clone()), &["cpu", "memory"]);
        let restart_at = At::new(policy.peek("restartPolicy"), at.path.clone());
        errs.one_of(&restart_at, &["NotRequired", "RestartContainer"]);
        if cx.restart_policy == "Never" && restart != "NotRequired" {
            errs.bad_text(&restart_at, "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}
