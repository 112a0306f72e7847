//! create: a new object under a name that nobody has.

use bytes::Bytes;
use coracle_api::{Kind, Status, object};
use coracle_store::Expect;
use rand::Rng;
use serde_json::{Value, json};

use super::write::{self, Lost};
use super::{Call, Outcome, decode};
use crate::addresses::{self, Allotted};
use crate::admission::{self, Admit, resource_quota};
use crate::crd::{self, versions};
use crate::options::WriteOptions;
use crate::respond::Answer;
use crate::server::Core;

/// The letters of generated names: no vowels and nothing that looks like another, as `SimpleNameGenerator`.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many letters are added to a `generateName`.
const NAME_SUFFIX: usize = 5;
/// A generated name, suffix included, stays this short: a label of DNS.
const MAX_GENERATED: usize = 63;
/// How often another name is tried when a generated one is taken.
const NAME_TRIES: usize = 8;

pub(crate) async fn run(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let sent = decode::object(core, call, &call.kind, &body, options.field_validation)?;
    let outcome = object(core, call, sent, &options).await?;
    super::answer::object(core, call, 201, outcome).await
}

/// Create what has been decoded in the call's own kind.
pub(crate) async fn object(
    core: &Core,
    call: &Call,
    sent: Value,
    options: &WriteOptions,
) -> Result<Outcome, Status> {
    let (kind, mut sent) = to_stored(core, call, sent)?;
    place(call, &kind, &mut sent)?;
    if !object::resource_version(&sent).is_empty() {
        let words = "resourceVersion should not be set on objects to be created";
        return Err(Status::new(500, "", words));
    }
    admission::service_account::wait_for_default(core, &kind, &sent).await;
    if !object::name(&sent).is_empty() {
        let name = object::name(&sent).to_owned();
        let done = once(core, call, &kind, sent, options).await;
        let done = done.unwrap_or_else(|Taken(name)| Err(Status::already_exists(kind.resource(), &name)));
        if done.is_ok() && !options.dry_run {
            crd::wait_until_settled(core, &kind, &name).await;
        }
        return done;
    }
    for _ in 0..NAME_TRIES {
        let mut candidate = sent.clone();
        generate_name(&mut candidate);
        if let Ok(done) = once(core, call, &kind, candidate, options).await {
            return done;
        }
    }
    let name = object::text(&sent, &["metadata", "generateName"]).to_owned();
    Err(Status::already_exists(kind.resource(), &name))
}

/// The name that was taken.
struct Taken(String);

async fn once(
    core: &Core,
    call: &Call,
    kind: &Kind,
    candidate: Value,
    options: &WriteOptions,
) -> Result<Result<Outcome, Status>, Taken> {
    let name = object::name(&candidate).to_owned();
    let key = super::key(kind, object::namespace(&candidate), &name);
    let prepared = prepare(core, call, kind, candidate, options).await;
    let (mut obj, mut allotted) = match prepared {
        Ok(prepared) => prepared,
        Err(refused) => return Ok(Err(refused)),
    };
    let admit = Admit::create(core, call, kind);
    if options.dry_run {
        if let Err(refused) = resource_quota::check(&admit, call, &obj) {
            return Ok(Err(refused));
        }
        return match core.store.snapshot().get(&key) {
            Some(_) => Err(Taken(name)),
            None => Ok(write::as_served(call, obj)),
        };
    }
    for _ in 0..addresses::TRIES {
        let draft = match versions::draft(core, kind, &obj).await {
            Ok(draft) => draft,
            Err(refused) => return Ok(Err(refused)),
        };
        let put = write::Put::new(&key, Expect::Absent, draft).with(allotted.along.clone());
        let done = if let Some(evaluator) = resource_quota::concerned(&admit, call, &obj) {
            resource_quota::commit_put(&admit, call, &evaluator, &obj, put).await
        } else {
            if allotted.along.ops.is_empty() {
                // As in an update: freed by the thread that made it. Nothing will be allotted to it again.
                drop(std::mem::take(&mut obj));
            }
            write::commit_put(core, put).await
        };
        match done {
            Ok(version) => return Ok(Ok(Outcome::Stored(version))),
            Err(Lost::Race) => return Err(Taken(name)),
            Err(Lost::RaceAlong) => {
                if let Err(refused) = core.addresses.again(core, &mut obj, &mut allotted) {
                    return Ok(Err(refused));
                }
            }
            Err(Lost::Failed(status)) => return Ok(Err(status)),
        }
    }
    Ok(Err(Status::conflict_modified(kind.resource(), &name)))
}

async fn prepare(
    core: &Core,
    call: &Call,
    kind: &Kind,
    candidate: Value,
    options: &WriteOptions,
) -> Result<(Value, Allotted), Status> {
    crate::grants::check(core, call, kind, &candidate, None)?;
    let mut obj = write::born(core, call, kind, candidate, options).await?;
    let allotted = core.addresses.for_create(core, kind, &mut obj, options.dry_run)?;
    Ok((obj, allotted))
}

/// The row that keeps the object, and the object as that row has it.
pub(crate) fn to_stored(
    core: &Core,
    call: &Call,
    sent: Value,
) -> Result<(std::sync::Arc<Kind>, Value), Status> {
    stored_from(core, &call.kind, sent)
}

/// As [`to_stored`], from any row.
pub(crate) fn stored_from(
    core: &Core,
    row: &std::sync::Arc<Kind>,
    mut sent: Value,
) -> Result<(std::sync::Arc<Kind>, Value), Status> {
    let kind = core.catalog().stored_as(row);
    if row.is_view {
        row.rules.to_stored(&mut sent);
        let (shaped, _) = decode::shape(core, &kind, sent).map_err(Status::internal)?;
        sent = decode::defaulted(core, &kind, shaped);
    }
    Ok((kind, sent))
}

/// The namespace is the path's.
fn place(call: &Call, kind: &Kind, obj: &mut Value) -> Result<(), Status> {
    let said = object::namespace(obj).to_owned();
    let m = object::metadata_mut(obj);
    if !kind.is_namespaced() {
        m.shift_remove("namespace");
        return Ok(());
    }
    if !said.is_empty() && said != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    m.insert("namespace".into(), json!(call.namespace));
    Ok(())
}

fn generate_name(obj: &mut Value) {
    let base = object::text(obj, &["metadata", "generateName"]).to_owned();
    if !base.is_empty() {
        object::metadata_mut(obj).insert("name".into(), json!(generated(&base)));
    }
}

/// `base` with a random suffix.
pub(crate) fn generated(base: &str) -> String {
    let mut rng = rand::rng();
    let mut name: String = base.chars().take(MAX_GENERATED - NAME_SUFFIX).collect();
    name.extend((0..NAME_SUFFIX).map(|_| NAME_ALPHABET[rng.random_range(0..NAME_ALPHABET.len())] as char));
    name
}
