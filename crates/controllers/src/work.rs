//! From watches to reconciles: a queue that keeps one entry a key, runs keys side by side and tries failures again.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::time::Duration;

use coracle_clock::Clock;
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::Error;

/// Keys reconciled at once: the reference runs 5 to 20 workers a controller; ours wait on memory, not on a network.
const WORKERS_MAX: usize = 8;

/// First and longest wait before a failed key is tried again, doubling between (client-go: 5 ms to 1000 s; we cap
/// sooner because a small cluster has no herd to fear).
const RETRY_MIN: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A namespaced name; the namespace is empty for cluster-scoped objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn of<K: Resource>(object: &K) -> Key {
        let meta = object.meta();
        Key {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

/// Every object that is or becomes, each time it changes, and once more when it is deleted.
pub fn changes<K>(api: Api<K>, config: watcher::Config) -> BoxStream<'static, Change<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = kube::runtime::WatchStreamExt::default_backoff(watcher(api, config));
    events
        .filter_map(|event| async {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => Some(Change::Is(object)),
                Ok(Event::Delete(object)) => Some(Change::Gone(object)),
                Ok(Event::Init | Event::InitDone) => None,
                Err(error) => {
                    tracing::debug!(%error, "watch interrupted, resuming");
                    None
                }
            }
        })
        .boxed()
}

/// One object, or that there is none: by a list, because that is what informers may do.
pub async fn read<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let params = kube::api::ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(api.list(&params).await?.items.pop())
}

#[derive(Debug, Clone)]
pub enum Change<K> {
    Is(K),
    Gone(K),
}

impl<K> Change<K> {
    pub fn object(&self) -> &K {
        match self {
            Change::Is(object) | Change::Gone(object) => object,
        }
    }
}

/// What a reconcile wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until a watch says so.
    Wait,
    After(Duration),
}

/// Reconcile every key that the triggers yield: at most once at a time for one key, again if it was triggered
/// meanwhile, later if it failed. Ends when the triggers do.
pub async fn reconcile_all<K, F, Fut>(
    triggers: BoxStream<'_, K>,
    clock: &Clock,
    reconcile: F,
) -> Result<(), Error>
where
    K: Clone + Eq + Hash + Debug + Send,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Result<Next, Error>>,
{
    let mut triggers = pin!(triggers.fuse());
    let mut waiting: Vec<K> = Vec::new();
    let mut queued: HashSet<K> = HashSet::new();
    let mut running: HashSet<K> = HashSet::new();
    let mut failures: HashMap<K, u32> = HashMap::new();
    let mut work = FuturesUnordered::new();
    let mut timers = FuturesUnordered::new();
    loop {
        let ready = waiting.iter().position(|k| !running.contains(k)).filter(|_| running.len() < WORKERS_MAX);
        if let Some(at) = ready {
            let key = waiting.remove(at);
            queued.remove(&key);
            running.insert(key.clone());
            let outcome = reconcile(key.clone());
            work.push(async move { (key, outcome.await) });
            continue;
        }
        tokio::select! {
            biased;
            Some((key, outcome)) = work.next() => {
                running.remove(&key);
                if let Some(delay) = delay_after(&key, outcome, &mut failures) {
                    timers.push(async move { clock.sleep(delay).await; key });
                }
            }
            Some(key) = timers.next() => enqueue(key, &mut queued, &mut waiting),
            trigger = triggers.next() => match trigger {
                Some(key) => enqueue(key, &mut queued, &mut waiting),
                None => return Ok(()),
            },
        }
    }
}

fn enqueue<K: Clone + Eq + Hash>(key: K, queued: &mut HashSet<K>, waiting: &mut Vec<K>) {
    if queued.insert(key.clone()) {
        waiting.push(key);
    }
}

fn delay_after<K: Clone + Eq + Hash + Debug>(
    key: &K,
    outcome: Result<Next, Error>,
    failures: &mut HashMap<K, u32>,
) -> Option<Duration> {
    match outcome {
        Ok(next) => {
            failures.remove(key);
            match next {
                Next::Wait => None,
                Next::After(delay) => Some(delay),
            }
        }
        Err(error) => {
            let count = failures.entry(key.clone()).or_insert(0);
            let delay = RETRY_MIN.saturating_mul(1 << (*count).min(16)).min(RETRY_MAX);
            *count += 1;
            // A conflict only means that somebody else was faster; it is no news.
            if error.is_code(409) {
                tracing::debug!(?key, %error, "reconcile met a conflict");
            } else {
                tracing::info!(?key, %error, "reconcile failed, trying again in {delay:?}");
            }
            Some(delay)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use std::cell::RefCell;

    #[tokio::test(start_paused = true)]
    async fn a_failed_key_is_tried_again_and_a_doubled_key_runs_once() {
        let seen = RefCell::new(Vec::new());
        let clock = Clock::system();
        let triggers = stream::iter(["a", "a", "b"])
            .chain(stream::pending().take_until(clock.sleep(Duration::from_secs(1))));
        reconcile_all(triggers.boxed_local_as_send(), &clock, |key| {
            seen.borrow_mut().push(key);
            let first = seen.borrow().iter().filter(|k| **k == key).count() == 1;
            async move { if key == "b" && first { Err(Error::Unexpected("no".into())) } else { Ok(Next::Wait) } }
        })
        .await
        .unwrap();
        let count = |key| seen.borrow().iter().filter(|k| **k == key).count();
        assert_eq!(count("b"), 2);
        assert!(count("a") <= 2);
    }

    trait BoxedSend<'a, T> {
        fn boxed_local_as_send(self) -> BoxStream<'a, T>;
    }

    impl<'a, T, S: futures::Stream<Item = T> + Send + 'a> BoxedSend<'a, T> for S {
        fn boxed_local_as_send(self) -> BoxStream<'a, T> {
            self.boxed()
        }
    }
}
