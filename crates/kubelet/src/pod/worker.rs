//! The task of one Pod: look, plan, report, act, wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::{ContainerState, Event, Filter};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Preconditions};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::container_config::UID_LABEL;
use super::execute::Retry;
use super::images::Pulls;
use super::observed::{Failure, Observed, Waiting};
use super::plan::{Termination, plan};
use super::status::{pod_status, whole_seconds};
use super::status_writer::StatusWriter;
use super::{Backoff, container_status, messages, spec};
use crate::Shared;
use crate::probes::{Probes, Probing};
use crate::volumes::{self, Volumes};

/// How often the content of volumes is compared with the objects behind them.
const REFRESH: Duration = Duration::from_secs(60);
/// Between tries of asking a runtime that does not answer, or of removing what cannot be removed.
const RETRY: Duration = Duration::from_secs(1);
/// The last status has this long to be written before a deleted Pod is removed without it.
const FLUSH: Duration = Duration::from_secs(10);

/// The Pod as the API last showed it.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) pod: Arc<Pod>,
    /// It is not in the API any more.
    pub(crate) removed: bool,
}

impl Update {
    fn is_ending(&self) -> bool {
        self.removed || self.pod.metadata.deletion_timestamp.is_some()
    }

    fn grace(&self) -> Duration {
        if self.removed {
            Duration::ZERO
        } else {
            Duration::from_secs(spec::grace_seconds(&self.pod).unsigned_abs())
        }
    }

    /// The Pod to plan for: one that is gone is one that is deleted without any grace.
    fn pod(&self, now: Timestamp) -> Arc<Pod> {
        if !self.removed {
            return Arc::clone(&self.pod);
        }
        let mut pod = Pod::clone(&self.pod);
        pod.metadata.deletion_timestamp.get_or_insert_with(|| whole_seconds(now));
        pod.metadata.deletion_grace_period_seconds = Some(0);
        Arc::new(pod)
    }
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    updates: watch::Receiver<Update>,
    writer: StatusWriter,
    pub(super) probes: Probes,
    pub(super) pulls: Pulls,
    pub(super) waiting: BTreeMap<String, Waiting>,
    pub(super) backoffs: BTreeMap<String, Backoff>,
    pub(super) failure: Option<Failure>,
    pub(super) volumes: Option<Volumes>,
    pub(super) retry: Retry,
    refreshed: Option<Timestamp>,
    started: Option<Timestamp>,
    messages: BTreeMap<String, String>,
    cleaned: bool,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, updates: watch::Receiver<Update>) -> Worker {
        let pod = Arc::clone(&updates.borrow().pod);
        let (writer, task) = StatusWriter::new(shared.client.clone(), shared.clock.clone(), &pod);
        tokio::spawn(task);
        Worker {
            shared,
            updates,
            writer,
            probes: Probes::default(),
            pulls: Pulls::default(),
            waiting: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            failure: None,
            volumes: None,
            retry: Retry::default(),
            refreshed: None,
            started: None,
            messages: BTreeMap::new(),
            cleaned: false,
        }
    }

    /// Lives the Pod until it is gone or `stop` is called for, which leaves it running.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let stopped = stop.clone();
        tokio::select! { () = self.live() => {} () = stopped.cancelled() => {} }
        if !stop.is_cancelled() {
            self.shared.forget(&self.updates.borrow().pod);
        }
    }

    async fn live(&mut self) {
        let mut events = self.shared.runtime.events();
        loop {
            let update = self.updates.borrow_and_update().clone();
            let now = self.shared.clock.now();
            let pod = update.pod(now);
            let observed = match self.observe(&pod).await {
                Ok(observed) => observed,
                Err(error) => {
                    tracing::warn!(pod = spec::name(&pod), %error, "cannot ask the runtime");
                    self.shared.clock.sleep(RETRY).await;
                    continue;
                }
            };
            let plan = plan(&pod, &observed, now);
            if plan.termination == Termination::None {
                self.sync_probes(&pod, &observed);
            }
            self.report(&update, &pod, &observed, plan.termination);
            if plan.termination == Termination::Ended {
                if update.is_ending() {
                    return self.finish(&update, &observed).await;
                }
                self.clean_volumes(&pod);
            }
            if self.execute(&pod, &observed, plan.steps).await {
                continue;
            }
            let refresh = self.refresh(&pod, &observed, plan.termination).await;
            let retry = self.retry.at.filter(|at| self.is_held_up(&observed) && *at > now);
            let wake = [plan.wake, refresh, retry];
            let wake = wake.into_iter().flatten().min();
            self.wait(&mut events, &observed, wake).await;
        }
    }

    /// The Pod as a whole waits for another try of its volumes or its sandbox.
    fn is_held_up(&self, observed: &Observed) -> bool {
        self.volumes.is_none() || observed.ready_sandbox().is_none()
    }

    async fn observe(&mut self, pod: &Pod) -> coracle_runtime::Result<Observed> {
        let labels: BTreeMap<_, _> = [(UID_LABEL.to_owned(), spec::uid(pod).to_owned())].into();
        let filter = Filter { labels, ..Filter::default() };
        let sandboxes = self.shared.runtime.list_sandboxes(&filter).await?;
        let containers = self.shared.runtime.list_containers(&filter).await?;
        for container in containers.iter().filter(|it| it.state == ContainerState::Exited) {
            if !self.messages.contains_key(&container.id) {
                self.messages.insert(container.id.clone(), messages::termination_message(container));
            }
        }
        let reported = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        let started =
            *self.started.get_or_insert_with(|| reported.map_or_else(|| self.shared.clock.now(), |it| it.0));
        let mut observed = Observed {
            sandboxes,
            containers,
            messages: self.messages.clone(),
            waiting: self.waiting.clone(),
            backoffs: self.backoffs.clone(),
            probed: self.probes.results(),
            started: Some(started),
            failure: self.failure.clone(),
            host_ip: self.shared.host_ip.clone(),
            host_network: spec::is_host_network(pod),
        };
        observed.sort();
        Ok(observed)
    }

    fn sync_probes(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        self.probes.retain(|id| observed.running().any(|it| it.id == id));
        let ip = observed.pod_ips().into_iter().next().unwrap_or_default();
        for status in
            observed.running().filter(|it| observed.current(&it.name).is_some_and(|c| c.id == it.id))
        {
            let Some((container, role)) = spec::find(pod, &status.name) else { continue };
            let probed = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
            if self.probes.has(&status.id) || probed.iter().all(|probe| probe.is_none()) {
                continue;
            }
            let target = self.shared.target(&status.id, &ip, container);
            let recorder = self.shared.recorder.clone();
            let before = container_status::before(pod, &status.id);
            self.probes.start(&Probing { pod: Arc::clone(pod), role, target, recorder }, before);
        }
    }

    fn report(&self, update: &Update, pod: &Pod, observed: &Observed, termination: Termination) {
        let mut observed = observed.clone();
        // Probes of containers that started a moment ago begin with "not ready".
        observed.probed = self.probes.results();
        let status = pod_status(pod, &observed, termination, self.shared.clock.now());
        if !update.removed {
            self.writer.set(&status);
        }
        self.shared.remember(pod, status);
    }

    /// Brings the volumes up to date when that is due; returns when it is next.
    async fn refresh(
        &mut self,
        pod: &Pod,
        observed: &Observed,
        termination: Termination,
    ) -> Option<Timestamp> {
        if termination != Termination::None || observed.running().next().is_none() {
            return None;
        }
        let now = self.shared.clock.now();
        let due = |worker: &Worker| {
            let periodic = worker.refreshed.and_then(|at| at.checked_add(REFRESH).ok());
            let token = worker.volumes.as_ref().and_then(|volumes| volumes.refresh);
            // A token that could not be refreshed is not tried at every turn.
            let token = token.filter(|at| *at > now || worker.refreshed.is_none_or(|done| done < *at));
            [periodic, token].into_iter().flatten().min()
        };
        if self.volumes.is_none() {
            self.update_volumes(pod, observed).await;
            self.refreshed = Some(now);
        } else if self.refreshed.is_none() {
            self.refreshed = Some(now);
        } else if due(self).is_some_and(|due| due <= now) {
            self.update_volumes(pod, observed).await;
            self.refreshed = Some(now);
        }
        due(self).filter(|due| *due > now).or_else(|| now.checked_add(REFRESH).ok())
    }

    async fn wait(
        &mut self,
        events: &mut broadcast::Receiver<Event>,
        observed: &Observed,
        wake: Option<Timestamp>,
    ) {
        let mine: BTreeSet<&str> = observed.sandboxes.iter().map(|sandbox| sandbox.id.as_str()).collect();
        let now = self.shared.clock.now();
        let until = wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default());
        let sleep = async {
            match until {
                Some(until) => self.shared.clock.sleep(until).await,
                None => std::future::pending().await,
            }
        };
        let results = self.probes.handle();
        tokio::select! {
            // The sender lives in the table of workers, for longer than this task.
            _ = self.updates.changed() => {}
            () = results.changed() => {}
            () = sleep => {}
            () = next_of(events, &mine) => {}
        }
    }

    pub(super) fn is_interrupted(&self, pod: &Pod) -> bool {
        pod.metadata.deletion_timestamp.is_none() && self.updates.borrow().is_ending()
    }

    /// Completes when the Pod is to end.
    pub(super) fn interruption(&self) -> impl Future<Output = ()> + use<> {
        let mut updates = self.updates.clone();
        async move {
            if updates.wait_for(Update::is_ending).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Completes when the Pod has less time to end than `grace`.
    pub(super) fn shortened(&self, grace: Duration) -> impl Future<Output = ()> + use<> {
        let mut updates = self.updates.clone();
        async move {
            if updates.wait_for(|update| update.is_ending() && update.grace() < grace).await.is_err() {
                std::future::pending().await
            }
        }
    }

    fn clean_volumes(&mut self, pod: &Pod) {
        if !self.cleaned {
            let dir = self.shared.pod_dir(spec::uid(pod)).join("volumes");
            match volumes::tear_down(&dir) {
                Ok(()) => self.cleaned = true,
                Err(error) => tracing::warn!(pod = spec::name(pod), %error, "cannot remove volumes"),
            }
        }
    }

    /// Removes what is left of a Pod that has ended: its status is written, then it goes from the node, then from the API.
    async fn finish(&mut self, update: &Update, observed: &Observed) {
        let (pod, clock) = (&update.pod, self.shared.clock.clone());
        if !update.removed {
            // A status that cannot be written must not keep a deleted Pod for ever.
            let _ = clock.timeout(FLUSH, self.writer.flush()).await;
        }
        for sandbox in &observed.sandboxes {
            while let Err(error) = self.shared.runtime.remove_sandbox(&sandbox.id).await {
                if error.is_not_found() {
                    break;
                }
                tracing::warn!(pod = spec::name(pod), %error, "cannot remove sandbox");
                clock.sleep(RETRY).await;
            }
        }
        self.shared.clean_up(spec::uid(pod), &self.shared.log_directory(pod)).await;
        if !update.removed {
            self.delete(pod).await;
        }
    }

    async fn delete(&self, pod: &Pod) {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), spec::namespace(pod));
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        loop {
            match api.delete(spec::name(pod), &params).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => tracing::warn!(pod = spec::name(pod), %error, "cannot delete"),
            }
            self.shared.clock.sleep(RETRY).await;
        }
    }
}

async fn next_of(events: &mut broadcast::Receiver<Event>, sandboxes: &BTreeSet<&str>) {
    loop {
        match events.recv().await {
            Ok(event) if sandboxes.contains(event.sandbox_id.as_str()) => return,
            Ok(_) => {}
            // Whatever was missed may have been about this Pod.
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
