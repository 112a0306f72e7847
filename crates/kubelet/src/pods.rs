//! Follows the Pods that are bound to this node and gives each a worker.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use coracle_runtime::Filter;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Shared;
use crate::pod::{UID_LABEL, Update, Worker, spec};

pub(crate) struct Pods {
    shared: Arc<Shared>,
    workers: BTreeMap<String, watch::Sender<Update>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// What a list that is under way has shown so far.
    listed: BTreeSet<String>,
    has_listed: bool,
}

impl Pods {
    pub(crate) fn new(shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) -> Pods {
        Pods { shared, workers: BTreeMap::new(), tasks, stop, listed: BTreeSet::new(), has_listed: false }
    }

    /// Until `stop` is cancelled.
    pub(crate) async fn run(mut self) {
        let api: Api<Pod> = Api::all(self.shared.client.clone());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.shared.node_name));
        let mut events = pin!(watcher(api, config).default_backoff());
        let stop = self.stop.clone();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.cancelled() => return,
            };
            match event {
                Some(Ok(event)) => self.handle(event),
                Some(Err(error)) => tracing::warn!(%error, "cannot watch Pods"),
                None => return,
            }
        }
    }

    fn handle(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(spec::uid(&pod).to_owned());
                self.apply(pod);
            }
            Event::InitDone => self.init_done(),
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.remove(spec::uid(&pod)),
        }
    }

    fn apply(&mut self, pod: Pod) {
        let uid = spec::uid(&pod).to_owned();
        let ending = pod.metadata.deletion_timestamp.is_some();
        let update = Update { pod: Arc::new(pod), removed: false };
        match self.workers.get(&uid) {
            Some(worker) if !worker.is_closed() => {
                worker.send_replace(update);
            }
            // Its worker has done its last deed: what comes now is an echo of it.
            Some(_) if ending => {}
            _ => {
                let (sender, updates) = watch::channel(update);
                let worker = Worker::new(Arc::clone(&self.shared), updates);
                self.tasks.spawn(worker.run(self.stop.child_token()));
                self.workers.insert(uid, sender);
            }
        }
    }

    fn remove(&mut self, uid: &str) {
        if let Some(worker) = self.workers.remove(uid) {
            worker.send_modify(|update| update.removed = true);
            // The worker keeps no sender: hold this one until the worker ends.
            self.tasks.spawn(async move { worker.closed().await });
        }
    }

    fn init_done(&mut self) {
        let gone: Vec<String> =
            self.workers.keys().filter(|uid| !self.listed.contains(*uid)).cloned().collect();
        for uid in gone {
            self.remove(&uid);
        }
        if !self.has_listed {
            self.has_listed = true;
            self.tasks.spawn(remove_orphans(Arc::clone(&self.shared), self.listed.clone()));
        }
    }
}

/// Removes what is left on the node of Pods that were deleted while no kubelet ran.
async fn remove_orphans(shared: Arc<Shared>, known: BTreeSet<String>) {
    let sandboxes = shared.runtime.list_sandboxes(&Filter::default()).await.unwrap_or_default();
    for sandbox in sandboxes {
        // A runtime can be shared: what has no Pod's label is not ours.
        let Some(uid) = sandbox.labels.get(UID_LABEL).filter(|uid| !known.contains(*uid)) else { continue };
        if let Err(error) = shared.runtime.remove_sandbox(&sandbox.id).await {
            tracing::warn!(pod = sandbox.name, %error, "cannot remove the sandbox of a deleted Pod");
            continue;
        }
        let logs = shared.log_dir.join(crate::log_directory_name(&sandbox.namespace, &sandbox.name, uid));
        shared.clean_up(uid, &logs).await;
    }
    let entries = std::fs::read_dir(shared.root_dir.join(crate::PODS)).into_iter().flatten().flatten();
    for entry in entries {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&uid) {
            shared.clean_up_directory(&uid);
        }
    }
}
