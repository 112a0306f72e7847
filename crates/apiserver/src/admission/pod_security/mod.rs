//! The Pod security standards that a Namespace's labels ask for: enforced on Pods, told to the authors of templates.

mod baseline;
mod checks;
mod levels;
mod restricted;

use std::collections::BTreeMap;

use coracle_api::field::Errors;
use coracle_api::object::{self, at, items, text};
use coracle_api::{Kind, Status, Subresource};
use serde_json::Value;

use super::{Admit, Plugin};
use baseline::{SECCOMP_OF_CONTAINER, SECCOMP_OF_POD};
use checks::{Subject, Violation};
use levels::{Bound, Level, Policy};

/// How many of a Namespace's Pods are looked at when its level is raised, as in the reference.
const PODS_MAX: usize = 3000;

pub(crate) struct PodSecurity;

impl Plugin for PodSecurity {
    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let Some(obj) = obj else { return Ok(()) };
        match (&*admit.kind.group, &*admit.kind.kind) {
            ("", "Namespace") => namespace(admit, obj),
            ("", "Pod") => pod(admit, obj),
            _ => template(admit, obj),
        }
    }
}

/// Labels must make sense where they are new, and Pods that are there already are told of, not ended.
fn namespace(admit: &Admit<'_>, namespace: &Value) -> Result<(), Status> {
    if admit.sub.is_some() {
        return Ok(());
    }
    let (policy, errs) = Policy::of(namespace);
    let Some(old) = admit.old else {
        return refuse(admit, namespace, &errs);
    };
    let (before, old_errs) = Policy::of(old);
    if errs != old_errs {
        refuse(admit, namespace, &errs)?;
    }
    let (is, was) = (policy.enforce, before.enforce);
    let is_stricter = is.version != was.version || is.level > was.level;
    if is != was && is.level != Level::Privileged && is_stricter {
        let pods = admit.core.objects("", "pods", object::name(namespace))?;
        existing(object::name(namespace), is, &pods).into_iter().for_each(|words| admit.warn(words));
    }
    Ok(())
}

fn refuse(admit: &Admit<'_>, namespace: &Value, errs: &Errors) -> Result<(), Status> {
    if errs.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&admit.kind.group, &admit.kind.kind, object::name(namespace), errs))
}

/// What a new level would say of Pods that are there already; Pods of which the same is to be said are named together.
fn existing(namespace: &str, enforce: Bound, pods: &[Value]) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in pods.iter().take(PODS_MAX) {
        let violations = checks::violations(enforce, subject(pod));
        if !violations.is_empty() {
            let reasons: Vec<&str> = violations.iter().map(|v| v.reason.as_str()).collect();
            by_reason.entry(reasons.join(", ")).or_default().push(object::name(pod));
        }
    }
    let mut words = Vec::new();
    if pods.len() > PODS_MAX {
        let all = pods.len();
        words.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {all} existing pods"
        ));
    }
    if !by_reason.is_empty() {
        words.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{enforce}\""
        ));
    }
    let mut of_pods: Vec<String> = by_reason.iter().map(|(reason, names)| of_alike(reason, names)).collect();
    of_pods.sort_unstable();
    words.extend(of_pods);
    words
}

fn of_alike(reason: &str, names: &[&str]) -> String {
    let first = names.iter().min().copied().unwrap_or_default();
    match names.len() {
        1 => format!("{first}: {reason}"),
        2 => format!("{first} (and 1 other pod): {reason}"),
        more => format!("{first} (and {} other pods): {reason}", more - 1),
    }
}

fn pod(admit: &Admit<'_>, pod: &Value) -> Result<(), Status> {
    let changes_spec =
        matches!(admit.sub, None | Some(Subresource::EphemeralContainers | Subresource::Resize));
    if !changes_spec {
        return Ok(());
    }
    let Some(policy) = policy_of(admit) else { return Ok(()) };
    if policy.is_privileged() || admit.old.is_some_and(|old| !matters(pod, old)) {
        return Ok(());
    }
    let refused = checks::violations(policy.enforce, subject(pod));
    if !refused.is_empty() {
        let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, detail(&refused));
        return Err(admit.forbidden(object::name(pod), &why));
    }
    warn(admit, policy.warn, subject(pod));
    Ok(())
}

/// The author of a template learns what will be refused of its Pods; the template itself is let in.
fn template(admit: &Admit<'_>, obj: &Value) -> Result<(), Status> {
    let Some(template) = template_of(admit.kind, obj).filter(|_| admit.sub.is_none()) else { return Ok(()) };
    if let Some(policy) = policy_of(admit) {
        warn(admit, policy.warn, subject(template));
    }
    Ok(())
}

/// Where a kind of the reference's own keeps its Pods' template.
fn template_of<'a>(kind: &Kind, obj: &'a Value) -> Option<&'a Value> {
    let path: &[&str] = match (&*kind.group, &*kind.kind) {
        ("", "PodTemplate") => &["template"],
        ("", "ReplicationController")
        | ("apps", "ReplicaSet" | "Deployment" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => &["spec", "template"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    Some(at(obj, path)).filter(|template| !template.is_null())
}

fn subject(pod: &Value) -> Subject<'_> {
    Subject { annotations: at(pod, &["metadata", "annotations"]), spec: at(pod, &["spec"]) }
}

fn warn(admit: &Admit<'_>, bound: Bound, subject: Subject<'_>) {
    let found = checks::violations(bound, subject);
    if !found.is_empty() {
        admit.warn(format!("would violate PodSecurity \"{bound}\": {}", detail(&found)));
    }
}

fn detail(violations: &[Violation]) -> String {
    let words: Vec<String> = violations.iter().map(|v| format!("{} ({})", v.reason, v.detail)).collect();
    words.join(", ")
}

/// What the Namespace asks for; `None` for nothing, as most do.
fn policy_of(admit: &Admit<'_>) -> Option<Policy> {
    let namespace = admit.core.stored("", "namespaces", "", admit.namespace)?;
    if !namespace.meta.labels.iter().any(|(name, _)| name.starts_with(levels::PREFIX)) {
        return None;
    }
    let namespace: Value = serde_json::from_slice(&namespace.json).ok()?;
    Some(Policy::of(&namespace).0)
}

/// Whether an update touches what a level looks at, of what an update can touch.
fn matters(pod: &Value, old: &Value) -> bool {
    let annotation = |pod: &Value, key: &str| object::annotation(pod, key).map(str::to_owned);
    let alike = |key: &str| annotation(pod, key) == annotation(old, key);
    let changed = |new: &Value, old: &Value| {
        let key = format!("{SECCOMP_OF_CONTAINER}{}", text(new, &["name"]));
        text(new, &["image"]) != text(old, &["image"]) || !alike(&key)
    };
    let in_place = ["containers", "initContainers"].iter().any(|list| {
        let (new, old) = (items(pod, &["spec", list]), items(old, &["spec", list]));
        new.len() != old.len() || new.iter().zip(old).any(|(new, old)| changed(new, old))
    });
    let by_name = items(pod, &["spec", "ephemeralContainers"]).iter().any(|new| {
        let mut before = items(old, &["spec", "ephemeralContainers"]).iter();
        before.find(|old| old["name"] == new["name"]).is_none_or(|old| changed(new, old))
    });
    !alike(SECCOMP_OF_POD) || in_place || by_name
}

#[cfg(test)]
mod tests;
