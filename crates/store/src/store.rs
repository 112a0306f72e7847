//! The store as its users hold it.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use coracle_clock::Clock;

use crate::commit::Shared;
use crate::engine::{Engine, Local};
use crate::etcd::{Etcd, EtcdOptions};
use crate::index::{FIRST_REVISION, Root};
use crate::log::embedded::Embedded;
use crate::log::memory::Memory;
use crate::log::{Log, OpenError};
use crate::{Committed, Error, Event, Meta, Snapshot, Txn, Watch};

/// Reads the facts the store keeps from a key and the JSON stored under it.
pub type MetaOf = Arc<dyn Fn(&str, &[u8]) -> Meta + Send + Sync>;
/// Called with every event, in order, before the write that made it is acknowledged. It must not wait for a commit.
pub type Observer = Box<dyn Fn(&Event) + Send + Sync>;

/// A handle; clones share one store. The last one dropped closes it, after what was asked of it is done.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    engine: Engine,
}

impl Store {
    /// An empty store that lives as long as its handles.
    pub fn memory(meta: MetaOf) -> Store {
        Store::memory_with(meta, Clock::system())
    }

    /// [`Store::memory`] whose history ages by `clock`.
    pub fn memory_with(_: MetaOf, clock: Clock) -> Store {
        Store::start(Box::new(Memory), FIRST_REVISION, Root::new(), clock)
    }

    /// The store in `dir`, made if there is none. It is this process's alone until closed.
    pub async fn open(dir: impl AsRef<Path>, meta: MetaOf) -> Result<Store, OpenError> {
        Store::open_with(dir, meta, Clock::system()).await
    }

    /// [`Store::open`] whose history ages by `clock`.
    pub async fn open_with(dir: impl AsRef<Path>, meta: MetaOf, clock: Clock) -> Result<Store, OpenError> {
        let dir = dir.as_ref().to_owned();
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&dir, &meta)).await;
        let (log, revision, root) = opened.expect("opening a log does not panic")?;
        Ok(Store::start(Box::new(log), revision, root, clock))
    }

    /// The store in an etcd cluster, together with whoever else uses it under the same prefix.
    pub async fn etcd(options: &EtcdOptions, meta: MetaOf, clock: Clock) -> Result<Store, OpenError> {
        let (etcd, shared) = Etcd::start(options, meta, clock).await?;
        Ok(Store(Arc::new(Inner { shared, engine: Engine::Etcd(etcd) })))
    }

    /// A store in memory that starts as `snapshot`. Costs nothing: the two share what neither changes.
    pub fn fork(snapshot: &Snapshot, clock: Clock) -> Store {
        let fork = Store::start(Box::new(Memory), snapshot.revision, snapshot.root().clone(), clock);
        if let Some(terms) = snapshot.terms() {
            let index = &fork.0.shared.index;
            index.write().unwrap_or_else(PoisonError::into_inner).keep_terms(snapshot.revision, terms);
        }
        fork
    }

    pub(crate) fn start(log: Box<dyn Log>, revision: u64, root: Root, clock: Clock) -> Store {
        let shared = Arc::new(Shared::new(revision, root.clone(), clock));
        let engine = Engine::Local(Local::start(log, revision, root, shared.clone()));
        Store(Arc::new(Inner { shared, engine }))
    }

    /// Do all of `txn` or none of it. On success it is durable, every later read sees it, and the observers have.
    /// Dropping the future does not undo a transaction.
    pub async fn commit(&self, txn: Txn) -> Result<Committed, Error> {
        self.0.engine.commit(txn).await
    }

    /// Make the objects of `state` the present ones, all at once. What `state` does not have goes, what differs becomes as
    /// it is there, what is the same stays as it is; watchers are told. Revisions go on from the present, one for each
    /// change, though nobody ever reads a state between. An object that gives way to another of the same name is first
    /// deleted.
    ///
    /// A `state` of a revision that this store has not reached comes from elsewhere or from before a loss: revisions
    /// then go on from well behind it, and nobody may resume from before.
    pub async fn restore(&self, state: &Snapshot) -> Result<Committed, Error> {
        self.0.engine.restore(state.clone()).await
    }

    /// Whether other servers may be using the same objects.
    pub fn is_shared(&self) -> bool {
        matches!(self.0.engine, Engine::Etcd(_))
    }

    /// Wait until [`Store::snapshot`] shows every write that any server sharing this store acknowledged before the call.
    pub async fn sync(&self) -> Result<(), Error> {
        self.0.engine.sync().await
    }

    /// Have [`Snapshot::find`] know the present soon, and from then on. Takes some 2 µs an object, once, beside all else:
    /// a third of a second that a large store's readers need not wait for.
    pub fn keep_terms(&self) {
        let shared = self.0.shared.clone();
        if !shared.index().has_terms() {
            tokio::task::spawn_blocking(move || shared.keep_terms());
        }
    }

    /// The present, as far as it is known here: see [`Store::sync`].
    pub fn snapshot(&self) -> Snapshot {
        self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner).snapshot()
    }

    /// Exactly the state at `revision`, if history reaches back that far.
    pub fn at(&self, revision: u64) -> Result<Snapshot, Error> {
        self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner).at(revision)
    }

    pub fn revision(&self) -> u64 {
        self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner).revision
    }

    /// The oldest revision that [`Store::at`] and [`Store::watch`] still take.
    pub fn oldest(&self) -> u64 {
        self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner).compacted
    }

    /// Forget what happened up to `revision`, or up to the present where that comes first: readers of older states and
    /// watchers that have not read that far are refused from now on.
    #[cfg(test)]
    pub(crate) fn compact(&self, revision: u64) {
        let mut topics = self.0.shared.topics();
        let mut index = self.0.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        index.compact_to(revision);
        topics.sweep(index.compacted);
    }

    /// Wait until the present is at least `revision`.
    pub async fn wait_for(&self, revision: u64, timeout: Duration) -> Result<(), Error> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut revisions = self.0.shared.revisions.subscribe();
        let reached = revisions.wait_for(|present| *present >= revision);
        match self.0.shared.clock.timeout(timeout, reached).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => Err(Error::Closed),
            None => Err(Error::Future { wanted: revision, present: self.revision() }),
        }
    }

    /// What happens under `prefix` (see [`crate::covers`]) after `revision`.
    pub fn watch(&self, prefix: &str, revision: u64) -> Result<Watch, Error> {
        let mut topics = self.0.shared.topics();
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        topics.watch(&index, prefix, revision)
    }

    /// Wait until something is written after `revision`.
    pub async fn wait_past(&self, revision: u64) {
        // The sender lives as long as self, so waiting cannot fail.
        let _ = self.0.shared.revisions.subscribe().wait_for(|present| *present > revision).await;
    }

    /// Look at the present while nothing can be published: what observers have made of it is of the same moment.
    pub fn hold<T>(&self, look: impl FnOnce(Snapshot) -> T) -> T {
        let _observers = self.0.shared.observers();
        look(self.snapshot())
    }

    /// Have `observer` follow what `prefix` covers from here on: it knows the present already.
    pub fn follow(&self, prefix: &str, observer: Observer) {
        self.0.shared.observers().push((prefix.into(), observer));
    }

    /// Have `observer` follow what `prefix` covers: the present objects first, as creations, then every event.
    pub fn observe(&self, prefix: &str, observer: Observer) {
        // While this is held the writer cannot publish, so nothing falls between the replay and what follows.
        let mut observers = self.0.shared.observers();
        for version in self.snapshot().range(prefix, None) {
            observer(&Event::new(version.revision, version.key.clone(), None, Some(version)));
        }
        observers.push((prefix.into(), observer));
    }

    /// Why the store takes no more writes, if so.
    pub fn health(&self) -> Result<(), Error> {
        self.0.shared.halted().map_or(Ok(()), Err)?;
        self.0.engine.health()
    }

    /// Finish the writes under way, end the watches and release the data directory. Reads go on.
    pub async fn close(&self) {
        let inner = self.0.clone();
        // It only panics if the writer did, and then there is nothing left to close.
        let _ = tokio::task::spawn_blocking(move || inner.engine.stop()).await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("revision", &self.revision()).finish_non_exhaustive()
    }
}
