//! What writers ask for and what they are told.

use std::sync::Arc;

use crate::{Draft, Event, Version};

/// What a key must look like for a transaction to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    /// The key's version must have this revision.
    Revision(u64),
}

#[derive(Clone, Debug)]
pub enum Op {
    Put(Arc<str>, Draft),
    /// Deleting what is not there changes nothing; check for it to have it refused.
    Delete(Arc<str>),
}

/// Checks and operations that happen together, at one revision, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub checks: Vec<(Arc<str>, Expect)>,
    pub ops: Vec<Op>,
}

impl Txn {
    pub fn create(key: impl Into<Arc<str>>, draft: Draft) -> Txn {
        Txn::put(key, Expect::Absent, draft)
    }

    pub fn update(key: impl Into<Arc<str>>, revision: u64, draft: Draft) -> Txn {
        Txn::put(key, Expect::Revision(revision), draft)
    }

    pub fn put(key: impl Into<Arc<str>>, expect: Expect, draft: Draft) -> Txn {
        let key = key.into();
        Txn { checks: vec![(key.clone(), expect)], ops: vec![Op::Put(key, draft)] }
    }

    pub fn delete(key: impl Into<Arc<str>>, expect: Expect) -> Txn {
        let key = key.into();
        Txn { checks: vec![(key.clone(), expect)], ops: vec![Op::Delete(key)] }
    }
}

#[derive(Clone, Debug)]
pub struct Committed {
    /// The transaction's revision; the store's present one when nothing changed.
    pub revision: u64,
    /// What each `Put` left in the store, in the order of the operations.
    pub versions: Vec<Arc<Version>>,
    /// What changed.
    pub events: Vec<Arc<Event>>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{key} is not in the expected version")]
    Conflict { key: Arc<str>, current: Option<Arc<Version>> },
    #[error("revision {wanted} is too old, history starts at {oldest}")]
    Compacted { wanted: u64, oldest: u64 },
    #[error("revision {wanted} is in the future, the present is {present}")]
    Future { wanted: u64, present: u64 },
    #[error("the watcher was too slow and has missed events")]
    Slow,
    /// It was tried; whether it is done, only looking can tell.
    #[error("the outcome is unknown: {0}")]
    Unknown(Arc<str>),
    /// Nothing was done.
    #[error("etcd cannot be reached: {0}")]
    Unavailable(Arc<str>),
    /// Nothing was done, nor would it be another time.
    #[error("{0}")]
    Refused(Arc<str>),
    #[error("the store takes no more writes: {0}")]
    Halted(Arc<str>),
    #[error("the store is closed")]
    Closed,
}
