//! The present as a persistent map, and the window of the past that lists and watches may still ask for.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::terms::Terms;
use crate::{Error, Event, Term, Version, covers};

pub(crate) type Root = OrdMap<Arc<str>, Arc<Version>>;

/// Events younger than this are kept unless there are more than [`HISTORY_EVENTS`], or they keep more than
/// [`HISTORY_FRESH_BYTES`]: the 75 s for which kube-apiserver
/// counts the events of its watch cache as fresh.
pub const HISTORY_FRESH: Duration = Duration::from_secs(75);
/// No event is kept longer: the 5 minutes between two compactions of etcd by kube-apiserver, and so the least time that
/// clients expect a continue token to be good for.
pub const HISTORY_AGE: Duration = Duration::from_secs(300);
/// How many events are kept at most: the largest watch cache of kube-apiserver (100 × 1024).
pub const HISTORY_EVENTS: usize = 102_400;
/// How many bytes of superseded objects are kept for events that are no longer fresh: 16 MiB, a sixth of the memory
/// that a cluster of 5,000 Pods is meant to stay in.
pub const HISTORY_BYTES: usize = 16 << 20;
/// How many bytes of superseded objects fresh events keep, where there are more events than objects: who is further
/// behind than that has less to read by listing anew. 32 MiB are 6,000 changes of a Pod, and a third of those 100 MiB.
pub const HISTORY_FRESH_BYTES: usize = 32 << 20;
/// A past root is kept every so many events. Any other revision is rebuilt by undoing fewer events than this, about
/// 0.2 ms, while the roots of all revisions would cost some 5 KB each.
const CHECKPOINT_EVENTS: usize = 256;
/// The revision of an empty store, as in etcd: clients take 0 for "any".
pub(crate) const FIRST_REVISION: u64 = 1;

#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    at: Duration,
    /// Bytes of the version that was superseded.
    weight: usize,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) revision: u64,
    pub(crate) root: Root,
    /// The newest revision whose events are gone: what happened after it can be told.
    pub(crate) compacted: u64,
    history: VecDeque<Entry>,
    /// Bytes of the versions that only the history keeps.
    superseded: usize,
    checkpoints: VecDeque<(u64, Root)>,
    since_checkpoint: usize,
    /// Kept from when somebody wants it: a fork that nobody selects from shares its origin's, or has none.
    terms: Option<Terms>,
}

impl Index {
    pub(crate) fn new(revision: u64, root: Root) -> Index {
        Index {
            revision,
            root,
            compacted: revision,
            history: VecDeque::new(),
            superseded: 0,
            checkpoints: VecDeque::new(),
            since_checkpoint: 0,
            terms: None,
        }
    }

    pub(crate) fn has_terms(&self) -> bool {
        self.terms.is_some()
    }

    /// Find objects by `terms`, which are of the state at `revision`, from now on.
    pub(crate) fn keep_terms(&mut self, revision: u64, mut terms: Terms) {
        if self.has_terms() {
            return;
        }
        match self.check(revision) {
            Ok(()) => self.history.range(self.after(revision)..).for_each(|entry| terms.apply(&entry.event)),
            // More has happened since than is remembered.
            Err(_) => terms = Terms::of(&self.root),
        }
        self.terms = Some(terms);
    }

    /// Make `root` the present, reached by `events`.
    pub(crate) fn publish(&mut self, revision: u64, root: Root, events: &[Arc<Event>], now: Duration) {
        self.revision = revision;
        self.root = root;
        for event in events {
            if let Some(terms) = &mut self.terms {
                terms.apply(event);
            }
            let weight = event.prev.as_ref().map_or(0, |prev| prev.weight());
            self.superseded += weight;
            self.history.push_back(Entry { event: event.clone(), at: now, weight });
        }
        self.since_checkpoint += events.len();
        if self.since_checkpoint >= CHECKPOINT_EVENTS {
            self.since_checkpoint = 0;
            self.checkpoints.push_back((revision, self.root.clone()));
        }
        self.compact(now);
    }

    fn compact(&mut self, now: Duration) {
        while let Some(oldest) = self.history.front() {
            let age = now.saturating_sub(oldest.at);
            let stale = age > HISTORY_FRESH && self.superseded > HISTORY_BYTES;
            let surplus = self.superseded > HISTORY_FRESH_BYTES && self.history.len() > self.root.len();
            if self.history.len() <= HISTORY_EVENTS && age <= HISTORY_AGE && !stale && !surplus {
                break;
            }
            self.drop_revision(oldest.event.revision);
        }
        self.drop_checkpoints();
    }

    /// Forget everything up to `revision`, whatever its age.
    #[cfg(test)]
    pub(crate) fn compact_to(&mut self, revision: u64) {
        let revision = revision.min(self.revision);
        if revision > self.compacted {
            self.drop_revision(revision);
            self.drop_checkpoints();
        }
    }

    fn drop_checkpoints(&mut self) {
        while self.checkpoints.front().is_some_and(|(revision, _)| *revision <= self.compacted) {
            self.checkpoints.pop_front();
        }
    }

    /// Forget all events of the oldest revision: half a transaction must not be told.
    fn drop_revision(&mut self, revision: u64) {
        while self.history.front().is_some_and(|e| e.event.revision <= revision) {
            if let Some(entry) = self.history.pop_front() {
                self.superseded -= entry.weight;
            }
        }
        self.compacted = revision;
    }

    /// Forget all that led to the present.
    pub(crate) fn forget(&mut self) {
        let terms = self.terms.take();
        *self = Index { terms, ..Index::new(self.revision, self.root.clone()) };
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { revision: self.revision, root: self.root.clone(), terms: self.terms.clone() }
    }

    /// Exactly the state at `revision`.
    pub(crate) fn at(&self, revision: u64) -> Result<Snapshot, Error> {
        self.check(revision)?;
        let later = self.checkpoints.partition_point(|(r, _)| *r < revision);
        let (from, mut root) = match self.checkpoints.get(later) {
            Some((r, root)) => (*r, root.clone()),
            None => (self.revision, self.root.clone()),
        };
        for entry in self.history.range(self.after(revision)..self.after(from)).rev() {
            match &entry.event.prev {
                Some(prev) => root.insert(prev.key.clone(), prev.clone()),
                None => root.remove(&entry.event.key),
            };
        }
        Ok(Snapshot::new(revision, root))
    }

    /// Whether everything that happened after `revision` is still known.
    pub(crate) fn check(&self, revision: u64) -> Result<(), Error> {
        if revision > self.revision {
            Err(Error::Future { wanted: revision, present: self.revision })
        } else if revision < self.compacted {
            Err(Error::Compacted { wanted: revision, oldest: self.compacted })
        } else {
            Ok(())
        }
    }

    /// Position in the history of the first event after `revision`.
    fn after(&self, revision: u64) -> usize {
        self.history.partition_point(|e| e.event.revision <= revision)
    }

    /// The events that led to exactly `revision`, where they are still known.
    pub(crate) fn events_at(&self, revision: u64) -> Vec<Arc<Event>> {
        let known = self.history.range(self.after(revision.saturating_sub(1))..self.after(revision));
        known.map(|e| e.event.clone()).collect()
    }

    /// The known events under `prefix` up to and including `revision`.
    pub(crate) fn events(&self, prefix: &str, revision: u64) -> VecDeque<Arc<Event>> {
        let known = self.history.range(..self.after(revision)).map(|e| &e.event);
        known.filter(|e| covers(prefix, &e.key)).cloned().collect()
    }
}

/// The whole store as it was at one revision. Cheap to make and to clone, and unmoved by what happens later.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub revision: u64,
    root: Root,
    /// Of the present; the past is searched.
    terms: Option<Terms>,
}

impl Snapshot {
    pub(crate) fn new(revision: u64, root: Root) -> Snapshot {
        Snapshot { revision, root, terms: None }
    }

    pub(crate) fn terms(&self) -> Option<Terms> {
        self.terms.clone()
    }

    /// The versions of a [`Snapshot::range`] that may have all of `terms`, and some that do not; `None` where nothing
    /// better is known than the whole range.
    pub fn find(
        &self,
        terms: &[Term<'_>],
        prefix: &str,
        start_after: Option<&str>,
    ) -> Option<Vec<Arc<Version>>> {
        let keys = self.terms.as_ref()?.fewest(terms, prefix, start_after)?;
        Some(keys.iter().filter_map(|key| self.get(key)).collect())
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.root.len()
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<Arc<Version>> {
        self.root.get(key).cloned()
    }

    /// The versions that `prefix` [covers], in the order of their keys, from the first key after `start_after`.
    pub fn range<'a>(&'a self, prefix: &'a str, start_after: Option<&'a str>) -> Range<'a> {
        let rest = self.root.range::<_, str>((first(prefix, start_after), Bound::Unbounded));
        Range { prefix, rest }
    }

    /// How many versions a range has.
    pub fn count(&self, prefix: &str, start_after: Option<&str>) -> usize {
        let Some(folder) = prefix.strip_suffix('/') else {
            return self.range(prefix, start_after).keys().count();
        };
        // Up to where the folder ends, so that the keys themselves need no look: '0' comes after '/'.
        let end = format!("{folder}0");
        self.root.range::<_, str>((first(prefix, start_after), Bound::Excluded(&*end))).count()
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }
}

fn first<'a>(prefix: &'a str, start_after: Option<&'a str>) -> Bound<&'a str> {
    match start_after {
        Some(key) if key >= prefix => Bound::Excluded(key),
        _ => Bound::Included(prefix),
    }
}

/// See [`Snapshot::range`].
pub struct Range<'a> {
    prefix: &'a str,
    rest: imbl::ordmap::RangedIter<'a, Arc<str>, Arc<Version>, DefaultSharedPtr>,
}

impl<'a> Range<'a> {
    /// The keys alone, which cost no touch of their versions.
    fn keys(self) -> impl Iterator<Item = &'a Arc<str>> {
        self.rest.map(|(key, _)| key).take_while(move |key| covers(self.prefix, key))
    }
}

impl Iterator for Range<'_> {
    type Item = Arc<Version>;

    fn next(&mut self) -> Option<Arc<Version>> {
        let (key, version) = self.rest.next()?;
        covers(self.prefix, key).then(|| version.clone())
    }
}

impl std::fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draft, Meta};

    fn labelled(name: &str, revision: u64) -> Arc<Version> {
        let meta = Arc::new(Meta { labels: vec![("app".to_owned(), "a".to_owned())], ..Meta::default() });
        Arc::new(Version::assemble(name.into(), revision, Draft { meta, ..Draft::default() }))
    }

    fn create(index: &mut Index, name: &str) {
        let revision = index.revision + 1;
        let now = labelled(name, revision);
        let root = index.root.update(now.key.clone(), now.clone());
        let event = Arc::new(Event::new(revision, now.key.clone(), None, Some(now)));
        index.publish(revision, root, &[event], Duration::ZERO);
    }

    fn found(index: &Index) -> Vec<String> {
        let found = index.snapshot().find(&[Term::Label("app", "a")], "/registry/things/", None);
        found
            .unwrap_or_default()
            .iter()
            .map(|v| v.key.rsplit('/').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn terms_made_beside_writes_know_what_was_written_meanwhile() {
        let mut index = Index::new(FIRST_REVISION, Root::new());
        create(&mut index, "/registry/things/before");
        let (then, terms) = (index.revision, Terms::of(&index.root));
        create(&mut index, "/registry/things/meanwhile");
        assert!(found(&index).is_empty());
        index.keep_terms(then, terms);
        assert_eq!(found(&index), ["before", "meanwhile"]);
        create(&mut index, "/registry/things/since");
        assert_eq!(found(&index), ["before", "meanwhile", "since"]);
    }

    #[test]
    fn terms_of_a_forgotten_state_are_made_anew() {
        let mut index = Index::new(FIRST_REVISION, Root::new());
        let (then, terms) = (index.revision, Terms::of(&index.root));
        create(&mut index, "/registry/things/a");
        index.compact_to(index.revision);
        create(&mut index, "/registry/things/b");
        index.keep_terms(then, terms);
        assert_eq!(found(&index), ["a", "b"]);
    }
}
