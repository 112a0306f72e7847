//! Events about Pods and the node: written in order, repeated ones counted instead of written again.

use std::collections::HashMap;
use std::time::Duration;

use coracle_clock::Clock;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

use crate::pod::spec;

const COMPONENT: &str = "kubelet";
/// Events that are remembered for counting; the oldest are forgotten beyond it, as in client-go.
const REMEMBERED: usize = 4096;
/// A message is cut to what the API accepts.
const MAX_MESSAGE: usize = 1024;
/// A write that takes longer is given up: events are a help, not a promise.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

#[derive(Debug)]
struct Note {
    about: ObjectReference,
    kind: Kind,
    reason: &'static str,
    message: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Recorder(mpsc::UnboundedSender<Note>);

impl Recorder {
    /// The recorder, and the task that writes what it is told until all recorders are dropped.
    pub(crate) fn new(
        client: kube::Client,
        node: String,
        clock: Clock,
    ) -> (Recorder, impl Future<Output = ()> + Send) {
        let (sender, notes) = mpsc::unbounded_channel();
        let writer = Writer { client, node, clock, seen: HashMap::new() };
        (Recorder(sender), writer.run(notes))
    }

    /// Of a Pod, or of one of its containers when `field_path` names it.
    pub(crate) fn pod(
        &self,
        pod: &Pod,
        field_path: Option<String>,
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path,
        };
        self.send(Note { about, kind, reason, message });
    }

    pub(crate) fn container(
        &self,
        pod: &Pod,
        role: spec::Role,
        container: &str,
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
        self.pod(pod, Some(spec::field_path(role, container)), kind, reason, message);
    }

    pub(crate) fn node(&self, name: &str, kind: Kind, reason: &'static str, message: String) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(name.to_owned()),
            uid: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        self.send(Note { about, kind, reason, message });
    }

    fn send(&self, note: Note) {
        // The writer ends only with the kubelet; what is said after that is for nobody.
        let _ = self.0.send(note);
    }
}

#[derive(Hash, PartialEq, Eq, Clone)]
struct Key {
    uid: String,
    field_path: String,
    reason: &'static str,
    message: String,
}

struct Seen {
    name: String,
    namespace: String,
    count: i32,
    last: jiff::Timestamp,
}

struct Writer {
    client: kube::Client,
    node: String,
    clock: Clock,
    seen: HashMap<Key, Seen>,
}

impl Writer {
    async fn run(mut self, mut notes: mpsc::UnboundedReceiver<Note>) {
        while let Some(note) = notes.recv().await {
            let clock = self.clock.clone();
            match clock.timeout(WRITE_TIMEOUT, self.write(note)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%error, "cannot write event"),
                None => tracing::debug!("writing an event took too long"),
            }
        }
    }

    async fn write(&mut self, mut note: Note) -> kube::Result<()> {
        truncate(&mut note.message, MAX_MESSAGE);
        let key = Key {
            uid: note.about.uid.clone().unwrap_or_default(),
            field_path: note.about.field_path.clone().unwrap_or_default(),
            reason: note.reason,
            message: note.message.clone(),
        };
        let now = self.clock.now();
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.count += 1;
            seen.last = now;
            let patch = json!({"count": seen.count, "lastTimestamp": Time(now)});
            let api: Api<Event> = Api::namespaced(self.client.clone(), &seen.namespace);
            match api.patch(&seen.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other.map(drop),
            }
        }
        let event = self.event(&note, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        api.create(&PostParams::default(), &event).await?;
        self.forget_oldest();
        self.seen.insert(key, Seen { name, namespace, count: 1, last: now });
        Ok(())
    }

    fn event(&self, note: &Note, now: jiff::Timestamp) -> Event {
        let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let about = note.about.name.as_deref().unwrap_or_default();
        let mut event = Event {
            involved_object: note.about.clone(),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            message: Some(note.message.clone()),
            reason: Some(note.reason.to_owned()),
            type_: Some(format!("{:?}", note.kind)),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.node.clone()),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(self.node.clone()),
            }),
            ..Event::default()
        };
        // Two events in one nanosecond of a stepped clock need names of their own.
        let unique = now.as_nanosecond() ^ i128::from(rand::random::<u16>());
        event.metadata.name = Some(format!("{about}.{unique:x}"));
        event.metadata.namespace = Some(namespace);
        event
    }

    fn forget_oldest(&mut self) {
        if self.seen.len() >= REMEMBERED
            && let Some(oldest) =
                self.seen.iter().min_by_key(|(_, seen)| seen.last).map(|(key, _)| key.clone())
        {
            self.seen.remove(&oldest);
        }
    }
}

fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}
