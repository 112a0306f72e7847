//! Pods as the scheduler's watch reads them: without managedFields and the larger part of the status, which it never
//! looks at and which are half of the work of decoding a Pod.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
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
    spec: Option<PodSpec>,
    status: Option<Status>,
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
        let status = status.map(|s| PodStatus { phase: s.phase, ..PodStatus::default() });
        Ok(Seen(Pod { metadata, spec, status }))
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
            "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let whole: Pod = serde_json::from_value(of.clone()).unwrap();
        let Seen(mut seen) = serde_json::from_value(of).unwrap();
        assert_eq!(seen.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
        seen.status = whole.status.clone();
        seen.metadata.managed_fields = whole.metadata.managed_fields.clone();
        assert_eq!(seen, whole);
    }
}
