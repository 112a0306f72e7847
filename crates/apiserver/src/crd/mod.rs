//! Custom resources: the definitions that a cluster holds, and the catalog that they make.
//!
//! [`Definitions`] follows them as the index of RBAC policies follows roles: what a definition says is served before its
//! write is acknowledged. [`keeper`] writes their status and sees to their end; [`versions`] converts what is stored.

mod conditions;
mod conversion;
mod deletion;
pub(crate) mod events;
mod keeper;
mod names;
mod recent;
pub(crate) mod requests;
pub(crate) mod versions;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use coracle_api::catalog::Catalog;
use coracle_api::{Kind, custom, object};
use coracle_store::{Event, Observer};
use imbl::OrdMap;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::openapi::Documents;
use conditions::{ESTABLISHED, NAMES_ACCEPTED, TERMINATING};
use conversion::Webhook;
use names::Taken;
use recent::Recent;

pub(crate) use deletion::marked;
pub(crate) use keeper::{start, wait_until_settled};

const GROUP: &str = "apiextensions.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
/// Where definitions are stored.
pub(crate) const PREFIX: &str = "/registry/customresourcedefinitions/";

/// Whether objects of `kind` define others.
pub(crate) fn is_definition(kind: &Kind) -> bool {
    kind.group == GROUP && kind.plural == PLURAL
}

/// One definition as it is now.
#[derive(Debug)]
struct Definition {
    group: String,
    /// `status.acceptedNames`
    accepted: Value,
    has_its_names: bool,
    /// Whether it has been decided what names it has.
    is_settled: bool,
    is_terminating: bool,
    /// Rows of all its versions, once it is established.
    rows: Vec<Arc<Kind>>,
    /// What the rows are made of, so that a change of anything else leaves them alone.
    print: [u8; 32],
    /// The revision that made the rows: what was stored before may be shown otherwise than it is stored.
    since: u64,
    /// The webhook that converts its objects; without one, only `apiVersion` changes.
    webhook: Option<Webhook>,
    /// What they have shown.
    recent: Arc<Recent>,
    /// Ends the watches of rows that there are no more.
    replaced: CancellationToken,
}

impl Definition {
    fn read(object: &Value, revision: u64, before: Option<&Definition>) -> Definition {
        let status = object::at(object, &["status"]);
        let spec = object::at(object, &["spec"]);
        let accepted = object::at(status, &["acceptedNames"]).clone();
        let is_established = conditions::is_true(status, ESTABLISHED);
        let is_terminating = conditions::is_true(status, TERMINATING);
        let print = Sha256::digest(format!("{}{is_established}{spec}{accepted}", object::uid(object))).into();
        let same = before.filter(|b| b.print == print);
        let (since, recent, replaced) = match same {
            Some(before) => (before.since, before.recent.clone(), before.replaced.clone()),
            None => (revision, Arc::default(), CancellationToken::new()),
        };
        let is_webhook = object::text(spec, &["conversion", "strategy"]) == "Webhook";
        let rows = match same.filter(|before| before.is_terminating == is_terminating) {
            Some(before) => before.rows.clone(),
            None if is_established => rows(object, is_terminating),
            None => Vec::new(),
        };
        Definition {
            group: object::text(spec, &["group"]).to_owned(),
            accepted,
            has_its_names: conditions::is_true(status, NAMES_ACCEPTED),
            is_settled: conditions::has(status, NAMES_ACCEPTED),
            is_terminating,
            rows,
            print,
            since,
            webhook: is_webhook.then(|| Webhook::read(object::at(spec, &["conversion", "webhook"]))),
            recent,
            replaced,
        }
    }
}

fn rows(object: &Value, is_terminating: bool) -> Vec<Arc<Kind>> {
    /// What discovery does not offer of a resource that is going.
    const WRITES: [&str; 3] = ["create", "patch", "update"];
    let rows = custom::rows(object).unwrap_or_else(|why| {
        tracing::error!(name = object::name(object), "a definition cannot be served: {why}");
        Vec::new()
    });
    let narrowed = |mut row: Kind| {
        if is_terminating {
            row.verbs.to_mut().retain(|verb| !WRITES.contains(&&**verb));
        }
        Arc::new(row)
    };
    rows.into_iter().map(narrowed).collect()
}

/// What all definitions come to at one moment.
#[derive(Default)]
struct State {
    /// By name.
    known: OrdMap<String, Arc<Definition>>,
    /// Made when somebody first asks: at a start, definitions come one by one.
    catalog: OnceLock<Catalog>,
    documents: Arc<Documents>,
}

impl State {
    fn catalog(&self) -> &Catalog {
        self.catalog.get_or_init(|| {
            Catalog::with_custom(self.known.values().flat_map(|d| d.rows.iter().cloned()).collect())
        })
    }
}

/// The definitions of a cluster.
pub(crate) struct Definitions {
    state: RwLock<Arc<State>>,
    /// Told the name of whatever [`keeper`] has to look at.
    changed: UnboundedSender<String>,
    /// Told of every change after it is in force.
    applied: Notify,
}

impl std::fmt::Debug for Definitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definitions").finish_non_exhaustive()
    }
}

impl Definitions {
    /// With the names that [`start`] wants.
    pub(crate) fn new() -> (Arc<Definitions>, UnboundedReceiver<String>) {
        Definitions::with(Arc::default())
    }

    /// The same definitions, which change on their own from now on.
    pub(crate) fn fork(&self) -> (Arc<Definitions>, UnboundedReceiver<String>) {
        Definitions::with(self.state())
    }

    fn with(state: Arc<State>) -> (Arc<Definitions>, UnboundedReceiver<String>) {
        let (changed, names) = mpsc::unbounded_channel();
        (Arc::new(Definitions { state: RwLock::new(state), changed, applied: Notify::new() }), names)
    }

    fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All that is served now.
    pub(crate) fn catalog(&self) -> Catalog {
        self.state.read().unwrap_or_else(PoisonError::into_inner).catalog().clone()
    }

    /// All that is served now, and what has been written about it.
    pub(crate) fn served(&self) -> (Catalog, Arc<Documents>) {
        let state = self.state();
        (state.catalog().clone(), state.documents.clone())
    }

    fn get(&self, name: &str) -> Option<Arc<Definition>> {
        self.state().known.get(name).cloned()
    }

    fn of(&self, kind: &Kind) -> Option<Arc<Definition>> {
        self.get(&format!("{}.{}", kind.plural, kind.group))
    }

    /// The names that are had in a group.
    fn taken(&self, group: &str) -> Taken {
        let mut taken = Taken::default();
        for definition in self.state().known.values().filter(|d| d.group == group) {
            taken.add(&definition.accepted);
        }
        taken
    }

    /// Follows the definitions in a store, where that covers [`PREFIX`].
    pub(crate) fn observer(self: &Arc<Definitions>) -> Observer {
        let this = self.clone();
        Box::new(move |event: &Event| this.apply(event))
    }

    fn apply(&self, event: &Event) {
        let name = event.key.strip_prefix(PREFIX).unwrap_or_default();
        let before = self.get(name);
        let now = event.now.as_ref().and_then(|v| serde_json::from_slice::<Value>(&v.json).ok());
        let after = now.as_ref().map(|o| Arc::new(Definition::read(o, event.revision, before.as_deref())));
        let groups = [before.as_ref(), after.as_ref()].map(|d| d.map_or("", |d| &d.group).to_owned());
        self.replace(name, after.as_ref(), &groups[usize::from(before.is_none())]);
        let are_replaced = after.as_ref().is_none_or(|a| before.as_ref().is_some_and(|b| a.since != b.since));
        if let Some(before) = before.as_ref().filter(|_| are_replaced) {
            before.replaced.cancel();
        }
        if now.as_ref().is_some_and(keeper::has_work) {
            self.tell(name);
        }
        self.applied.notify_waiters();
        let are_names_free = before.is_some_and(|b| after.is_none_or(|a| a.accepted != b.accepted));
        if are_names_free {
            let waits = |d: &Definition| d.group == groups[0] && !d.has_its_names;
            let state = self.state();
            state.known.iter().filter(|(_, d)| waits(d)).for_each(|(name, _)| self.tell(name));
        }
    }

    fn replace(&self, name: &str, after: Option<&Arc<Definition>>, group: &str) {
        let state = self.state();
        let mut known = state.known.clone();
        let same_rows = |d: &Arc<Definition>| d.rows.iter().map(Arc::as_ptr).collect::<Vec<_>>();
        let is_served_as_before = known.get(name).map(same_rows) == after.map(same_rows);
        match after {
            Some(definition) => known.insert(name.to_owned(), definition.clone()),
            None => known.remove(name),
        };
        let new = if is_served_as_before {
            State { known, catalog: state.catalog.clone(), documents: state.documents.clone() }
        } else {
            State { known, catalog: OnceLock::new(), documents: Arc::new(state.documents.without(group)) }
        };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }

    fn tell(&self, name: &str) {
        // Nobody hears it where the server is going.
        let _ = self.changed.send(name.to_owned());
    }
}
