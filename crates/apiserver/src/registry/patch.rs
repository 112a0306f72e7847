//! patch: JSON patch, merge patch and strategic merge patch.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use coracle_api::field::{Errors, Path};
use coracle_api::patch;
use coracle_api::{Kind, Status, object};
use serde_json::Value;

use super::{Call, Outcome, decode, update};
use crate::options::{FieldValidation, WriteOptions, refuse};
use crate::respond::Answer;
use crate::server::Core;

/// A decoded patch document.
enum Patch {
    Json(Vec<patch::json::Operation>),
    Merge(serde_json::Map<String, Value>),
    Strategic(serde_json::Map<String, Value>),
}

pub(crate) async fn run(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    let media = call.content_type.split(';').next().unwrap_or_default().trim().to_owned();
    if media == super::apply::MEDIA {
        return super::apply::run(core, call, body, options).await;
    }
    if options.force.is_some() {
        let mut errs = Errors::default();
        errs.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        refuse("meta.k8s.io", "PatchOptions", &errs)?;
    }
    let outcome = object(core, call, &media, &body, &options).await?;
    super::answer::object(core, call, 200, outcome).await
}

/// The object after the patch.
pub(crate) async fn object(
    core: &Core,
    call: &Call,
    media: &str,
    body: &[u8],
    options: &WriteOptions,
) -> Result<Outcome, Status> {
    let (patch, complaints) = parse(&call.kind, media, body)?;
    let said = AtomicBool::new(false);
    update::change(core, call, options, |old| {
        let patched = applied(core, &call.kind, &patch, old)?;
        let again = || applied(core, &call.kind, &patch, old);
        let (value, unknown) = typed(core, &call.kind, patched, again)?;
        let complaints: Vec<String> = unknown.into_iter().chain(complaints.iter().cloned()).collect();
        complain(call, body, complaints, options.field_validation, said.swap(true, Ordering::Relaxed))?;
        check_address(call, &value)?;
        Ok(decode::defaulted(core, &call.kind, value))
    })
    .await
}

fn parse(kind: &Kind, media: &str, body: &[u8]) -> Result<(Patch, Vec<String>), Status> {
    match media {
        "application/json-patch+json" => {
            let d = patch::json::decode(body)?;
            Ok((Patch::Json(d.patch), d.strict_errors))
        }
        "application/merge-patch+json" => {
            let d = patch::merge::decode(body)?;
            Ok((Patch::Merge(d.patch), d.strict_errors))
        }
        "application/strategic-merge-patch+json" if !kind.is_custom() => {
            let d = patch::strategic::decode(body)?;
            Ok((Patch::Strategic(d.patch), d.strict_errors))
        }
        _ => Err(unsupported(kind)),
    }
}

/// No patch of the kind is of this type.
pub(super) fn unsupported(kind: &Kind) -> Status {
    if kind.is_custom() {
        return Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        );
    }
    Status::unsupported_media_type("415: Unsupported Media Type").with_details(Default::default())
}

/// `old` with the patch on it, not yet typed.
fn applied(core: &Core, kind: &Kind, patch: &Patch, old: &Value) -> Result<Value, Status> {
    let mut doc = old.clone();
    match patch {
        Patch::Json(operations) => patch::json::apply(&mut doc, operations)?,
        Patch::Merge(document) => patch::merge::apply(object::map_mut(&mut doc), document),
        Patch::Strategic(document) => {
            let facts = core.schemas.of(kind).ok_or_else(Status::no_resource)?;
            patch::strategic::apply(facts, &mut doc, document.clone())?;
        }
    }
    Ok(doc)
}

/// The patched document as an object of `kind`. A refusal shows it, so that it is made again where there is one.
pub(super) fn typed(
    core: &Core,
    kind: &Kind,
    mut patched: Value,
    again: impl FnOnce() -> Result<Value, Status>,
) -> Result<(Value, Vec<String>), Status> {
    decode::set_kind(kind, &mut patched);
    decode::shape(core, kind, patched).map_err(|why| match again() {
        Ok(mut shown) => {
            decode::set_kind(kind, &mut shown);
            invalid_patch(&shown.to_string(), &why)
        }
        Err(status) => status,
    })
}

/// A patch whose result is no object of the kind; the reference says so without a kind.
fn invalid_patch(shown: &str, why: &str) -> Status {
    let mut errs = Errors::default();
    errs.invalid(&Path::new("patch"), &Value::from(shown), why);
    Status::invalid("", "", "", &errs)
}

fn complain(
    call: &Call,
    body: &[u8],
    complaints: Vec<String>,
    validation: FieldValidation,
    again: bool,
) -> Result<(), Status> {
    if complaints.is_empty() {
        return Ok(());
    }
    match validation {
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", complaints.join(", "));
            Err(invalid_patch(&String::from_utf8_lossy(body), &why))
        }
        FieldValidation::Warn if !again => {
            complaints.iter().for_each(|c| call.warn(c.as_str()));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A patch may not move an object.
pub(super) fn check_address(call: &Call, patched: &Value) -> Result<(), Status> {
    let name = object::name(patched);
    if name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    if call.kind.is_namespaced() && object::namespace(patched) != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the object does not match the namespace on the URL",
        ));
    }
    Ok(())
}
