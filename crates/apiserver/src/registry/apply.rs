//! apply: a patch that says what its manager wishes for, and creates what is not there yet.

use bytes::Bytes;
use coracle_api::field::{Errors, Path};
use coracle_api::{Status, codec, object};
use serde_json::Value;

use super::{Call, Outcome, create, decode, patch, update};
use crate::managed;
use crate::options::{FieldValidation, WriteOptions, refuse};
use crate::respond::Answer;
use crate::server::Core;

/// The media type that asks for it; JSON is YAML too.
pub(crate) const MEDIA: &str = "application/apply-patch+yaml";

pub(crate) async fn run(
    core: &Core,
    call: &Call,
    body: Bytes,
    mut options: WriteOptions,
) -> Result<Answer, Status> {
    if options.field_manager.is_empty() {
        let mut errs = Errors::default();
        errs.required(&Path::new("fieldManager"), "is required for apply patch");
        refuse("meta.k8s.io", "PatchOptions", &errs)?;
    }
    let wishes = decoded(call, &body, options.field_validation)?;
    options.is_applied = true;
    if call.sub.is_none() && core.store.snapshot().get(&call.key()).is_none() {
        // Whoever may patch may not thereby create.
        core.authorizer.authorize(call.permit.attributes().clone().with_verb("create"))?;
        let sent = laid_over(core, call, None, &wishes, &options)?;
        let outcome = create::object(core, call, sent, &options).await?;
        return super::answer::object(core, call, 201, outcome).await;
    }
    let mut wishes = Some(wishes);
    let outcome: Outcome = update::change(core, call, &options, |old| {
        let wishes = match wishes.take() {
            Some(wishes) => wishes,
            // What is wrong with them has been said.
            None => decoded(call, &body, FieldValidation::Ignore)?,
        };
        laid_over(core, call, Some(old), &wishes, &options)
    })
    .await?;
    super::answer::object(core, call, 200, outcome).await
}

fn decoded(call: &Call, body: &[u8], validation: FieldValidation) -> Result<Value, Status> {
    let document = codec::yaml::parse(body).map_err(|e| {
        Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {e}"))
    })?;
    for complaint in document.strict_errors {
        match validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => call.warn(complaint),
            FieldValidation::Strict => {
                return Err(Status::bad_request(format!("error strict decoding YAML: {complaint}")));
            }
        }
    }
    if !document.value.is_object() {
        return Err(Status::bad_request("error decoding YAML: the document is not an object"));
    }
    Ok(document.value)
}

/// The object with the manager's wishes laid over it, typed and defaulted.
fn laid_over(
    core: &Core,
    call: &Call,
    old: Option<&Value>,
    wishes: &Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let kind = object::text(wishes, &["kind"]);
    if kind != call.kind.kind {
        return Err(Status::bad_request(format!(
            "invalid object kind {kind:?} in an apply patch for {:?}",
            &*call.kind.kind
        )));
    }
    let laid = || {
        let mut new = managed::applied(core, call, old, wishes, options)?;
        let metadata = object::metadata_mut(&mut new);
        metadata.entry("name").or_insert_with(|| Value::from(call.name.as_str()));
        if call.kind.is_namespaced() {
            metadata.entry("namespace").or_insert_with(|| Value::from(call.namespace.as_str()));
        }
        Ok(new)
    };
    let (value, _) = patch::typed(core, &call.kind, laid()?, laid)?;
    patch::check_address(call, &value)?;
    Ok(decode::defaulted(core, &call.kind, value))
}
