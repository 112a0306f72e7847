//! The index follows etcd: one list at one revision, then one watch, resumed where it broke off.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::client::{Failure, Watching};
use super::record::{self, Found};
use super::wire::{DELETE, KeyValue, RangeRequest, WatchCreateRequest, WatchEvent, WatchResponse};
use super::{Ground, Remote, revision_of};
use crate::commit::Past;
use crate::index::Root;
use crate::{Event, Version};

/// How many keys one answer lists: some 2 MB of usual objects, and no more than 750 MB of the largest etcd takes.
const PAGE: i64 = 500;
/// Between two attempts to follow etcd.
const PAUSE: Duration = Duration::from_millis(200);

/// A member that has taken the request for a watch has confirmed it by then.
const CONFIRM: Duration = Duration::from_secs(3);

/// Everything under the prefix as it was at one revision.
pub(super) struct Listed {
    pub(super) revision: u64,
    pub(super) root: Root,
    /// Keys whose values are not ours, and what these look like.
    pub(super) foreign: BTreeMap<Arc<str>, String>,
}

/// Why the watch ended.
pub(super) enum End {
    /// etcd no longer knows what happened since: only a list can tell.
    Compacted,
    Lost(String),
    /// This etcd is not the one that the index was read from.
    Another(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Compacted => f.write_str("etcd was compacted while it was read"),
            End::Lost(why) | End::Another(why) => f.write_str(why),
        }
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        End::Lost(failure.to_string())
    }
}

pub(super) async fn list(remote: &Remote) -> Result<Listed, Failure> {
    'anew: loop {
        let (mut key, range_end) = remote.names.all();
        let mut listed = Listed { revision: 0, root: Root::new(), foreign: BTreeMap::new() };
        loop {
            let page = RangeRequest {
                key,
                range_end: range_end.clone(),
                limit: PAGE,
                revision: listed.revision as i64,
            };
            let page = match remote.client.range(page).await {
                // The revision of the first page may be compacted under way.
                Err(Failure::Refused(status)) if status.code() == tonic::Code::OutOfRange => continue 'anew,
                page => page?,
            };
            if listed.revision == 0 {
                listed.revision = revision_of(page.header.as_ref());
            }
            for kv in &page.kvs {
                listed.take(remote, kv);
            }
            match page.kvs.last() {
                // The smallest key after the last.
                Some(last) if page.more => key = [&last.key[..], &[0]].concat().into(),
                _ => return Ok(listed),
            }
        }
    }
}

impl Listed {
    fn take(&mut self, remote: &Remote, kv: &KeyValue) {
        let Found::Object(key) = remote.names.find(&kv.key) else { return };
        match remote.decode(&key, kv) {
            Some(version) => {
                self.root.insert(key, Arc::new(version));
            }
            None => {
                self.foreign.insert(key, record::describe(&kv.value));
            }
        }
    }
}

/// Follows etcd for as long as it is polled.
pub(super) struct Feed {
    pub(super) ground: Arc<Ground>,
    pub(super) root: Root,
    pub(super) revision: u64,
    pub(super) cluster: u64,
}

impl Feed {
    pub(super) async fn run(mut self, first: Watching) {
        let mut opened = Ok(first);
        loop {
            let end = match opened {
                Ok(watching) => self.follow(watching).await,
                Err(end) => end,
            };
            match end {
                End::Lost(why) => {
                    tracing::warn!(why, "etcd is not followed, trying again");
                    self.ground.trouble(Some(why));
                }
                End::Compacted => {
                    tracing::warn!(
                        revision = self.revision,
                        "etcd has compacted what was missed, listing again"
                    );
                    if let Err(failure) = self.list_again().await {
                        self.ground.trouble(Some(failure.to_string()));
                    }
                }
                End::Another(why) => {
                    self.ground.shared.halt(why);
                    return;
                }
            }
            self.ground.remote.client.clock.sleep(PAUSE).await;
            opened = self.open().await;
        }
    }

    /// A watch that goes on where the index is, confirmed by the member that serves it.
    pub(super) async fn open(&self) -> Result<Watching, End> {
        self.same_etcd().await?;
        let (key, range_end) = self.ground.remote.names.all();
        let start_revision = (self.revision + 1) as i64;
        let create = WatchCreateRequest { key, range_end, start_revision, progress_notify: true };
        let client = &self.ground.remote.client;
        let mut watching = client.watch(create).await?;
        let lost = || End::Lost("the member has ended the watch".into());
        let answer = client.clock.timeout(CONFIRM, client.next(&mut watching)).await;
        let answer = answer.ok_or_else(|| {
            client.leave(&watching);
            End::Lost(format!("the member has not confirmed the watch within {} s", CONFIRM.as_secs()))
        })?;
        match answer?.ok_or_else(lost)? {
            gone if gone.compact_revision != 0 => Err(End::Compacted),
            WatchResponse { created: true, canceled: false, .. } => Ok(watching),
            refused => {
                client.leave(&watching);
                Err(End::Lost(refused.cancel_reason))
            }
        }
    }

    async fn follow(&mut self, mut watching: Watching) -> End {
        self.ground.trouble(None);
        loop {
            let taken = match self.ground.remote.client.next(&mut watching).await {
                Ok(Some(response)) => self.take(response, &watching),
                Ok(None) => Err(End::Lost("the member has ended the watch".into())),
                Err(failure) => Err(failure.into()),
            };
            if let Err(end) = taken {
                return end;
            }
        }
    }

    /// A restored or emptied etcd counts revisions anew: following it would mix two histories.
    async fn same_etcd(&self) -> Result<(), End> {
        let header = self.ground.remote.now().await?;
        let now = revision_of(Some(&header));
        if header.cluster_id != self.cluster {
            return Err(End::Another("the endpoints lead to another etcd cluster than at the start".into()));
        }
        if now < self.revision {
            return Err(End::Another(format!(
                "etcd has gone back from revision {} to {now}: was it restored? Start again to read it anew",
                self.revision
            )));
        }
        Ok(())
    }

    fn take(&mut self, response: WatchResponse, watching: &Watching) -> Result<(), End> {
        if response.compact_revision != 0 {
            return Err(End::Compacted);
        }
        if response.canceled {
            self.ground.remote.client.leave(watching);
            return Err(End::Lost(response.cancel_reason));
        }
        let mut events = Vec::with_capacity(response.events.len());
        // Without events it says that all up to its revision have been sent.
        let mut reached = if response.events.is_empty() { revision_of(response.header.as_ref()) } else { 0 };
        for event in &response.events {
            let Some(kv) = &event.kv else { continue };
            let revision = u64::try_from(kv.mod_revision).unwrap_or(0);
            // A member that was behind when asked may start before what was asked for.
            if revision > self.revision {
                reached = reached.max(revision);
                events.extend(self.apply(event, kv, revision).map(Arc::new));
            }
        }
        if reached > self.revision {
            self.revision = reached;
            self.ground.shared.publish(reached, &self.root, &events, Past::Known);
        }
        Ok(())
    }

    /// `None` where nothing changes for readers.
    fn apply(&mut self, event: &WatchEvent, kv: &KeyValue, revision: u64) -> Option<Event> {
        let Found::Object(key) = self.ground.remote.names.find(&kv.key) else { return None };
        let prev = self.root.get(&key).cloned();
        // One key text for all versions of an object.
        let key = prev.as_ref().map_or(key, |prev| prev.key.clone());
        self.ground.foreign().remove(&key);
        let now = if event.kind == DELETE { None } else { self.version(&key, kv).map(Arc::new) };
        match &now {
            Some(now) => self.root.insert(key.clone(), now.clone()),
            None => self.root.remove(&key),
        };
        (prev.is_some() || now.is_some()).then(|| Event::new(revision, key, prev, now))
    }

    fn version(&self, key: &Arc<str>, kv: &KeyValue) -> Option<Version> {
        let version = self.ground.remote.decode(key, kv);
        if version.is_none() {
            let looks = record::describe(&kv.value);
            tracing::error!(%key, looks, "somebody has put a value into etcd that is not ours; it is not served");
            self.ground.foreign().insert(key.clone(), looks);
        }
        version
    }

    /// The present anew. Observers are told the difference; watchers are cut, because what happened between is gone.
    async fn list_again(&mut self) -> Result<(), Failure> {
        let listed = list(&self.ground.remote).await?;
        let events = difference(&self.root, &listed.root, listed.revision);
        *self.ground.foreign() = listed.foreign;
        (self.root, self.revision) = (listed.root, listed.revision);
        self.ground.shared.publish(self.revision, &self.root, &events, Past::Missed);
        Ok(())
    }
}

fn difference(old: &Root, new: &Root, revision: u64) -> Vec<Arc<Event>> {
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
    let gone = gone.map(|(key, prev)| Event::new(revision, key.clone(), Some(prev.clone()), None));
    let changed = new.iter().filter_map(|(key, now)| {
        let prev = old.get(key);
        let same = prev.is_some_and(|prev| prev.revision == now.revision);
        (!same).then(|| Event::new(now.revision, key.clone(), prev.cloned(), Some(now.clone())))
    });
    let mut events: Vec<Arc<Event>> = gone.chain(changed).map(Arc::new).collect();
    events.sort_by_key(|event| event.revision);
    events
}

impl Remote {
    fn decode(&self, key: &Arc<str>, kv: &KeyValue) -> Option<Version> {
        record::decode(key.clone(), u64::try_from(kv.mod_revision).ok()?, &kv.value, &self.meta)
    }
}

impl Ground {
    pub(super) fn foreign(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, String>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
