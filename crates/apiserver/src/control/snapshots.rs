//! Snapshots as clients ask for them: as a file, or kept in memory under a name; and the way back to one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_api::Status;
use coracle_api::status::Resource;
use coracle_store::{Committed, Decoder, Encoder, FileError, Snapshot};
use futures::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::body::{Body, Incoming};
use crate::negotiate::Format;
use crate::registry::{select, versions};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::{bootstrap, kubernetes_service};

const RESOURCE: Resource<'static> = Resource { group: "", resource: "snapshots" };
/// Each keeps alive what has changed since; a test suite has a handful.
const KEPT_MAX: usize = 64;

/// Snapshots in memory, by name.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<BTreeMap<String, Named>>);

#[derive(Debug, Clone)]
struct Named {
    state: Snapshot,
    made: String,
}

impl Kept {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Named>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_value(name: &str, named: &Named) -> Value {
    json!({
        "name": name, "revision": named.state.revision, "objects": named.state.len(), "created": named.made,
    })
}

/// What tells this cluster from every other in the header of a snapshot: the fingerprint of its CA.
fn cluster(core: &Core) -> String {
    Sha256::digest(core.pki.ca_der()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn save(core: &Core) -> Answer {
    let pieces = Encoder::new(core.store.snapshot(), &cluster(core), &core.clock.now_rfc3339());
    let body = Body::Stream(futures::stream::iter(pieces).boxed());
    respond::whole(200, "application/octet-stream", body)
}

pub(super) async fn restore_file(
    core: &Arc<Core>,
    mut body: Incoming,
    format: Format,
) -> Result<Answer, Status> {
    let refuse = |why: FileError| Status::bad_request(format!("cannot restore the snapshot: {why}"));
    let mut decoder = Decoder::new(select::meta_of(&core.catalog()));
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Status::bad_request(format!("unable to read the request body: {e}")))?;
        if let Ok(piece) = frame.into_data() {
            decoder.feed(&piece).map_err(refuse)?;
        }
    }
    let (header, state) = decoder.finish().map_err(refuse)?;
    let done = restore(core, &state).await?;
    let mut told = tell(core, &done);
    told["sameCluster"] = json!(header.cluster == cluster(core));
    Ok(respond::value(200, &told, format))
}

pub(super) fn list(core: &Core, format: Format) -> Answer {
    let all: Vec<Value> = core.kept.all().iter().map(|(name, named)| to_value(name, named)).collect();
    respond::value(200, &json!({"snapshots": all}), format)
}

pub(super) fn keep(core: &Core, name: &str, format: Format) -> Result<Answer, Status> {
    let named = Named { state: core.store.snapshot(), made: core.clock.now_rfc3339() };
    let told = to_value(name, &named);
    let mut all = core.kept.all();
    if all.len() >= KEPT_MAX && !all.contains_key(name) {
        let why = format!("{KEPT_MAX} snapshots are kept already: delete one, or save this one to a file");
        return Err(Status::conflict(RESOURCE, name, &why));
    }
    let code = if all.insert(name.to_owned(), named).is_some() { 200 } else { 201 };
    Ok(respond::value(code, &told, format))
}

pub(super) fn drop_kept(core: &Core, name: &str, format: Format) -> Result<Answer, Status> {
    let dropped = core.kept.all().remove(name).ok_or_else(|| Status::not_found(RESOURCE, name))?;
    Ok(respond::value(200, &to_value(name, &dropped), format))
}

pub(super) async fn restore_kept(core: &Arc<Core>, name: &str, format: Format) -> Result<Answer, Status> {
    let named = core.kept.all().get(name).cloned().ok_or_else(|| Status::not_found(RESOURCE, name))?;
    let done = restore(core, &named.state).await?;
    Ok(respond::value(200, &tell(core, &done), format))
}

/// Go back in a task of its own: a client that goes away must not leave it half done.
async fn restore(core: &Arc<Core>, state: &Snapshot) -> Result<Committed, Status> {
    let (core, state) = (core.clone(), state.clone());
    let restoring = tokio::spawn(async move {
        let done = core.store.restore(&state).await.map_err(versions::store_failed)?;
        // What this server keeps of its own: a state of another cluster, or of another version, lacks it.
        bootstrap::run(&core).await?;
        if !core.is_fork {
            kubernetes_service::keep(&core).await?;
        }
        Ok(done)
    });
    restoring.await.map_err(|e| Status::internal(e.to_string()))?
}

fn tell(core: &Core, done: &Committed) -> Value {
    let (mut created, mut changed, mut deleted) = (0, 0, 0);
    for event in &done.events {
        match (&event.prev, &event.now) {
            (None, _) => created += 1,
            (Some(_), Some(_)) => changed += 1,
            (Some(_), None) => deleted += 1,
        }
    }
    json!({"revision": core.store.revision(), "created": created, "changed": changed, "deleted": deleted})
}
