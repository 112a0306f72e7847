//! Custom resources in their versions: an object is stored in one of them, and read and written in any.
//!
//! Most objects are stored in the version that is asked for, under the definition of now: their bytes are sent as they are.
//! Others are rewritten between the store and whoever reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use coracle_api::{Kind, Status, codec, object};
use coracle_store::{Draft, Event, Version};
use serde_json::{Value, json};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Definition;
use crate::registry::{decode, write};
use crate::server::Core;

/// The versions as `kind` shows them.
pub(crate) async fn shown(
    core: &Core,
    kind: &Kind,
    versions: Vec<Arc<Version>>,
) -> Result<Vec<Arc<Version>>, Status> {
    match Reader::of(core, kind)? {
        Some(reader) => reader.rewritten(core, kind, versions).await,
        None => Ok(versions),
    }
}

/// As [`shown`], for one.
pub(crate) async fn one(core: &Core, kind: &Kind, version: Arc<Version>) -> Result<Arc<Version>, Status> {
    if !kind.is_custom() {
        return Ok(version);
    }
    let shown = shown(core, kind, vec![version.clone()]).await?;
    Ok(shown.into_iter().next().unwrap_or(version))
}

/// An object of another row of its kind, as one of `to`.
pub(crate) async fn converted(core: &Core, to: &Kind, obj: Value) -> Result<Value, Status> {
    let Some(reader) = Reader::of(core, to)? else { return Ok(obj) };
    let converted = reader.definition.convert(core, vec![obj], to).await?;
    converted.into_iter().next().ok_or_else(Status::no_resource)
}

/// An object before and after a write in each version in which others have written it, where a webhook says how their
/// fields are called there. Without one all versions call them the same.
pub(crate) async fn elsewhere(
    core: &Core,
    kind: &Kind,
    old: &Value,
    new: &Value,
) -> Result<Vec<(Arc<Kind>, Value, Value)>, Status> {
    let Some(reader) = Reader::of(core, kind)? else { return Ok(Vec::new()) };
    let definition = &reader.definition;
    if definition.webhook.is_none() {
        return Ok(Vec::new());
    }
    let entries = object::items(old, &["metadata", "managedFields"]).iter();
    let versions: BTreeSet<&str> = entries.map(|e| object::text(e, &["apiVersion"])).collect();
    let rows = versions.into_iter().filter(|v| *v != kind.api_version()).filter_map(|v| definition.row(v));
    let mut elsewhere = Vec::new();
    for row in rows {
        let converted = definition.convert(core, vec![old.clone(), new.clone()], row).await?;
        if let Ok([old, new]) = <[Value; 2]>::try_from(converted) {
            elsewhere.push((row.clone(), old, new));
        }
    }
    Ok(elsewhere)
}

/// What to store of an object of `kind`, in the version in which its objects are stored.
pub(crate) async fn draft(core: &Core, kind: &Kind, obj: &Value) -> Result<Draft, Status> {
    let Some(reader) = Reader::of(core, kind)? else { return Ok(write::draft(kind, obj)) };
    let storage = reader.definition.storage()?;
    if storage.version == kind.version {
        return Ok(write::draft(kind, obj));
    }
    let converted = reader.definition.convert(core, vec![obj.clone()], storage).await?;
    converted.first().map(|obj| write::draft(storage, obj)).ok_or_else(Status::no_resource)
}

/// Whether `version` is stored as it would be if it was written now.
pub(crate) fn is_up_to_date(core: &Core, kind: &Kind, version: &Version) -> bool {
    match Reader::of(core, kind) {
        Ok(None) => true,
        Ok(Some(reader)) => {
            let storage = reader.definition.storage();
            storage.is_ok_and(|storage| Reader::new(reader.definition.clone(), storage).shows(version))
        }
        Err(_) => false,
    }
}

/// How the objects of one row are read.
#[derive(Clone)]
pub(super) struct Reader {
    definition: Arc<Definition>,
    /// What objects in the row's version begin with.
    head: String,
}

impl Reader {
    /// None for the built-in kinds.
    pub(super) fn of(core: &Core, kind: &Kind) -> Result<Option<Reader>, Status> {
        if !kind.is_custom() {
            return Ok(None);
        }
        // It may have gone since the request came in.
        let definition = core.definitions.of(kind).filter(|d| !d.rows.is_empty());
        Ok(Some(Reader::new(definition.ok_or_else(Status::no_resource)?, kind)))
    }

    fn new(definition: Arc<Definition>, kind: &Kind) -> Reader {
        let head = format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", kind.kind, kind.api_version());
        Reader { definition, head }
    }

    /// Ends when there are other rows in the place of these.
    pub(super) fn replaced(&self) -> WaitForCancellationFutureOwned {
        self.definition.replaced.clone().cancelled_owned()
    }

    /// Whether the stored bytes are what the row shows.
    fn shows(&self, version: &Version) -> bool {
        version.revision > self.definition.since && version.json.starts_with(self.head.as_bytes())
    }

    pub(super) fn shows_all(&self, events: &[Arc<Event>]) -> bool {
        events.iter().flat_map(|e| e.prev.iter().chain(&e.now)).all(|v| self.shows(v))
    }

    /// The versions as `kind` shows them, those that the webhook converts in one call.
    async fn rewritten(
        &self,
        core: &Core,
        kind: &Kind,
        mut versions: Vec<Arc<Version>>,
    ) -> Result<Vec<Arc<Version>>, Status> {
        let definition = &self.definition;
        let mut unknown = Vec::new();
        for (i, version) in versions.iter_mut().enumerate().filter(|(_, v)| !self.shows(v)) {
            match definition.recent.get(&kind.version, version) {
                Some(known) => *version = known,
                None => unknown.push(i),
            }
        }
        if unknown.is_empty() {
            return Ok(versions);
        }
        let objects: Result<Vec<_>, _> =
            unknown.iter().map(|&i| definition.decoded(core, &versions[i])).collect();
        let objects = definition.convert(core, objects?, kind).await?;
        for (i, object) in unknown.into_iter().zip(objects) {
            versions[i] = Arc::new(versions[i].rewritten(write::draft(kind, &object)));
            definition.recent.put(&kind.version, &versions[i]);
        }
        Ok(versions)
    }

    pub(super) async fn events(
        &self,
        core: &Core,
        kind: &Kind,
        events: &[Arc<Event>],
    ) -> Result<Vec<Arc<Event>>, Status> {
        let versions = events.iter().flat_map(|e| e.prev.iter().chain(&e.now)).cloned().collect();
        let mut shown = self.rewritten(core, kind, versions).await?.into_iter();
        // One for each that there was, in the same order.
        let mut next = |v: &Option<Arc<Version>>| v.as_ref().and_then(|_| shown.next());
        let rewritten = events.iter().map(|event| {
            let (prev, now) = (next(&event.prev), next(&event.now));
            Arc::new(event.rewritten(prev, now))
        });
        Ok(rewritten.collect())
    }
}

impl Definition {
    fn row(&self, api_version: &str) -> Option<&Arc<Kind>> {
        self.rows.iter().find(|row| row.api_version() == api_version)
    }

    /// The row in whose version objects are stored.
    pub(super) fn storage(&self) -> Result<&Arc<Kind>, Status> {
        let is_storage =
            |row: &&Arc<Kind>| row.custom.as_ref().is_some_and(|c| c.storage_version == row.version);
        self.rows.iter().find(is_storage).ok_or_else(Status::no_resource)
    }

    /// A stored object in its own version, as the definition of now has it.
    fn decoded(&self, core: &Core, version: &Version) -> Result<Value, Status> {
        let unreadable = |e| Status::internal(format!("what is stored at {} is no JSON: {e}", version.key));
        let stored = codec::json::reread(&version.json).map_err(unreadable)?;
        let api_version = object::text(&stored, &["apiVersion"]).to_owned();
        let row = self.row(&api_version).ok_or_else(|| unknown("from", &api_version))?;
        let (object, _) = decode::shape(core, row, stored).map_err(Status::internal)?;
        Ok(decode::defaulted(core, row, object))
    }

    /// The objects in the version of `to`, in the same order.
    pub(super) async fn convert(
        &self,
        core: &Core,
        mut objects: Vec<Value>,
        to: &Kind,
    ) -> Result<Vec<Value>, Status> {
        let desired = to.api_version();
        if self.row(&desired).is_none() {
            return Err(unknown("to", &desired));
        }
        let others = |v: &Value| object::text(v, &["apiVersion"]) != desired;
        let (at, others): (Vec<usize>, Vec<Value>) =
            objects.iter().enumerate().filter(|(_, v)| others(v)).map(|(i, v)| (i, v.clone())).unzip();
        let converted = match &self.webhook {
            Some(webhook) => {
                let asked = webhook.convert(core, &others, &desired).await;
                asked.map_err(|why| Status::new(500, "", why))?
            }
            None => others
                .into_iter()
                .map(|mut v| {
                    v["apiVersion"] = json!(desired);
                    v
                })
                .collect(),
        };
        for (i, object) in at.into_iter().zip(converted) {
            let (object, _) = decode::shape(core, to, object).map_err(Status::internal)?;
            objects[i] = object;
        }
        Ok(objects)
    }
}

fn unknown(way: &str, api_version: &str) -> Status {
    Status::new(500, "", format!("request to convert CR {way} an invalid group/version: {api_version}"))
}
