//! The end of a definition: it is kept until the objects that it defines are gone.

use std::time::Duration;

use bytes::Bytes;
use coracle_api::{Kind, Status, object};
use serde_json::{Value, json};

use super::conditions::{self, Condition, ESTABLISHED, TERMINATING};
use super::keeper::{self, Keeper};
use crate::registry::{self, deletecollection};
use crate::server::Core;

/// Keeps a definition for as long as there are objects of its kind.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Objects that their own finalizers keep are looked at again after this while.
const POLL: Duration = Duration::from_millis(250);
/// For how long their end is waited for before they are told once more, as in the reference.
const PATIENCE: Duration = Duration::from_secs(60);

/// `old` as the first request to delete it leaves it.
pub(crate) fn marked(old: &Value, now: &str) -> Value {
    let mut new = old.clone();
    let metadata = object::metadata_mut(&mut new);
    metadata.insert("deletionTimestamp".to_owned(), json!(now));
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut().filter(|f| !f.iter().any(|f| f == FINALIZER)) {
        finalizers.push(json!(FINALIZER));
    }
    let status = Value::Object(std::mem::take(object::map_at_mut(&mut new, &["status"])));
    let words = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    new["status"] = with(status, Condition::new(TERMINATING, true, "InstanceDeletionPending", words), now);
    new
}

fn with(mut status: Value, condition: Condition, now: &str) -> Value {
    conditions::set(&mut status, condition, now);
    status
}

pub(super) fn is_pending(definition: &Value) -> bool {
    let finalizers = object::items(definition, &["metadata", "finalizers"]);
    object::is_deleting(definition) && finalizers.iter().any(|f| f == FINALIZER)
}

/// Goes on with the end of a definition; how long until it is to be looked at again, if it is.
pub(super) async fn go_on(
    keeper: &mut Keeper,
    core: &Core,
    name: &str,
    definition: &Value,
) -> Result<Option<Duration>, Status> {
    let storage = core.definitions.get(name).and_then(|d| d.rows.first().cloned());
    let was_established = conditions::is_true(object::at(definition, &["status"]), ESTABLISHED);
    let done = match storage.filter(|_| was_established) {
        None => Condition::new(TERMINATING, false, "NeverEstablished", "resource was never established"),
        Some(row) => match empty(keeper, core, name, &row).await? {
            Some(pause) => return Ok(Some(pause)),
            None => Condition::new(TERMINATING, false, "InstanceDeletionCompleted", "removed all instances"),
        },
    };
    say(core, name, done).await?;
    keeper.told.remove(name);
    let call = keeper::call(core, "update", &core.builtin(super::GROUP, super::PLURAL)?, name, None)?;
    let released = |old: &Value| {
        let mut new = old.clone();
        let metadata = object::metadata_mut(&mut new);
        if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") {
            finalizers.retain(|f| f != FINALIZER);
        }
        Ok(new)
    };
    keeper::change(core, &call, released).await?;
    Ok(None)
}

async fn say(core: &Core, name: &str, condition: Condition) -> Result<(), Status> {
    keeper::write_status(core, name, |old, now| {
        let status = old.get("status").cloned().unwrap_or_else(|| json!({}));
        with(status, condition.clone(), now)
    })
    .await
}

/// Deletes all objects of a row; how long to wait where some are still there.
async fn empty(
    keeper: &mut Keeper,
    core: &Core,
    name: &str,
    row: &std::sync::Arc<Kind>,
) -> Result<Option<Duration>, Status> {
    let is_empty = || core.store.snapshot().range(&registry::prefix(row, ""), None).next().is_none();
    let now = core.clock.elapsed();
    let is_told = keeper.told.get(name).is_some_and(|at| now.saturating_sub(*at) < PATIENCE);
    if is_told {
        return Ok((!is_empty()).then_some(POLL));
    }
    let failed = |reason, words: String| Condition::new(TERMINATING, true, reason, words);
    if keeper.told.contains_key(name) && !is_empty() {
        let words = "could not confirm zero CustomResources remaining: timed out waiting for the condition";
        say(core, name, failed("InstanceDeletionCheck", words.to_owned())).await?;
    } else {
        say(
            core,
            name,
            failed("InstanceDeletionInProgress", "CustomResource deletion is in progress".to_owned()),
        )
        .await?;
    }
    if is_empty() {
        return Ok(None);
    }
    let call = keeper::call(core, "deletecollection", row, "", None)?;
    if let Err(status) = deletecollection::run(core, &call, Bytes::new()).await {
        let words = format!("could not issue all deletes: {}", status.message);
        say(core, name, failed("InstanceDeletionFailed", words)).await?;
        return Err(status);
    }
    keeper.told.insert(name.to_owned(), now);
    Ok((!is_empty()).then_some(POLL))
}
