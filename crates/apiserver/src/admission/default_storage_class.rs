//! A claim that names no StorageClass gets the cluster's default one, where there is one.

use std::cmp::Reverse;

use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::{Admit, Operation, Plugin};

/// On a claim: the class as it was named before there was a field.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(crate) struct DefaultStorageClass;

impl Plugin for DefaultStorageClass {
    fn mutate(&self, admit: &Admit<'_>, claim: &mut Value) -> Result<(), Status> {
        let creates = admit.operation == Operation::Create && admit.sub.is_none();
        if !creates || !admit.is_kind("", "PersistentVolumeClaim") {
            return Ok(());
        }
        let says = object::annotation(claim, BETA_CLASS).is_some()
            || !object::at(claim, &["spec", "storageClassName"]).is_null();
        if says {
            return Ok(());
        }
        let classes = admit.core.objects("storage.k8s.io", "storageclasses", "")?;
        if let Some(class) = newest_default(&classes, &IS_DEFAULT) {
            object::map_at_mut(claim, &["spec"])
                .insert("storageClassName".into(), json!(object::name(class)));
        }
        Ok(())
    }
}

/// Of several classes that are marked the default one, the newest; of those the first by name.
pub(super) fn newest_default<'a>(classes: &'a [Value], marks: &[&str]) -> Option<&'a Value> {
    let is_marked = |class: &&Value| marks.iter().any(|m| object::annotation(class, m) == Some("true"));
    let created = |class: &Value| object::text(class, &["metadata", "creationTimestamp"]).to_owned();
    classes
        .iter()
        .filter(is_marked)
        .min_by_key(|class| (Reverse(created(class)), object::name(class).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_default_wins_and_then_the_first_by_name() {
        let class = |name: &str, mark: &str, day: u32| {
            json!({"metadata": {"name": name, "annotations": {mark: "true"},
                "creationTimestamp": format!("2026-01-0{day}T00:00:00Z")}})
        };
        let classes = [
            class("old", IS_DEFAULT[0], 1),
            class("b", IS_DEFAULT[0], 2),
            class("a", IS_DEFAULT[1], 2),
            class("other", "unmarked", 3),
        ];
        assert_eq!(newest_default(&classes, &IS_DEFAULT).map(object::name), Some("a"));
        assert_eq!(newest_default(&classes[3..], &IS_DEFAULT), None);
    }
}
