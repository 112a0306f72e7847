//! An Ingress that names no class gets the cluster's default one, where there is one.

use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::default_storage_class::newest_default;
use super::{Admit, Operation, Plugin};

const GROUP: &str = "networking.k8s.io";
/// On an Ingress: the class as it was named before there was a field.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

pub(crate) struct DefaultIngressClass;

impl Plugin for DefaultIngressClass {
    fn mutate(&self, admit: &Admit<'_>, ingress: &mut Value) -> Result<(), Status> {
        let creates = admit.operation == Operation::Create && admit.sub.is_none();
        if !creates || !admit.is_kind(GROUP, "Ingress") {
            return Ok(());
        }
        let says = object::annotation(ingress, OLD_CLASS).is_some()
            || !object::at(ingress, &["spec", "ingressClassName"]).is_null();
        if says {
            return Ok(());
        }
        let classes = admit.core.objects(GROUP, "ingressclasses", "")?;
        if let Some(class) = newest_default(&classes, &[IS_DEFAULT]) {
            object::map_at_mut(ingress, &["spec"])
                .insert("ingressClassName".into(), json!(object::name(class)));
        }
        Ok(())
    }
}
