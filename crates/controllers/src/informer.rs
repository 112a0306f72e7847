//! Informers: what the controllers share of a kind, read by one watch and decoded once, as client-go's shared informers.
//!
//! A change is in the informer before its followers hear of it, so whoever is woken by one finds it there.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Service, ServiceAccount};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::pod::Pod;
use crate::work::Key;

/// The kinds that more than one controller follows.
#[derive(Debug, Clone)]
pub(crate) struct Informers {
    pub pods: Informer<Pod>,
    pub services: Informer<Service>,
    pub nodes: Informer<Node>,
    pub namespaces: Informer<Namespace>,
    pub accounts: Informer<ServiceAccount>,
}

impl Informers {
    /// Begin to follow every kind, as `client`'s user.
    pub(crate) fn start(client: &Client, tasks: &mut JoinSet<()>) -> Informers {
        Informers {
            pods: follow(client, tasks),
            services: follow(client, tasks),
            nodes: follow(client, tasks),
            namespaces: follow(client, tasks),
            accounts: follow(client, tasks),
        }
    }
}

fn follow<K>(client: &Client, tasks: &mut JoinSet<()>) -> Informer<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let informer = Informer::new();
    let follower = informer.clone();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    tasks.spawn(async move {
        let mut listed = HashSet::new();
        let observed = events.for_each(|event| {
            match event {
                Ok(event) => follower.observe(event, &mut listed),
                Err(error) => tracing::debug!(%error, "watch interrupted, resuming"),
            }
            ready(())
        });
        observed.await;
    });
    informer
}

/// One change of one object: what it was and what it is.
#[derive(Debug)]
pub(crate) struct Change<K> {
    pub old: Option<Arc<K>>,
    /// `None` where it is gone.
    pub new: Option<Arc<K>>,
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Change<K> {
        Change { old: self.old.clone(), new: self.new.clone() }
    }
}

impl<K: Resource> Change<K> {
    /// The object before and after, as far as there is one.
    pub(crate) fn states(&self) -> impl Iterator<Item = &K> {
        self.old.iter().chain(&self.new).map(AsRef::as_ref)
    }

    pub(crate) fn key(&self) -> Key {
        self.states().next().map(Key::of).unwrap_or_default()
    }
}

/// The objects of a kind as the API last showed them. Clones share them.
pub(crate) struct Informer<K>(Arc<Shared<K>>);

struct Shared<K> {
    known: Mutex<Known<K>>,
    is_listed: watch::Sender<bool>,
}

struct Known<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Without a bound, as in client-go: a follower only turns a change into a key of its queue, which keeps one of each.
    followers: Vec<mpsc::UnboundedSender<Change<K>>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Informer<K> {
        Informer(self.0.clone())
    }
}

impl<K> Debug for Informer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Informer({} objects)", self.known().objects.len())
    }
}

impl<K> Informer<K> {
    fn new() -> Informer<K> {
        let known = Mutex::new(Known { objects: BTreeMap::new(), followers: Vec::new() });
        Informer(Arc::new(Shared { known, is_listed: watch::Sender::new(false) }))
    }

    fn known(&self) -> MutexGuard<'_, Known<K>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait until everything that there was at the start has been read: before, "unknown" may mean "not read yet".
    pub(crate) async fn listed(&self) {
        // It only fails once the sender is gone, and self holds it.
        let _ = self.0.is_listed.subscribe().wait_for(|is| *is).await;
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.known().objects.get(key).cloned()
    }

    /// The objects of one namespace that `takes` takes.
    pub(crate) fn select(&self, namespace: &str, takes: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let first = Key { namespace: namespace.to_owned(), name: String::new() };
        let known = self.known();
        let within = known.objects.range(first..).take_while(|(key, _)| key.namespace == namespace);
        within.map(|(_, object)| object).filter(|object| takes(object)).cloned().collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.known().objects.values().cloned().collect()
    }
}

impl<K: Resource + Send + Sync + 'static> Informer<K> {
    /// What is known now, and every change after it.
    pub(crate) fn follow(&self) -> (Vec<Arc<K>>, BoxStream<'static, Change<K>>) {
        let (follower, mut changes) = mpsc::unbounded_channel();
        let mut known = self.known();
        known.followers.push(follower);
        let present = known.objects.values().cloned().collect();
        (present, stream::poll_fn(move |cx| changes.poll_recv(cx)).boxed())
    }

    /// What is known now, as if it had just come, and every change after it.
    pub(crate) fn changes(&self) -> BoxStream<'static, Change<K>> {
        let (present, later) = self.follow();
        let present = present.into_iter().map(|object| Change { old: None, new: Some(object) });
        stream::iter(present).chain(later).boxed()
    }

    /// `listed` gathers what a fresh list shows, so that its end tells what it no longer shows.
    fn observe(&self, event: Event<K>, listed: &mut HashSet<Key>) {
        let mut known = self.known();
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                listed.insert(Key::of(&object));
                known.set(object);
            }
            Event::InitDone => {
                let gone: Vec<Key> = known.objects.keys().filter(|k| !listed.contains(k)).cloned().collect();
                gone.iter().for_each(|key| known.remove(key));
                *listed = HashSet::new();
                drop(known);
                self.0.is_listed.send_replace(true);
            }
            Event::Apply(object) => known.set(object),
            Event::Delete(object) => known.remove(&Key::of(&object)),
        }
    }
}

impl<K: Resource> Known<K> {
    fn set(&mut self, object: K) {
        let key = Key::of(&object);
        let old = self.objects.get(&key).cloned();
        if old.as_ref().is_some_and(|old| old.resource_version() == object.resource_version()) {
            return;
        }
        let new = Arc::new(object);
        self.objects.insert(key, new.clone());
        self.tell(Change { old, new: Some(new) });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(old) = self.objects.remove(key) {
            self.tell(Change { old: Some(old), new: None });
        }
    }

    fn tell(&mut self, change: Change<K>) {
        self.followers.retain(|follower| follower.send(change.clone()).is_ok());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use futures::FutureExt;
    use serde_json::json;

    fn pod(name: &str, version: u32) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "ns", "resourceVersion": version.to_string()}}),
        )
        .unwrap()
    }

    fn told(changes: &mut BoxStream<'static, Change<Pod>>) -> Vec<String> {
        let version = |pod: &Option<Arc<Pod>>| {
            pod.as_ref().and_then(|p| p.resource_version()).unwrap_or_else(|| "-".to_owned())
        };
        let mut told = Vec::new();
        while let Some(Some(c)) = changes.next().now_or_never() {
            told.push(format!("{} {}→{}", c.key().name, version(&c.old), version(&c.new)));
        }
        told
    }

    #[test]
    fn a_follower_hears_what_was_what_changes_and_what_a_new_list_no_longer_shows() {
        let (informer, mut listed) = (Informer::new(), HashSet::new());
        let mut observe = |events: Vec<Event<Pod>>| {
            events.into_iter().for_each(|event| informer.observe(event, &mut listed));
        };
        observe(vec![
            Event::Init,
            Event::InitApply(pod("a", 1)),
            Event::InitApply(pod("b", 2)),
            Event::InitDone,
        ]);
        let mut changes = informer.changes();
        assert_eq!(told(&mut changes), ["a -→1", "b -→2"]);
        observe(vec![Event::Apply(pod("a", 3)), Event::Apply(pod("a", 3)), Event::Delete(pod("b", 4))]);
        assert_eq!(told(&mut changes), ["a 1→3", "b 2→-"]);
        observe(vec![Event::Init, Event::InitApply(pod("c", 5)), Event::InitDone]);
        assert_eq!(told(&mut changes), ["c -→5", "a 3→-"]);
        assert_eq!(informer.select("ns", |_| true).len(), 1);
        assert!(informer.listed().now_or_never().is_some());
    }
}
