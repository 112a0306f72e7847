//! resourceVersion rules of reads: which state of the store answers a get, list or watch.

use std::time::Duration;

use coracle_api::Status;
use coracle_api::status::{Cause, Details};
use coracle_store::{Error, Snapshot};

use crate::server::Core;

/// How long a read waits for a version that is not there yet: the reference's `blockTimeout`.
const WAIT: Duration = Duration::from_secs(3);

/// What a read asks of the state it is answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Newest,
    NotOlderThan(u64),
    Exactly(u64),
}

/// A version as clients send it; empty is `None`.
pub(crate) fn parse(version: &str) -> Result<Option<u64>, String> {
    if version.is_empty() {
        return Ok(None);
    }
    version.parse().map(Some).map_err(|_| {
        let quoted = coracle_api::field::go_quote(version);
        format!(
            "resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax"
        )
    })
}

pub(crate) fn parse_for_list(version: &str) -> Result<Option<u64>, Status> {
    parse(version).map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))
}

pub(crate) async fn snapshot(core: &Core, wanted: Wanted) -> Result<Snapshot, Status> {
    match wanted {
        Wanted::Newest => Ok(core.store.snapshot()),
        Wanted::NotOlderThan(revision) => {
            wait(core, revision).await?;
            Ok(core.store.snapshot())
        }
        Wanted::Exactly(revision) => {
            wait(core, revision).await?;
            core.store.at(revision).map_err(|e| match e {
                Error::Compacted { .. } => {
                    Status::expired("The resourceVersion for the provided list is too old.")
                }
                other => store_failed(other),
            })
        }
    }
}

async fn wait(core: &Core, revision: u64) -> Result<(), Status> {
    let present = core.store.revision();
    if present >= revision {
        return Ok(());
    }
    match core.store.wait_for(revision, WAIT).await {
        Ok(()) => Ok(()),
        Err(_) => Err(too_large(revision, core.store.revision())),
    }
}

/// The 504 for a version that the future may bring.
pub(crate) fn too_large(wanted: u64, current: u64) -> Status {
    let words = format!("Too large resource version: {wanted}, current: {current}");
    Status::timeout(words, 1).with_details(Details {
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            ..Cause::default()
        }],
        retry_after_seconds: 1,
        ..Details::default()
    })
}

pub(crate) fn store_failed(e: Error) -> Status {
    match e {
        Error::Closed => Status::service_unavailable("the server is shutting down"),
        Error::Unavailable(_) => Status::service_unavailable(e.to_string()),
        // The client must look before it tries again.
        Error::Unknown(_) => Status::timeout(e.to_string(), 0),
        other => Status::internal(other.to_string()),
    }
}
