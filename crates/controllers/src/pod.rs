//! Pods as the controllers share them: of each, what one of them looks at. A cluster has more Pods than anything else.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{self, ContainerPort};
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::metadata;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pod {
    #[serde(deserialize_with = "metadata::kept")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: Spec,
    #[serde(default)]
    pub status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub node_name: Option<String>,
    pub hostname: Option<String>,
    pub subdomain: Option<String>,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    /// Those of its volumes that are claims.
    #[serde(rename = "volumes", deserialize_with = "claims")]
    pub claims: Box<[Claim]>,
}

/// How a Pod means a PersistentVolumeClaim.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Claim {
    /// By its name.
    Named(String),
    /// By a template, in a volume of this name.
    Template(String),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub ports: Vec<ContainerPort>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub phase: Option<String>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}

fn claims<'de, D: Deserializer<'de>>(from: D) -> Result<Box<[Claim]>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Volume {
        name: String,
        persistent_volume_claim: Option<Source>,
        ephemeral: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Source {
        claim_name: String,
    }
    let volumes = Option::<Vec<Volume>>::deserialize(from)?.unwrap_or_default();
    let claim = |volume: Volume| match volume.persistent_volume_claim {
        Some(source) => Some(Claim::Named(source.claim_name)),
        None => volume.ephemeral.map(|_| Claim::Template(volume.name)),
    };
    Ok(volumes.into_iter().filter_map(claim).collect())
}

impl Pod {
    /// The names of the claims that its volumes are.
    pub(crate) fn claim_names(&self) -> impl Iterator<Item = String> {
        self.spec.claims.iter().map(|claim| self.claim_name(claim).into_owned())
    }

    /// The name of one of its claims.
    pub(crate) fn claim_name<'a>(&self, claim: &'a Claim) -> Cow<'a, str> {
        match claim {
            Claim::Named(name) => name.into(),
            Claim::Template(volume) => format!("{}-{volume}", self.name_any()).into(),
        }
    }

    /// The node that it is bound to; empty for none.
    pub(crate) fn node(&self) -> &str {
        self.spec.node_name.as_deref().unwrap_or_default()
    }
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(of: &()) -> Cow<'_, str> {
        <v1::Pod as Resource>::kind(of)
    }

    fn group(of: &()) -> Cow<'_, str> {
        <v1::Pod as Resource>::group(of)
    }

    fn version(of: &()) -> Cow<'_, str> {
        <v1::Pod as Resource>::version(of)
    }

    fn plural(of: &()) -> Cow<'_, str> {
        <v1::Pod as Resource>::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_volumes_the_claims_are_kept() {
        let volumes = json!([
            {"name": "token", "projected": {"sources": []}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "big"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        ]);
        for (volumes, claims) in [(volumes, vec!["big", "p-scratch"]), (json!(null), vec![])] {
            let spec = json!({"containers": [{"name": "c"}], "volumes": volumes});
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            assert_eq!(pod.claim_names().collect::<Vec<_>>(), claims);
        }
        let bare: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {}})).unwrap();
        assert_eq!(bare.claim_names().count(), 0);
    }
}
