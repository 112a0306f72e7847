//! The rules of StatefulSets.

use serde_json::{Value, json};

use crate::at::{At, same};
use crate::field::Errors;
use crate::kinds::core::pod::defaults::{children, claim_spec, set, set_pointer};
use crate::kinds::core::pod::spec;
use crate::kinds::core::{persistent_volume_claim, replication_controller};
use crate::kinds::workload::{self, inner};
use crate::meta;
use crate::names;
use crate::object::{at, map_at_mut, map_mut};
use crate::rules::{Rules, ScalePaths, Write};

#[derive(Debug)]
pub struct StatefulSet;

const HISTORY: i64 = 10;

const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Rules for StatefulSet {
    fn default(&self, obj: &mut Value) {
        let spec = map_at_mut(obj, &["spec"]);
        workload::default_template(spec);
        set(spec, "podManagementPolicy", "OrderedReady");
        let strategy = inner(spec, "updateStrategy");
        set(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            set_pointer(inner(strategy, "rollingUpdate"), "partition", 0);
        }
        let retention = inner(spec, "persistentVolumeClaimRetentionPolicy");
        set(retention, "whenDeleted", "Retain");
        set(retention, "whenScaled", "Retain");
        set_pointer(spec, "replicas", 1);
        set_pointer(spec, "revisionHistoryLimit", HISTORY);
        for claim in children(spec, "volumeClaimTemplates") {
            set(claim, "kind", "PersistentVolumeClaim");
            set(claim, "apiVersion", "v1");
            claim_spec(claim.entry("spec").or_insert_with(|| json!({})));
            set(inner(claim, "status"), "phase", "Pending");
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        policies(&spec, errs);
        errs.nonnegative(&spec.get("replicas"));
        errs.nonnegative(&spec.get("minReadySeconds"));
        errs.nonnegative(&spec.get("ordinals").get("start"));
        workload::selector(&spec, "empty selector is invalid for statefulset", errs);
        workload::selector_finds_template(&spec, errs);
        template_with_claims(&spec, errs);
        replication_controller::always_restarts(&spec.get("template"), errs);
        workload::no_deadline(&spec, "activeDeadlineSeconds in StatefulSet is not Supported", errs);
        errs.nonnegative(&spec.get("revisionHistoryLimit"));
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(obj, old)
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj), At::root(old));
        match write {
            Write::Main => keep_the_rest(&new.get("spec"), old.peek("spec"), errs),
            Write::Status => {
                let status = new.get("status");
                let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
                workload::counts_within(&status, "replicas", &parts, errs);
                workload::collisions_grow(&status, &old.get("status"), errs);
            }
            Write::Sub(_) => {}
        }
    }

    fn scale(&self) -> Option<ScalePaths> {
        Some(ScalePaths::WORKLOAD)
    }
}

fn policies(spec: &At<'_>, errs: &mut Errors) {
    let management = spec.get("podManagementPolicy");
    match management.text() {
        "OrderedReady" | "Parallel" => {}
        "" => errs.required(&management.path, ""),
        _ => errs.bad_text(&management, "must be 'OrderedReady' or 'Parallel'"),
    }
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.peek_text("type") {
        "" => errs.required(&strategy.path, ""),
        "OnDelete" => {
            if rolling.is_set() {
                errs.bad(&rolling, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => {
            errs.nonnegative(&rolling.get("partition"));
            let unavailable = rolling.get("maxUnavailable");
            if unavailable.is_set() {
                workload::count_or_percent(&unavailable, errs);
                if workload::is_none_of(unavailable.value) {
                    errs.bad(&unavailable, "cannot be 0");
                }
                workload::at_most_all(&unavailable, errs);
            }
        }
        _ => errs.bad(&strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for key in ["whenDeleted", "whenScaled"] {
        let policy = retention.get(key);
        if !["Retain", "Delete"].contains(&policy.text()) {
            errs.not_supported(&policy.path, &Value::from(policy.text()), &["Retain", "Delete"]);
        }
    }
}

/// The claims are volumes of every Pod: containers may mount them.
fn template_with_claims(spec: &At<'_>, errs: &mut Errors) {
    let mut template = spec.peek("template").clone();
    let claims = spec.get("volumeClaimTemplates");
    let added: Vec<Value> = claims
        .items()
        .map(|claim| at(claim.value, &["metadata", "name"]).clone())
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    let pod = map_mut(map_at_mut(&mut template, &[]).entry("spec").or_insert_with(|| json!({})));
    let list = pod.entry("volumes").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        // The claim of a name takes the place of the volume of that name.
        list.retain(|volume| !added.iter().any(|claim| claim.get("name") == volume.get("name")));
        list.extend(added);
    }
    spec::template(&At::new(&template, spec.path.child("template")), errs);
    for claim in claims.items() {
        let metadata = claim.get("metadata");
        let name = metadata.get("name");
        if name.is_empty() {
            errs.required(&name.path, "");
        } else {
            errs.bad_texts(&name, names::dns_subdomain(name.text(), false));
        }
        meta::validate_labels_and_annotations(&metadata, errs);
        persistent_volume_claim::spec(&claim.get("spec"), errs);
    }
}

fn keep_the_rest(spec: &At<'_>, old: &Value, errs: &mut Errors) {
    let rest = |v: &Value| {
        let mut v = v.clone();
        for key in MUTABLE {
            map_mut(&mut v).remove(key);
        }
        v
    };
    if !same(&rest(spec.value), &rest(old)) {
        let words = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errs.forbidden(&spec.path, words);
    }
}
