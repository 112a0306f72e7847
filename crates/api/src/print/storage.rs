//! Volumes, claims, storage classes and CSI objects in tables.

use serde_json::Value;

use super::cell::{UNSET, age, count, name, shown_or, string, text_or};
use super::{AGE, Column, Columns, NAME, boolean, integer, text as column};
use crate::object::{annotation, at, is_deleting, items, text};

/// Where a class was named before the field existed.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

fn access_modes(modes: &Value) -> Value {
    let held = |mode: &str| modes.as_array().is_some_and(|l| l.iter().any(|m| m == mode));
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    string(short.iter().filter(|(mode, _)| held(mode)).map(|(_, s)| *s).collect::<Vec<_>>().join(","))
}

fn phase(obj: &Value) -> Value {
    string(if is_deleting(obj) { "Terminating" } else { text(obj, &["status", "phase"]) })
}

fn class(obj: &Value) -> Value {
    string(annotation(obj, CLASS_ANNOTATION).unwrap_or_else(|| text(obj, &["spec", "storageClassName"])))
}

pub static PERSISTENT_VOLUME: Columns = Columns {
    columns: &[
        NAME,
        column("Capacity"),
        column("Access Modes"),
        column("Reclaim Policy"),
        column("Status"),
        column("Claim"),
        column("StorageClass"),
        column("VolumeAttributesClass"),
        column("Reason"),
        AGE,
        Column::wide("VolumeMode"),
    ],
    cells: |obj, now| {
        let claim = at(obj, &["spec", "claimRef"]);
        let claimed = if claim.is_null() {
            String::new()
        } else {
            format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"]))
        };
        vec![
            name(obj),
            string(shown_or(obj, &["spec", "capacity", "storage"], "0")),
            access_modes(at(obj, &["spec", "accessModes"])),
            string(text(obj, &["spec", "persistentVolumeReclaimPolicy"])),
            phase(obj),
            string(claimed),
            class(obj),
            string(text_or(obj, &["spec", "volumeAttributesClassName"], UNSET)),
            string(text(obj, &["status", "reason"])),
            age(obj, now),
            string(text_or(obj, &["spec", "volumeMode"], UNSET)),
        ]
    },
};

pub static PERSISTENT_VOLUME_CLAIM: Columns = Columns {
    columns: &[
        NAME,
        column("Status"),
        column("Volume"),
        column("Capacity"),
        column("Access Modes"),
        column("StorageClass"),
        column("VolumeAttributesClass"),
        AGE,
        Column::wide("VolumeMode"),
    ],
    cells: |obj, now| {
        let volume = text(obj, &["spec", "volumeName"]);
        let (capacity, modes) = if volume.is_empty() {
            (String::new(), string(""))
        } else {
            let capacity = shown_or(obj, &["status", "capacity", "storage"], "0");
            (capacity, access_modes(at(obj, &["status", "accessModes"])))
        };
        vec![
            name(obj),
            phase(obj),
            string(volume),
            string(capacity),
            modes,
            class(obj),
            string(text_or(obj, &["spec", "volumeAttributesClassName"], UNSET)),
            age(obj, now),
            string(text_or(obj, &["spec", "volumeMode"], UNSET)),
        ]
    },
};

pub static STORAGE_CLASS: Columns = Columns {
    columns: &[
        NAME,
        column("Provisioner"),
        column("ReclaimPolicy"),
        column("VolumeBindingMode"),
        column("AllowVolumeExpansion"),
        AGE,
    ],
    cells: |obj, now| {
        let default = DEFAULT_CLASS.iter().any(|key| annotation(obj, key) == Some("true"));
        let suffix = if default { " (default)" } else { "" };
        vec![
            string(format!("{}{suffix}", crate::object::name(obj))),
            string(text(obj, &["provisioner"])),
            string(text_or(obj, &["reclaimPolicy"], "Delete")),
            string(text_or(obj, &["volumeBindingMode"], "Immediate")),
            Value::from(at(obj, &["allowVolumeExpansion"]) == true),
            age(obj, now),
        ]
    },
};

pub static VOLUME_ATTRIBUTES_CLASS: Columns = Columns {
    columns: &[NAME, column("DriverName"), AGE],
    cells: |obj, now| vec![name(obj), string(text(obj, &["driverName"])), age(obj, now)],
};

/// A second column of format `name`, as the reference has it.
const ATTACHER: Column = {
    let mut column = NAME;
    std::mem::forget(std::mem::replace(&mut column.name, std::borrow::Cow::Borrowed("Attacher")));
    column
};

pub static VOLUME_ATTACHMENT: Columns = Columns {
    columns: &[NAME, ATTACHER, column("PV"), column("Node"), boolean("Attached"), AGE],
    cells: |obj, now| {
        vec![
            name(obj),
            string(text(obj, &["spec", "attacher"])),
            string(text(obj, &["spec", "source", "persistentVolumeName"])),
            string(text(obj, &["spec", "nodeName"])),
            Value::from(at(obj, &["status", "attached"]) == true),
            age(obj, now),
        ]
    },
};

pub static CSI_NODE: Columns = Columns {
    columns: &[NAME, integer("Drivers"), AGE],
    cells: |obj, now| vec![name(obj), count(obj, &["spec", "drivers"]), age(obj, now)],
};

pub static CSI_DRIVER: Columns = Columns {
    columns: &[
        NAME,
        boolean("AttachRequired"),
        boolean("PodInfoOnMount"),
        boolean("StorageCapacity"),
        column("TokenRequests"),
        boolean("RequiresRepublish"),
        column("Modes"),
        AGE,
    ],
    cells: |obj, now| {
        let flag = |key, otherwise| Value::from(at(obj, &["spec", key]).as_bool().unwrap_or(otherwise));
        let join = |list: Vec<&str>, otherwise: &str| {
            string(if list.is_empty() { otherwise.to_owned() } else { list.join(",") })
        };
        let audiences =
            items(obj, &["spec", "tokenRequests"]).iter().map(|r| text(r, &["audience"])).collect();
        let modes = items(obj, &["spec", "volumeLifecycleModes"]).iter().filter_map(Value::as_str).collect();
        vec![
            name(obj),
            flag("attachRequired", true),
            flag("podInfoOnMount", false),
            flag("storageCapacity", false),
            join(audiences, UNSET),
            flag("requiresRepublish", false),
            join(modes, super::cell::NONE),
            age(obj, now),
        ]
    },
};

pub static CSI_STORAGE_CAPACITY: Columns = Columns {
    columns: &[NAME, column("StorageClassName"), column("Capacity")],
    cells: |obj, _| {
        vec![name(obj), string(text(obj, &["storageClassName"])), string(shown_or(obj, &["capacity"], UNSET))]
    },
};
