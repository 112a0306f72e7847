//! Carries out the steps of a plan.

use std::time::Duration;

use coracle_runtime::ContainerStatus;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::backoff::go_seconds;
use super::container_config::{ConfigInputs, container_config, probe_grace, sandbox_config};
use super::hooks;
use super::images::{SHOW_ERROR, Wanted};
use super::observed::{Observed, Waiting};
use super::plan::Step;
use super::spec::{self, Role};
use super::worker::Worker;
use crate::fields::Surroundings;
use crate::recorder::Kind;
use crate::volumes::{self, VolumeCx};

/// After the node could not make a sandbox or a volume; doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Two minutes and two seconds, as in the reference.
const LONGEST_RETRY: Duration = Duration::from_secs(122);
/// After a configuration that cannot be used: what it lacks may have been made by then.
const CONFIG_RETRY: Duration = Duration::from_secs(3);

/// Tries of something that the whole Pod waits for.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    delay: Duration,
    pub(crate) at: Option<Timestamp>,
}

impl Retry {
    pub(crate) fn fail(&mut self, now: Timestamp) {
        self.delay = if self.delay.is_zero() { FIRST_RETRY } else { (self.delay * 2).min(LONGEST_RETRY) };
        self.at = now.checked_add(self.delay).ok();
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.at.is_none_or(|at| at <= now)
    }
}

impl Worker {
    /// Returns whether anything was done that calls for a new plan.
    pub(crate) async fn execute(&mut self, pod: &Pod, observed: &Observed, steps: Vec<Step>) -> bool {
        let mut acted = false;
        for step in steps {
            if self.is_interrupted(pod) {
                return true;
            }
            acted |= self.execute_one(pod, observed, step).await;
        }
        acted
    }

    async fn execute_one(&mut self, pod: &Pod, observed: &Observed, step: Step) -> bool {
        match step {
            Step::RunSandbox { attempt } => self.run_sandbox(pod, observed, attempt).await,
            Step::Start { container, role, attempt } => {
                let Some((container, _)) = spec::find(pod, &container) else { return false };
                self.start(pod, observed, &container, role, attempt).await;
                true
            }
            Step::Kill { id, container, message } => self.kill(pod, observed, &id, &container, message).await,
            Step::BackOff { container, role, until } => self.back_off(pod, &container, role, until),
            Step::KillPod => self.kill_pod(pod, observed).await,
            Step::Forget { id } => {
                self.done("remove container", self.shared.runtime.remove_container(&id).await);
                false
            }
            Step::RemoveSandbox { id } => {
                self.done("remove sandbox", self.shared.runtime.remove_sandbox(&id).await);
                false
            }
            Step::Fail(failure) => {
                let Failed { reason, message } = Failed::event(&failure.reason, &failure.message);
                self.shared.recorder.pod(pod, None, Kind::Normal, reason, message);
                self.failure = Some(failure);
                true
            }
        }
    }

    fn done(&self, what: &str, outcome: coracle_runtime::Result<()>) {
        if let Err(error) = outcome
            && !error.is_not_found()
        {
            tracing::warn!(%error, "cannot {what}");
        }
    }

    async fn run_sandbox(&mut self, pod: &Pod, observed: &Observed, attempt: u32) -> bool {
        let now = self.shared.clock.now();
        if !self.retry.is_due(now) || !self.ensure_volumes(pod, observed).await {
            return false;
        }
        let (config, warnings) = sandbox_config(&self.shared, pod, attempt);
        for warning in warnings {
            self.shared.recorder.pod(pod, None, Kind::Warning, "DNSConfigForming", warning);
        }
        if attempt > 0 {
            let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
            self.shared.recorder.pod(pod, None, Kind::Normal, "SandboxChanged", message);
        }
        match self.shared.runtime.run_sandbox(config).await {
            Ok(_) => {
                match attempt {
                    0 => self.retry = Retry::default(),
                    // A sandbox that does not last is not made again and again without a pause.
                    _ => self.retry.fail(self.shared.clock.now()),
                }
                true
            }
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.shared.recorder.pod(pod, None, Kind::Warning, "FailedCreatePodSandBox", message);
                self.retry.fail(self.shared.clock.now());
                false
            }
        }
    }

    fn surroundings(&self, observed: &Observed) -> Surroundings {
        Surroundings {
            host_ip: self.shared.host_ip.clone(),
            pod_ips: observed.pod_ips(),
            allocatable: self.shared.allocatable.clone(),
        }
    }

    /// Makes the Pod's volumes unless they are made; returns whether they are.
    async fn ensure_volumes(&mut self, pod: &Pod, observed: &Observed) -> bool {
        self.volumes.is_some() || self.update_volumes(pod, observed).await
    }

    /// Makes the Pod's volumes or brings their content up to date.
    pub(crate) async fn update_volumes(&mut self, pod: &Pod, observed: &Observed) -> bool {
        let dir = self.shared.pod_dir(spec::uid(pod));
        let around = self.surroundings(observed);
        let cx = VolumeCx {
            pod,
            dir: &dir,
            around: &around,
            objects: &*self.shared.objects,
            tokens: &self.shared.tokens,
            clock: &self.shared.clock,
            memory: self.shared.memory,
        };
        match volumes::set_up(&cx).await {
            Ok(made) => {
                self.volumes = Some(made);
                true
            }
            Err(failure) => {
                self.shared.recorder.pod(pod, None, Kind::Warning, "FailedMount", failure.to_string());
                self.retry.fail(self.shared.clock.now());
                false
            }
        }
    }

    async fn start(
        &mut self,
        pod: &Pod,
        observed: &Observed,
        container: &Container,
        role: Role,
        attempt: u32,
    ) {
        let now = self.shared.clock.now();
        if let Some(latest) = observed.latest(&container.name).filter(|it| it.finished_at.is_some()) {
            let failed = latest.finished_at.unwrap_or(now);
            self.backoffs.entry(container.name.clone()).or_default().next(failed, now);
        }
        if !self.ensure_volumes(pod, observed).await {
            let until = self.retry.at;
            let waiting = Waiting { reason: "ContainerCreating".to_owned(), message: String::new(), until };
            self.waiting.insert(container.name.clone(), waiting);
            return;
        }
        match self.try_start(pod, observed, container, role, attempt).await {
            Ok(()) => drop(self.waiting.remove(&container.name)),
            Err(waiting) => drop(self.waiting.insert(container.name.clone(), waiting)),
        }
    }

    async fn try_start(
        &mut self,
        pod: &Pod,
        observed: &Observed,
        container: &Container,
        role: Role,
        attempt: u32,
    ) -> Result<(), Waiting> {
        let Some(sandbox) = observed.ready_sandbox() else { return Ok(()) };
        let shared = self.shared.clone();
        let interrupted = self.interruption();
        tokio::select! {
            got = self.pulls.ensure(&shared, Wanted { pod, container, role }) => got?,
            () = interrupted => return Ok(()),
        }
        let around = self.surroundings(observed);
        let volumes = self.volumes.clone().unwrap_or_default();
        let name = container.image.as_deref().unwrap_or_default();
        let image = shared.runtime.image_status(name).await.ok().flatten();
        let inputs = ConfigInputs {
            shared: &shared,
            pod,
            container,
            attempt,
            volumes: &volumes,
            around: &around,
            image: image.as_ref(),
        };
        let config = container_config(&inputs).await.map_err(|error| {
            self.refuse(pod, container, role, "CreateContainerConfigError", error.to_string(), CONFIG_RETRY)
        })?;
        let id = shared.runtime.create_container(&sandbox.id, config).await.map_err(|error| {
            let reason = match error {
                coracle_runtime::Error::Config(_) => "CreateContainerConfigError",
                _ => "CreateContainerError",
            };
            let delay = self.raise(&container.name);
            self.refuse(pod, container, role, reason, error.to_string(), delay)
        })?;
        shared.recorder.container(
            pod,
            role,
            &container.name,
            Kind::Normal,
            "Created",
            "Container created".to_owned(),
        );
        if let Err(error) = shared.runtime.start_container(&id).await {
            // It has ended, as far as its restarts are concerned: the back-off between those follows.
            let message = error.to_string();
            return Err(self.refuse(pod, container, role, "RunContainerError", message, SHOW_ERROR));
        }
        shared.recorder.container(
            pod,
            role,
            &container.name,
            Kind::Normal,
            "Started",
            "Container started".to_owned(),
        );
        self.after_start(pod, observed, container, role, &id).await
    }

    async fn after_start(
        &mut self,
        pod: &Pod,
        observed: &Observed,
        container: &Container,
        role: Role,
        id: &str,
    ) -> Result<(), Waiting> {
        let shared = self.shared.clone();
        let ip = observed.pod_ips().into_iter().next().unwrap_or_default();
        let target = shared.target(id, &ip, container.clone());
        let interrupted = self.interruption();
        let outcome = tokio::select! {
            outcome = hooks::post_start(&shared, pod, &target, role) => outcome,
            () = interrupted => Ok(()),
        };
        let Err(message) = outcome else { return Ok(()) };
        if let Ok(status) = shared.runtime.container_status(id).await {
            let why = format!("FailedPostStartHook: {message}");
            let grace = Duration::from_secs(spec::grace_seconds(pod).unsigned_abs());
            hooks::stop(&shared, pod, &status, &ip, why, grace).await;
        }
        Err(Waiting { reason: "PostStartHookError".to_owned(), message, until: None })
    }

    /// The delay before another try of a container that could not be made.
    fn raise(&mut self, container: &str) -> Duration {
        let now = self.shared.clock.now();
        let backoff = self.backoffs.entry(container.to_owned()).or_default();
        if backoff.until(now, now).is_none() {
            backoff.next(now, now);
        }
        backoff.delay()
    }

    fn refuse(
        &self,
        pod: &Pod,
        container: &Container,
        role: Role,
        reason: &str,
        message: String,
        delay: Duration,
    ) -> Waiting {
        let event = format!("Error: {message}");
        self.shared.recorder.container(pod, role, &container.name, Kind::Warning, "Failed", event);
        let until = self.shared.clock.now().checked_add(delay).ok();
        Waiting { reason: reason.to_owned(), message, until }
    }

    /// Returns whether that is news.
    fn back_off(&mut self, pod: &Pod, container: &str, role: Role, until: Timestamp) -> bool {
        if self.waiting.get(container).is_some_and(|waiting| waiting.until.is_some_and(|it| it >= until)) {
            return false;
        }
        let delay = go_seconds(self.backoffs.get(container).map(super::Backoff::delay).unwrap_or_default());
        let full = spec::full_name(pod);
        let event = format!("Back-off restarting failed container {container} in pod {full}");
        self.shared.recorder.container(pod, role, container, Kind::Warning, "BackOff", event);
        let message = format!("back-off {delay} restarting failed container={container} pod={full}");
        let waiting = Waiting { reason: "CrashLoopBackOff".to_owned(), message, until: Some(until) };
        self.waiting.insert(container.to_owned(), waiting);
        true
    }

    async fn kill(&mut self, pod: &Pod, observed: &Observed, id: &str, name: &str, message: String) -> bool {
        let Some(status) = observed.running().find(|status| status.id == id) else { return false };
        let grace = spec::find(pod, name).map_or(0, |(container, role)| probe_grace(pod, &container, role));
        let ip = observed.pod_ips().into_iter().next().unwrap_or_default();
        let grace = Duration::from_secs(grace.unsigned_abs());
        let interrupted = self.interruption();
        tokio::select! {
            () = hooks::stop(&self.shared, pod, status, &ip, message, grace) => {}
            () = interrupted => {}
        }
        true
    }

    async fn kill_pod(&mut self, pod: &Pod, observed: &Observed) -> bool {
        let running: Vec<ContainerStatus> = observed.running().cloned().collect();
        let ip = observed.pod_ips().into_iter().next().unwrap_or_default();
        let grace = Duration::from_secs(spec::grace_seconds(pod).unsigned_abs());
        let shortened = self.shortened(grace);
        self.probes.retain(|_| false);
        tokio::select! {
            () = hooks::stop_all(&self.shared, pod, running, &ip, grace) => {}
            // The next pass goes on with the shorter time.
            () = shortened => return true,
        }
        for sandbox in &observed.sandboxes {
            if let Err(error) = self.shared.runtime.stop_sandbox(&sandbox.id).await
                && !error.is_not_found()
            {
                tracing::warn!(%error, "cannot stop sandbox");
                self.shared.clock.sleep(FIRST_RETRY).await;
            }
        }
        true
    }
}

/// The event about a Pod that fails as a whole.
struct Failed {
    reason: &'static str,
    message: String,
}

impl Failed {
    fn event(reason: &str, message: &str) -> Failed {
        let reason = if reason == "DeadlineExceeded" { "DeadlineExceeded" } else { "Failed" };
        Failed { reason, message: message.to_owned() }
    }
}
