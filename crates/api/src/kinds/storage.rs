//! The rules of storage.k8s.io: classes of storage, drivers, attachments.

use serde_json::{Value, json};

use super::core::disks;
use super::core::pod::defaults::{set, set_pointer};
use crate::at::{At, same};
use crate::field::Errors;
use crate::names;
use crate::object::{at, map_mut};
use crate::rules::{Rules, Write, facts};

/// All parameters of a class together, and how many there may be (the reference's own bounds).
const PARAMETERS_MAX: usize = 256 * 1024;
const PARAMETER_COUNT_MAX: usize = 512;

#[derive(Debug)]
pub struct StorageClass;

impl Rules for StorageClass {
    fn default(&self, obj: &mut Value) {
        let class = map_mut(obj);
        set(class, "reclaimPolicy", "Delete");
        set(class, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let class = At::root(obj);
        let provisioner = class.get("provisioner");
        if provisioner.is_empty() {
            errs.required(&provisioner.path, "");
        } else {
            errs.bad_texts(&provisioner, names::qualified(&provisioner.text().to_lowercase()));
        }
        parameters(&class.get("parameters"), true, errs);
        errs.one_of_if_set(&class.get("reclaimPolicy"), &["Delete", "Retain"]);
        errs.one_of(&class.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write != Write::Main {
            return;
        }
        let new = At::root(obj);
        for key in ["parameters", "provisioner", "reclaimPolicy"] {
            if !same(new.peek(key), at(old, &[key])) {
                errs.forbidden(&new.get(key).path, format!("updates to {key} are forbidden."));
            }
        }
        errs.immutable(&new.get("volumeBindingMode"), at(old, &["volumeBindingMode"]));
    }

    facts!(uncounted, returned);
}

fn parameters(at: &At<'_>, may_be_empty: bool, errs: &mut Errors) {
    let count = at.entries().count();
    if count > PARAMETER_COUNT_MAX {
        errs.too_long(&at.path, PARAMETER_COUNT_MAX);
        return;
    }
    let mut size = 0;
    for (key, value) in at.entries() {
        if key.is_empty() {
            errs.invalid(&at.path, &Value::from(key), "field can not be empty.");
        }
        size += key.len() + value.text().len();
    }
    if size > PARAMETERS_MAX {
        errs.too_long(&at.path, PARAMETERS_MAX);
    }
    if count == 0 && !may_be_empty {
        errs.required(&at.path, "must contain at least one key/value pair");
    }
}

#[derive(Debug)]
pub struct VolumeAttributesClass;

impl Rules for VolumeAttributesClass {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let class = At::root(obj);
        disks::csi_driver(&class.get("driverName"), errs);
        parameters(&class.get("parameters"), false, errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write != Write::Main {
            return;
        }
        let new = At::root(obj);
        for (key, said) in [
            ("driverName", "updates to driverName are forbidden."),
            ("parameters", "updates to parameters are forbidden."),
        ] {
            if !same(new.peek(key), at(old, &[key])) {
                errs.forbidden(&new.get(key).path, said);
            }
        }
    }

    facts!(uncounted, returned);
}

#[derive(Debug)]
pub struct CsiDriver;

impl Rules for CsiDriver {
    fn default(&self, obj: &mut Value) {
        let spec = crate::object::map_at_mut(obj, &["spec"]);
        set_pointer(spec, "attachRequired", true);
        for key in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            set_pointer(spec, key, false);
        }
        set_pointer(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        let modes = spec.entry("volumeLifecycleModes").or_insert_with(|| json!([]));
        if modes.as_array().is_none_or(Vec::is_empty) {
            *modes = json!(["Persistent"]);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let driver = At::root(obj);
        disks::csi_driver(&driver.get("metadata").get("name"), errs);
        let spec = driver.get("spec");
        for key in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
            if !spec.has(key) {
                errs.required(&spec.get(key).path, "");
            }
        }
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        errs.one_of_if_set(&spec.get("fsGroupPolicy"), &policies);
        let modes = spec.get("volumeLifecycleModes");
        for mode in modes.texts().filter(|m| !["Ephemeral", "Persistent"].contains(m)) {
            errs.not_supported(&modes.path, &Value::from(mode), &["Ephemeral", "Persistent"]);
        }
        let mut audiences: Vec<&str> = Vec::new();
        for request in spec.get("tokenRequests").items() {
            let audience = request.get("audience");
            if audiences.contains(&audience.text()) {
                errs.duplicate(&audience.path, &Value::from(audience.text()));
            }
            audiences.push(audience.text());
            let seconds = request.get("expirationSeconds");
            if seconds.is_set() && seconds.int() < 600 {
                errs.bad_int(&seconds, "may not specify a duration less than 10 minutes");
            }
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            let spec = At::root(obj).get("spec");
            for key in ["attachRequired", "volumeLifecycleModes"] {
                errs.immutable(&spec.get(key), at(old, &["spec", key]));
            }
        }
    }

    facts!(conditional, returned);
}

#[derive(Debug)]
pub struct CsiNode;

impl Rules for CsiNode {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let mut seen: Vec<&str> = Vec::new();
        for driver in At::root(obj).get("spec").get("drivers").items() {
            disks::csi_driver(&driver.get("name"), errs);
            disks::need(&driver, "nodeID", errs);
            let name = driver.get("name");
            if seen.contains(&name.text()) {
                errs.duplicate(&name.path, name.value);
            }
            seen.push(name.text());
            errs.nonnegative(&driver.get("allocatable").get("count"));
        }
    }

    facts!(uncounted, conditional, returned);
}

#[derive(Debug)]
pub struct CsiStorageCapacity;

impl Rules for CsiStorageCapacity {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let capacity = At::root(obj);
        let class = capacity.get("storageClassName");
        if class.is_empty() {
            errs.required(&class.path, "");
        } else {
            errs.bad_texts(&class, names::dns_subdomain(class.text(), false));
        }
        crate::meta::label_selector(&capacity.get("nodeTopology"), errs);
        for key in ["capacity", "maximumVolumeSize"] {
            super::core::amounts::nonnegative(&capacity.get(key), errs);
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            for key in ["nodeTopology", "storageClassName"] {
                errs.immutable(&At::root(obj).get(key), at(old, &[key]));
            }
        }
    }

    facts!(uncounted, conditional, returned);
}

#[derive(Debug)]
pub struct VolumeAttachment;

impl Rules for VolumeAttachment {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        disks::csi_driver(&spec.get("attacher"), errs);
        let source = spec.get("source");
        let (name, inline) = (source.get("persistentVolumeName"), source.get("inlineVolumeSpec"));
        match (name.is_empty(), inline.is_set()) {
            (true, false) => {
                errs.required(
                    &source.path,
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                );
            }
            (false, true) => {
                errs.forbidden(
                    &source.path,
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                );
            }
            _ => {}
        }
        let node = spec.get("nodeName");
        errs.bad_texts(&node, names::dns_subdomain(node.text(), false));
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main && !same(at(obj, &["spec"]), at(old, &["spec"])) {
            errs.bad(&At::root(obj).get("spec"), "field is immutable");
        }
    }

    facts!(uncounted, conditional, returned);
}
