//! The rules of PersistentVolumeClaims.

use serde_json::{Value, json};

use super::amounts;
use super::pod::defaults;
use crate::at::{At, same};
use crate::field::Errors;
use crate::meta;
use crate::names;
use crate::object::{map_at_mut, map_mut};
use crate::rules::{Cx, Rules, Write, facts};

#[derive(Debug)]
pub struct PersistentVolumeClaim;

pub const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

impl Rules for PersistentVolumeClaim {
    fn default(&self, obj: &mut Value) {
        let claim = map_mut(obj);
        defaults::claim_spec(claim.entry("spec").or_insert_with(|| json!({})));
        defaults::set(map_at_mut(obj, &["status"]), "phase", "Pending");
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        map_mut(obj).insert("status".into(), json!({"phase": "Pending"}));
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        spec(&At::root(obj).get("spec"), errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            spec_update(&At::root(obj), &At::root(old), errs);
        }
    }

    facts!(uncounted, returned);
}

/// The spec of a claim, on its own or inside of a Pod or a StatefulSet.
pub fn spec(at: &At<'_>, errs: &mut Errors) {
    let modes = at.get("accessModes");
    if modes.is_empty() {
        errs.required(&modes.path, "at least 1 access mode is required");
    }
    for mode in modes.texts().filter(|m| !ACCESS_MODES.contains(m)) {
        errs.not_supported(&modes.path, &Value::from(mode), &ACCESS_MODES);
    }
    if modes.len() > 1 && modes.texts().any(|m| m == "ReadWriteOncePod") {
        errs.forbidden(&modes.path, "may not use ReadWriteOncePod with other access modes");
    }
    meta::label_selector(&at.get("selector"), errs);
    let storage = at.get("resources").get("requests").get("storage");
    if storage.is_set() {
        amounts::positive(&storage_at(&storage), errs);
    } else {
        errs.required(&storage_at(&storage).path, "");
    }
    for key in ["storageClassName", "volumeAttributesClassName"] {
        let class = at.get(key);
        if !class.is_empty() {
            errs.bad_texts(&class, names::dns_subdomain(class.text(), false));
        }
    }
    errs.one_of_if_set(&at.get("volumeMode"), &["Block", "Filesystem"]);
    data_source(&at.get("dataSource"), errs);
    data_source(&at.get("dataSourceRef"), errs);
}

/// The reference names a key of a map in brackets.
fn storage_at<'a>(storage: &At<'a>) -> At<'a> {
    let path = storage.path.as_str();
    let path = path.strip_suffix(".storage").map(|head| format!("{head}[storage]"));
    At::new(storage.value, path.map_or_else(|| storage.path.clone(), |p| crate::field::Path::new(&p)))
}

fn data_source(at: &At<'_>, errs: &mut Errors) {
    if !at.is_set() {
        return;
    }
    for key in ["name", "kind"] {
        if at.peek_text(key).is_empty() {
            errs.required(&at.get(key).path, "");
        }
    }
    let group = at.peek_text("apiGroup");
    if group.is_empty() && at.peek_text("kind") != "PersistentVolumeClaim" {
        errs.bad(at, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
}

/// Only the request may grow, once the claim is bound; the name of the volume may be filled in.
fn spec_update(new: &At<'_>, old: &At<'_>, errs: &mut Errors) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let mut expected = spec.value.clone();
    let map = map_mut(&mut expected);
    let mut keep = |key: &str| match before.value.get(key) {
        Some(value) => {
            map.insert(key.to_owned(), value.clone());
        }
        None => {
            map.remove(key);
        }
    };
    if before.peek_text("volumeName").is_empty() {
        keep("volumeName");
    }
    if !before.has("storageClassName") {
        keep("storageClassName");
    }
    keep("volumeAttributesClassName");
    let is_bound = old.get("status").peek_text("phase") == "Bound";
    if is_bound {
        keep("resources");
    }
    if !same(&expected, before.value) {
        let words = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errs.forbidden(&spec.path, words);
    }
    let size = |at: &At<'_>| amounts::nano(at.get("resources").get("requests").peek("storage"));
    let status_size = amounts::nano(old.get("status").get("capacity").peek("storage"));
    if let (Some(now), Some(was)) = (size(&spec), size(&before))
        && now < was
        && is_bound
        && status_size.is_none_or(|have| now <= have)
    {
        let words = "field can not be less than status.capacity";
        errs.forbidden(&spec.get("resources").get("requests").get("storage").path, words);
    }
}
