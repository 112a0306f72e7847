//! A Pod's volumes: that each has one source, and that the source says what it must.

use std::collections::BTreeMap;

use serde_json::Value;

use super::env::{self, Holder};
use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::{amounts, disks};
use crate::meta;
use crate::names;

/// The volumes of a Pod that are well-formed, by name: what containers may mount.
pub type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

/// Permission bits and nothing else.
const FILE_MODE_MAX: i64 = 0o777;
const FILE_MODE_WORDS: &str = "must be between 0 and 0777 (octal), both inclusive";
/// The shortest and longest life of a projected token, in seconds.
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

type Check = fn(&At<'_>, &mut Errors);

/// In the order in which the reference looks for them.
const SOURCES: [(&str, Check); 30] = [
    ("emptyDir", empty_dir),
    ("hostPath", host_path),
    ("gitRepo", git_repo),
    ("gcePersistentDisk", disks::gce),
    ("awsElasticBlockStore", disks::aws),
    ("secret", secret),
    ("nfs", disks::nfs),
    ("iscsi", disks::iscsi),
    ("glusterfs", disks::glusterfs),
    ("flocker", disks::flocker),
    ("persistentVolumeClaim", claim),
    ("rbd", disks::rbd),
    ("cinder", disks::cinder),
    ("cephfs", disks::cephfs),
    ("quobyte", disks::quobyte),
    ("downwardAPI", downward_api),
    ("fc", disks::fc),
    ("flexVolume", disks::flex),
    ("configMap", config_map),
    ("azureFile", disks::azure_file),
    ("vsphereVolume", disks::vsphere),
    ("photonPersistentDisk", disks::photon),
    ("portworxVolume", disks::portworx),
    ("azureDisk", disks::azure_disk),
    ("storageos", disks::storageos),
    ("projected", projected),
    ("scaleIO", disks::scale_io),
    ("csi", disks::csi),
    ("ephemeral", ephemeral),
    ("image", |_, _| {}),
];

/// Checks the volumes and gives those that are well-formed. `pod` is the Pod's name where it is no template.
pub fn volumes<'a>(at: &At<'a>, pod: Option<&str>, errs: &mut Errors) -> Volumes<'a> {
    let mut good = Volumes::new();
    for volume in at.items() {
        let name = volume.get("name");
        let mut own = Errors::default();
        source(&volume, pod, &mut own);
        if name.is_empty() {
            own.required(&name.path, "");
        } else {
            own.bad_texts(&name, names::dns1123_label(name.text()));
        }
        if good.contains_key(name.text()) {
            own.duplicate(&name.path, name.value);
        }
        if own.is_empty() {
            good.insert(name.text(), volume.value);
        }
        errs.0.append(&mut own.0);
    }
    good
}

fn source(volume: &At<'_>, pod: Option<&str>, errs: &mut Errors) {
    let mut found = 0;
    for (key, check) in SOURCES {
        let source = volume.get(key);
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
        errs.required(&volume.path, "must specify a volume type");
    }
    if let (Some(pod), true) = (pod, volume.has("ephemeral")) {
        let name = volume.get("name");
        let claim = format!("{pod}-{}", name.text());
        for words in names::dns_subdomain(&claim, false) {
            errs.bad_text(&name, format!("PVC name {claim:?}: {words}"));
        }
    }
}

fn empty_dir(at: &At<'_>, errs: &mut Errors) {
    let limit = at.get("sizeLimit");
    if amounts::nano(limit.value).is_some_and(|n| n < 0) {
        errs.forbidden(&limit.path, "SizeLimit field must be a valid resource quantity");
    }
}

pub fn host_path(at: &At<'_>, errs: &mut Errors) {
    let path = at.get("path");
    if path.is_empty() {
        errs.required(&path.path, "");
        return;
    }
    no_backsteps(&path, errs);
    errs.one_of_if_set(&at.get("type"), &HOST_PATH_TYPES);
}

fn git_repo(at: &At<'_>, errs: &mut Errors) {
    disks::need(at, "repository", errs);
    descending_path(&at.get("directory"), errs);
}

fn claim(at: &At<'_>, errs: &mut Errors) {
    disks::need(at, "claimName", errs);
}

fn secret(at: &At<'_>, errs: &mut Errors) {
    disks::need(at, "secretName", errs);
    file_mode(&at.get("defaultMode"), errs);
    key_items(&at.get("items"), errs);
}

fn config_map(at: &At<'_>, errs: &mut Errors) {
    disks::need(at, "name", errs);
    file_mode(&at.get("defaultMode"), errs);
    key_items(&at.get("items"), errs);
}

fn key_items(items: &At<'_>, errs: &mut Errors) {
    for item in items.items() {
        disks::need(&item, "key", errs);
        disks::need(&item, "path", errs);
        file_path(&item.get("path"), errs);
        file_mode(&item.get("mode"), errs);
    }
}

fn file_mode(at: &At<'_>, errs: &mut Errors) {
    if !(0..=FILE_MODE_MAX).contains(&at.int()) {
        errs.bad_int(at, FILE_MODE_WORDS);
    }
}

/// A path below the volume's root: relative, without `..`, and not in the names that atomic updates use.
fn file_path(at: &At<'_>, errs: &mut Errors) {
    descending_path(at, errs);
    if at.text().starts_with("..") && !at.text().starts_with("../") && at.text() != ".." {
        errs.bad_text(at, "must not start with '..'");
    }
}

pub fn descending_path(at: &At<'_>, errs: &mut Errors) {
    if at.text().starts_with('/') {
        errs.bad_text(at, "must be a relative path");
    }
    no_backsteps(at, errs);
}

pub fn no_backsteps(at: &At<'_>, errs: &mut Errors) {
    if at.text().split('/').any(|part| part == "..") {
        errs.bad_text(at, "must not contain '..'");
    }
}

fn downward_api(at: &At<'_>, errs: &mut Errors) {
    file_mode(&at.get("defaultMode"), errs);
    downward_files(at, errs);
}

/// The reference gives the complaints about these files at the source's own path, without the item's index.
fn downward_files(source: &At<'_>, errs: &mut Errors) {
    for item in source.get("items").items() {
        let file = At::new(item.value, source.path.clone());
        disks::need(&file, "path", errs);
        file_path(&file.get("path"), errs);
        match (file.has("fieldRef"), file.has("resourceFieldRef")) {
            (true, both) => {
                env::field_ref(&file.get("fieldRef"), Holder::File, errs);
                if both {
                    let words = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errs.invalid(&file.path, &Value::from("resource"), words);
                }
            }
            (false, true) => env::resource_field_ref(&file.get("resourceFieldRef"), Holder::File, errs),
            (false, false) => errs.required(&file.path, "one of fieldRef and resourceFieldRef is required"),
        }
        file_mode(&file.get("mode"), errs);
    }
}

fn projected(at: &At<'_>, errs: &mut Errors) {
    file_mode(&at.get("defaultMode"), errs);
    let mut paths: Vec<&str> = Vec::new();
    for source in at.get("sources").items() {
        projection(&source, at, &mut paths, errs);
        let given = PROJECTIONS.iter().filter(|kind| source.has(kind)).count();
        if given > 1 {
            errs.forbidden(&source.path, "may not specify more than 1 volume type per source");
        }
    }
}

const PROJECTIONS: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

fn projection<'a>(source: &At<'a>, volume: &At<'a>, paths: &mut Vec<&'a str>, errs: &mut Errors) {
    for kind in ["secret", "configMap"] {
        let from = source.get(kind);
        if from.is_set() {
            disks::need(&from, "name", errs);
            key_items(&from.get("items"), errs);
            unique_paths(&from, Some(from.peek_text("name")), volume, paths, errs);
        }
    }
    let downward = source.get("downwardAPI");
    if downward.is_set() {
        downward_files(&downward, errs);
        unique_paths(&downward, None, volume, paths, errs);
    }
    let token = source.get("serviceAccountToken");
    if token.is_set() {
        service_account_token(&token, volume, errs);
    }
    let bundle = source.get("clusterTrustBundle");
    if bundle.is_set() {
        trust_bundle(&bundle, errs);
    }
}

/// Two sources may not write one file. The complaint shows the source's name, or the path where it has none.
fn unique_paths<'a>(
    source: &At<'a>,
    shown: Option<&str>,
    volume: &At<'_>,
    paths: &mut Vec<&'a str>,
    errs: &mut Errors,
) {
    for item in source.get("items").items() {
        let path = item.peek_text("path");
        if path.is_empty() {
            continue;
        }
        if paths.contains(&path) {
            errs.invalid(&volume.path, &Value::from(shown.unwrap_or(path)), "conflicting duplicate paths");
        } else {
            paths.push(path);
        }
    }
}

fn service_account_token(at: &At<'_>, volume: &At<'_>, errs: &mut Errors) {
    let seconds = at.get("expirationSeconds");
    if seconds.int() < TOKEN_SECONDS_MIN {
        errs.bad_int(&seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds.int() > TOKEN_SECONDS_MAX {
        errs.bad_int(&seconds, "may not specify a duration larger than 2^32 seconds");
    }
    let path = At::new(at.peek("path"), volume.path.child("path"));
    if path.is_empty() {
        errs.required(&path.path, "");
    } else {
        file_path(&path, errs);
    }
}

fn trust_bundle(at: &At<'_>, errs: &mut Errors) {
    let (name, signer) = (at.get("name"), at.get("signerName"));
    match (name.is_set(), signer.is_set()) {
        (true, true) => errs.bad(at, "only one of name and signerName may be used"),
        (true, false) => {
            if name.is_empty() {
                errs.required(&name.path, "must be a valid object name");
            }
            if at.has("labelSelector") {
                errs.bad(&at.get("labelSelector"), "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            if signer.is_empty() {
                errs.required(&signer.path, "must be a valid signer name");
            }
            meta::label_selector(&at.get("labelSelector"), errs);
        }
        (false, false) => errs.required(&at.path, "either name or signerName must be specified"),
    }
    disks::need(at, "path", errs);
    file_path(&at.get("path"), errs);
}

fn ephemeral(at: &At<'_>, errs: &mut Errors) {
    let template = at.get("volumeClaimTemplate");
    if !template.is_set() {
        errs.required(&template.path, "");
        return;
    }
    meta::validate_labels_and_annotations(&template.get("metadata"), errs);
    crate::kinds::core::persistent_volume_claim::spec(&template.get("spec"), errs);
}
