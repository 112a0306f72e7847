//! Volumes, claims and attribute classes are kept until nobody uses them: controllers take the finalizer off.

use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::{Admit, Operation, Plugin};

pub(crate) struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn mutate(&self, admit: &Admit<'_>, obj: &mut Value) -> Result<(), Status> {
        if admit.operation != Operation::Create || admit.sub.is_some() {
            return Ok(());
        }
        let finalizer = match (&*admit.kind.group, &*admit.kind.kind) {
            ("", "PersistentVolumeClaim") => "kubernetes.io/pvc-protection",
            ("", "PersistentVolume") => "kubernetes.io/pv-protection",
            ("storage.k8s.io", "VolumeAttributesClass") => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        let finalizers = object::metadata_mut(obj).entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = finalizers.as_array_mut().filter(|list| !list.iter().any(|f| f == finalizer)) {
            list.push(json!(finalizer));
        }
        Ok(())
    }
}
