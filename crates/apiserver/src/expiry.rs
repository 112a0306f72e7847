//! Objects that live for a while only: an Event ends some time after it was last written, as if it had been deleted.
//!
//! In etcd they are under leases, too, which end them where no server runs; whichever comes first deletes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use coracle_api::{Kind, object};
use coracle_clock::Clock;
use coracle_store::{Error, Event, Expect, Snapshot, Txn, Watch};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::Value;

use crate::registry;
use crate::server::Core;

/// How many deletions are asked for at once: a group of commits that leaves room for other writers.
const BATCH: usize = 256;

/// A deletion that the store could not do is tried again so much later.
const RETRY: Duration = Duration::from_secs(10);

/// See to the end of every object of a kind whose objects end.
pub(crate) fn start(core: &Arc<Core>) {
    for kind in core.catalog().kinds().filter(|kind| !kind.is_view) {
        if let Some(lifetime) = kind.rules.time_to_live() {
            let stopping = core.stopping.clone();
            // Weak: a server that nobody holds any more, and its store, must go without having been stopped.
            let keeping = keep(Arc::downgrade(core), kind.clone(), lifetime, core.clock.clone());
            tokio::spawn(async move { stopping.run_until_cancelled(keeping).await });
        }
    }
}

async fn keep(core: Weak<Core>, kind: Arc<Kind>, lifetime: Duration, clock: Clock) {
    let prefix = registry::prefix(&kind, "");
    loop {
        let Some((mut ends, mut watch)) = core.upgrade().and_then(|core| {
            let state = core.store.snapshot();
            let watch = core.store.watch(&prefix, state.revision).ok()?;
            Some((Ends::of(&state, &prefix, lifetime), watch))
        }) else {
            return;
        };
        match follow(&core, &mut ends, &mut watch, &clock).await {
            // Everything is read anew where the watch fell behind.
            Error::Slow => {}
            _ => return,
        }
    }
}

async fn follow(core: &Weak<Core>, ends: &mut Ends, watch: &mut Watch, clock: &Clock) -> Error {
    loop {
        let pause = ends.first().map_or(Duration::MAX / 4, |at| until(clock, at));
        tokio::select! {
            events = watch.next_batch(BATCH) => match events {
                Ok(events) => events.iter().for_each(|event| ends.note(event, clock.now())),
                Err(error) => return error,
            },
            () = clock.sleep(pause) => {
                let Some(core) = core.upgrade() else { return Error::Closed };
                let due = ends.take_due(clock.now());
                let deletions = due.iter().map(|(key, revision)| {
                    core.store.commit(Txn::delete(key.clone(), Expect::Revision(*revision)))
                });
                for ((key, revision), deleted) in due.iter().zip(join_all(deletions).await) {
                    // Written meanwhile, it lives on, and the watch tells of that.
                    if !matches!(deleted, Ok(_) | Err(Error::Conflict { .. })) {
                        ends.insert(key.clone(), *revision, clock.now() + RETRY);
                    }
                }
            }
        }
    }
}

fn until(clock: &Clock, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(clock.now())).unwrap_or_default()
}

/// When which object ends.
struct Ends {
    lifetime: Duration,
    by_time: BTreeMap<(Timestamp, Arc<str>), u64>,
    by_key: HashMap<Arc<str>, Timestamp>,
}

impl Ends {
    /// What is there already was last written when it says so itself.
    fn of(state: &Snapshot, prefix: &str, lifetime: Duration) -> Ends {
        let mut ends = Ends { lifetime, by_time: BTreeMap::new(), by_key: HashMap::new() };
        for version in state.range(prefix, None) {
            ends.add(version.key.clone(), version.revision, written(&version.json));
        }
        ends
    }

    fn note(&mut self, event: &Event, now: Timestamp) {
        if let Some(at) = self.by_key.remove(&event.key) {
            self.by_time.remove(&(at, event.key.clone()));
        }
        if let Some(version) = &event.now {
            self.add(version.key.clone(), version.revision, now);
        }
    }

    fn add(&mut self, key: Arc<str>, revision: u64, written: Timestamp) {
        self.insert(key, revision, written.checked_add(self.lifetime).unwrap_or(Timestamp::MAX));
    }

    fn insert(&mut self, key: Arc<str>, revision: u64, at: Timestamp) {
        self.by_key.insert(key.clone(), at);
        self.by_time.insert((at, key), revision);
    }

    fn first(&self) -> Option<Timestamp> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    /// Some of what has ended.
    fn take_due(&mut self, now: Timestamp) -> Vec<(Arc<str>, u64)> {
        let mut due = Vec::new();
        while due.len() < BATCH
            && let Some(entry) = self.by_time.first_entry().filter(|e| e.key().0 <= now)
        {
            let ((_, key), revision) = entry.remove_entry();
            self.by_key.remove(&key);
            due.push((key, revision));
        }
        due
    }
}

/// When an object was last written: its creation or the newest of its managers' times.
fn written(json: &[u8]) -> Timestamp {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let managers = object::items(&value, &["metadata", "managedFields"]).iter();
    let times = managers.map(|m| object::text(m, &["time"]));
    let times = times.chain([object::text(&value, &["metadata", "creationTimestamp"])]);
    times.filter_map(|time| time.parse().ok()).max().unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_was_written_when_its_newest_manager_wrote() {
        let object = r#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z",
            "managedFields":[{"time":"2026-01-01T02:00:00Z"},{"time":"2026-01-01T01:00:00Z"},{}]}}"#;
        assert_eq!(written(object.as_bytes()).to_string(), "2026-01-01T02:00:00Z");
        let untouched = br#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"}}"#;
        assert_eq!(written(untouched).to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(written(b"{"), Timestamp::UNIX_EPOCH);
    }
}
