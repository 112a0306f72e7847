//! Volume sources that name a disk or a server somewhere else. Pods and PersistentVolumes share them.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::names;

/// The largest partition number and logical unit number.
const BYTE_MAX: i64 = 255;
/// The longest name of a CSI driver.
const CSI_DRIVER_MAX: usize = 63;
/// The longest tenant of a Quobyte volume: a UUID fits.
const QUOBYTE_TENANT_MAX: usize = 64;

/// The text at `key` must be there.
pub fn need(at: &At<'_>, key: &str, errs: &mut Errors) {
    if at.get(key).is_empty() {
        errs.required(&at.get(key).path, "");
    }
}

fn byte(at: &At<'_>, errs: &mut Errors) {
    errs.bad_ints(at, names::in_range(at.int(), 0, BYTE_MAX));
}

pub fn gce(at: &At<'_>, errs: &mut Errors) {
    need(at, "pdName", errs);
    byte(&at.get("partition"), errs);
}

pub fn aws(at: &At<'_>, errs: &mut Errors) {
    need(at, "volumeID", errs);
    byte(&at.get("partition"), errs);
}

pub fn nfs(at: &At<'_>, errs: &mut Errors) {
    need(at, "server", errs);
    need(at, "path", errs);
    if !at.peek_text("path").starts_with('/') {
        errs.bad_text(&at.get("path"), "must be an absolute path");
    }
}

pub fn iscsi(at: &At<'_>, errs: &mut Errors) {
    need(at, "targetPortal", errs);
    need(at, "iqn", errs);
    let known = |name: &str| ["iqn", "eui", "naa"].iter().any(|start| name.starts_with(start));
    for name in [at.get("iqn"), at.get("initiatorName")].iter().filter(|n| !n.is_empty()) {
        if !known(name.text()) {
            errs.bad_text(name, "must be valid format starting with iqn, eui, or naa");
        }
    }
    byte(&at.get("lun"), errs);
    if (at.peek_true("chapAuthDiscovery") || at.peek_true("chapAuthSession")) && !at.has("secretRef") {
        errs.required(&at.get("secretRef").path, "");
    }
}

pub fn glusterfs(at: &At<'_>, errs: &mut Errors) {
    need(at, "endpoints", errs);
    need(at, "path", errs);
}

pub fn flocker(at: &At<'_>, errs: &mut Errors) {
    let (name, uuid) = (at.get("datasetName"), at.get("datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errs.required(&at.path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        let words = "datasetName and datasetUUID can not be specified simultaneously";
        errs.invalid(&at.path, &Value::from("resource"), words);
    }
    if name.text().contains('/') {
        errs.bad_text(&name, "must not contain '/'");
    }
}

pub fn rbd(at: &At<'_>, errs: &mut Errors) {
    need(at, "monitors", errs);
    need(at, "image", errs);
}

pub fn cinder(at: &At<'_>, errs: &mut Errors) {
    need(at, "volumeID", errs);
    if at.has("secretRef") {
        need(&at.get("secretRef"), "name", errs);
    }
}

pub fn cephfs(at: &At<'_>, errs: &mut Errors) {
    need(at, "monitors", errs);
}

pub fn quobyte(at: &At<'_>, errs: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = at.get("registry");
    if registry.is_empty() {
        errs.required(&registry.path, PAIRS);
    } else if at.peek_text("tenant").len() > QUOBYTE_TENANT_MAX {
        let words = "must be a UUID and may not exceed a length of 64 characters";
        errs.required(&at.get("tenant").path, words);
    } else if registry.text().split(',').any(|pair| !pair.contains(':')) {
        errs.bad_text(&registry, PAIRS);
    }
    need(at, "volume", errs);
}

pub fn fc(at: &At<'_>, errs: &mut Errors) {
    let (wwns, wwids) = (at.get("targetWWNs"), at.get("wwids"));
    if wwns.is_empty() && wwids.is_empty() {
        errs.required(&wwns.path, "must specify either targetWWNs or wwids, but not both");
    }
    if !wwns.is_empty() && !wwids.is_empty() {
        errs.bad(&wwns, "targetWWNs and wwids can not be specified simultaneously");
    }
    if !wwns.is_empty() {
        let lun = at.get("lun");
        if lun.is_set() {
            byte(&lun, errs);
        } else {
            errs.required(&lun.path, "lun is required if targetWWNs is specified");
        }
    }
}

pub fn flex(at: &At<'_>, errs: &mut Errors) {
    need(at, "driver", errs);
    for (key, option) in at.get("options").entries() {
        if key.contains("kubernetes.io") || key.contains("k8s.io") {
            let words = "'k8s.io' and 'kubernetes.io' namespaces are reserved";
            errs.invalid(&option.path, &Value::from(key), words);
        }
    }
}

pub fn azure_file(at: &At<'_>, errs: &mut Errors) {
    need(at, "secretName", errs);
    need(at, "shareName", errs);
}

pub fn vsphere(at: &At<'_>, errs: &mut Errors) {
    need(at, "volumePath", errs);
}

pub fn photon(at: &At<'_>, errs: &mut Errors) {
    need(at, "pdID", errs);
}

pub fn portworx(at: &At<'_>, errs: &mut Errors) {
    need(at, "volumeID", errs);
}

pub fn azure_disk(at: &At<'_>, errs: &mut Errors) {
    need(at, "diskName", errs);
    need(at, "diskURI", errs);
    errs.one_of_if_set(&at.get("cachingMode"), &["None", "ReadOnly", "ReadWrite"]);
    errs.one_of_if_set(&at.get("kind"), &["Dedicated", "Managed", "Shared"]);
}

pub fn storageos(at: &At<'_>, errs: &mut Errors) {
    let name = at.get("volumeName");
    if name.is_empty() {
        errs.required(&name.path, "");
    } else {
        errs.bad_texts(&name, names::dns1123_label(name.text()));
    }
}

pub fn scale_io(at: &At<'_>, errs: &mut Errors) {
    for key in ["gateway", "system", "volumeName"] {
        need(at, key, errs);
    }
}

pub fn csi(at: &At<'_>, errs: &mut Errors) {
    csi_driver(&at.get("driver"), errs);
    let secret = at.get("nodePublishSecretRef");
    if secret.is_set() {
        need(&secret, "name", errs);
    }
}

pub fn csi_driver(at: &At<'_>, errs: &mut Errors) {
    if at.is_empty() {
        errs.required(&at.path, "");
    }
    if at.text().len() > CSI_DRIVER_MAX {
        errs.too_long(&at.path, CSI_DRIVER_MAX);
    }
    errs.bad_texts(at, names::dns1123_subdomain(&at.text().to_lowercase()));
}
