//! `/coracle/v1`: what this server offers beside Kubernetes' own API. Authorised as any path: by `nonResourceURLs`.
//!
//! ```text
//! GET    snapshot                  the present as a file            PUT    snapshot         make a file the present
//! GET    snapshots                 those that are kept in memory    PUT    snapshots/NAME   keep the present
//! POST   snapshots/NAME/restore    go back to one                   DELETE snapshots/NAME
//! GET    forks                     second clusters of this process  POST   forks            make one, {"name": …}
//! DELETE forks/NAME
//! ```

pub(crate) mod forks;
mod snapshots;

use std::sync::Arc;

use coracle_api::{Status, names};
use http::{Method, Request};

pub(crate) use snapshots::Kept;

use crate::body::Incoming;
use crate::negotiate::Format;
use crate::respond::{self, Answer};
use crate::server::Core;

const PREFIX: &str = "/coracle/v1/";

pub(crate) fn is_below(path: &str) -> bool {
    path.starts_with(PREFIX)
}

pub(crate) async fn answer(
    core: &Arc<Core>,
    request: Request<Incoming>,
    format: Format,
) -> Result<Answer, Status> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/');
    let rest: Vec<&str> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
    match (&parts.method, rest.as_slice()) {
        (&Method::GET, ["snapshot"]) => Ok(snapshots::save(core)),
        (&Method::PUT, ["snapshot"]) => snapshots::restore_file(core, body, format).await,
        (&Method::GET, ["snapshots"]) => Ok(snapshots::list(core, format)),
        (&Method::PUT, ["snapshots", name]) => snapshots::keep(core, check_name(name)?, format),
        (&Method::DELETE, ["snapshots", name]) => snapshots::drop_kept(core, name, format),
        (&Method::POST, ["snapshots", name, "restore"]) => snapshots::restore_kept(core, name, format).await,
        (&Method::GET, ["forks"]) => forks::list(core, format),
        (&Method::POST, ["forks"]) => forks::create(core, body, format).await,
        (&Method::DELETE, ["forks", name]) => forks::delete(core, name, format).await,
        (
            _,
            ["snapshot" | "snapshots" | "forks"] | ["snapshots" | "forks", _] | ["snapshots", _, "restore"],
        ) => Err(Status::method_not_allowed()),
        _ => Ok(respond::page_not_found()),
    }
}

/// Names go into paths and file names.
fn check_name(name: &str) -> Result<&str, Status> {
    match names::dns1123_label(name).first() {
        None => Ok(name),
        Some(why) => Err(Status::bad_request(format!("the name {name:?} is no DNS label: {why}"))),
    }
}
