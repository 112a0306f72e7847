//! Which Pods stand behind a Service, and at which ports: what Endpoints and EndpointSlices both say.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};

use crate::pod::{Pod, Spec};

/// A Pod that a Service's selector picks and that has an address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Backend {
    pub ip: String,
    pub node: Option<String>,
    pub hostname: Option<String>,
    pub pod: String,
    pub namespace: String,
    pub uid: String,
    /// Passes its readiness probe and is not going away (or the Service publishes it regardless).
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    /// One for each port of the Service that this Pod can serve.
    pub ports: Vec<BackendPort>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BackendPort {
    pub name: String,
    pub port: i32,
    pub protocol: String,
    pub app_protocol: Option<String>,
}

/// Whether this Service's endpoints are ours to keep: it selects Pods and is no alias.
pub(crate) fn is_selected(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.selector.as_ref().is_some_and(|s| !s.is_empty()) && spec.type_.as_deref() != Some("ExternalName")
}

pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.is_some_and(|s| !s.is_empty() && s.iter().all(|(k, v)| pod.labels().get(k) == Some(v)))
}

pub(crate) fn backends(service: &Service, pods: &[Arc<Pod>]) -> Vec<Backend> {
    let mut found: Vec<Backend> = pods.iter().filter_map(|pod| backend(service, pod)).collect();
    found.sort_by(|a, b| a.ip.cmp(&b.ip).then_with(|| a.uid.cmp(&b.uid)));
    found
}

fn backend(service: &Service, pod: &Pod) -> Option<Backend> {
    let (spec, status) = (&pod.spec, &pod.status);
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let ip = status.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    let service_spec = service.spec.as_ref()?;
    let terminating = pod.meta().deletion_timestamp.is_some();
    let serving = status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True");
    let publish_anyway = service_spec.publish_not_ready_addresses == Some(true);
    let hostname = spec.hostname.clone().filter(|_| spec.subdomain == service.metadata.name);
    Some(Backend {
        ip,
        node: spec.node_name.clone(),
        hostname: hostname.filter(|h| !h.is_empty()),
        pod: pod.name_any(),
        namespace: pod.namespace().unwrap_or_default(),
        uid: pod.uid().unwrap_or_default(),
        ready: publish_anyway || (serving && !terminating),
        serving: publish_anyway || serving,
        terminating,
        ports: service_spec.ports.iter().flatten().filter_map(|p| backend_port(p, spec)).collect(),
    })
}

fn backend_port(port: &ServicePort, pod: &Spec) -> Option<BackendPort> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(n)) => *n,
        Some(IntOrString::String(name)) => {
            let containers = pod.containers.iter().chain(&pod.init_containers);
            let mut ports = containers.flat_map(|c| &c.ports);
            let named = |p: &&k8s_openapi::api::core::v1::ContainerPort| {
                p.name.as_ref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol
            };
            ports.find(named)?.container_port
        }
    };
    Some(BackendPort {
        name: port.name.clone().unwrap_or_default(),
        port: number,
        protocol,
        app_protocol: port.app_protocol.clone(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn service(ports: serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "svc-uid"},
            "spec": {"selector": {"app": "web"}, "ports": ports}
        }))
        .unwrap()
    }

    pub(crate) fn pod(name: &str, ip: &str, ready: bool) -> Arc<Pod> {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-uid"), "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip,
                       "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_named_port_is_looked_up_in_each_pod() {
        let service = service(
            json!([{"port": 80, "targetPort": "http"}, {"name": "x", "port": 81, "targetPort": "none"}]),
        );
        let found = backends(&service, &[pod("a", "10.0.0.2", true)]);
        assert_eq!(found[0].ports.iter().map(|p| p.port).collect::<Vec<_>>(), [8080]);
    }

    #[test]
    fn only_pods_with_an_address_that_still_run_count() {
        let service = service(json!([{"port": 80}]));
        let mut done = pod("done", "10.0.0.3", true);
        Arc::make_mut(&mut done).status.phase = Some("Succeeded".into());
        let found = backends(&service, &[pod("a", "10.0.0.2", false), done, pod("new", "", true)]);
        assert_eq!(found.iter().map(|b| (b.pod.as_str(), b.ready)).collect::<Vec<_>>(), [("a", false)]);
    }
}
