//! scale: an object seen as a number of replicas, read and written through the object itself.

use bytes::Bytes;
use coracle_api::field::go_quote;
use coracle_api::rules::{ScalePaths, ScaleSelector};
use coracle_api::selector::LabelSelector;
use coracle_api::{Kind, Status, object, patch};
use serde_json::{Map, Value, json};

use super::{Call, Outcome, decode, update};
use crate::crd::versions;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::subresources::bodies;

pub(crate) async fn get(core: &Core, call: &Call) -> Result<Answer, Status> {
    let found = core.store.snapshot().get(&call.key()).ok_or_else(|| call.not_found())?;
    answer(core, call, Outcome::Stored(found)).await
}

pub(crate) async fn put(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let kind = bodies::scale();
    let sent = decode::object(core, call, &kind, &body, options.field_validation)?;
    let outcome = change(core, call, &options, &kind, |_| Ok(sent.clone())).await?;
    answer(core, call, outcome).await
}

pub(crate) async fn patch(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    let kind = bodies::scale();
    let media = call.content_type.split(';').next().unwrap_or_default().trim().to_owned();
    let outcome = change(core, call, &options, &kind, |scale| {
        let mut doc = scale.clone();
        match media.as_str() {
            "application/json-patch+json" => {
                patch::json::apply(&mut doc, &patch::json::decode(&body)?.patch)?
            }
            // A Scale has no list, so that a strategic patch means what a merge patch does.
            "application/merge-patch+json" | "application/strategic-merge-patch+json"
                if media == "application/merge-patch+json" || !call.kind.is_custom() =>
            {
                patch::merge::apply(object::map_mut(&mut doc), &patch::merge::decode(&body)?.patch);
            }
            _ => return Err(super::patch::unsupported(&call.kind)),
        }
        let (typed, _) = decode::shape(core, &kind, doc).map_err(Status::bad_request)?;
        Ok(typed)
    })
    .await?;
    answer(core, call, outcome).await
}

async fn answer(core: &Core, call: &Call, outcome: Outcome) -> Result<Answer, Status> {
    let outcome = match outcome {
        Outcome::Stored(version) => Outcome::Stored(versions::one(core, &call.kind, version).await?),
        unstored => unstored,
    };
    let (object, paths) = (outcome.value(&call.kind)?, paths(&call.kind)?);
    let keys: Vec<&str> = paths.replicas.split('.').collect();
    if call.kind.is_custom() && object::at(&object, &keys).is_null() {
        let path = go_quote(&format!(".{}", paths.replicas));
        return Err(Status::internal(format!("the spec replicas field {path} does not exist")));
    }
    Ok(respond::value(200, &scale_of(&object, &paths), call.format))
}

fn paths(kind: &Kind) -> Result<ScalePaths, Status> {
    kind.rules.scale().ok_or_else(Status::no_resource)
}

async fn change(
    core: &Core,
    call: &Call,
    options: &WriteOptions,
    kind: &Kind,
    new: impl Fn(&Value) -> Result<Value, Status>,
) -> Result<Outcome, Status> {
    let paths = paths(&call.kind)?;
    update::change(core, call, options, |old| {
        let before = scale_of(old, &paths);
        let scale = new(&before)?;
        check(call, kind, &scale, &before)?;
        let mut obj = old.clone();
        let replicas = object::at(&scale, &["spec", "replicas"]).as_i64().unwrap_or(0);
        let mut keys: Vec<&str> = paths.replicas.split('.').collect();
        let last = keys.pop().unwrap_or_default().to_owned();
        object::map_at_mut(&mut obj, &keys).insert(last, json!(replicas));
        Ok(obj)
    })
    .await
}

fn check(call: &Call, kind: &Kind, scale: &Value, before: &Value) -> Result<(), Status> {
    let version = object::resource_version(scale);
    if !version.is_empty() && version != object::resource_version(before) {
        return Err(Status::conflict_modified(call.kind.resource(), &call.name));
    }
    let mut errs = coracle_api::field::Errors::default();
    let replicas = object::at(scale, &["spec", "replicas"]);
    if replicas.as_i64().unwrap_or(0) < 0 {
        let at = coracle_api::field::Path::new("spec.replicas");
        errs.invalid(&at, replicas, "must be greater than or equal to 0");
    }
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid(&kind.group, &kind.kind, &call.name, &errs)) }
}

/// The Scale of an object.
fn scale_of(obj: &Value, paths: &ScalePaths) -> Value {
    let number = |path: &str| {
        let keys: Vec<&str> = path.split('.').collect();
        object::at(obj, &keys).as_i64().unwrap_or(0)
    };
    let mut meta = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(v) = object::metadata(obj).get(key) {
            meta.insert(key.into(), v.clone());
        }
    }
    let mut spec = Map::new();
    if number(&paths.replicas) != 0 {
        spec.insert("replicas".into(), json!(number(&paths.replicas)));
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = selector(obj, &paths.selector);
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status})
}

fn selector(obj: &Value, from: &ScaleSelector) -> String {
    let at = |path: &str| {
        let keys: Vec<&str> = path.split('.').collect();
        object::at(obj, &keys).clone()
    };
    match from {
        ScaleSelector::Structured(path) => {
            LabelSelector::from_object(&at(path)).map(|s| s.to_string()).unwrap_or_default()
        }
        ScaleSelector::Labels(path) => LabelSelector::from_map(&at(path)).to_string(),
        ScaleSelector::Text(path) => at(path).as_str().unwrap_or_default().to_owned(),
        ScaleSelector::None => String::new(),
    }
}
