//! The rules of PersistentVolumes.

use serde_json::{Value, json};

use super::persistent_volume_claim::ACCESS_MODES;
use super::pod::{defaults, scheduling, volumes};
use super::{amounts, disks};
use crate::at::{At, same};
use crate::field::Errors;
use crate::names;
use crate::object::{map_at_mut, map_mut};
use crate::rules::{Cx, Rules, Write, facts, selectable};

#[derive(Debug)]
pub struct PersistentVolume;

type Check = fn(&At<'_>, &mut Errors);

const SOURCES: [(&str, Check); 22] = [
    ("hostPath", volumes::host_path),
    ("gcePersistentDisk", disks::gce),
    ("awsElasticBlockStore", disks::aws),
    ("glusterfs", disks::glusterfs),
    ("flocker", disks::flocker),
    ("nfs", disks::nfs),
    ("rbd", disks::rbd),
    ("quobyte", disks::quobyte),
    ("cephfs", disks::cephfs),
    ("iscsi", disks::iscsi),
    ("cinder", disks::cinder),
    ("fc", disks::fc),
    ("flexVolume", disks::flex),
    ("azureFile", disks::azure_file),
    ("vsphereVolume", disks::vsphere),
    ("photonPersistentDisk", disks::photon),
    ("portworxVolume", disks::portworx),
    ("azureDisk", disks::azure_disk),
    ("scaleIO", disks::scale_io),
    ("local", local),
    ("storageos", disks::storageos),
    ("csi", csi),
];

impl Rules for PersistentVolume {
    fn default(&self, obj: &mut Value) {
        defaults::set(map_at_mut(obj, &["status"]), "phase", "Pending");
        let spec = map_at_mut(obj, &["spec"]);
        defaults::set(spec, "persistentVolumeReclaimPolicy", "Retain");
        defaults::set_pointer(spec, "volumeMode", "Filesystem");
        defaults::network_volume(spec);
        if let Some(host) = defaults::child(spec, "hostPath") {
            defaults::set_pointer(host, "type", "");
        }
    }

    fn prepare_create(&self, cx: &Cx, obj: &mut Value) {
        let status = json!({"phase": "Pending", "lastPhaseTransitionTime": cx.now});
        map_mut(obj).insert("status".into(), status);
    }

    fn prepare_update(&self, cx: &Cx, obj: &mut Value, old: &Value, write: Write) {
        let phase = |v: &Value| At::root(v).get("status").peek_text("phase").to_owned();
        if write == Write::Status && phase(obj) != phase(old) {
            let now = cx.now.clone();
            map_at_mut(obj, &["status"]).insert("lastPhaseTransitionTime".into(), now.into());
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        access_and_size(&spec, errs);
        source(&spec, errs);
        let policies = ["Delete", "Recycle", "Retain"];
        errs.one_of_if_set(&spec.get("persistentVolumeReclaimPolicy"), &policies);
        let affinity = spec.get("nodeAffinity");
        if affinity.is_set() {
            let required = affinity.get("required");
            if required.is_set() {
                scheduling::node_selector(&required, errs);
            } else {
                errs.required(&required.path, "must specify required node constraints");
            }
        } else if spec.has("local") {
            errs.required(&affinity.path, "Local volume requires node affinity");
        }
        let class = spec.get("storageClassName");
        if !class.is_empty() {
            errs.bad_texts(&class, names::dns_subdomain(class.text(), false));
        }
        errs.one_of_if_set(&spec.get("volumeMode"), &["Block", "Filesystem"]);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write != Write::Main {
            return;
        }
        let (spec, before) = (At::root(obj).get("spec"), At::root(old).get("spec"));
        if SOURCES.iter().any(|(key, _)| !same(spec.peek(key), before.peek(key))) {
            let words = "spec.persistentvolumesource is immutable after creation";
            errs.forbidden(&spec.path.child("persistentvolumesource"), words);
        }
        errs.immutable(&spec.get("volumeMode"), before.peek("volumeMode"));
        if before.has("nodeAffinity") {
            let words = "field is immutable, except for updating from beta label to GA";
            errs.immutable_because(&spec.get("nodeAffinity"), before.peek("nodeAffinity"), words);
        }
    }

    selectable!["name"];

    fn field(&self, obj: &Value, _path: &str) -> String {
        crate::object::name(obj).to_owned()
    }

    facts!(uncounted, returned);
}

fn access_and_size(spec: &At<'_>, errs: &mut Errors) {
    let (modes, capacity) = (spec.get("accessModes"), spec.get("capacity"));
    if modes.is_empty() {
        errs.required(&modes.path, "");
    }
    for mode in modes.texts().filter(|m| !ACCESS_MODES.contains(m)) {
        errs.not_supported(&modes.path, &Value::from(mode), &ACCESS_MODES);
    }
    if modes.len() > 1 && modes.texts().any(|m| m == "ReadWriteOncePod") {
        errs.forbidden(&modes.path, "may not use ReadWriteOncePod with other access modes");
    }
    if capacity.is_empty() {
        errs.required(&capacity.path, "");
    }
    let only_storage = capacity.value.as_object().is_some_and(|m| m.len() == 1 && m.contains_key("storage"));
    if !capacity.is_empty() && !only_storage {
        errs.not_supported(&capacity.path, capacity.value, &["storage"]);
    }
    for (_, amount) in capacity.entries() {
        amounts::positive(&amount, errs);
    }
}

fn source(spec: &At<'_>, errs: &mut Errors) {
    let mut found = 0;
    for (key, check) in SOURCES {
        let source = spec.get(key);
        if !source.is_set() {
            continue;
        }
        found += 1;
        if found > 1 {
            errs.forbidden(&source.path, "may not specify more than 1 volume type");
        } else {
            check(&source, errs);
        }
    }
    if found == 0 {
        errs.required(&spec.path, "must specify a volume type");
    }
    let root = spec.get("hostPath").peek_text("path") == "/";
    if root && spec.peek_text("persistentVolumeReclaimPolicy") == "Recycle" {
        errs.forbidden(
            &spec.get("persistentVolumeReclaimPolicy").path,
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
}

fn local(at: &At<'_>, errs: &mut Errors) {
    disks::need(at, "path", errs);
    volumes::no_backsteps(&at.get("path"), errs);
}

fn csi(at: &At<'_>, errs: &mut Errors) {
    disks::csi_driver(&at.get("driver"), errs);
    disks::need(at, "volumeHandle", errs);
    for key in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "nodeExpandSecretRef",
    ] {
        let secret = at.get(key);
        if secret.is_set() {
            disks::need(&secret, "name", errs);
            disks::need(&secret, "namespace", errs);
        }
    }
}
