//! What stored objects were lately rewritten to, for whoever asks next: every watcher of a version is told the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use coracle_store::Version;

/// A generation of objects ends with so many bytes; two are kept. 16 MiB are 8,000 objects of 2 KiB, which is more than
/// the watchers of a busy kind are behind one another.
const GENERATION_BYTES: usize = 8 << 20;

/// In which version an object is wanted, its key, and the revision that stored it.
type Key = (String, Arc<str>, u64);

/// Rewritten objects of one definition, as it is.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Arc<Version>>,
    old: HashMap<Key, Arc<Version>>,
    /// Of the young ones.
    bytes: usize,
}

fn key(wanted: &str, stored: &Version) -> Key {
    (wanted.to_owned(), stored.key.clone(), stored.revision)
}

impl Recent {
    pub(super) fn get(&self, wanted: &str, stored: &Version) -> Option<Arc<Version>> {
        let key = key(wanted, stored);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.young.get(&key).cloned();
        found.or_else(|| {
            let found = all.old.remove(&key)?;
            all.add(key, found.clone());
            Some(found)
        })
    }

    pub(super) fn put(&self, wanted: &str, rewritten: &Arc<Version>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.add(key(wanted, rewritten), rewritten.clone());
    }
}

impl Generations {
    fn add(&mut self, key: Key, version: Arc<Version>) {
        self.bytes += version.json.len();
        self.young.insert(key, version);
        if self.bytes > GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_store::{Draft, Meta, MetaOf, Store, Txn};

    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_is_kept_and_the_rest_goes() {
        let meta: MetaOf = Arc::new(|_, _| Meta::default());
        let store = Store::memory(meta);
        let draft = |size| Draft { head: vec![b' '; size], ..Draft::default() };
        let small = store.commit(Txn::create("/small", draft(1))).await.unwrap().versions.remove(0);
        let large =
            store.commit(Txn::create("/large", draft(GENERATION_BYTES))).await.unwrap().versions.remove(0);
        let recent = Recent::default();
        recent.put("v2", &small);
        assert!(recent.get("v1", &small).is_none());
        recent.put("v2", &large);
        assert!(recent.get("v2", &small).is_some());
        recent.put("v2", &large);
        assert!(recent.get("v2", &small).is_some());
        recent.put("v2", &large);
        recent.put("v2", &large);
        assert!(recent.get("v2", &small).is_none());
    }
}
