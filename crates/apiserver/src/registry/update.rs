//! update: replace an object, or one of its halves, with what the client sends.

use std::sync::Arc;

use bytes::Bytes;
use coracle_api::{Kind, Status, object};
use coracle_store::{Expect, Txn, Version};
use serde_json::{Value, json};

use super::write::{self, Lost};
use super::{Call, Outcome, create, decode, decode_stored};
use crate::admission::{Admit, resource_quota};
use crate::crd::versions;
use crate::options::{FieldValidation, WriteOptions};
use crate::respond::Answer;
use crate::server::Core;

pub(crate) async fn run(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let sent = decode::object(core, call, &call.kind, &body, options.field_validation)?;
    let sent = addressed(call, sent)?;
    let exists = core.store.snapshot().get(&call.key()).is_some();
    if !exists && call.sub.is_none() && call.kind.rules.create_on_update() {
        // Whoever may update may not thereby create.
        core.authorizer.authorize(call.permit.attributes().clone().with_verb("create"))?;
        let outcome = create::object(core, call, sent, &options).await?;
        return super::answer::object(core, call, 201, outcome).await;
    }
    let mut sent = Some(sent);
    let outcome = change(core, call, &options, |_| match sent.take() {
        Some(sent) => Ok(sent),
        // What is wrong with it has been said.
        None => addressed(call, decode::object(core, call, &call.kind, &body, FieldValidation::Ignore)?),
    })
    .await?;
    super::answer::object(core, call, 200, outcome).await
}

/// The body must mean the object that the path names.
fn addressed(call: &Call, mut sent: Value) -> Result<Value, Status> {
    let name = object::name(&sent);
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    if name.is_empty() {
        return Err(Status::bad_request("metadata.name: Required value: name must be provided"));
    }
    let namespace = object::namespace(&sent);
    if call.kind.is_namespaced() {
        if !namespace.is_empty() && namespace != call.namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        object::metadata_mut(&mut sent).insert("namespace".into(), json!(call.namespace));
    } else {
        object::metadata_mut(&mut sent).shift_remove("namespace");
    }
    Ok(sent)
}

/// Change the call's object: `new` makes the new one from the old (both in the call's own kind), and is asked again
/// whenever somebody else was faster.
pub(crate) async fn change(
    core: &Core,
    call: &Call,
    options: &WriteOptions,
    mut new: impl FnMut(&Value) -> Result<Value, Status>,
) -> Result<Outcome, Status> {
    let key = call.key();
    for _ in 0..write::TRIES {
        let current = core.store.snapshot().get(&key).ok_or_else(|| call.not_found())?;
        let shown = versions::one(core, &call.kind, current.clone()).await?;
        let old = decode_stored(&core.catalog().stored_as(&call.kind), &shown)?;
        let sent =
            if call.kind.is_view { new(&super::served(&call.kind, old.clone())?)? } else { new(&old)? };
        let (kind, sent) = create::to_stored(core, call, sent)?;
        crate::grants::check(core, call, &kind, &sent, Some(&old))?;
        let mut obj = write::replaced(core, call, &kind, &old, sent, options).await?;
        let allotted = core.addresses.for_update(core, &kind, &mut obj, &old, options.dry_run)?;
        if write::is_same(&obj, &old) {
            if versions::is_up_to_date(core, &kind, &current) {
                return Ok(Outcome::Stored(current));
            }
            // Only the form changes in which it is stored.
            obj = old.clone();
        }
        if options.dry_run {
            resource_quota::check(&Admit::update(core, call, &kind, &old), call, &obj)?;
            return write::as_served(call, obj);
        }
        match put_or_remove(core, call, &kind, &current, (obj, allotted.along.clone()), old).await {
            Ok(outcome) => return Ok(outcome),
            Err(Lost::Race | Lost::RaceAlong) => continue,
            Err(Lost::Failed(status)) => return Err(status),
        }
    }
    Err(Status::conflict_modified(call.kind.resource(), &call.name))
}

async fn put_or_remove(
    core: &Core,
    call: &Call,
    kind: &Kind,
    current: &Arc<Version>,
    (obj, along): (Value, Txn),
    old: Value,
) -> Result<Outcome, Lost> {
    if is_last_word(kind, &obj, &old) {
        write::commit_delete(core, kind, current, old).await?;
        return write::as_served(call, obj).map_err(Lost::Failed);
    }
    let draft = versions::draft(core, kind, &obj).await.map_err(Lost::Failed)?;
    if current.says_the_same(&draft) {
        return Ok(Outcome::Stored(current.clone()));
    }
    let admit = Admit::update(core, call, kind, &old);
    let put = write::Put::new(&current.key, Expect::Revision(current.revision), draft).with(along);
    if let Some(evaluator) = resource_quota::concerned(&admit, call, &obj) {
        return resource_quota::commit_put(&admit, call, &evaluator, &obj, put).await.map(Outcome::Stored);
    }
    // Before the wait, after which another thread may go on: what one frees that another allocated goes from cache to
    // cache, a thousand pieces for a Pod.
    drop((obj, old));
    write::commit_put(core, put).await.map(Outcome::Stored)
}

/// Whether the update lets go of the last thing that kept a deleted object alive.
fn is_last_word(kind: &Kind, obj: &Value, old: &Value) -> bool {
    if !object::is_deleting(old) || !object::items(obj, &["metadata", "finalizers"]).is_empty() {
        return false;
    }
    // A Namespace is kept by its spec's finalizers too.
    if kind.kind == "Namespace" && kind.group.is_empty() {
        return object::items(obj, &["spec", "finalizers"]).is_empty();
    }
    object::at(old, &["metadata", "deletionGracePeriodSeconds"]).as_i64().unwrap_or(0) == 0
}
