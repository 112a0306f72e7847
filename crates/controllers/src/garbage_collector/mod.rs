//! Garbage collection: objects whose owners are gone, foreground deletion, orphaning.
//!
//! One metadata watch for every kind that discovery lists feeds the [`graph`]; what the graph plans is done through the
//! API with preconditions, so that a picture that is out of date can only lose a race, never delete the wrong object.

mod graph;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use futures::future::AbortHandle;
use futures::stream::{self, BoxStream, FuturesUnordered, SelectAll, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::discovery::{ApiResource, Discovery, Scope, verbs};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::informer::{Change, Informer};
use crate::metadata::Object;
use crate::pod::Pod;
use crate::{Context, Error, found};
use graph::{FOREGROUND, Graph, Node, ORPHAN, Step};

/// How often discovery is asked for kinds that have come or gone (the reference: 30 s).
const DISCOVERY_PERIOD: Duration = Duration::from_secs(30);
/// And when a CustomResourceDefinition has changed: so much later, since they come in numbers.
const DISCOVERY_DELAY: Duration = Duration::from_millis(100);
/// A kind that is not served any more is still listened to for this while: the last of its objects may have gone just now.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Before a failed step is planned anew.
const RETRY_DELAY: Duration = Duration::from_millis(200);

#[derive(Debug, Clone)]
struct Watched {
    resource: ApiResource,
    namespaced: bool,
    watch: AbortHandle,
    missing_since: Option<Duration>,
    /// Uids seen since the current list began.
    seen: HashSet<String>,
}

struct Collector {
    cx: Context,
    graph: Graph,
    kinds: Vec<Watched>,
    queue: VecDeque<String>,
    queued: HashSet<String>,
    /// A definition has changed since the last look.
    has_new_kinds: bool,
    /// Kinds whose first list is not complete: until all are in, "unknown owner" may only mean "not read yet".
    pending_lists: HashSet<usize>,
}

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let mut collector = Collector {
        kinds: Vec::new(),
        graph: Graph::default(),
        queue: VecDeque::new(),
        queued: HashSet::new(),
        has_new_kinds: false,
        pending_lists: HashSet::new(),
        cx,
    };
    let mut events = SelectAll::new();
    let mut retries = FuturesUnordered::new();
    collector.discover(&mut events).await?;
    let clock = collector.cx.clock.clone();
    let mut rediscover = Box::pin(clock.sleep(DISCOVERY_PERIOD));
    loop {
        if collector.pending_lists.is_empty()
            && let Some(uid) = collector.next()
            && let Err(error) = collector.act(&uid).await
        {
            tracing::debug!(%uid, %error, "garbage collection step failed, planning it anew");
            let clock = clock.clone();
            retries.push(async move {
                clock.sleep(RETRY_DELAY).await;
                uid
            });
        }
        let idle = collector.queue.is_empty() || !collector.pending_lists.is_empty();
        tokio::select! {
            biased;
            Some((kind, event)) = events.next() => {
                collector.observe(kind, event);
                if std::mem::take(&mut collector.has_new_kinds) {
                    rediscover = Box::pin(clock.sleep(DISCOVERY_DELAY));
                }
            }
            Some(uid) = retries.next() => collector.enqueue(uid),
            () = &mut rediscover => {
                collector.discover(&mut events).await?;
                rediscover = Box::pin(clock.sleep(DISCOVERY_PERIOD));
            }
            () = std::future::ready(()), if !idle => {}
        }
    }
}

impl Watched {
    fn is(&self, resource: &ApiResource) -> bool {
        !self.watch.is_aborted()
            && self.resource.group == resource.group
            && self.resource.plural == resource.plural
    }

    /// Take note of whether it is still served.
    fn note(&mut self, is_served: bool, now: Duration) {
        if is_served {
            self.missing_since = None;
        } else if now.saturating_sub(*self.missing_since.get_or_insert(now)) >= LAST_WORDS {
            self.watch.abort();
        }
    }
}

type Events = SelectAll<BoxStream<'static, (usize, Event<Object>)>>;

impl Collector {
    /// Begin to watch the kinds that are new since the last look, and leave those that are gone.
    async fn discover(&mut self, events: &mut Events) -> Result<(), Error> {
        let discovery = Discovery::new(self.cx.client.clone()).run_aggregated().await?;
        // One whose objects cannot be listed, as no webhook converts them, must not keep all others waiting.
        self.pending_lists.clear();
        let mut found = HashSet::new();
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                // Not `patch`: it is done, but not offered, while a definition waits for the end of its objects.
                let collects = [verbs::DELETE, verbs::LIST, verbs::WATCH];
                let is_collected = collects.iter().all(|v| capabilities.supports_operation(v));
                if is_excluded(&resource) || !is_collected {
                    continue;
                }
                let at = self.kinds.iter().position(|k| k.is(&resource));
                found.insert(at.unwrap_or(self.kinds.len()));
                if at.is_none_or(|at| self.kinds[at].resource.version != resource.version) {
                    self.begin(events, at, resource, capabilities.scope == Scope::Namespaced);
                }
            }
        }
        let now = self.cx.clock.elapsed();
        for (at, kind) in self.kinds.iter_mut().enumerate() {
            kind.note(found.contains(&at), now);
        }
        Ok(())
    }

    /// Watch a kind, in the place of `at` where it was watched in another version so far.
    fn begin(&mut self, events: &mut Events, at: Option<usize>, resource: ApiResource, namespaced: bool) {
        let (followed, watch) = stream::abortable(self.follow(&resource));
        let kind = Watched { resource, namespaced, watch, missing_since: None, seen: HashSet::new() };
        let at = match at {
            Some(at) => {
                std::mem::replace(&mut self.kinds[at], kind).watch.abort();
                at
            }
            None => {
                self.kinds.push(kind);
                self.kinds.len() - 1
            }
        };
        events.push(followed.map(move |event| (at, event)).boxed());
        self.pending_lists.insert(at);
    }

    /// One kind's metadata. Of Pods there are most, and they are read already: by the informer that others need, too.
    fn follow(&self, resource: &ApiResource) -> BoxStream<'static, Event<Object>> {
        if resource.group.is_empty() && resource.plural == Pod::plural(&()) {
            return of_informer(self.cx.informers.pods.clone());
        }
        let api: Api<Object> = Api::all_with(self.cx.client.clone(), resource);
        let events = watcher(api, watcher::Config::default()).default_backoff();
        events.filter_map(async |event| event.ok()).boxed()
    }

    fn observe(&mut self, kind: usize, event: Event<Object>) {
        let is_change = matches!(event, Event::Apply(_) | Event::Delete(_));
        self.has_new_kinds |= is_change && is_definition(&self.kinds[kind].resource);
        match event {
            Event::Init => self.kinds[kind].seen.clear(),
            Event::InitApply(object) => {
                self.kinds[kind].seen.insert(object.uid().unwrap_or_default());
                self.insert(kind, &object);
            }
            Event::Apply(object) => self.insert(kind, &object),
            Event::InitDone => {
                let seen = std::mem::take(&mut self.kinds[kind].seen);
                for uid in self.graph.unseen(kind, &seen) {
                    self.remove(&uid);
                }
                self.pending_lists.remove(&kind);
            }
            Event::Delete(object) => self.remove(&object.uid().unwrap_or_default()),
        }
    }

    fn insert(&mut self, kind: usize, object: &Object) {
        let touched = self.graph.insert(Node {
            uid: object.uid().unwrap_or_default(),
            resource: kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            owners: object.owner_references().to_vec(),
            deleting: object.meta().deletion_timestamp.is_some(),
            finalizers: object.finalizers().to_vec(),
        });
        touched.into_iter().for_each(|uid| self.enqueue(uid));
    }

    fn remove(&mut self, uid: &str) {
        self.graph.remove(uid).into_iter().for_each(|uid| self.enqueue(uid));
    }

    fn enqueue(&mut self, uid: String) {
        if self.queued.insert(uid.clone()) {
            self.queue.push_back(uid);
        }
    }

    fn next(&mut self) -> Option<String> {
        let uid = self.queue.pop_front()?;
        self.queued.remove(&uid);
        Some(uid)
    }

    async fn act(&mut self, uid: &str) -> Result<(), Error> {
        match self.graph.plan(uid) {
            Step::Nothing => Ok(()),
            Step::Verify(owners) => self.verify(uid, &owners).await,
            Step::Delete => self.delete(uid).await,
            Step::DropOwners(owners) => self.drop_owners(uid, &owners).await,
            Step::DeleteDependents(dependents) => {
                for dependent in dependents {
                    self.delete(&dependent).await?;
                }
                Ok(())
            }
            Step::Orphan(dependents) => {
                for dependent in dependents {
                    self.drop_owners(&dependent, &[uid.to_owned()]).await?;
                }
                self.remove_finalizer(uid, ORPHAN).await
            }
            Step::RemoveFinalizer(finalizer) => self.remove_finalizer(uid, finalizer).await,
        }
    }

    fn api(&self, node: &Node) -> Api<Object> {
        let kind = &self.kinds[node.resource];
        self.api_of(kind, &node.namespace)
    }

    fn api_of(&self, kind: &Watched, namespace: &str) -> Api<Object> {
        let client = self.cx.client.clone();
        if kind.namespaced {
            Api::namespaced_with(client, namespace, &kind.resource)
        } else {
            Api::all_with(client, &kind.resource)
        }
    }

    /// Ask the API for owners that no watch has shown. An owner of a kind that nobody serves is left alone: the kind
    /// may come back, and deleting is for ever.
    async fn verify(&mut self, uid: &str, owners: &[OwnerReference]) -> Result<(), Error> {
        let Some(node) = self.graph.get(uid).cloned() else { return Ok(()) };
        for owner in owners {
            let kind = self.kinds.iter().find(|k| {
                !k.watch.is_aborted()
                    && k.resource.kind == owner.kind
                    && same_group(&k.resource, &owner.api_version)
            });
            let Some(kind) = kind else { continue };
            let live = found(self.api_of(kind, &node.namespace).get(&owner.name).await)?;
            if live.is_none_or(|o| o.uid().as_deref() != Some(owner.uid.as_str())) {
                self.graph.mark_absent(&owner.uid);
                self.enqueue(uid.to_owned());
            }
        }
        Ok(())
    }

    async fn delete(&self, uid: &str) -> Result<(), Error> {
        let Some(node) = self.graph.get(uid) else { return Ok(()) };
        let params = if node.finalizers.iter().any(|f| f == FOREGROUND) {
            DeleteParams::foreground()
        } else {
            DeleteParams::background()
        };
        let same = Preconditions { uid: Some(node.uid.clone()), resource_version: None };
        let objects: Api<DynamicObject> = self.objects(node);
        found(objects.delete(&node.name, &params.preconditions(same)).await).map(drop)
    }

    fn objects(&self, node: &Node) -> Api<DynamicObject> {
        let kind = &self.kinds[node.resource];
        let client = self.cx.client.clone();
        if kind.namespaced {
            Api::namespaced_with(client, &node.namespace, &kind.resource)
        } else {
            Api::all_with(client, &kind.resource)
        }
    }

    async fn drop_owners(&self, uid: &str, gone: &[String]) -> Result<(), Error> {
        let Some(node) = self.graph.get(uid) else { return Ok(()) };
        let Some(live) = found(self.api(node).get(&node.name).await)? else { return Ok(()) };
        let kept: Vec<_> = live.owner_references().iter().filter(|o| !gone.contains(&o.uid)).collect();
        let patch = json!({"metadata": {
            "uid": node.uid, "resourceVersion": live.resource_version(), "ownerReferences": kept,
        }});
        self.patch(node, patch).await
    }

    async fn remove_finalizer(&self, uid: &str, finalizer: &str) -> Result<(), Error> {
        let Some(node) = self.graph.get(uid) else { return Ok(()) };
        let Some(live) = found(self.api(node).get(&node.name).await)? else { return Ok(()) };
        let kept: Vec<_> = live.finalizers().iter().filter(|f| *f != finalizer).collect();
        if kept.len() == live.finalizers().len() {
            return Ok(());
        }
        let patch = json!({"metadata": {
            "uid": node.uid, "resourceVersion": live.resource_version(), "finalizers": kept,
        }});
        self.patch(node, patch).await
    }

    async fn patch(&self, node: &Node, patch: serde_json::Value) -> Result<(), Error> {
        let params = PatchParams::default();
        found(self.objects(node).patch(&node.name, &params, &Patch::Merge(&patch)).await).map(drop)
    }
}

/// An informer's objects as a watch would bring them.
fn of_informer<K: Resource + Send + Sync + 'static>(
    informer: Informer<K>,
) -> BoxStream<'static, Event<Object>> {
    let object = |of: &K| Object { metadata: of.meta().clone() };
    let events = async move {
        informer.listed().await;
        let (present, later) = informer.follow();
        let present: Vec<_> = present.iter().map(|o| Event::InitApply(object(o))).collect();
        let later = later.filter_map(move |change: Change<K>| {
            let gone =
                change.old.as_deref().filter(|_| change.new.is_none()).map(|o| Event::Delete(object(o)));
            std::future::ready(change.new.as_deref().map(|o| Event::Apply(object(o))).or(gone))
        });
        stream::iter(present).chain(stream::iter([Event::InitDone])).chain(later)
    };
    stream::once(events).flatten().boxed()
}

fn same_group(resource: &ApiResource, api_version: &str) -> bool {
    api_version.split_once('/').map_or("", |(group, _)| group) == resource.group
}

fn is_definition(resource: &ApiResource) -> bool {
    resource.group == CustomResourceDefinition::group(&())
        && resource.plural == CustomResourceDefinition::plural(&())
}

/// Events are never owners nor owned, and there are many of them: the reference ignores them, too.
fn is_excluded(resource: &ApiResource) -> bool {
    resource.plural == "events"
}
