//! Amounts by resource name, and what a Pod asks for in all.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::object::{at, items, text};
use crate::quantity::Quantity;

/// A `ResourceList`.
pub type Resources = BTreeMap<String, Quantity>;

/// Which of a Pod's two lists of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Requests,
    Limits,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Requests => "requests",
            Side::Limits => "limits",
        }
    }
}

/// What to count of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// What its spec says of its containers.
    Spec,
    /// What it holds: its overhead too, and while it is resized the greater of what was and what is to be.
    Held,
}

/// An amount as it stands in an object: text, or a bare number.
pub fn quantity(v: &Value) -> Option<Quantity> {
    match v {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(n) => Quantity::parse(&n.to_string()).ok(),
        _ => None,
    }
}

/// A list; what cannot be read is left out, because validation does not let it in.
pub fn read(list: &Value) -> Resources {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

pub fn write(list: &Resources) -> Value {
    let entries = list.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string())));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Every amount of either list, added up where both have it.
pub fn add(to: &mut Resources, other: &Resources) {
    for (name, amount) in other {
        let sum = to.get(name).map_or(*amount, |held| *held + *amount);
        to.insert(name.clone(), sum);
    }
}

/// The greater of both amounts.
pub fn raise(to: &mut Resources, other: &Resources) {
    for (name, amount) in other {
        if to.get(name).is_none_or(|held| amount > held) {
            to.insert(name.clone(), *amount);
        }
    }
}

/// The resources that a Pod may ask for as a whole.
pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// What a Pod asks for: its containers' sum or the greatest of its init containers, sidecars running beside all of them;
/// or what it says itself.
pub fn of_pod(pod: &Value, side: Side, count: Count) -> Resources {
    let mut total = of_containers(pod, side, count);
    for (name, amount) in read(at(pod, &["spec", "resources", side.name()])) {
        if is_pod_level(&name) {
            total.insert(name, amount);
        }
    }
    if count == Count::Held {
        for (name, amount) in read(at(pod, &["spec", "overhead"])) {
            match total.get(&name).copied() {
                Some(held) => drop(total.insert(name, held + amount)),
                // No limit is no limit with overhead, too.
                None if side == Side::Limits => {}
                None => drop(total.insert(name, amount)),
            }
        }
    }
    total
}

fn of_containers(pod: &Value, side: Side, count: Count) -> Resources {
    let of = |container: &Value, statuses: &str| match count {
        Count::Spec => read(at(container, &["resources", side.name()])),
        Count::Held => held(pod, container, statuses, side),
    };
    let mut running = Resources::new();
    for container in items(pod, &["spec", "containers"]) {
        add(&mut running, &of(container, "containerStatuses"));
    }
    let (mut sidecars, mut peak) = (Resources::new(), Resources::new());
    for container in items(pod, &["spec", "initContainers"]) {
        if text(container, &["restartPolicy"]) == "Always" {
            let own = of(container, "initContainerStatuses");
            add(&mut running, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut at_once = read(at(container, &["resources", side.name()]));
            add(&mut at_once, &sidecars);
            raise(&mut peak, &at_once);
        }
    }
    raise(&mut running, &peak);
    running
}

/// What a container holds: while its resize is under way, the greatest of what is wanted, given and in force.
fn held(pod: &Value, container: &Value, statuses: &str, side: Side) -> Resources {
    let wanted = read(at(container, &["resources", side.name()]));
    let name = text(container, &["name"]);
    let status = items(pod, &["status", statuses]).iter().find(|s| text(s, &["name"]) == name);
    let Some(status) = status.filter(|s| !at(s, &["resources"]).is_null()) else { return wanted };
    let mut most = if is_infeasible(pod) { Resources::new() } else { wanted };
    raise(&mut most, &read(at(status, &["resources", side.name()])));
    if side == Side::Requests {
        raise(&mut most, &read(at(status, &["allocatedResources"])));
    }
    most
}

/// Whether what the Pod was resized to can never be given.
fn is_infeasible(pod: &Value) -> bool {
    items(pod, &["status", "conditions"])
        .iter()
        .any(|c| text(c, &["type"]) == "PodResizePending" && text(c, &["reason"]) == "Infeasible")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(pod: &Value, side: Side, count: Count) -> String {
        write(&of_pod(pod, side, count)).to_string()
    }

    fn container(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}})
    }

    #[test]
    fn a_pod_asks_for_the_peak_of_its_life() {
        let sidecar = |cpu| {
            let mut c = container("s", cpu);
            c["restartPolicy"] = json!("Always");
            c
        };
        let cases = [
            (json!([]), json!([container("a", "1"), container("b", "500m")]), "1500m"),
            (json!([container("i", "3")]), json!([container("a", "1")]), "3"),
            (json!([sidecar("1"), container("i", "2")]), json!([container("a", "1")]), "3"),
            (json!([container("i", "2"), sidecar("1")]), json!([container("a", "500m")]), "2"),
            (json!([sidecar("1")]), json!([container("a", "500m")]), "1500m"),
        ];
        for (init, containers, want) in cases {
            let pod = json!({"spec": {"initContainers": init, "containers": containers}});
            let want = json!({"cpu": want}).to_string();
            assert_eq!(shown(&pod, Side::Requests, Count::Spec), want, "{pod}");
        }
    }

    #[test]
    fn overhead_counts_for_what_is_held_and_the_pods_own_word_goes_first() {
        let mut pod = json!({"spec": {"containers": [container("a", "1")],
            "overhead": {"cpu": "250m", "memory": "1Mi"}}});
        assert_eq!(shown(&pod, Side::Requests, Count::Spec), r#"{"cpu":"1"}"#);
        assert_eq!(shown(&pod, Side::Requests, Count::Held), r#"{"cpu":"1250m","memory":"1Mi"}"#);
        assert_eq!(shown(&pod, Side::Limits, Count::Held), r#"{"cpu":"1250m"}"#);
        pod["spec"]["resources"] = json!({"requests": {"cpu": "4", "example.com/gpu": "1"}});
        assert_eq!(shown(&pod, Side::Requests, Count::Spec), r#"{"cpu":"4"}"#);
    }

    #[test]
    fn a_resize_holds_the_greater_amount_until_it_is_done() {
        let mut pod = json!({"spec": {"containers": [container("a", "1")]}, "status": {"containerStatuses": [
            {"name": "a", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}},
             "allocatedResources": {"cpu": "3"}}]}});
        assert_eq!(shown(&pod, Side::Requests, Count::Held), r#"{"cpu":"3"}"#);
        assert_eq!(shown(&pod, Side::Limits, Count::Held), r#"{"cpu":"2"}"#);
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("9");
        assert_eq!(shown(&pod, Side::Requests, Count::Held), r#"{"cpu":"9"}"#);
        pod["status"]["conditions"] = json!([{"type": "PodResizePending", "reason": "Infeasible"}]);
        assert_eq!(shown(&pod, Side::Requests, Count::Held), r#"{"cpu":"3"}"#);
    }
}
