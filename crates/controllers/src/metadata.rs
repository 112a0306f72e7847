//! Metadata without what no controller reads: `managedFields` are a third of a Pod, and most of the work of decoding it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::DynamicResourceScope;
use kube::discovery::ApiResource;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
}

/// For `#[serde(deserialize_with)]` on the metadata of what an informer keeps.
pub(crate) fn kept<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let kept = Kept::deserialize(from)?;
    Ok(ObjectMeta {
        name: kept.name,
        namespace: kept.namespace,
        uid: kept.uid,
        resource_version: kept.resource_version,
        deletion_timestamp: kept.deletion_timestamp,
        labels: kept.labels,
        owner_references: kept.owner_references,
        finalizers: kept.finalizers,
        ..ObjectMeta::default()
    })
}

/// An object of any kind, of which only the metadata is read. It asks for whole objects and not for
/// `PartialObjectMetadata`: those are stored as they are sent, while metadata alone is encoded anew for each change.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Object {
    #[serde(deserialize_with = "kept")]
    pub metadata: ObjectMeta,
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&of.kind)
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&of.group)
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&of.version)
    }

    fn api_version(of: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&of.api_version)
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&of.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
