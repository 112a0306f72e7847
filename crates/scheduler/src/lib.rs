//! The scheduler: which node a Pod goes to. Filters and scores are ordered lists of pure functions, one file each.
//!
//! An API client like any other: it reads Pods and Nodes by watch, and writes bindings, conditions and events.

#![forbid(unsafe_code)]

mod cluster;
mod filters;
mod quantity;
mod queue;
mod scores;
mod seen;

use std::time::Duration;

use coracle_clock::Clock;
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{
    Binding, Event as ApiEvent, EventSource, Node, ObjectReference, Pod, PodCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use cluster::{Cluster, Outcome};
use queue::Queue;
use seen::Seen;

/// The identity to which the bootstrap policy binds `system:kube-scheduler`.
pub const USER: &str = "system:kube-scheduler";
/// Pods name their scheduler; this is the one that defaulting fills in.
const NAME: &str = "default-scheduler";
/// A Pod that found no node is tried again when the cluster changes, and at the latest after this long (the reference
/// flushes its unschedulable queue every 30 s).
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the watch streams ended")]
    WatchesEnded,
}

#[expect(clippy::large_enum_variant, reason = "one is alive at a time, and lives for one turn of the loop")]
enum Change {
    Pod(Event<Seen>),
    Node(Event<Node>),
}

/// Schedule until the future is dropped or a watch ends for good.
pub async fn run(client: Client, clock: Clock) -> Result<(), Error> {
    let mut changes = watch(&client);
    let mut scheduler =
        Scheduler { client, clock: clock.clone(), cluster: Cluster::default(), queue: Queue::default() };
    let mut retry = Box::pin(clock.sleep(RETRY));
    loop {
        if scheduler.cluster.is_complete()
            && let Some(key) = scheduler.queue.pop()
        {
            scheduler.schedule(&key).await;
        }
        let idle = !scheduler.cluster.is_complete() || scheduler.queue.is_empty();
        tokio::select! {
            biased;
            change = changes.next() => match change {
                Some(change) => scheduler.observe(change),
                None => return Err(Error::WatchesEnded),
            },
            () = &mut retry => {
                scheduler.queue.wake_all();
                retry = Box::pin(clock.sleep(RETRY));
            }
            () = std::future::ready(()), if !idle => {}
        }
    }
}

fn watch(client: &Client) -> BoxStream<'static, Change> {
    let pods = watcher(Api::<Seen>::all(client.clone()), watcher::Config::default()).default_backoff();
    let nodes = watcher(Api::<Node>::all(client.clone()), watcher::Config::default()).default_backoff();
    let pods = pods.filter_map(|e| async move { e.ok().map(Change::Pod) });
    let nodes = nodes.filter_map(|e| async move { e.ok().map(Change::Node) });
    futures::stream::select(pods, nodes).boxed()
}

struct Scheduler {
    client: Client,
    clock: Clock,
    cluster: Cluster,
    queue: Queue,
}

impl Scheduler {
    fn observe(&mut self, change: Change) {
        match change {
            Change::Pod(Event::Apply(Seen(pod)) | Event::InitApply(Seen(pod))) => self.observe_pod(pod),
            Change::Pod(Event::Delete(Seen(pod))) => {
                self.queue.remove(&key(&pod));
                if self.cluster.remove_pod(&key(&pod)) {
                    self.queue.wake_all();
                }
            }
            Change::Pod(Event::InitDone) => self.cluster.pods_listed(),
            Change::Node(Event::Apply(node) | Event::InitApply(node)) => {
                if self.cluster.set_node(node) {
                    self.queue.wake_all();
                }
            }
            Change::Node(Event::Delete(node)) => self.cluster.remove_node(&node.name_any()),
            Change::Node(Event::InitDone) => {
                self.cluster.nodes_listed();
                self.queue.wake_all();
            }
            Change::Pod(Event::Init) => self.cluster.pods_listing(),
            Change::Node(Event::Init) => self.cluster.nodes_listing(),
        }
    }

    fn observe_pod(&mut self, pod: Pod) {
        let spec = pod.spec.as_ref();
        let bound = spec.and_then(|s| s.node_name.as_ref()).is_some_and(|n| !n.is_empty());
        let ours = spec.and_then(|s| s.scheduler_name.as_deref()).unwrap_or(NAME) == NAME;
        let gated = spec.and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|g| !g.is_empty());
        let key = key(&pod);
        if bound {
            self.queue.remove(&key);
            if self.cluster.set_pod(key, &pod) {
                self.queue.wake_all();
            }
        } else if ours && !gated && pod.meta().deletion_timestamp.is_none() {
            self.queue.push(key, pod);
        } else {
            self.queue.remove(&key);
        }
    }

    async fn schedule(&mut self, key: &str) {
        let Some(pod) = self.queue.get(key).cloned() else { return };
        match self.cluster.place(&pod) {
            Outcome::Node(node) => match self.bind(&pod, &node).await {
                Ok(()) => {
                    self.cluster.assume(key.to_owned(), &pod, &node);
                    self.queue.remove(key);
                    let said = format!("Successfully assigned {key} to {node}");
                    self.event(&pod, "Normal", "Scheduled", &said, "Binding").await;
                }
                Err(error) => {
                    tracing::warn!(pod = key, %node, %error, "cannot bind");
                    self.queue.park(key);
                }
            },
            Outcome::Nowhere(why) => {
                let first = self.queue.park_because(key, &why);
                if first && !self.refuse(&pod, &why).await {
                    self.queue.forget_why(key);
                }
            }
        }
    }

    async fn bind(&self, pod: &Pod, node: &str) -> Result<(), kube::Error> {
        let binding = Binding {
            metadata: ObjectMeta {
                name: pod.metadata.name.clone(),
                namespace: pod.namespace(),
                uid: pod.uid(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".into()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let _: serde_json::Value =
            pods.create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await?;
        Ok(())
    }

    /// Say on the Pod, and in an event, why it stays pending. False where the Pod has changed meanwhile: somebody else
    /// may have bound it, and what was true of the Pod that was looked at need not be true of the Pod that is there now.
    async fn refuse(&self, pod: &Pod, why: &str) -> bool {
        let condition = PodCondition {
            type_: "PodScheduled".into(),
            observed_generation: pod.metadata.generation,
            status: "False".into(),
            reason: Some("Unschedulable".into()),
            message: Some(why.to_owned()),
            last_transition_time: Some(Time(self.clock.now())),
            ..PodCondition::default()
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let seen = json!({"uid": pod.uid(), "resourceVersion": pod.resource_version()});
        let patch = json!({"metadata": seen, "status": {"conditions": [condition]}});
        let patched =
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
        if let Err(error) = patched {
            tracing::debug!(pod = pod.name_any(), %error, "cannot say that the pod is unschedulable");
            return false;
        }
        self.event(pod, "Warning", "FailedScheduling", why, "Scheduling").await;
        true
    }

    async fn event(&self, pod: &Pod, kind: &str, reason: &str, message: &str, action: &str) {
        let namespace = pod.namespace().unwrap_or_default();
        let now = self.clock.now();
        let event = ApiEvent {
            // As the reference names them: the object and the time in hexadecimal.
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", pod.name_any(), now.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                resource_version: pod.resource_version(),
                ..pod.object_ref(&())
            },
            reason: Some(reason.into()),
            message: Some(message.into()),
            type_: Some(kind.into()),
            action: Some(action.into()),
            source: Some(EventSource { component: Some(NAME.into()), host: None }),
            reporting_component: Some(NAME.into()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..ApiEvent::default()
        };
        let events: Api<ApiEvent> = Api::namespaced(self.client.clone(), &namespace);
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "cannot write an event");
        }
    }
}

fn key(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}
