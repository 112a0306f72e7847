//! Which tokens had a good signature lately. Nothing else is remembered: uids, deletion and time are checked anew.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::claims::Claims;

/// A claim set takes about 1 kB, so that the cache stays below 4 MB; a node runs about a hundred Pods.
const CAPACITY: usize = 4096;

type Key = [u8; 32];

#[derive(Default)]
pub(super) struct Cache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    known: HashMap<Key, Arc<Claims>>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    pub(super) fn key(token: &str) -> Key {
        Sha256::digest(token).into()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Claims>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(key).cloned()
    }

    pub(super) fn put(&self, key: Key, claims: Arc<Claims>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.known.insert(key, claims).is_none() {
            inner.order.push_back(key);
        }
        while inner.order.len() > CAPACITY {
            if let Some(oldest) = inner.order.pop_front() {
                inner.known.remove(&oldest);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().known.len()
    }
}
