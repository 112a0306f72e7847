//! Endpoints of the same name for every Service that selects Pods.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use crate::pod_endpoints::{self, Backend, BackendPort};
use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
const HEADLESS: &str = "service.kubernetes.io/headless";
/// The reference lists at most this many addresses in one Endpoints object, and says so.
const ADDRESSES_MAX: usize = 1000;

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    work::reconcile_all(service_triggers(&cx), &cx.clock, |key| reconcile(&cx, key)).await
}

/// Every Service that changed, and every Service that selects a Pod that changed.
pub(crate) fn service_triggers(cx: &Context) -> stream::BoxStream<'static, Key> {
    let services = work::changes(Api::<Service>::all(cx.client.clone()), watcher::Config::default())
        .map(|c| stream::iter(vec![Key::of(c.object())]).boxed());
    let client = cx.client.clone();
    let pods = work::changes(Api::<Pod>::all(cx.client.clone()), watcher::Config::default())
        .map(move |c| services_of(client.clone(), c.object().clone()));
    stream::select(services, pods).flatten_unordered(None).boxed()
}

fn services_of(client: kube::Client, pod: Pod) -> stream::BoxStream<'static, Key> {
    stream::once(async move {
        let services: Api<Service> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
        let listed = services.list(&ListParams::default()).await;
        if let Err(error) = &listed {
            tracing::warn!(%error, "cannot list the services of a pod");
        }
        let picked = |l: kube::api::ObjectList<Service>| {
            l.items.iter().filter(|s| pod_endpoints::selects(s, &pod)).map(Key::of).collect::<Vec<_>>()
        };
        stream::iter(listed.map(picked).unwrap_or_default())
    })
    .flatten()
    .boxed()
}

/// The Pods that a Service selects, read from the API.
pub(crate) async fn selected_pods(cx: &Context, service: &Service) -> Result<Vec<Pod>, Error> {
    let pods: Api<Pod> = Api::namespaced(cx.client.clone(), &service.namespace().unwrap_or_default());
    Ok(pods.list(&ListParams::default().labels(&pod_endpoints::selector_text(service))).await?.items)
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let services: Api<Service> = Api::namespaced(cx.client.clone(), &key.namespace);
    let endpoints: Api<Endpoints> = Api::namespaced(cx.client.clone(), &key.namespace);
    let live = found(endpoints.get(&key.name).await)?;
    let Some(service) = found(services.get(&key.name).await)? else {
        let ours = live.is_some_and(|e| e.labels().get(MANAGED_BY.0).is_some_and(|v| v == MANAGED_BY.1));
        if ours {
            found(endpoints.delete(&key.name, &DeleteParams::default()).await)?;
        }
        return Ok(Next::Wait);
    };
    if !pod_endpoints::is_selected(&service) {
        return Ok(Next::Wait);
    }
    let want = build(&service, &pod_endpoints::backends(&service, &selected_pods(cx, &service).await?));
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
