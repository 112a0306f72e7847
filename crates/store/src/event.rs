//! One change of one key, shared by the history and every watcher.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::Version;

#[derive(Debug)]
pub struct Event {
    pub revision: u64,
    pub key: Arc<str>,
    /// The version before the change; `None` when the object was created.
    pub prev: Option<Arc<Version>>,
    /// The version after the change; `None` when the object was deleted.
    pub now: Option<Arc<Version>>,
    tombstone: OnceLock<Arc<Version>>,
}

impl Event {
    pub(crate) fn new(
        revision: u64,
        key: Arc<str>,
        prev: Option<Arc<Version>>,
        now: Option<Arc<Version>>,
    ) -> Event {
        Event { revision, key, prev, now, tombstone: OnceLock::new() }
    }

    /// The same change with its versions in other words (see [`Version::rewritten`]).
    pub fn rewritten(&self, prev: Option<Arc<Version>>, now: Option<Arc<Version>>) -> Event {
        Event::new(self.revision, self.key.clone(), prev, now)
    }

    /// The last state before this event, saying this event's revision: what a DELETED watch event carries, be it that
    /// the object is gone or that it left a selector. `None` for a creation. Made once and shared by all watchers.
    pub fn last(&self) -> Option<&Arc<Version>> {
        let prev = self.prev.as_ref()?;
        Some(self.tombstone.get_or_init(|| Arc::new(prev.at_revision(self.revision))))
    }

    pub fn tombstone(&self) -> Option<&Bytes> {
        self.last().map(|last| &last.json)
    }

    /// The object as this event leaves it: the new version, or the tombstone.
    pub fn object(&self) -> &Bytes {
        match &self.now {
            Some(now) => &now.json,
            None => self.tombstone().expect("an event has a version before or after it"),
        }
    }
}
