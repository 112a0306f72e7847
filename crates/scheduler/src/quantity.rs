//! What a Pod asks for: its containers' requests, added up as the scheduler counts them.

use std::collections::BTreeMap;

use coracle_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

/// Amounts by resource name, in thousandths.
pub(crate) type Amounts = BTreeMap<String, i128>;

/// A quantity in thousandths; what cannot be read counts as nothing, because the API does not let it in.
pub(crate) fn milli(quantity: &Wire) -> i128 {
    Quantity::parse(&quantity.0).map_or(0, |q| i128::from(q.milli_value()))
}

/// The larger of the containers' sum and any init container, with sidecars running beside all of them, plus overhead.
pub(crate) fn requests(spec: &PodSpec) -> Amounts {
    let mut running = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, &own);
            raise(&mut peak, &running);
        } else {
            let mut at_once = running.clone();
            add(&mut at_once, &own);
            raise(&mut peak, &at_once);
        }
    }
    for container in &spec.containers {
        add(&mut running, &of(container));
    }
    raise(&mut peak, &running);
    for (name, amount) in spec.overhead.iter().flatten() {
        *peak.entry(name.clone()).or_default() += milli(amount);
    }
    peak
}

fn of(container: &Container) -> Amounts {
    let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    requests.into_iter().flatten().map(|(name, amount)| (name.clone(), milli(amount))).collect()
}

pub(crate) fn add(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        *to.entry(name.clone()).or_default() += amount;
    }
}

fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let slot = to.entry(name.clone()).or_default();
        *slot = (*slot).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_raise_the_peak_and_sidecars_stay() {
        let c = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = c("100m");
        sidecar["restartPolicy"] = json!("Always");
        let spec: PodSpec = serde_json::from_value(
            json!({"initContainers": [sidecar, c("2")], "containers": [c("1"), c("500m")]}),
        )
        .unwrap();
        assert_eq!(requests(&spec)["cpu"], 2100);
    }
}
