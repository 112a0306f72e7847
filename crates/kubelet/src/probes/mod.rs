//! Startup, liveness and readiness probes: one task each, for as long as the container runs.

pub(crate) mod check;
mod grpc;
mod trust;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Probe};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::pod::observed::Probed;
use crate::pod::spec::Role;
use crate::recorder::{Kind, Recorder};
use check::{Outcome, Target};

/// How the kubelet names itself to what it probes.
const AGENT: &str = "kube-probe/1.36";

/// The probes of one Pod's containers, by container ID.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    running: BTreeMap<String, CancellationToken>,
    results: Arc<Results>,
}

#[derive(Debug, Default)]
pub(crate) struct Results {
    by_id: Mutex<BTreeMap<String, Probed>>,
    changed: Notify,
}

impl Results {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Probed>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut Probed)) {
        let mut results = self.lock();
        let Some(entry) = results.get_mut(id) else { return };
        let before = entry.clone();
        change(entry);
        let changed = *entry != before;
        drop(results);
        if changed {
            self.changed.notify_one();
        }
    }

    fn is_started(&self, id: &str) -> bool {
        self.lock().get(id).is_some_and(|probed| probed.started != Some(false))
    }
}

/// What a container's probes had found when this kubelet took it over; nothing for one that it started itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before {
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

/// What probing a container needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Probing {
    pub(crate) pod: Arc<Pod>,
    pub(crate) role: Role,
    pub(crate) target: Target,
    pub(crate) recorder: Recorder,
}

impl Probes {
    pub(crate) fn results(&self) -> BTreeMap<String, Probed> {
        self.results.lock().clone()
    }

    pub(crate) fn handle(&self) -> Arc<Results> {
        Arc::clone(&self.results)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.running.contains_key(id)
    }

    /// Ends the probes of containers that `keep` does not know.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.running.keys().filter(|id| !keep(id)).cloned().collect();
        for id in gone {
            if let Some(token) = self.running.remove(&id) {
                token.cancel();
            }
            self.results.lock().remove(&id);
        }
    }

    /// `before`: what the API says of a container that ran before this kubelet did.
    pub(crate) fn start(&mut self, probing: &Probing, before: Before) {
        let container = &probing.target.container;
        let id = probing.target.container_id.clone();
        let token = CancellationToken::new();
        let probed = Probed {
            started: container.startup_probe.as_ref().map(|_| before.started),
            ready: container.readiness_probe.as_ref().map(|_| before.ready),
            failed: None,
        };
        self.results.lock().insert(id.clone(), probed);
        let all = [
            (Purpose::Startup, &container.startup_probe),
            (Purpose::Liveness, &container.liveness_probe),
            (Purpose::Readiness, &container.readiness_probe),
        ];
        for (purpose, probe) in all {
            let Some(probe) = probe.clone() else { continue };
            let worker =
                Worker { probing: probing.clone(), probe, purpose, results: Arc::clone(&self.results) };
            let token = token.clone();
            tokio::spawn(async move {
                tokio::select! { () = worker.run() => {} () = token.cancelled() => {} }
            });
        }
        self.running.insert(id, token);
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}

impl Results {
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Startup,
    Liveness,
    Readiness,
}

impl Purpose {
    fn title(self) -> &'static str {
        match self {
            Purpose::Startup => "Startup",
            Purpose::Liveness => "Liveness",
            Purpose::Readiness => "Readiness",
        }
    }
}

struct Worker {
    probing: Probing,
    probe: Probe,
    purpose: Purpose,
    results: Arc<Results>,
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    let value = value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    Duration::from_secs(value.unwrap_or(default))
}

impl Worker {
    async fn run(self) {
        let clock = &self.probing.target.clock;
        if let Some(delay) = self.probe.initial_delay_seconds.filter(|delay| *delay > 0) {
            clock.sleep(seconds(Some(delay), 0)).await;
        }
        let period = seconds(self.probe.period_seconds, 10);
        let mut streak = Streak::default();
        loop {
            if self.purpose == Purpose::Startup || self.results.is_started(&self.probing.target.container_id)
            {
                let outcome = self.look().await;
                if self.judge(&mut streak, outcome) {
                    return;
                }
            }
            clock.sleep(period).await;
        }
    }

    async fn look(&self) -> Outcome {
        let target = &self.probing.target;
        let timeout = seconds(self.probe.timeout_seconds, 1);
        if let Some(action) = &self.probe.exec {
            target.exec(action, timeout).await
        } else if let Some(action) = &self.probe.http_get {
            target.http(action, AGENT, timeout).await
        } else if let Some(action) = &self.probe.tcp_socket {
            target.tcp(action, timeout).await
        } else if let Some(action) = &self.probe.grpc {
            target.grpc(action, AGENT, timeout).await
        } else {
            Err("missing probe handler".to_owned())
        }
    }

    /// Counts an outcome; returns whether the probe is over.
    fn judge(&self, streak: &mut Streak, outcome: Outcome) -> bool {
        let id = &self.probing.target.container_id;
        if let Err(message) = &outcome {
            let Probing { pod, role, target, recorder } = &self.probing;
            let message = format!("{} probe failed: {message}", self.purpose.title());
            recorder.container(pod, *role, &target.container.name, Kind::Warning, "Unhealthy", message);
        }
        let success = outcome.is_ok();
        let count = streak.add(success);
        let threshold = if success { self.probe.success_threshold } else { self.probe.failure_threshold };
        if count < threshold.unwrap_or(if success { 1 } else { 3 }) {
            return false;
        }
        match self.purpose {
            Purpose::Readiness => self.results.update(id, |probed| probed.ready = Some(success)),
            Purpose::Startup if success => self.results.update(id, |probed| probed.started = Some(true)),
            Purpose::Startup => self.results.update(id, |probed| probed.failed = Some("startup")),
            Purpose::Liveness if !success => {
                self.results.update(id, |probed| probed.failed = Some("liveness"))
            }
            Purpose::Liveness => {}
        }
        match self.purpose {
            Purpose::Startup => true,
            Purpose::Liveness => !success,
            Purpose::Readiness => false,
        }
    }
}

/// How often in a row a probe has had the same outcome.
#[derive(Debug, Default)]
struct Streak {
    success: bool,
    count: i32,
}

impl Streak {
    fn add(&mut self, success: bool) -> i32 {
        if self.success != success {
            self.count = 0;
        }
        self.success = success;
        self.count = self.count.saturating_add(1);
        self.count
    }
}
