//! The only writer: orders transactions, makes them durable in groups and publishes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use coracle_clock::Clock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::index::{Index, Root};
use crate::log::{Group, Log};
use crate::store::Observer;
use crate::terms::Terms;
use crate::watch::Topics;
use crate::{Committed, Error, Event, Expect, Op, Snapshot, Txn, Version, covers};

/// How many transactions share one fsync at most: a bound on how long the first of them waits, some 20 ms.
const GROUP: usize = 512;
/// How many transactions may wait for the writer before their callers do: two groups, one being written and one waiting.
pub(crate) const QUEUE: usize = 2 * GROUP;

type Answer = Result<Committed, Error>;

pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Answer>,
}

pub(crate) enum Work {
    Txn(Txn),
    /// Make this the present: see [`crate::Store::restore`].
    Restore(Snapshot),
}

/// What the writer publishes and everyone else reads.
pub(crate) struct Shared {
    pub(crate) index: RwLock<Index>,
    pub(crate) topics: Mutex<Topics>,
    pub(crate) observers: Mutex<Vec<(Arc<str>, Observer)>>,
    pub(crate) revisions: watch::Sender<u64>,
    pub(crate) halted: Mutex<Option<Arc<str>>>,
    pub(crate) clock: Clock,
}

impl Shared {
    pub(crate) fn new(revision: u64, root: Root, clock: Clock) -> Shared {
        Shared {
            index: RwLock::new(Index::new(revision, root)),
            topics: Mutex::new(Topics::new(revision)),
            observers: Mutex::default(),
            revisions: watch::Sender::new(revision),
            halted: Mutex::default(),
            clock,
        }
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Have the index find objects by terms, made while others read and write.
    pub(crate) fn keep_terms(&self) {
        let state = self.index().snapshot();
        let terms = Terms::of(state.root());
        self.index.write().unwrap_or_else(PoisonError::into_inner).keep_terms(state.revision, terms);
    }

    pub(crate) fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn observers(&self) -> MutexGuard<'_, Vec<(Arc<str>, Observer)>> {
        self.observers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn halted(&self) -> Option<Error> {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).clone().map(Error::Halted)
    }

    pub(crate) fn halt(&self, reason: String) -> Error {
        tracing::error!(reason, "the store stops taking writes");
        let reason: Arc<str> = reason.into();
        *self.halted.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
        Error::Halted(reason)
    }

    /// Make durable events visible: to readers, then to observers, then to watchers. Who learns of a change from a
    /// watch or an answer finds the observers (say, the RBAC policy) already following it. One caller at a time.
    pub(crate) fn publish(&self, revision: u64, root: &Root, events: &[Arc<Event>], past: Past) {
        let observers = self.observers();
        let compacted = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.publish(revision, root.clone(), events, self.clock.elapsed());
            if past != Past::Known {
                index.forget();
            }
            index.compacted
        };
        for event in events {
            for (_, observe) in observers.iter().filter(|(prefix, _)| covers(prefix, &event.key)) {
                observe(event);
            }
        }
        drop(observers);
        match past {
            Past::Known | Past::Unknown => self.topics().tell(revision, events, compacted),
            Past::Missed => self.topics().cut(revision),
        }
        self.revisions.send_replace(revision);
    }
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Box<dyn Log>,
    pub(crate) root: Root,
    pub(crate) revision: u64,
}

/// What somebody may rely on who resumes from before some events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Past {
    /// What the history tells.
    #[default]
    Known,
    /// Nothing: revisions that were given out elsewhere lie there.
    Unknown,
    /// Nothing, and `events` are only the difference, which does for observers: watchers are cut.
    Missed,
}

/// What a group of transactions adds up to before it is durable.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) events: Vec<Arc<Event>>,
    changes: Vec<(Arc<str>, Option<Arc<Version>>)>,
    replies: Vec<(oneshot::Sender<Answer>, Answer)>,
    pub(crate) past: Past,
}

impl Writer {
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            group.push(first);
            while group.len() < GROUP
                && let Ok(request) = requests.try_recv()
            {
                group.push(request);
            }
            self.commit(group.drain(..));
        }
        self.shared.topics().close();
    }

    fn commit(&mut self, group: impl Iterator<Item = Request>) {
        let mut pending = Pending::default();
        for Request { work, reply } in group {
            let answer = match (self.shared.halted(), work) {
                (Some(halted), _) => Err(halted),
                (None, Work::Txn(txn)) => self.apply(txn, &mut pending),
                (None, Work::Restore(state)) => Ok(self.restore(&state, &mut pending)),
            };
            pending.replies.push((reply, answer));
        }
        let durable = self.make_durable(&pending);
        for (reply, answer) in pending.replies {
            // A caller that has gone away no longer wants to know.
            let _ = reply.send(match &durable {
                Ok(()) => answer,
                Err(halted) => Err(halted.clone()),
            });
        }
    }

    fn make_durable(&mut self, pending: &Pending) -> Result<(), Error> {
        if pending.events.is_empty() {
            return Ok(());
        }
        let group = Group { revision: self.revision, changes: &pending.changes };
        match self.log.append(&group) {
            Ok(()) => {
                self.shared.publish(self.revision, &self.root, &pending.events, pending.past);
                Ok(())
            }
            // Even a refusal is not passed on: it may rest on a version that is not durable.
            Err(error) => Err(self.shared.halt(error.to_string())),
        }
    }

    /// Check and apply one transaction on top of those before it.
    fn apply(&mut self, txn: Txn, pending: &mut Pending) -> Result<Committed, Error> {
        for (key, expect) in txn.checks {
            let current = self.root.get(&key);
            let met = match expect {
                Expect::Any => true,
                Expect::Absent => current.is_none(),
                Expect::Revision(revision) => current.is_some_and(|v| v.revision == revision),
            };
            if !met {
                return Err(Error::Conflict { current: current.cloned(), key });
            }
        }
        let revision = self.revision + 1;
        let before = pending.events.len();
        let mut versions = Vec::new();
        for op in txn.ops {
            match op {
                Op::Put(key, draft) => {
                    let prev = self.root.get(&key).cloned();
                    if let Some(same) = prev.as_ref().filter(|prev| prev.says_the_same(&draft)) {
                        versions.push(same.clone());
                        continue;
                    }
                    let key = prev.as_ref().map_or(key, |prev| prev.key.clone());
                    let now = Arc::new(Version::assemble(key, revision, draft));
                    versions.push(now.clone());
                    self.change(Event::new(revision, now.key.clone(), prev, Some(now)), pending);
                }
                Op::Delete(key) => {
                    if let Some(prev) = self.root.get(&key).cloned() {
                        self.change(Event::new(revision, prev.key.clone(), Some(prev), None), pending);
                    }
                }
            }
        }
        if pending.events.len() > before {
            self.revision = revision;
        }
        Ok(Committed { revision: self.revision, versions, events: pending.events[before..].to_vec() })
    }

    pub(crate) fn change(&mut self, event: Event, pending: &mut Pending) {
        match &event.now {
            Some(now) => self.root.insert(now.key.clone(), now.clone()),
            None => self.root.remove(&event.key),
        };
        pending.changes.push((event.key.clone(), event.now.clone()));
        pending.events.push(Arc::new(event));
    }
}
