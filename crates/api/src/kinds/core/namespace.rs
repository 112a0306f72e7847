//! The rules of Namespaces.

use serde_json::{Value, json};

use crate::Subresource;
use crate::at::At;
use crate::field::Errors;
use crate::names;
use crate::object::{self, at, map_at_mut, map_mut, text};
use crate::rules::{Cx, Rules, Write, facts, selectable};

#[derive(Debug)]
pub struct Namespace;

/// Every namespace carries its own name as a label, so that selectors can name it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// What keeps a namespace until everything in it is gone.
const FINALIZER: &str = "kubernetes";

impl Rules for Namespace {
    fn default(&self, obj: &mut Value) {
        let name = object::name(obj).to_owned();
        if !name.is_empty() {
            map_at_mut(obj, &["metadata", "labels"]).insert(NAME_LABEL.into(), name.into());
        }
        super::pod::defaults::set(map_at_mut(obj, &["status"]), "phase", "Active");
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        map_mut(obj).insert("status".into(), json!({"phase": "Active"}));
        let spec = map_at_mut(obj, &["spec"]);
        let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
        if !finalizers.is_array() {
            *finalizers = json!([]);
        }
        if let Some(list) = finalizers.as_array_mut()
            && !list.iter().any(|f| f == FINALIZER)
        {
            list.push(FINALIZER.into());
        }
    }

    fn prepare_update(&self, _cx: &Cx, obj: &mut Value, old: &Value, write: Write) {
        if write == Write::Main {
            // Only `finalize` may let go of a namespace.
            let kept = at(old, &["spec", "finalizers"]).clone();
            let spec = map_at_mut(obj, &["spec"]);
            if kept.is_null() {
                spec.remove("finalizers");
            } else {
                spec.insert("finalizers".into(), kept);
            }
        }
        if write == Write::Sub(Subresource::Finalize) {
            map_mut(obj).insert("status".into(), at(old, &["status"]).clone());
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        for finalizer in At::root(obj).get("spec").get("finalizers").items() {
            errs.bad_texts(&finalizer, names::qualified(finalizer.text()));
            if !finalizer.text().contains('/') && !["kubernetes", "orphan"].contains(&finalizer.text()) {
                let words = "name is neither a standard finalizer name nor is it fully qualified";
                errs.bad_text(&finalizer, words);
            }
        }
    }

    fn validate_update(&self, obj: &Value, _old: &Value, write: Write, errs: &mut Errors) {
        if write != Write::Status {
            return;
        }
        let phase = At::root(obj).get("status").get("phase");
        let phase = At::new(phase.value, crate::field::Path::new("status.Phase"));
        match (object::is_deleting(obj), phase.text()) {
            (false, "Active") | (true, "Terminating") => {}
            (false, _) => errs.bad_text(&phase, "may only be 'Active' if `deletionTimestamp` is empty"),
            (true, _) => {
                errs.bad_text(&phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
            }
        }
    }

    selectable!["status.phase"];

    fn field(&self, obj: &Value, _path: &str) -> String {
        text(obj, &["status", "phase"]).to_owned()
    }

    facts!(uncounted, label_name, returned);
}
