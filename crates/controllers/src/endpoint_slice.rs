//! EndpointSlices for every Service that selects Pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};

use crate::endpoints::{is_headless, selected_pods, service_triggers, target};
use crate::pod_endpoints::{self, Backend, BackendPort};
use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: (&str, &str) =
    ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io");
const HEADLESS: &str = "service.kubernetes.io/headless";
/// The reference's default for `--max-endpoints-per-slice`.
const ENDPOINTS_PER_SLICE_MAX: usize = 100;

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    work::reconcile_all(service_triggers(&cx).await, &cx.clock, |key| reconcile(&cx, key)).await
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    // Slices of a Service that is gone are garbage: their owner reference says so.
    let Some(service) = cx.informers.services.get(&key) else { return Ok(Next::Wait) };
    if !pod_endpoints::is_selected(&service) || service.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Wait);
    }
    let slices: Api<EndpointSlice> = Api::namespaced(cx.client.clone(), &key.namespace);
    let ours = format!("{SERVICE_NAME}={},{}={}", key.name, MANAGED_BY.0, MANAGED_BY.1);
    let live = slices.list(&ListParams::default().labels(&ours)).await?.items;
    let backends = pod_endpoints::backends(&service, &selected_pods(cx, &service));
    for step in plan(&service, &backends, live) {
        match step {
            Step::Create(slice) => drop(slices.create(&PostParams::default(), &slice).await?),
            Step::Replace(slice) => {
                drop(slices.replace(&slice.name_any(), &PostParams::default(), &slice).await?);
            }
            Step::Delete(name) => drop(found(slices.delete(&name, &DeleteParams::default()).await)?),
        }
    }
    Ok(Next::Wait)
}

#[derive(Debug, PartialEq)]
enum Step {
    Create(Box<EndpointSlice>),
    Replace(Box<EndpointSlice>),
    Delete(String),
}

/// What turns the live slices into the wanted ones: slices with the same ports are reused, the rest made or deleted.
fn plan(service: &Service, backends: &[Backend], mut live: Vec<EndpointSlice>) -> Vec<Step> {
    live.sort_by_key(ResourceExt::name_any);
    let mut steps = Vec::new();
    for (ports, endpoints) in wanted(service, backends) {
        match live.iter().position(|s| s.ports == ports) {
            Some(at) => {
                let mut slice = live.remove(at);
                let labels = labels(service);
                if slice.endpoints.as_deref().unwrap_or_default() != endpoints
                    || slice.metadata.labels.as_ref() != Some(&labels)
                {
                    slice.endpoints = Some(endpoints);
                    slice.metadata.labels = Some(labels);
                    steps.push(Step::Replace(Box::new(slice)));
                }
            }
            None => steps.push(Step::Create(Box::new(new_slice(service, ports, endpoints)))),
        }
    }
    steps.extend(live.into_iter().map(|s| Step::Delete(s.name_any())));
    steps
}

/// Endpoints grouped by their ports, at most a slice's worth each; one empty slice where there are none.
fn wanted(service: &Service, backends: &[Backend]) -> Vec<(Option<Vec<EndpointPort>>, Vec<Endpoint>)> {
    let mut by_ports: BTreeMap<Vec<BackendPort>, Vec<Endpoint>> = BTreeMap::new();
    for backend in backends {
        if !backend.ports.is_empty() || is_headless(service) {
            by_ports.entry(backend.ports.clone()).or_default().push(endpoint(backend));
        }
    }
    if by_ports.is_empty() {
        return vec![(None, Vec::new())];
    }
    let chunks = by_ports.into_iter().flat_map(|(ports, endpoints)| {
        let ports: Vec<EndpointPort> = ports.into_iter().map(slice_port).collect();
        let chunks: Vec<Vec<Endpoint>> =
            endpoints.chunks(ENDPOINTS_PER_SLICE_MAX).map(<[_]>::to_vec).collect();
        chunks.into_iter().map(move |chunk| (Some(ports.clone()).filter(|p| !p.is_empty()), chunk))
    });
    chunks.collect()
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn new_slice(service: &Service, ports: Option<Vec<EndpointPort>>, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels(service)),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Service".into(),
                name: service.name_any(),
                uid: service.uid().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".into(),
        endpoints: Some(endpoints),
        ports,
    }
}

fn slice_port(port: BackendPort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name),
        port: Some(port.port),
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
    }
}

fn endpoint(backend: &Backend) -> Endpoint {
    Endpoint {
        addresses: vec![backend.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname.clone(),
        node_name: backend.node.clone(),
        target_ref: Some(target(backend)),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_endpoints::tests::{pod, service};
    use serde_json::json;

    #[test]
    fn a_settled_service_needs_no_step() {
        let service = service(json!([{"port": 80}]));
        let backends = pod_endpoints::backends(&service, &[pod("a", "10.0.0.2", true)]);
        let Step::Create(mut made) = plan(&service, &backends, vec![]).remove(0) else {
            panic!("not created")
        };
        made.metadata.name = Some("web-abcde".into());
        assert_eq!(plan(&service, &backends, vec![*made.clone()]), []);
        let none = plan(&service, &[], vec![*made]);
        assert!(matches!(none.as_slice(), [Step::Create(_), Step::Delete(_)]), "{none:?}");
    }

    #[test]
    fn a_slice_holds_a_hundred_endpoints() {
        let service = service(json!([{"port": 80}]));
        let pods: Vec<_> =
            (0..250).map(|i| pod(&format!("p{i}"), &format!("10.0.{}.{}", i / 200, i % 200), true)).collect();
        let sizes: Vec<_> =
            wanted(&service, &pod_endpoints::backends(&service, &pods)).iter().map(|w| w.1.len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
    }
}
