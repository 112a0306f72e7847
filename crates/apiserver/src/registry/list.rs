//! list: a page of objects that a selector takes, at the state of the store that the client may ask for.

use std::sync::Arc;

use bytes::Bytes;
use coracle_api::{Kind, Status};
use coracle_store::{Snapshot, Version};

use super::select::Selector;
use super::versions::{self, Wanted};
use super::{Call, continuation};
use crate::options::{ListOptions, Match};
use crate::respond::Answer;
use crate::server::Core;

/// What a list found.
#[derive(Debug)]
pub(crate) struct Page {
    pub items: Vec<Arc<Version>>,
    pub revision: u64,
    pub continue_token: String,
    pub remaining: Option<usize>,
}

pub(crate) async fn run(core: &Arc<Core>, call: &Call) -> Result<Answer, Status> {
    let options = ListOptions::parse(&call.query)?;
    let page = page(core, call, &options).await?;
    super::answer::list(core, call, page)
}

pub(crate) async fn page(core: &Core, call: &Call, options: &ListOptions) -> Result<Page, Status> {
    let selector =
        Selector::parse(&call.kind, &options.label_selector, &options.field_selector)?.named(&call.name);
    let prefix = call.prefix();
    if options.continue_token.is_empty() {
        let state = versions::snapshot(core, wanted(options)?).await?;
        return Ok(read(&state, &prefix, None, None, &selector, options.limit));
    }
    if !matches!(options.resource_version.as_str(), "" | "0") {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let from = continuation::decode(&options.continue_token, &prefix)?;
    let state = if from.revision < 0 {
        core.store.snapshot()
    } else {
        core.store.at(from.revision as u64).map_err(|_| expired(&prefix, &from.after))?
    };
    let first = state.get(&from.after).filter(|_| from.inclusive);
    Ok(read(&state, &prefix, first, Some(&from.after), &selector, options.limit))
}

/// The table of `reference/storage-and-watch.md` §3.2.
fn wanted(o: &ListOptions) -> Result<Wanted, Status> {
    let Some(revision) = versions::parse_for_list(&o.resource_version)? else { return Ok(Wanted::Newest) };
    Ok(match o.version_match {
        Match::Exact => Wanted::Exactly(revision),
        // A page at a version means that version, as the reference has always read it.
        Match::Unset if o.limit > 0 && revision > 0 => Wanted::Exactly(revision),
        Match::Unset | Match::NotOlderThan => Wanted::NotOlderThan(revision),
    })
}

/// `first`, and what comes behind `after`.
fn read(
    state: &Snapshot,
    prefix: &str,
    first: Option<Arc<Version>>,
    after: Option<&str>,
    selector: &Selector,
    limit: i64,
) -> Page {
    let mut items = Vec::new();
    let mut more = false;
    for version in first.into_iter().chain(candidates(state, prefix, after, selector)) {
        // Whether the selector takes any of what is left is for the next page to find out, as in the reference.
        if limit > 0 && items.len() as i64 == limit {
            more = true;
            break;
        }
        if selector.takes(&version.key, &version.meta) {
            items.push(version);
        }
    }
    let last = items.last().filter(|_| more).map(|v| v.key.clone());
    Page {
        items,
        revision: state.revision,
        continue_token: last
            .as_ref()
            .map(|key| continuation::encode(state.revision as i64, prefix, key))
            .unwrap_or_default(),
        remaining: last.filter(|_| selector.is_empty()).map(|key| state.count(prefix, Some(&key))),
    }
}

/// A selector that names one object of one namespace needs no walk, and one that demands a label or a node a short one.
pub(crate) fn candidates<'a>(
    state: &'a Snapshot,
    prefix: &'a str,
    after: Option<&'a str>,
    selector: &Selector,
) -> Box<dyn Iterator<Item = Arc<Version>> + 'a> {
    match selector.name() {
        Some(name) if !name.is_empty() && !name.contains('/') => {
            match state.get(&format!("{prefix}{name}")) {
                Some(one) => Box::new(std::iter::once(one)),
                // A cluster-wide list of a namespaced kind may hold the name in any namespace.
                None => Box::new(state.range(prefix, after)),
            }
        }
        _ => match state.find(&selector.terms(), prefix, after) {
            Some(found) => Box::new(found.into_iter()),
            None => Box::new(state.range(prefix, after)),
        },
    }
}

fn expired(prefix: &str, after: &str) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.continue_token = Some(continuation::encode(-1, prefix, after));
    status
}

/// What every stored object of this kind starts with, and a list's items leave out; those of a custom resource keep it.
pub(crate) fn item_prefix(kind: &Kind) -> Bytes {
    if kind.is_custom() {
        return Bytes::new();
    }
    format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", kind.kind, kind.api_version()).into()
}
