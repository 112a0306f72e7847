//! The write as hooks see it: an AdmissionRequest, and the objects in the version that a hook asked for.

use coracle_api::{Kind, Status};
use coracle_auth::review::user_info;
use serde_json::{Value, json};

use crate::admission::{Admit, Operation};
use crate::crd;
use crate::registry::{decode, served};

/// A write in the version of one row.
#[derive(Debug)]
pub(super) struct Versioned {
    pub object: Value,
    pub old: Value,
}

async fn in_version(admit: &Admit<'_>, row: &Kind, value: &Value) -> Result<Value, Status> {
    if admit.kind.storage != row.storage {
        return Ok(value.clone());
    }
    if row.is_custom() {
        return crd::versions::converted(admit.core, row, value.clone()).await;
    }
    let mut value = if row.is_view { served(row, value.clone())? } else { value.clone() };
    decode::set_kind(row, &mut value);
    Ok(value)
}

impl Versioned {
    /// `null` stands for what there is not.
    pub(super) async fn new(admit: &Admit<'_>, row: &Kind, obj: Option<&Value>) -> Result<Versioned, Status> {
        let one = async |v: Option<&Value>| match v {
            Some(v) => in_version(admit, row, v).await,
            None => Ok(Value::Null),
        };
        Ok(Versioned { object: one(obj).await?, old: one(admit.old).await? })
    }
}

/// What is the body's kind where the write is seen as one of `row`.
fn kind_of(admit: &Admit<'_>, row: &Kind) -> Value {
    // A subresource's body may be of another kind than the object: a Binding, a TokenRequest.
    let of = if admit.kind.storage == row.storage { row } else { admit.kind };
    json!({"group": of.group, "version": of.version, "kind": of.kind})
}

fn resource_of(row: &Kind) -> Value {
    json!({"group": row.group, "version": row.version, "resource": row.plural})
}

/// The request's options, as the kind that the verb has.
fn options(admit: &Admit<'_>) -> Value {
    let kind = match admit.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => {
            let patches = admit.call.content_type.contains("patch+");
            if patches { "PatchOptions" } else { "UpdateOptions" }
        }
        Operation::Delete => "DeleteOptions",
        // What it asks for is the object.
        Operation::Connect => return Value::Null,
    };
    let mut out = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    for key in ["fieldManager", "fieldValidation"] {
        let value = crate::options::text(&admit.call.query, key);
        if !value.is_empty() {
            out[key] = json!(value);
        }
    }
    if admit.dry_run {
        out["dryRun"] = json!(["All"]);
    }
    out
}

/// The request without its objects, as expressions see it.
pub(super) fn attributes(admit: &Admit<'_>, row: &Kind) -> Value {
    let sub = admit.sub.map_or("", |s| s.name());
    let mut out = json!({"uid": "", "kind": kind_of(admit, row), "resource": resource_of(row)});
    if !sub.is_empty() {
        out["subResource"] = json!(sub);
    }
    out["requestKind"] = kind_of(admit, admit.resource);
    out["requestResource"] = resource_of(admit.resource);
    for (key, value) in [("requestSubResource", sub), ("name", admit.name), ("namespace", admit.namespace)] {
        if !value.is_empty() {
            out[key] = json!(value);
        }
    }
    out["operation"] = json!(admit.operation.name());
    out["userInfo"] = user_info(admit.user);
    out["dryRun"] = json!(admit.dry_run);
    out["options"] = options(admit);
    out
}

/// The request as an AdmissionReview carries it.
pub(super) fn review(admit: &Admit<'_>, row: &Kind, versioned: &Versioned, uid: &str) -> Value {
    let mut request = attributes(admit, row);
    request["uid"] = json!(uid);
    request["object"] = versioned.object.clone();
    request["oldObject"] = versioned.old.clone();
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}
