//! A container's environment: variables, where their values come from, and references to the Pod's own fields.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::amounts;
use crate::names;

/// What a variable may refer to.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a file of a downward API volume may refer to.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// What the reference can resolve at all, in variables or files.
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const CONTAINER_RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Where a field reference stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Variable,
    File,
}

pub fn variables(at: &At<'_>, errs: &mut Errors) {
    for var in at.items() {
        let name = var.get("name");
        if name.is_empty() {
            errs.required(&name.path, "");
        } else {
            errs.bad_texts(&name, names::env_var(name.text()));
        }
        value_from(&var, errs);
    }
}

fn value_from(var: &At<'_>, errs: &mut Errors) {
    let from = var.get("valueFrom");
    if !from.is_set() {
        return;
    }
    let mut sources = 0;
    for (key, check) in SOURCES {
        let source = from.get(key);
        if source.is_set() {
            sources += 1;
            check(&source, errs);
        }
    }
    let words = if sources == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    } else if !var.peek_text("value").is_empty() {
        "may not be specified when `value` is not empty"
    } else if sources > 1 {
        "may not have more than one field specified at a time"
    } else {
        return;
    };
    errs.invalid(&from.path, &Value::from(""), words);
}

type Check = fn(&At<'_>, &mut Errors);

const SOURCES: [(&str, Check); 5] = [
    ("fieldRef", |at, errs| field_ref(at, Holder::Variable, errs)),
    ("resourceFieldRef", |at, errs| resource_field_ref(at, Holder::Variable, errs)),
    ("configMapKeyRef", key_selector),
    ("secretKeyRef", key_selector),
    ("fileKeyRef", file_key),
];

/// A key of a ConfigMap or of a Secret.
fn key_selector(at: &At<'_>, errs: &mut Errors) {
    let (name, key) = (at.get("name"), at.get("key"));
    errs.bad_texts(&name, names::dns_subdomain(name.text(), false));
    if key.is_empty() {
        errs.required(&key.path, "");
    } else {
        errs.bad_texts(&key, names::config_key(key.text()));
    }
}

fn file_key(at: &At<'_>, errs: &mut Errors) {
    for field in ["volumeName", "path", "key"] {
        if at.peek_text(field).is_empty() {
            errs.required(&at.get(field).path, "");
        }
    }
}

pub fn field_ref(at: &At<'_>, holder: Holder, errs: &mut Errors) {
    let path = at.get("fieldPath");
    if at.peek_text("apiVersion").is_empty() {
        errs.required(&at.get("apiVersion").path, "");
        return;
    }
    if path.is_empty() {
        errs.required(&path.path, "");
        return;
    }
    if let Some((field, key)) = subscripted(path.text()) {
        let said = match field {
            "metadata.annotations" => names::qualified(&key.to_lowercase()),
            "metadata.labels" => names::qualified(key),
            _ => vec![format!("error converting fieldPath: field label does not support subscript: {field}")],
        };
        for words in said {
            errs.invalid(&at.path, &Value::from(key), words);
        }
        return;
    }
    if !KNOWN_FIELDS.contains(&path.text()) {
        let words = format!("error converting fieldPath: field label not supported: {}", path.text());
        errs.bad_text(&path, words);
        return;
    }
    let allowed: &[&str] = match holder {
        Holder::Variable => &ENV_FIELDS,
        Holder::File => &FILE_FIELDS,
    };
    if !allowed.contains(&path.text()) {
        errs.not_supported(&path.path, path.value, allowed);
    }
}

/// `metadata.labels['key']` as its field and key.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

pub fn resource_field_ref(at: &At<'_>, holder: Holder, errs: &mut Errors) {
    let resource = at.get("resource");
    let hugepages = resource.text().starts_with("requests.hugepages-")
        || resource.text().starts_with("limits.hugepages-");
    if holder == Holder::File && at.peek_text("containerName").is_empty() {
        errs.required(&at.get("containerName").path, "");
    } else if resource.is_empty() {
        errs.required(&resource.path, "");
    } else if !CONTAINER_RESOURCES.contains(&resource.text()) && !hugepages {
        errs.not_supported(&resource.path, resource.value, &CONTAINER_RESOURCES);
    }
    divisor(resource.text(), &at.get("divisor"), errs);
}

fn divisor(resource: &str, at: &At<'_>, errs: &mut Errors) {
    const SIZES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    if amounts::is_zero(at.value) {
        return;
    }
    let text = at.value.as_str().map_or_else(|| at.value.to_string(), str::to_owned);
    let (good, said) = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" => {
            (["1", "1m"].contains(&&*text), "values 1m and 1 are supported with the cpu resource".to_owned())
        }
        name => {
            let of = match name {
                "memory" => "memory",
                "ephemeral-storage" => "local ephemeral storage",
                _ => "hugepages",
            };
            let good = SIZES.split(", ").any(|size| size == text);
            (good, format!("values {SIZES} are supported with the {of} resource"))
        }
    };
    if !good {
        errs.invalid(&at.path, &Value::from(resource), format!("only divisor's {said}"));
    }
}

pub fn env_from(at: &At<'_>, errs: &mut Errors) {
    for from in at.items() {
        let prefix = from.get("prefix");
        if !prefix.is_empty() {
            errs.bad_texts(&prefix, names::env_var(prefix.text()));
        }
        let mut sources = 0;
        for source in [from.get("configMapRef"), from.get("secretRef")].iter().filter(|s| s.is_set()) {
            sources += 1;
            let name = source.get("name");
            if name.is_empty() {
                errs.required(&name.path, "");
            } else {
                errs.bad_texts(&name, names::dns_subdomain(name.text(), true));
            }
        }
        let words = match sources {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errs.invalid(&at.path, &Value::from(""), words);
    }
}
