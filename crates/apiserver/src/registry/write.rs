//! The one write path: what happens to an object between its decoding and the store, for every kind and every caller.

use std::sync::Arc;

use coracle_api::field::Errors;
use coracle_api::rules::Write;
use coracle_api::{Kind, Status, Subresource, codec, meta, object};
use coracle_store::{Committed, Draft, Error, Expect, Txn, Version};
use serde_json::{Value, json};

use super::{Call, Outcome, decode, select, versions};
use crate::admission::{self, Admit};
use crate::body::MAX_REQUEST_BYTES;
use crate::managed;
use crate::options::WriteOptions;
use crate::server::Core;

/// The most that an object may grow to, patch by patch. The reference's store takes 1.5 MiB of protobuf, which is up to
/// twice as much in JSON; what is larger could not be sent back in one body, either.
const OBJECT_BYTES_MAX: usize = MAX_REQUEST_BYTES;

/// How often a write is tried again on an object that changes under it. Each loss means that another write won, so that
/// a busy object still moves on, and the reference goes on for as long as the request lives. Writers can fall into step
/// so that one of five loses more than 64 times in a row: only a livelock goes on for thousands.
pub(super) const TRIES: usize = 4096;

/// The members of metadata that only the server sets.
const SERVER_SET: [&str; 5] =
    ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// A new object, from what its user sent to what will be stored. `kind` is the row that keeps it.
pub(crate) async fn born(
    core: &Core,
    call: &Call,
    kind: &Kind,
    sent: Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let mut obj = sent;
    managed::created(core, call, kind, &mut obj, options);
    let admit = Admit::create(core, call, kind).for_dry_run(options.dry_run);
    admission::mutate(&admit, &mut obj).await?;
    let cx = call.cx(core);
    let m = object::metadata_mut(&mut obj);
    for key in SERVER_SET {
        m.shift_remove(key);
    }
    m.insert("uid".into(), json!(uuid::Uuid::new_v4().to_string()));
    m.insert("creationTimestamp".into(), json!(cx.now));
    if kind.has(Subresource::Status) && !kind.rules.keeps_status() {
        object::map_mut(&mut obj).shift_remove("status");
    }
    if kind.rules.counts_generation() && obj.get("spec").is_some() {
        object::metadata_mut(&mut obj).insert("generation".into(), json!(1));
    }
    kind.rules.prepare_create(&cx, &mut obj);
    obj = finished(core, kind, obj)?;
    let mut errs = Errors::default();
    meta::validate(kind, &obj, &mut errs);
    kind.rules.validate(&obj, &mut errs);
    invalid(kind, object::name(&obj), &errs)?;
    for words in kind.rules.warnings(&obj, None) {
        call.warn(words);
    }
    admission::validate(&admit.with_name(object::name(&obj)), Some(&obj)).await?;
    Ok(obj)
}

/// An object that replaces `old`, from what its user sent to what will be stored.
pub(crate) async fn replaced(
    core: &Core,
    call: &Call,
    kind: &Kind,
    old: &Value,
    sent: Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let write = call.write();
    let mut obj = sent;
    check_version(kind, old, &obj)?;
    managed::updated(core, call, kind, &mut obj, old, options).await?;
    let admit = Admit::update(core, call, kind, old).for_dry_run(options.dry_run);
    admission::mutate(&admit, &mut obj).await?;
    keep_metadata(&mut obj, old);
    keep_other_half(kind, &mut obj, old, write);
    kind.rules.prepare_update(&call.cx(core), &mut obj, old, write);
    obj = finished(core, kind, obj)?;
    count_generation(kind, &mut obj, old, write);
    let mut errs = Errors::default();
    meta::validate_update(kind, &obj, old, &mut errs);
    let tolerated = kind.rules.validate_change(&obj, old, write, &mut errs);
    invalid(kind, object::name(old), &errs)?;
    for words in tolerated.into_iter().chain(kind.rules.warnings(&obj, Some(old))) {
        call.warn(words);
    }
    admission::validate(&admit, Some(&obj)).await?;
    Ok(obj)
}

/// Defaults for what admission and preparation added, and every key in its place.
fn finished(core: &Core, kind: &Kind, obj: Value) -> Result<Value, Status> {
    let (obj, _) = decode::shape(core, kind, obj).map_err(Status::internal)?;
    Ok(decode::defaulted(core, kind, obj))
}

fn invalid(kind: &Kind, name: &str, errs: &Errors) -> Result<(), Status> {
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid(&kind.group, &kind.kind, name, errs)) }
}

/// Optimistic concurrency: a version that the client sends must be the stored one.
fn check_version(kind: &Kind, old: &Value, obj: &Value) -> Result<(), Status> {
    let name = object::name(old);
    let sent_uid = object::uid(obj);
    if !sent_uid.is_empty() && sent_uid != object::uid(old) {
        let key = super::key(kind, object::namespace(old), name);
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
             failed: UID in precondition: {sent_uid}, UID in object meta: {}",
            object::uid(old)
        );
        return Err(Status::conflict(kind.resource(), name, &why));
    }
    match object::resource_version(obj) {
        "" if kind.rules.unconditional_update() => Ok(()),
        "" => {
            let mut errs = Errors::default();
            let at = coracle_api::field::Path::new("metadata.resourceVersion");
            errs.invalid_shown(&at, "0", "must be specified for an update");
            invalid(kind, name, &errs)
        }
        version if version == object::resource_version(old) => Ok(()),
        _ => Err(Status::conflict_modified(kind.resource(), name)),
    }
}

/// What an update cannot change comes from the old object.
fn keep_metadata(obj: &mut Value, old: &Value) {
    let before = object::metadata(old);
    let m = object::metadata_mut(obj);
    for key in SERVER_SET.iter().chain(&["creationTimestamp"]) {
        m.shift_remove(*key);
        if let Some(v) = before.get(*key) {
            m.insert((*key).into(), v.clone());
        }
    }
    if m.get("uid").and_then(Value::as_str).unwrap_or_default().is_empty() {
        m.insert("uid".into(), before["uid"].clone());
    }
}

/// The main resource cannot write the status, and the status subresource nothing else.
fn keep_other_half(kind: &Kind, obj: &mut Value, old: &Value, write: Write) {
    match write {
        Write::Main if kind.has(Subresource::Status) => {
            let map = object::map_mut(obj);
            map.shift_remove("status");
            if let Some(status) = old.get("status") {
                map.insert("status".into(), status.clone());
            }
        }
        Write::Status => {
            let status = obj.get("status").cloned();
            let sent = object::metadata(obj).get("managedFields").cloned();
            *obj = old.clone();
            let map = object::map_mut(obj);
            map.shift_remove("status");
            if let Some(status) = status {
                map.insert("status".into(), status);
            }
            if let Some(sent) = sent {
                object::metadata_mut(obj).insert("managedFields".into(), sent);
            }
        }
        _ => {}
    }
}

/// A change of anything but metadata and status makes a new generation.
fn count_generation(kind: &Kind, obj: &mut Value, old: &Value, write: Write) {
    let Some(before) = object::metadata(old).get("generation").and_then(Value::as_i64) else { return };
    let counts = kind.rules.counts_generation() && write != Write::Status;
    let with_status = kind.rules.counts_status();
    let changed = counts && !is_desired_alike(obj, old, with_status);
    object::metadata_mut(obj).insert("generation".into(), json!(before + i64::from(changed)));
}

fn is_desired_alike(obj: &Value, old: &Value, with_status: bool) -> bool {
    fn members(of: &Value, with_status: bool) -> impl Iterator<Item = (&String, &Value)> {
        let all = of.as_object().into_iter().flatten();
        all.filter(move |(key, _)| *key != "metadata" && (with_status || *key != "status"))
    }
    let mut wished = members(obj, with_status);
    members(old, with_status).count() == members(obj, with_status).count()
        && wished.all(|(key, value)| object::member(old, key).is_some_and(|old| object::equal(value, old)))
}

/// The bytes to store, and the facts that the store keeps beside them.
pub(crate) fn draft(kind: &Kind, obj: &Value) -> Draft {
    let (head, tail) = codec::encode::around_version(obj);
    Draft { head, tail, meta: Arc::new(select::meta(kind, obj)) }
}

/// Whether storing `obj` would change nothing.
pub(crate) fn is_same(obj: &Value, old: &Value) -> bool {
    managed::is_same_but_times(obj, old)
}

/// Why a commit did not happen: somebody was faster, or the store cannot.
pub(crate) enum Lost {
    Race,
    /// With what is stored along with the object.
    RaceAlong,
    Failed(Status),
}

/// An object that is to be stored, and what happens along with it or not at all.
pub(crate) struct Put<'a> {
    pub key: &'a str,
    pub expect: Expect,
    pub draft: Draft,
    pub along: Txn,
}

impl<'a> Put<'a> {
    /// The object alone.
    pub(crate) fn new(key: &'a str, expect: Expect, draft: Draft) -> Put<'a> {
        Put { key, expect, draft, along: Txn::default() }
    }

    pub(crate) fn with(self, along: Txn) -> Put<'a> {
        Put { along, ..self }
    }

    pub(crate) fn into_txn(self) -> Txn {
        let mut txn = Txn::put(self.key, self.expect, self.draft);
        txn.checks.extend(self.along.checks);
        txn.ops.extend(self.along.ops);
        txn
    }
}

/// That an object has not grown beyond what is stored.
pub(crate) fn check_size(draft: &Draft) -> Result<(), Lost> {
    if draft.head.len() + draft.tail.len() <= OBJECT_BYTES_MAX {
        return Ok(());
    }
    // A plain Go error in the reference: code 500 and no reason.
    Err(Lost::Failed(Status::new(500, "", "etcdserver: request is too large")))
}

pub(crate) async fn commit_put(core: &Core, put: Put<'_>) -> Result<Arc<Version>, Lost> {
    check_size(&put.draft)?;
    let key = put.key;
    core.store.commit(put.into_txn()).await.map_err(|e| lost(key, e)).and_then(first)
}

/// What the first of a transaction's writes has put.
pub(crate) fn first(done: Committed) -> Result<Arc<Version>, Lost> {
    let first = done.versions.into_iter().next();
    first.ok_or_else(|| Lost::Failed(Status::internal("the store kept nothing of a write")))
}

/// Remove an object, and with it what goes along: `old` is what it is. What is left is its last state, which says the
/// revision of the deletion.
pub(crate) async fn commit_delete(
    core: &Core,
    kind: &Kind,
    version: &Version,
    old: Value,
) -> Result<Arc<Version>, Lost> {
    let mut txn = Txn::delete(version.key.clone(), Expect::Revision(version.revision));
    txn.ops.extend(core.addresses.released(core, kind, &old).map_err(Lost::Failed)?);
    // As in an update: freed by the thread that made it.
    drop(old);
    let done = core.store.commit(txn).await.map_err(|e| lost(&version.key, e))?;
    let told = done.events.iter().find(|event| event.key == version.key).and_then(|event| event.last());
    told.cloned().ok_or_else(|| Lost::Failed(Status::internal("the store tells nothing of a deletion")))
}

/// `key` is the object's own.
pub(crate) fn lost(key: &str, e: Error) -> Lost {
    match e {
        Error::Conflict { key: taken, .. } if *taken == *key => Lost::Race,
        Error::Conflict { .. } => Lost::RaceAlong,
        other => Lost::Failed(versions::store_failed(other)),
    }
}

/// An outcome in the version of the call's own kind.
pub(crate) fn as_served(call: &Call, obj: Value) -> Result<Outcome, Status> {
    let obj = if call.kind.is_view { super::served(&call.kind, obj)? } else { obj };
    Ok(Outcome::Unstored(obj))
}
