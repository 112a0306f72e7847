//! list: a page of objects that a selector takes, at the state of the store that the client may ask for.

use std::sync::Arc;

use bytes::Bytes;
use coracle_api::{Kind, Status};
use coracle_store::{Snapshot, Version};

use super::select::Selector;
use super::versions::{self, Wanted};
use super::{Call, continuation};
use crate::crd;
use crate::options::{ListOptions, Match};
use crate::respond::Answer;
use crate::server::Core;

/// What a list found.
#[derive(Debug, Default)]
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
        return shown(core, call, Part { state, prefix, first: None, after: None }, &selector, options.limit)
            .await;
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
    let part = Part { state, prefix, first, after: Some(from.after) };
    shown(core, call, part, &selector, options.limit).await
}

/// Where a page begins: with `first`, and what comes behind `after`.
struct Part {
    state: Snapshot,
    prefix: String,
    first: Option<Arc<Version>>,
    after: Option<String>,
}

/// A page as the call's kind shows it.
async fn shown(
    core: &Core,
    call: &Call,
    part: Part,
    selector: &Selector,
    limit: i64,
) -> Result<Page, Status> {
    if !selector.looks_inside() {
        let mut page = part.read(selector, limit);
        page.items = crd::versions::shown(core, &call.kind, page.items).await?;
        return Ok(page);
    }
    let mut page = part.read(&selector.outside(), 0);
    page.items = crd::versions::shown(core, &call.kind, page.items).await?;
    page.items.retain(|version| selector.takes(version));
    let most = usize::try_from(limit).unwrap_or(0);
    if most > 0 && page.items.len() > most {
        page.items.truncate(most);
        page.end_at_last(&part.prefix);
    }
    Ok(page)
}

/// Everything that a watch which begins at `state` is told first.
pub(crate) async fn all(
    core: &Core,
    call: &Call,
    state: &Snapshot,
    selector: &Selector,
) -> Result<Vec<Arc<Version>>, Status> {
    let part = Part { state: state.clone(), prefix: call.prefix(), first: None, after: None };
    shown(core, call, part, selector, 0).await.map(|page| page.items)
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

impl Part {
    fn read(&self, selector: &Selector, limit: i64) -> Page {
        let (state, after) = (&self.state, self.after.as_deref());
        let mut page = Page { revision: state.revision, ..Page::default() };
        for version in self.first.iter().cloned().chain(candidates(state, &self.prefix, after, selector)) {
            // Whether the selector takes any of what is left is for the next page to find out, as in the reference.
            if limit > 0 && page.items.len() as i64 == limit {
                page.end_at_last(&self.prefix);
                break;
            }
            if selector.takes(&version) {
                page.items.push(version);
            }
        }
        let last = page.items.last().filter(|_| !page.continue_token.is_empty() && selector.is_empty());
        page.remaining = last.map(|last| state.count(&self.prefix, Some(&last.key)));
        page
    }
}

impl Page {
    /// There is more behind the last item.
    fn end_at_last(&mut self, prefix: &str) {
        let token = |last: &Arc<Version>| continuation::encode(self.revision as i64, prefix, &last.key);
        self.continue_token = self.items.last().map(token).unwrap_or_default();
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
