//! Pods as the scheduler's watch reads them: without managedFields and most of spec and status, which it never looks at
//! and which are most of the work of decoding a Pod. What a filter or a score begins to look at is to be added here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, Pod, PodSchedulingGate, PodSpec, PodStatus, ResourceRequirements,
    Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer};

/// A Pod with those fields alone that are read here.
#[derive(Debug, Clone)]
pub(crate) struct Seen(pub Pod);

#[derive(Deserialize)]
struct Read {
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    scheduler_name: Option<String>,
    scheduling_gates: Option<Vec<PodSchedulingGate>>,
    priority: Option<i32>,
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<Affinity>,
    tolerations: Option<Vec<Toleration>>,
    overhead: Option<BTreeMap<String, Quantity>>,
    containers: Option<Vec<Demands>>,
    init_containers: Option<Vec<Demands>>,
}

/// What a container needs of its node.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Demands {
    name: Option<String>,
    restart_policy: Option<String>,
    ports: Option<Vec<ContainerPort>>,
    resources: Option<ResourceRequirements>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Status {
    phase: Option<String>,
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Seen, D::Error> {
        let Read { metadata: m, spec, status } = Read::deserialize(from)?;
        let metadata = ObjectMeta {
            name: m.name,
            namespace: m.namespace,
            uid: m.uid,
            resource_version: m.resource_version,
            generation: m.generation,
            deletion_timestamp: m.deletion_timestamp,
            labels: m.labels,
            ..ObjectMeta::default()
        };
        let spec = spec.map(PodSpec::from);
        let status = status.map(|s| PodStatus { phase: s.phase, ..PodStatus::default() });
        Ok(Seen(Pod { metadata, spec, status }))
    }
}

impl From<Spec> for PodSpec {
    fn from(seen: Spec) -> PodSpec {
        let containers = |of: Vec<Demands>| of.into_iter().map(Container::from).collect();
        PodSpec {
            node_name: seen.node_name,
            scheduler_name: seen.scheduler_name,
            scheduling_gates: seen.scheduling_gates,
            priority: seen.priority,
            node_selector: seen.node_selector,
            affinity: seen.affinity,
            tolerations: seen.tolerations,
            overhead: seen.overhead,
            containers: seen.containers.map(containers).unwrap_or_default(),
            init_containers: seen.init_containers.map(containers),
            ..PodSpec::default()
        }
    }
}

impl From<Demands> for Container {
    fn from(seen: Demands) -> Container {
        Container {
            name: seen.name.unwrap_or_default(),
            restart_policy: seen.restart_policy,
            ports: seen.ports,
            resources: seen.resources,
            ..Container::default()
        }
    }
}

impl Resource for Seen {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(of: &()) -> Cow<'_, str> {
        <Pod as Resource>::kind(of)
    }

    fn group(of: &()) -> Cow<'_, str> {
        <Pod as Resource>::group(of)
    }

    fn version(of: &()) -> Cow<'_, str> {
        <Pod as Resource>::version(of)
    }

    fn plural(of: &()) -> Cow<'_, str> {
        <Pod as Resource>::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_decides_and_what_is_written_back_is_read() {
        let of = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 2,
                         "deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {"l": "1"},
                         "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
            "spec": {
                "nodeName": "n", "schedulerName": "s", "schedulingGates": [{"name": "g"}], "priority": 7,
                "nodeSelector": {"disk": "ssd"}, "overhead": {"cpu": "1m"}, "tolerations": [{"operator": "Exists"}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname"}]}},
                "initContainers": [{"name": "i", "restartPolicy": "Always"}],
                "containers": [{"name": "c", "image": "i", "env": [{"name": "E"}], "ports": [{"containerPort": 80, "hostPort": 8080}],
                                "resources": {"requests": {"cpu": "1"}}}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let mut whole: Pod = serde_json::from_value(of.clone()).unwrap();
        let spec = whole.spec.as_mut().unwrap();
        spec.volumes = None;
        (spec.containers[0].image, spec.containers[0].env) = (None, None);
        let Seen(mut seen) = serde_json::from_value(of).unwrap();
        assert_eq!(seen.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
        seen.status = whole.status.clone();
        seen.metadata.managed_fields = whole.metadata.managed_fields.clone();
        assert_eq!(seen, whole);
    }
}
