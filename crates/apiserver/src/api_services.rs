//! APIServices: a row for each group and version that is served here, in step with the catalog.
//!
//! Other API servers are not called from here: what an APIService says that another one serves is unavailable.

use std::sync::{Arc, Weak};
use std::time::Duration;

use coracle_api::kinds::apiregistration::{AUTOMANAGED, served};
use coracle_api::{Kind, Status, object};
use coracle_store::{Error, Expect, Op, Txn, Version, Watch};
use serde_json::{Value, json};

use crate::bootstrap;
use crate::registry::{self, decode_stored, key, versions, write};
use crate::server::Core;

const GROUP: &str = "apiregistration.k8s.io";
const PLURAL: &str = "apiservices";

/// What the store cannot do now is tried again so much later.
const RETRY: Duration = Duration::from_secs(10);
/// How many events are looked at together.
const BATCH: usize = 256;
/// The label's value on the rows that are kept in step always, and not only when a server starts.
const ALWAYS: &str = "true";

/// Whose rows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    All,
    /// Of custom resources, which come and go.
    Custom,
}

impl Rows {
    fn has(self, managed: Option<&str>) -> bool {
        self == Rows::All || managed == Some(ALWAYS)
    }
}

/// What the store lacks of the APIServices of the catalog, and what it has too much.
pub(crate) fn missing(core: &Core, rows: Rows) -> Result<Txn, Status> {
    let kind = core.builtin(GROUP, PLURAL)?;
    let state = core.store.snapshot();
    let mut wanted = served(&core.catalog());
    wanted.retain(|w| rows.has(w["metadata"]["labels"][AUTOMANAGED].as_str()));
    let mut txn = Txn::default();
    for service in &wanted {
        let stored = state.get(&key(&kind, "", object::name(service)));
        let put = match &stored {
            None => Some(bootstrap::born(core, &kind, service.clone())?),
            Some(version) => corrected(&kind, version, service)?,
        };
        if let Some(obj) = put {
            let key: Arc<str> = key(&kind, "", object::name(service)).into();
            txn.checks.push((key.clone(), stored.map_or(Expect::Absent, |v| Expect::Revision(v.revision))));
            txn.ops.push(Op::Put(key, write::draft(&kind, &obj)));
        }
    }
    let is_wanted =
        |version: &Version| wanted.iter().any(|w| version.key.ends_with(&format!("/{}", object::name(w))));
    for version in state.range(&registry::prefix(&kind, ""), None) {
        // Rows by hand are their maker's.
        let managed = version.meta.label(AUTOMANAGED);
        if managed.is_some() && rows.has(managed) && !is_wanted(&version) {
            txn.checks.push((version.key.clone(), Expect::Revision(version.revision)));
            txn.ops.push(Op::Delete(version.key.clone()));
        }
    }
    Ok(txn)
}

/// The stored row with the spec that it should have; `None` where it has it, or is not looked after.
fn corrected(kind: &Kind, version: &Version, wanted: &Value) -> Result<Option<Value>, Status> {
    if version.meta.label(AUTOMANAGED).is_none() {
        return Ok(None);
    }
    let mut obj = decode_stored(kind, version)?;
    if obj["spec"] == wanted["spec"] {
        return Ok(None);
    }
    obj["spec"] = wanted["spec"].clone();
    Ok(Some(obj))
}

/// Keep the rows of custom resources in step, and say of other servers' that they are not available, until the server
/// stops.
pub(crate) fn start(core: &Arc<Core>) {
    let stopping = core.stopping.clone();
    // Weak: a server that nobody holds any more, and its store, must go without having been stopped.
    let keeping = keep(Arc::downgrade(core));
    tokio::spawn(async move { stopping.run_until_cancelled(keeping).await });
}

async fn keep(core: Weak<Core>) {
    loop {
        let Some((mut rows, mut definitions)) = core.upgrade().and_then(|core| watches(&core)) else {
            return;
        };
        loop {
            let done = match core.upgrade() {
                Some(core) => in_step(&core).await.map_err(|status| (status, core.clock.clone())),
                None => return,
            };
            if let Err((status, clock)) = done {
                tracing::warn!(%status, "the APIServices are not in step");
                clock.sleep(RETRY).await;
                continue;
            }
            let changed = tokio::select! {
                events = rows.next_batch(BATCH) => events,
                events = definitions.next_batch(BATCH) => events,
            };
            match changed {
                Ok(_) => {}
                // Everything is read anew where a watch fell behind.
                Err(Error::Slow) => break,
                Err(_) => return,
            }
        }
    }
}

fn watches(core: &Core) -> Option<(Watch, Watch)> {
    let watch = |group: &str, plural: &str| {
        let kind = core.builtin(group, plural).ok()?;
        core.store.watch(&registry::prefix(&kind, ""), core.store.revision()).ok()
    };
    // Whoever hears of a definition from a watch finds the catalog following it already.
    Some((watch(GROUP, PLURAL)?, watch("apiextensions.k8s.io", "customresourcedefinitions")?))
}

async fn in_step(core: &Core) -> Result<(), Status> {
    let mut txn = missing(core, Rows::Custom)?;
    let judged = unavailable(core)?;
    txn.checks.extend(judged.checks);
    txn.ops.extend(judged.ops);
    if txn.ops.is_empty() {
        return Ok(());
    }
    match core.store.commit(txn).await {
        // Who was faster has caused an event of their own.
        Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
        Err(other) => Err(versions::store_failed(other)),
    }
}

/// The rows of other servers that do not say yet how they are.
fn unavailable(core: &Core) -> Result<Txn, Status> {
    let kind = core.builtin(GROUP, PLURAL)?;
    let state = core.store.snapshot();
    let mut txn = Txn::default();
    for version in state.range(&registry::prefix(&kind, ""), None) {
        let mut obj = decode_stored(&kind, &version)?;
        let Some((reason, message)) = verdict(core, &obj) else { continue };
        let says = object::items(&obj, &["status", "conditions"]).iter().find(|c| c["type"] == "Available");
        if says.is_some_and(|c| c["reason"] == reason && c["message"] == message) {
            continue;
        }
        let condition = json!({"type": "Available", "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": core.clock.now_rfc3339()});
        object::map_at_mut(&mut obj, &["status"]).insert("conditions".into(), json!([condition]));
        txn.checks.push((version.key.clone(), Expect::Revision(version.revision)));
        txn.ops.push(Op::Put(version.key.clone(), write::draft(&kind, &obj)));
    }
    Ok(txn)
}

/// Why another server's API is not available; `None` where it is our own.
fn verdict(core: &Core, obj: &Value) -> Option<(&'static str, String)> {
    let service = object::at(obj, &["spec", "service"]);
    if service.is_null() {
        return None;
    }
    let (namespace, name) = (object::text(service, &["namespace"]), object::text(service, &["name"]));
    Some(match core.stored("", "services", namespace, name) {
        None => ("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")),
        Some(_) => ("FailedDiscoveryCheck", "this server calls no other API servers".to_owned()),
    })
}

/// Whether somebody else is to serve a group and version that is not served here.
pub(crate) fn is_elsewhere(core: &Core, group: &str, version: &str) -> bool {
    let row = core.object(GROUP, PLURAL, "", &format!("{version}.{group}"));
    row.is_some_and(|row| !object::at(&row, &["spec", "service"]).is_null())
}
