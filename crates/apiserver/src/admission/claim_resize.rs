//! A claim grows only where its class says that its volumes can.

use coracle_api::{Status, object, resources};
use serde_json::Value;

use super::{Admit, Operation, Plugin};

pub(crate) struct PersistentVolumeClaimResize;

impl Plugin for PersistentVolumeClaimResize {
    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let updates = admit.operation == Operation::Update && admit.sub.is_none();
        let (Some(claim), Some(old)) = (obj, admit.old) else { return Ok(()) };
        if !updates || !admit.is_kind("", "PersistentVolumeClaim") || size(claim) <= size(old) {
            return Ok(());
        }
        let refuse = |why: &str| Err(admit.forbidden(object::name(old), why));
        if object::text(old, &["status", "phase"]) != "Bound" {
            return refuse("Only bound persistent volume claims can be expanded");
        }
        let named = class(claim);
        let class = admit.core.object("storage.k8s.io", "storageclasses", "", named);
        let expands = class.is_some_and(|c| c["allowVolumeExpansion"] == true);
        if named.is_empty() || named != self::class(old) || !expands {
            return refuse(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                 support resize",
            );
        }
        Ok(())
    }
}

fn size(claim: &Value) -> i128 {
    let asked = resources::quantity(object::at(claim, &["spec", "resources", "requests", "storage"]));
    asked.map_or(0, |q| q.nano())
}

fn class(claim: &Value) -> &str {
    object::annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| object::text(claim, &["spec", "storageClassName"]))
}
