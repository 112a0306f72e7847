//! What an object uses up of the ResourceQuotas in its namespace: for admission, which charges it, and for the controller,
//! which counts anew.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::kinds::core::pod::qos;
use crate::kinds::{Kind, Subresource};
use crate::object::{at, items, text};
use crate::quantity::Quantity;
use crate::resources::{self, Count, Resources, Side};
use crate::rules::Write;

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";
/// What a request for all devices of a class may get at most.
const DEVICES_MAX: i64 = 32;
/// Kinds that had a name for their number before all had one.
const OLD_COUNTS: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
const OF_PODS: [&str; 10] = [
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
];
const OF_SERVICES: [&str; 3] = ["services", "services.nodeports", "services.loadbalancers"];
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// Where a quota names one of these, every container must say how much it asks for.
const TO_BE_SAID: [&str; 6] =
    ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Pod,
    Service,
    Claim,
    Devices,
    /// How many there are.
    Number,
}

/// How the objects of one resource are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluator {
    plural: String,
    /// `count/pods`, `count/deployments.apps`.
    count: String,
    measure: Measure,
    has_old_count: bool,
}

impl Evaluator {
    /// `None` where nothing is kept, and for events, which no quota counts.
    pub fn of(kind: &Kind) -> Option<Evaluator> {
        let counts = !kind.is_virtual() && kind.is_namespaced() && kind.storage != "events";
        counts.then(|| Evaluator::for_resource(&kind.group, &kind.plural))
    }

    pub fn for_resource(group: &str, plural: &str) -> Evaluator {
        let measure = match (group, plural) {
            ("", "pods") => Measure::Pod,
            ("", "services") => Measure::Service,
            ("", "persistentvolumeclaims") => Measure::Claim,
            ("resource.k8s.io", "resourceclaims") => Measure::Devices,
            _ => Measure::Number,
        };
        let count =
            if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") };
        let has_old_count = group.is_empty() && OLD_COUNTS.contains(&plural);
        Evaluator { plural: plural.to_owned(), count, measure, has_old_count }
    }

    /// Whether objects of this resource use up what a quota calls `name`.
    pub fn counts(&self, name: &str) -> bool {
        name == self.count
            || match self.measure {
                Measure::Pod => is_of_pods(name),
                Measure::Service => OF_SERVICES.contains(&name),
                Measure::Claim => {
                    let by_class = name.split_once(STORAGE_CLASS).map(|(_, what)| what);
                    OF_CLAIMS.contains(&by_class.unwrap_or(name))
                }
                Measure::Devices => name.ends_with(DEVICES),
                Measure::Number => self.has_old_count && name == self.plural,
            }
    }

    /// Whether such a write can change what the object uses up.
    pub fn handles(&self, creates: bool, write: Write, obj: &Value, old: &Value) -> bool {
        match (self.measure, creates, write) {
            (_, true, Write::Main) => true,
            (Measure::Service | Measure::Claim | Measure::Devices, false, Write::Main) => true,
            (Measure::Pod, false, Write::Sub(Subresource::Resize)) => true,
            (Measure::Claim, false, Write::Status) => {
                let storage = ["status", "allocatedResources", "storage"];
                at(obj, &storage) != at(old, &storage) || attribute_classes(obj) != attribute_classes(old)
            }
            _ => false,
        }
    }

    pub fn usage(&self, obj: &Value, now: Timestamp) -> Resources {
        let mut used = Resources::from([(self.count.clone(), Quantity::from_int(1))]);
        match self.measure {
            Measure::Pod => of_pod(obj, now, &mut used),
            Measure::Service => of_service(obj, &mut used),
            Measure::Claim => of_claim(obj, &mut used),
            Measure::Devices => of_devices(obj, &mut used),
            Measure::Number if self.has_old_count => {
                used.insert(self.plural.clone(), Quantity::from_int(1));
            }
            Measure::Number => {}
        }
        used
    }

    /// Whether a quota is about this object: it names something that such objects use up, and its scopes fit.
    pub fn matches(&self, quota: &Value, obj: &Value) -> bool {
        let hard = at(quota, &["status", "hard"]).as_object();
        hard.into_iter().flatten().any(|(name, _)| self.counts(name)) && self.is_in_scope(quota, obj)
    }

    /// Whether all scopes of a quota fit the object.
    pub fn is_in_scope(&self, quota: &Value, obj: &Value) -> bool {
        let plain = items(quota, &["spec", "scopes"]).iter().filter_map(Value::as_str);
        let selected = items(quota, &["spec", "scopeSelector", "matchExpressions"]);
        plain.into_iter().all(|scope| self.fits(scope, "Exists", &[], obj))
            && selected.iter().all(|term| {
                let values = items(term, &["values"]);
                self.fits(text(term, &["scopeName"]), text(term, &["operator"]), values, obj)
            })
    }

    fn fits(&self, scope: &str, operator: &str, values: &[Value], obj: &Value) -> bool {
        let deadline = || at(obj, &["spec", "activeDeadlineSeconds"]).as_i64().is_some_and(|s| s >= 0);
        let best_effort = || qos::class(at(obj, &["spec"])) == "BestEffort";
        match (self.measure, scope) {
            (Measure::Pod, "Terminating") => deadline(),
            (Measure::Pod, "NotTerminating") => !deadline(),
            (Measure::Pod, "BestEffort") => best_effort(),
            (Measure::Pod, "NotBestEffort") => !best_effort(),
            (Measure::Pod, "CrossNamespacePodAffinity") => crosses_namespaces(obj),
            (Measure::Pod, "PriorityClass") => {
                selects(operator, values, Some(text(obj, &["spec", "priorityClassName"])))
            }
            (Measure::Claim, "VolumeAttributesClass") => {
                let names = attribute_classes(obj);
                match names.as_slice() {
                    [] => selects(operator, values, None),
                    names => names.iter().any(|name| selects(operator, values, Some(name))),
                }
            }
            _ => false,
        }
    }

    /// What the containers of a Pod do not say though the quota needs it: `cpu for: a,b; memory for: a`.
    fn unsaid(&self, required: &[&str], pod: &Value) -> Option<String> {
        if self.measure != Measure::Pod {
            return None;
        }
        let missing = TO_BE_SAID.iter().filter(|name| required.contains(name)).filter_map(|name| {
            let containers = ["containers", "initContainers"].iter().flat_map(|l| items(pod, &["spec", l]));
            let silent = containers.filter(|c| !says(c, name)).map(|c| text(c, &["name"]));
            let mut silent: Vec<&str> = silent.collect();
            silent.sort_unstable();
            silent.dedup();
            (!silent.is_empty()).then(|| format!("{name} for: {}", silent.join(",")))
        });
        let missing: Vec<String> = missing.collect();
        (!missing.is_empty()).then(|| format!("must specify {}", missing.join("; ")))
    }
}

/// The resource, as group and plural, whose objects use up what a quota calls `name`.
pub fn counted(name: &str) -> Option<(&str, &str)> {
    if let Some(resource) = name.strip_prefix("count/") {
        return Some(match resource.split_once('.') {
            Some((plural, group)) => (group, plural),
            None => ("", resource),
        });
    }
    let special = [
        ("", "pods"),
        ("", "services"),
        ("", "persistentvolumeclaims"),
        ("resource.k8s.io", "resourceclaims"),
    ];
    let old = OLD_COUNTS.iter().find(|plural| **plural == name).map(|plural| ("", *plural));
    old.or_else(|| special.into_iter().find(|(g, plural)| Evaluator::for_resource(g, plural).counts(name)))
}

/// What every quota in a namespace will have used after a write, for those that it changes; or why it may not be.
pub fn charge(
    quotas: &[Value],
    evaluator: &Evaluator,
    write: Write,
    obj: &Value,
    old: Option<&Value>,
    now: Timestamp,
) -> Result<Vec<(usize, Resources)>, String> {
    let mut concerned = Vec::new();
    for (index, quota) in quotas.iter().enumerate().filter(|(_, quota)| evaluator.matches(quota, obj)) {
        check_known(quota, evaluator, obj)?;
        concerned.push(index);
    }
    if concerned.is_empty() {
        return Ok(Vec::new());
    }
    let usage = evaluator.usage(obj, now);
    let negative: Vec<&str> =
        usage.iter().filter(|(_, amount)| amount.nano() < 0).map(|(n, _)| n.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let mut charged = Vec::new();
    for index in concerned {
        let quota = &quotas[index];
        let before = old.filter(|old| evaluator.matches(quota, old)).map(|old| evaluator.usage(old, now));
        let more = growth(&usage, before.as_ref());
        if let Some(used) = add(quota, &more, write != Write::Status)? {
            charged.push((index, used));
        }
    }
    Ok(charged)
}

/// A quota must know what is used, and the object must say what the quota counts.
fn check_known(quota: &Value, evaluator: &Evaluator, obj: &Value) -> Result<(), String> {
    let name = text(quota, &["metadata", "name"]);
    let hard = at(quota, &["status", "hard"]).as_object().into_iter().flatten();
    let mut restricted: Vec<&str> = hard.map(|(n, _)| n.as_str()).filter(|n| evaluator.counts(n)).collect();
    restricted.sort_unstable();
    if let Some(unsaid) = evaluator.unsaid(&restricted, obj) {
        return Err(format!("failed quota: {name}: {unsaid}"));
    }
    if restricted.iter().any(|n| at(quota, &["status", "used", n]).is_null()) {
        let list = restricted.join(",");
        return Err(format!("status unknown for quota: {name}, resources: {list}"));
    }
    Ok(())
}

/// What is used more than before.
fn growth(usage: &Resources, before: Option<&Resources>) -> Resources {
    let more = usage.iter().map(|(name, amount)| {
        let was = before.and_then(|b| b.get(name)).copied().unwrap_or(Quantity::ZERO);
        (name.clone(), *amount - was)
    });
    more.filter(|(_, amount)| amount.nano() > 0).collect()
}

fn add(quota: &Value, more: &Resources, limited: bool) -> Result<Option<Resources>, String> {
    let hard = resources::read(at(quota, &["status", "hard"]));
    let used = resources::read(at(quota, &["status", "used"]));
    let more: Resources =
        more.iter().filter(|(n, _)| hard.contains_key(*n)).map(|(n, a)| (n.clone(), *a)).collect();
    if more.is_empty() {
        return Ok(None);
    }
    let mut after = used.clone();
    resources::add(&mut after, &more);
    let exceeded: Vec<&String> = more.keys().filter(|n| after[*n] > hard[*n]).collect();
    if limited && !exceeded.is_empty() {
        let shown = |list: &Resources| {
            let shown = exceeded.iter().filter_map(|n| Some(format!("{n}={}", list.get(*n)?)));
            shown.collect::<Vec<_>>().join(",")
        };
        return Err(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            text(quota, &["metadata", "name"]),
            shown(&more),
            shown(&used),
            shown(&hard)
        ));
    }
    Ok(Some(after))
}

/// With a domain that is not Kubernetes' own.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

fn is_of_pods(name: &str) -> bool {
    OF_PODS.contains(&name)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || (name.starts_with("requests.") && is_extended(name))
}

fn of_pod(pod: &Value, now: Timestamp, used: &mut Resources) {
    if !holds(pod, now) {
        return;
    }
    used.insert("pods".into(), Quantity::from_int(1));
    for (name, amount) in resources::of_pod(pod, Side::Requests, Count::Held) {
        let huge = name.starts_with("hugepages-");
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || huge {
            used.insert(format!("requests.{name}"), amount);
            used.insert(name, amount);
        } else if is_extended(&name) {
            used.insert(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in resources::of_pod(pod, Side::Limits, Count::Held) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            used.insert(format!("limits.{name}"), amount);
        }
    }
}

/// A Pod that has ended, or whose grace period has, holds nothing any more.
fn holds(pod: &Value, now: Timestamp) -> bool {
    if matches!(text(pod, &["status", "phase"]), "Failed" | "Succeeded") {
        return false;
    }
    let deleted = text(pod, &["metadata", "deletionTimestamp"]).parse::<Timestamp>();
    let grace = at(pod, &["metadata", "deletionGracePeriodSeconds"]).as_i64();
    match (deleted, grace) {
        (Ok(deleted), Some(grace)) => {
            deleted.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now <= end)
        }
        _ => true,
    }
}

/// Whether a container says what a quota calls `name`.
fn says(container: &Value, name: &str) -> bool {
    let (side, name) = match name.split_once('.') {
        Some((side, name)) => (side, name),
        None => ("requests", name),
    };
    !at(container, &["resources", side, name]).is_null()
}

fn of_service(service: &Value, used: &mut Resources) {
    let ports = items(service, &["spec", "ports"]);
    let with_number = || ports.iter().filter(|p| p["nodePort"].as_i64().is_some_and(|n| n != 0)).count();
    let allocates = at(service, &["spec", "allocateLoadBalancerNodePorts"]) != &Value::Bool(false);
    let (node_ports, balancers) = match text(service, &["spec", "type"]) {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" if allocates => (ports.len(), 1),
        "LoadBalancer" => (with_number(), 1),
        _ => (0, 0),
    };
    used.insert("services".into(), Quantity::from_int(1));
    used.insert("services.nodeports".into(), Quantity::from_int(node_ports as i64));
    used.insert("services.loadbalancers".into(), Quantity::from_int(balancers));
}

fn of_claim(claim: &Value, used: &mut Resources) {
    let class = crate::object::annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| text(claim, &["spec", "storageClassName"]));
    let mut both = |name: &str, amount: Quantity| {
        if !class.is_empty() {
            used.insert(format!("{class}{STORAGE_CLASS}{name}"), amount);
        }
        used.insert(name.to_owned(), amount);
    };
    both("persistentvolumeclaims", Quantity::from_int(1));
    let Some(asked) = resources::quantity(at(claim, &["spec", "resources", "requests", "storage"])) else {
        return;
    };
    let given = resources::quantity(at(claim, &["status", "allocatedResources", "storage"]));
    both("requests.storage", given.filter(|given| *given > asked).unwrap_or(asked).rounded_up());
}

fn of_devices(claim: &Value, used: &mut Resources) {
    let count = |request: &Value| match text(request, &["allocationMode"]) {
        "All" => DEVICES_MAX,
        _ => at(request, &["count"]).as_i64().unwrap_or(1),
    };
    let of = |request: &Value| {
        let name = format!("{}{DEVICES}", text(request, &["deviceClassName"]));
        Resources::from([(name, Quantity::from_int(count(request)))])
    };
    for request in items(claim, &["spec", "devices", "requests"]) {
        let mut most = Resources::new();
        for choice in items(request, &["firstAvailable"]) {
            resources::raise(&mut most, &of(choice));
        }
        if let Some(exactly) = request.get("exactly").filter(|e| !e.is_null()) {
            most = of(exactly);
        }
        resources::add(used, &most);
    }
}

/// The VolumeAttributesClasses that a claim has, had or is to have.
fn attribute_classes(claim: &Value) -> Vec<&str> {
    let paths: [&[&str]; 3] = [
        &["spec", "volumeAttributesClassName"],
        &["status", "currentVolumeAttributesClassName"],
        &["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"],
    ];
    let mut names: Vec<&str> = paths.iter().map(|path| text(claim, path)).filter(|n| !n.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A term of a scope selector on a name; "" is none.
fn selects(operator: &str, values: &[Value], name: Option<&str>) -> bool {
    let name = name.filter(|n| !n.is_empty());
    let listed = name.is_some_and(|name| values.iter().any(|v| v == name));
    match operator {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => name.is_some(),
        "DoesNotExist" => name.is_none(),
        _ => false,
    }
}

fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| {
        !items(term, &["namespaces"]).is_empty() || !at(term, &["namespaceSelector"]).is_null()
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let affinity = at(pod, &["spec", "affinity", kind]);
        let required = items(affinity, &["requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = items(affinity, &["preferredDuringSchedulingIgnoredDuringExecution"]);
        required.iter().any(crosses) || preferred.iter().any(|p| crosses(at(p, &["podAffinityTerm"])))
    })
}

#[cfg(test)]
mod tests;
