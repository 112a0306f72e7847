//! Endpoints of the same name for every Service that selects Pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Service,
};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};

use crate::informer::{Change, Informer};
use crate::pod::Pod;
use crate::pod_endpoints::{self, Backend, BackendPort};
use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
const HEADLESS: &str = "service.kubernetes.io/headless";
/// The reference lists at most this many addresses in one Endpoints object, and says so.
const ADDRESSES_MAX: usize = 1000;

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    work::reconcile_all(service_triggers(&cx).await, &cx.clock, |key| reconcile(&cx, key)).await
}

/// Every Service that changed, and every Service that selects a Pod that changed, or did before it changed.
pub(crate) async fn service_triggers(cx: &Context) -> stream::BoxStream<'static, Key> {
    cx.informers.pods.listed().await;
    cx.informers.services.listed().await;
    let services = cx.informers.services.changes().map(|change| change.key());
    let known = cx.informers.services.clone();
    let pods = cx.informers.pods.changes().flat_map(move |change| stream::iter(services_of(&known, &change)));
    stream::select(services, pods).boxed()
}

fn services_of(services: &Informer<Service>, change: &Change<Pod>) -> Vec<Key> {
    let picks = |s: &Service| change.states().any(|pod| pod_endpoints::selects(s, pod));
    services.select(&change.key().namespace, picks).iter().map(|s| Key::of(&**s)).collect()
}

/// The Pods that a Service selects.
pub(crate) fn selected_pods(cx: &Context, service: &Service) -> Vec<Arc<Pod>> {
    let namespace = service.namespace().unwrap_or_default();
    cx.informers.pods.select(&namespace, |pod| pod_endpoints::selects(service, pod))
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let endpoints: Api<Endpoints> = Api::namespaced(cx.client.clone(), &key.namespace);
    let live = found(endpoints.get(&key.name).await)?;
    let Some(service) = cx.informers.services.get(&key) else {
        let ours = live.is_some_and(|e| e.labels().get(MANAGED_BY.0).is_some_and(|v| v == MANAGED_BY.1));
        if ours {
            found(endpoints.delete(&key.name, &DeleteParams::default()).await)?;
        }
        return Ok(Next::Wait);
    };
    if !pod_endpoints::is_selected(&service) {
        return Ok(Next::Wait);
    }
    let want = build(&service, &pod_endpoints::backends(&service, &selected_pods(cx, &service)));
    match live {
        None => drop(endpoints.create(&PostParams::default(), &want).await?),
        Some(live) if live.subsets == want.subsets && live.metadata.labels == want.metadata.labels => {}
        Some(mut live) => {
            live.subsets = want.subsets;
            live.metadata.labels = want.metadata.labels;
            endpoints.replace(&key.name, &PostParams::default(), &live).await?;
        }
    }
    Ok(Next::Wait)
}

fn build(service: &Service, backends: &[Backend]) -> Endpoints {
    let mut by_ports: BTreeMap<Vec<BackendPort>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> =
        BTreeMap::new();
    for backend in backends.iter().take(ADDRESSES_MAX) {
        if backend.ports.is_empty() && !is_headless(service) {
            continue;
        }
        let (ready, not_ready) = by_ports.entry(backend.ports.clone()).or_default();
        if backend.ready {
            ready.push(address(backend));
        } else if !backend.terminating {
            not_ready.push(address(backend));
        }
    }
    let subsets: Vec<EndpointSubset> = by_ports
        .into_iter()
        .filter(|(_, (ready, not_ready))| !ready.is_empty() || !not_ready.is_empty())
        .map(|(ports, (ready, not_ready))| EndpointSubset {
            addresses: Some(ready).filter(|a| !a.is_empty()),
            not_ready_addresses: Some(not_ready).filter(|a| !a.is_empty()),
            ports: Some(ports.into_iter().map(endpoint_port).collect::<Vec<_>>()).filter(|p| !p.is_empty()),
        })
        .collect();
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets).filter(|s| !s.is_empty()),
    }
}

pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None")
}

fn endpoint_port(port: BackendPort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name).filter(|n| !n.is_empty()),
        port: port.port,
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
    }
}

fn address(backend: &Backend) -> EndpointAddress {
    EndpointAddress {
        ip: backend.ip.clone(),
        hostname: backend.hostname.clone(),
        node_name: backend.node.clone(),
        target_ref: Some(target(backend)),
    }
}

/// A reference to the Pod behind an address.
pub(crate) fn target(backend: &Backend) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        name: Some(backend.pod.clone()),
        namespace: Some(backend.namespace.clone()),
        uid: Some(backend.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_endpoints::tests::{pod, service};
    use serde_json::json;

    #[test]
    fn ready_and_unready_pods_share_a_subset() {
        let service = service(json!([{"port": 80, "targetPort": "http"}]));
        let pods = [pod("a", "10.0.0.2", true), pod("b", "10.0.0.3", false)];
        let built = build(&service, &pod_endpoints::backends(&service, &pods));
        let subset = &built.subsets.unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap()[0].ip, "10.0.0.2");
        assert_eq!(subset.not_ready_addresses.as_ref().unwrap()[0].ip, "10.0.0.3");
        assert_eq!(subset.ports.as_ref().unwrap()[0].port, 8080);
    }
}
