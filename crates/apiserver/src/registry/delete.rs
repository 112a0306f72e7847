//! delete: at once, after a grace period, or once the finalizers have let go.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_api::meta::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN};
use coracle_api::{Kind, Status, object};
use coracle_store::{Expect, Version};
use serde_json::{Value, json};

use super::write::{self, Lost};
use super::{Call, Outcome, decode, decode_stored};
use crate::admission::{self, Admit};
use crate::crd::{self, versions};
use crate::options::{DeleteOptions, Propagation};
use crate::respond::{self, Answer};
use crate::server::Core;

/// How a deletion went.
pub(crate) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Outcome),
    /// The object is waiting for its grace period or its finalizers.
    Waiting(Outcome),
}

pub(crate) async fn run(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = read_options(call, &body)?;
    match object(core, call, &options).await? {
        Deleted::Waiting(outcome) => {
            // Only a client that asked in the old way for dependents to go first is told that it takes time.
            let code = if options.orphan_dependents == Some(false) { 202 } else { 200 };
            super::answer::object(core, call, code, outcome).await
        }
        Deleted::Gone(last) if call.kind.rules.returns_deleted() => {
            super::answer::object(core, call, 200, last).await
        }
        Deleted::Gone(last) => Ok(respond::value(200, &success(call, &last), call.format)),
    }
}

pub(crate) fn read_options(call: &Call, body: &[u8]) -> Result<DeleteOptions, Status> {
    if body.is_empty() {
        return DeleteOptions::parse(&call.query, None);
    }
    let parsed = decode::parse(&call.content_type, body, "DeleteOptions")?;
    let kind = object::text(&parsed.value, &["kind"]);
    if !kind.is_empty() && kind != "DeleteOptions" {
        return Err(Status::bad_request(format!(
            "decoded object cannot be converted to DeleteOptions: {kind}"
        )));
    }
    DeleteOptions::parse(&call.query, Some(&parsed.value))
}

fn success(call: &Call, last: &Outcome) -> Value {
    let mut details = json!({"name": call.name});
    if !call.kind.group.is_empty() {
        details["group"] = json!(call.kind.group);
    }
    details["kind"] = json!(call.kind.plural);
    details["uid"] = json!(match last {
        Outcome::Stored(version) => &version.meta.uid,
        Outcome::Unstored(last) => object::uid(last),
    });
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Delete the call's object, or start to.
pub(crate) async fn object(core: &Core, call: &Call, options: &DeleteOptions) -> Result<Deleted, Status> {
    let kind = core.catalog().stored_as(&call.kind);
    let key = call.key();
    // No kubelet will ever say that a Pod of a fork has ended.
    let at_once = DeleteOptions { grace_seconds: Some(0), ..options.clone() };
    let options = if core.is_fork { &at_once } else { options };
    for _ in 0..write::TRIES {
        let current = core.store.snapshot().get(&key).ok_or_else(|| call.not_found())?;
        let shown = versions::one(core, &kind, current.clone()).await?;
        let old = decode_stored(&kind, &shown)?;
        check_preconditions(&kind, &old, options)?;
        let admit = Admit::delete(core, call, &kind, &old).for_dry_run(options.dry_run);
        admission::validate(&admit, None).await?;
        match once(core, call, &kind, &current, old, options).await {
            Ok(deleted) => return Ok(deleted),
            Err(Lost::Race | Lost::RaceAlong) => continue,
            Err(Lost::Failed(status)) => return Err(status),
        }
    }
    Err(Status::conflict_modified(kind.resource(), &call.name))
}

async fn once(
    core: &Core,
    call: &Call,
    kind: &Kind,
    current: &Arc<Version>,
    old: Value,
    options: &DeleteOptions,
) -> Result<Deleted, Lost> {
    let plan = plan(kind, &old, options, core.clock.now());
    match plan {
        Plan::Wait => Ok(Deleted::Waiting(Outcome::Stored(current.clone()))),
        Plan::Remove if options.dry_run => {
            write::as_served(call, old).map(Deleted::Gone).map_err(Lost::Failed)
        }
        Plan::Remove => {
            let last = write::commit_delete(core, kind, current, old).await?;
            Ok(Deleted::Gone(Outcome::Stored(last)))
        }
        Plan::Mark(marked) if options.dry_run => {
            write::as_served(call, marked).map(Deleted::Waiting).map_err(Lost::Failed)
        }
        Plan::Mark(marked) => {
            let draft = versions::draft(core, kind, &marked).await.map_err(Lost::Failed)?;
            let expect = Expect::Revision(current.revision);
            let put = write::Put::new(&current.key, expect, draft);
            let version = write::commit_put(core, put).await?;
            Ok(Deleted::Waiting(Outcome::Stored(version)))
        }
    }
}

fn check_preconditions(kind: &Kind, old: &Value, options: &DeleteOptions) -> Result<(), Status> {
    // The reference prints the kind here where other conflicts print the resource.
    let named = coracle_api::status::Resource { group: &kind.group, resource: &kind.kind };
    let refuse = |why: String| Err(Status::conflict(named, object::name(old), &why));
    if let Some(uid) = options.uid.as_deref().filter(|u| *u != object::uid(old)) {
        return refuse(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            object::uid(old)
        ));
    }
    if let Some(version) = options.resource_version.as_deref().filter(|v| *v != object::resource_version(old))
    {
        return refuse(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). \
             The object might have been modified",
            object::resource_version(old)
        ));
    }
    Ok(())
}

/// What a deletion does to an object.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// It is being deleted already, and not asked to hurry.
    Wait,
    Mark(Value),
    Remove,
}

/// As `rest.BeforeDelete` and the store's handling of finalizers, on one object.
pub(crate) fn plan(kind: &Kind, old: &Value, options: &DeleteOptions, now: jiff::Timestamp) -> Plan {
    if kind.kind == "Namespace" && kind.group.is_empty() {
        return namespace_plan(old, now);
    }
    if crd::is_definition(kind) && !object::is_deleting(old) {
        return Plan::Mark(crd::marked(old, &rfc3339(now)));
    }
    let asked = options.grace_seconds.map(|s| if s < 0 { 1 } else { s });
    let grace = kind.rules.grace_seconds(old, asked);
    let finalizers = finalizers(old, options);
    if finalizers.is_empty() && grace.unwrap_or(0) == 0 && !object::is_deleting(old) {
        return Plan::Remove;
    }
    let mut new = old.clone();
    let mut graceful = false;
    if let (true, Some(_)) = (object::is_deleting(old), grace) {
        let before = object::at(old, &["metadata", "deletionGracePeriodSeconds"]).as_i64().unwrap_or(0);
        match asked {
            Some(shorter) if shorter < before => {
                set_deadline(&mut new, earlier(old, before - shorter), shorter);
                graceful = true;
            }
            _ => return Plan::Wait,
        }
    } else if let Some(seconds) = grace {
        set_deadline(&mut new, now + Duration::from_secs(seconds.max(0) as u64), seconds);
        bump_generation(&mut new);
        graceful = true;
    }
    set_finalizers(&mut new, &finalizers);
    if !graceful && !finalizers.is_empty() {
        if object::is_deleting(old) && new == *old {
            return Plan::Wait;
        }
        mark(&mut new, old, now);
        return Plan::Mark(new);
    }
    let seconds = object::at(&new, &["metadata", "deletionGracePeriodSeconds"]).as_i64().unwrap_or(0);
    if !finalizers.is_empty() || (graceful && seconds > 0) { Plan::Mark(new) } else { Plan::Remove }
}

/// A Namespace goes once its contents have: the namespace controller takes the finalizer off.
fn namespace_plan(old: &Value, now: jiff::Timestamp) -> Plan {
    let kept = !object::items(old, &["spec", "finalizers"]).is_empty()
        || !object::items(old, &["metadata", "finalizers"]).is_empty();
    if object::is_deleting(old) {
        return if kept { Plan::Wait } else { Plan::Remove };
    }
    if !kept {
        return Plan::Remove;
    }
    let mut new = old.clone();
    object::metadata_mut(&mut new).insert("deletionTimestamp".into(), json!(rfc3339(now)));
    object::map_at_mut(&mut new, &["status"]).insert("phase".into(), json!("Terminating"));
    Plan::Mark(new)
}

fn rfc3339(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn earlier(old: &Value, seconds: i64) -> jiff::Timestamp {
    let deadline: jiff::Timestamp =
        object::text(old, &["metadata", "deletionTimestamp"]).parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    deadline - Duration::from_secs(seconds.max(0) as u64)
}

fn set_deadline(obj: &mut Value, at: jiff::Timestamp, seconds: i64) {
    let m = object::metadata_mut(obj);
    m.insert("deletionTimestamp".into(), json!(rfc3339(at)));
    m.insert("deletionGracePeriodSeconds".into(), json!(seconds));
}

/// Controllers stop their work on a deleted object: that is a change of what is wanted.
fn bump_generation(obj: &mut Value) {
    let m = object::metadata_mut(obj);
    if let Some(n) = m.get("generation").and_then(Value::as_i64).filter(|n| *n > 0) {
        m.insert("generation".into(), json!(n + 1));
    }
}

/// An object without a grace period that its finalizers keep.
fn mark(new: &mut Value, old: &Value, now: jiff::Timestamp) {
    if !object::is_deleting(old) {
        bump_generation(new);
        object::metadata_mut(new).insert("deletionTimestamp".into(), json!(rfc3339(now)));
    }
    object::metadata_mut(new).insert("deletionGracePeriodSeconds".into(), json!(0));
}

/// The finalizers after what the options say about dependents.
fn finalizers(old: &Value, options: &DeleteOptions) -> Vec<String> {
    let held: Vec<&str> =
        object::items(old, &["metadata", "finalizers"]).iter().filter_map(Value::as_str).collect();
    let (orphan, foreground) = match (options.orphan_dependents, &options.propagation) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(Propagation::Orphan)) => (true, false),
        (None, Some(Propagation::Foreground)) => (false, true),
        (None, Some(Propagation::Background)) => (false, false),
        (None, None) => (held.contains(&FINALIZER_ORPHAN), held.contains(&FINALIZER_FOREGROUND)),
    };
    let mut out: Vec<String> = held
        .iter()
        .filter(|f| match **f {
            FINALIZER_ORPHAN => orphan,
            FINALIZER_FOREGROUND => foreground,
            _ => true,
        })
        .map(|f| (*f).to_owned())
        .collect();
    for (wanted, name) in [(orphan, FINALIZER_ORPHAN), (foreground, FINALIZER_FOREGROUND)] {
        if wanted && !out.iter().any(|f| f == name) {
            out.push(name.to_owned());
        }
    }
    out
}

fn set_finalizers(obj: &mut Value, finalizers: &[String]) {
    let m = object::metadata_mut(obj);
    if finalizers.is_empty() {
        m.shift_remove("finalizers");
    } else {
        m.insert("finalizers".into(), json!(finalizers));
    }
}
