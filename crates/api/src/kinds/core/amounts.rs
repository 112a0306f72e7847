//! Amounts of resources (quantities) as validation compares them, and the names that resources may have.

use serde_json::Value;

use crate::at::At;
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::Quantity;

/// Billionths in one unit: the finest step of a quantity.
const NANO: i128 = 1_000_000_000;

/// The amount in billionths; nothing where it is no quantity.
pub fn nano(v: &Value) -> Option<i128> {
    let parsed = match v {
        Value::Number(n) => Quantity::parse(&n.to_string()),
        Value::String(s) => Quantity::parse(s),
        _ => return None,
    };
    parsed.ok().map(Quantity::nano)
}

/// The amount as an error shows it.
fn shown(v: &Value) -> Value {
    match v {
        Value::Number(n) => Value::String(n.to_string()),
        Value::Null => Value::from("0"),
        other => other.clone(),
    }
}

pub fn is_zero(v: &Value) -> bool {
    nano(v).is_none_or(|n| n == 0)
}

/// Whether the amount is not whole.
pub fn is_fraction(v: &Value) -> bool {
    nano(v).is_some_and(|n| n % NANO != 0)
}

/// The sum of two amounts, in billionths.
pub fn plus(a: &Value, b: i128) -> i128 {
    nano(a).unwrap_or(0).saturating_add(b)
}

pub fn nonnegative(at: &At<'_>, errs: &mut Errors) {
    if nano(at.value).is_some_and(|n| n < 0) {
        errs.invalid(&at.path, &shown(at.value), "must be greater than or equal to 0");
    }
}

pub fn positive(at: &At<'_>, errs: &mut Errors) {
    if nano(at.value).is_none_or(|n| n <= 0) {
        errs.invalid(&at.path, &shown(at.value), "must be greater than zero");
    }
}

/// The amount of the named resource: not negative, and whole where parts of it make no sense.
pub fn of_resource(name: &str, at: &At<'_>, errs: &mut Errors) {
    nonnegative(at, errs);
    if is_integer(name) && is_fraction(at.value) {
        errs.invalid(&at.path, &shown(at.value), "must be an integer");
    }
}

pub fn is_hugepages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Without a domain, or with one of the project's.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource that a device plugin or an operator names.
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_empty()
}

fn is_integer(name: &str) -> bool {
    const COUNTED: [&str; 9] = [
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    COUNTED.contains(&name) || is_extended(name)
}

const CONTAINER_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const STANDARD_RESOURCES: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
];

/// A name that any list of resources may have.
pub fn resource_name(name: &str, path: &Path, errs: &mut Errors) -> bool {
    let said = names::qualified(name);
    let good = said.is_empty();
    for words in said {
        errs.invalid(path, &Value::from(name), words);
    }
    if good && !name.contains('/') && !is_standard(name) {
        errs.invalid(path, &Value::from(name), "must be a standard resource type or fully qualified");
        return false;
    }
    good
}

fn is_standard(name: &str) -> bool {
    STANDARD_RESOURCES.contains(&name)
        || is_hugepages(name)
        || name == "requests.storage"
        || name.starts_with("requests.hugepages-")
}

pub fn container_resource_name(name: &str, path: &Path, errs: &mut Errors) {
    resource_name(name, path, errs);
    let words = if !name.contains('/') {
        let good = CONTAINER_RESOURCES.contains(&name) || is_hugepages(name);
        (!good).then_some("must be a standard resource for containers")
    } else {
        (!is_native(name) && !is_extended(name)).then_some("doesn't follow extended resource name standard")
    };
    if let Some(words) = words {
        errs.invalid(path, &Value::from(name), words);
    }
}

/// `{limits, requests, claims}` of a container or a Pod.
pub fn requirements(at: &At<'_>, claims: &[&str], errs: &mut Errors) {
    let (limits, requests) = (at.get("limits"), at.get("requests"));
    for (name, limit) in limits.entries() {
        container_resource_name(name, &limit.path, errs);
        of_resource(name, &limit, errs);
    }
    for (name, request) in requests.entries() {
        container_resource_name(name, &request.path, errs);
        of_resource(name, &request, errs);
        request_within_limit(name, &request, &limits, &requests, errs);
    }
    let names = || limits.entries().chain(requests.entries()).map(|(name, _)| name);
    if names().any(is_hugepages) && !names().any(|n| n == "cpu" || n == "memory") {
        errs.forbidden(&at.path, "HugePages require cpu or memory");
    }
    resource_claims(&at.get("claims"), claims, errs);
}

fn request_within_limit(name: &str, request: &At<'_>, limits: &At<'_>, requests: &At<'_>, errs: &mut Errors) {
    let may_overcommit = is_native(name) && !is_hugepages(name);
    let limit = limits.peek(name);
    if limit.is_null() {
        if !may_overcommit {
            errs.required(&limits.path, "Limit must be set for non overcommitable resources");
        }
        return;
    }
    let (Some(wanted), Some(most)) = (nano(request.value), nano(limit)) else { return };
    let limit = shown(limit);
    let limit = limit.as_str().unwrap_or("");
    if wanted != most && !may_overcommit {
        let words = format!("must be equal to {name} limit of {limit}");
        errs.invalid(&requests.path, &shown(request.value), words);
    } else if wanted > most {
        let words = format!("must be less than or equal to {name} limit of {limit}");
        errs.invalid(&requests.path, &shown(request.value), words);
    }
}

fn resource_claims(at: &At<'_>, known: &[&str], errs: &mut Errors) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for claim in at.items() {
        let (name, request) = (claim.peek_text("name"), claim.peek_text("request"));
        if name.is_empty() {
            errs.required(&claim.get("name").path, "");
            continue;
        }
        if !known.contains(&name) {
            errs.not_found(&claim.get("name").path, &Value::from(name));
        }
        if seen.contains(&(name, request)) {
            errs.duplicate(&claim.path, claim.value);
        }
        seen.push((name, request));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::nano;

    #[test]
    fn amounts_compare_across_their_suffixes() {
        assert_eq!(nano(&json!("1")), nano(&json!("1000m")));
        assert_eq!(nano(&json!("1Ki")), nano(&json!(1024)));
        assert_eq!(nano(&json!("1.5G")), nano(&json!("1500M")));
        assert_eq!(nano(&json!("1e3")), nano(&json!("1k")));
        assert_eq!(nano(&json!("-0.5")), Some(-500_000_000));
        assert_eq!(nano(&json!("lots")), None);
    }
}
