//! Decides, from what a Pod asks for and what there is of it, what to do next. Pure.

use coracle_runtime::{ContainerState, ContainerStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::observed::{Failure, Observed};
use super::spec::{self, Role};

/// The annotation that keeps, on a container, the image that its Pod asked for when it was made.
pub(crate) const IMAGE_ANNOTATION: &str = "io.kubernetes.container.image";
/// Attempts of a container that are kept: the present one and the one that `logs --previous` shows.
const KEPT_ATTEMPTS: usize = 2;
/// What a container counts as that is killed or lost: 128 + SIGKILL.
const LOST_EXIT_CODE: i32 = 137;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    RunSandbox {
        attempt: u32,
    },
    Start {
        container: String,
        role: Role,
        attempt: u32,
    },
    /// Stop one container, which then follows its restart policy.
    Kill {
        id: String,
        container: String,
        message: String,
    },
    /// The container is to wait before its next start.
    BackOff {
        container: String,
        role: Role,
        until: Timestamp,
    },
    /// Stop every container and the sandbox.
    KillPod,
    /// Remove what is left of a dead attempt or of a container that never ran.
    Forget {
        id: String,
    },
    RemoveSandbox {
        id: String,
    },
    /// The Pod itself has failed; its containers are to be stopped.
    Fail(Failure),
}

/// Whether the Pod is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Termination {
    None,
    /// Something of it still runs.
    Ending,
    /// Nothing of it runs, and nothing ever will.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// When to plan again even if nothing happens.
    pub(crate) wake: Option<Timestamp>,
    pub(crate) termination: Termination,
}

impl Plan {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

pub(crate) fn plan(pod: &Pod, observed: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan { steps: Vec::new(), wake: None, termination: Termination::None };
    let Some(pod_spec) = pod.spec.as_ref() else { return plan };
    let reported = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let over = matches!(reported, Some("Succeeded" | "Failed"));
    if pod.metadata.deletion_timestamp.is_some() || observed.failure.is_some() || over {
        end(observed, &mut plan);
        return plan;
    }
    if let Some(failure) = deadline(pod_spec, observed, now, &mut plan) {
        plan.steps.push(Step::Fail(failure));
        return plan;
    }
    Planner { pod, spec: pod_spec, observed, now, plan: &mut plan }.run();
    plan
}

/// Stop what runs; say when all has stopped.
fn end(observed: &Observed, plan: &mut Plan) {
    let alive = observed.running().next().is_some() || observed.ready_sandbox().is_some();
    plan.termination = if alive { Termination::Ending } else { Termination::Ended };
    if alive {
        plan.steps.push(Step::KillPod);
    }
}

fn deadline(spec: &PodSpec, observed: &Observed, now: Timestamp, plan: &mut Plan) -> Option<Failure> {
    let seconds = u64::try_from(spec.active_deadline_seconds?).ok()?;
    let due = observed.started?.checked_add(std::time::Duration::from_secs(seconds)).ok()?;
    if now < due {
        plan.wake_at(due);
        return None;
    }
    Some(Failure {
        reason: "DeadlineExceeded".to_owned(),
        message: "Pod was active on the node longer than the specified deadline".to_owned(),
    })
}

struct Planner<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    observed: &'a Observed,
    now: Timestamp,
    plan: &'a mut Plan,
}

/// What a container needs.
enum Need {
    /// Runs, or never will again.
    Nothing,
    Start,
    /// Waits for its next start.
    Wait,
}

impl Planner<'_> {
    fn run(&mut self) {
        self.forget_old_attempts();
        if self.is_over() {
            end(self.observed, self.plan);
            return;
        }
        if self.observed.ready_sandbox().is_none() {
            self.make_sandbox();
            return;
        }
        for sandbox in self.observed.sandboxes.iter().skip(1) {
            self.plan.steps.push(Step::RemoveSandbox { id: sandbox.id.clone() });
        }
        self.ephemeral();
        if self.init() {
            self.main();
        }
    }

    /// Every main container (or an init container before them) has ended for good.
    fn is_over(&self) -> bool {
        let done = |container: &Container| match self.observed.latest(&container.name) {
            Some(latest) => {
                ended(latest)
                    && !self.changed(container, latest)
                    && !spec::restarts(self.spec, container, latest.exit_code)
            }
            None => self.is_lost(container),
        };
        if !self.spec.containers.is_empty() && self.spec.containers.iter().all(done) {
            return true;
        }
        let inits = spec::init_containers(self.spec).iter().filter(|it| !spec::is_sidecar(it));
        let policy = self.spec.restart_policy.as_deref().unwrap_or("Always");
        policy == "Never"
            && inits.filter_map(|it| Some((it, self.observed.current(&it.name)?))).any(|(init, latest)| {
                ended(latest) && latest.exit_code != 0 && !spec::restarts(self.spec, init, latest.exit_code)
            })
    }

    fn make_sandbox(&mut self) {
        if self.observed.running().next().is_some() {
            // Containers of a broken sandbox cannot be kept.
            self.plan.steps.push(Step::KillPod);
        }
        let attempt = self.observed.sandbox().map_or(0, |sandbox| sandbox.attempt + 1);
        self.plan.steps.push(Step::RunSandbox { attempt });
    }

    /// Starts what is due among the init containers; returns whether the main ones may start.
    fn init(&mut self) -> bool {
        let initialized = self.spec.containers.iter().any(|it| self.observed.current(&it.name).is_some());
        for container in spec::init_containers(self.spec) {
            let current = self.observed.current(&container.name);
            if spec::is_sidecar(container) {
                let need = self.need(container, true);
                self.act(container, Role::Sidecar, need);
                let started = current.is_some_and(|current| self.observed.is_started(current));
                if !initialized && !started {
                    return false;
                }
            } else if !initialized {
                match current {
                    Some(current) if ended(current) && current.exit_code == 0 => {}
                    Some(current) if current.state == ContainerState::Running => return false,
                    _ => {
                        let need = self.need(container, true);
                        self.act(container, Role::Init, need);
                        return false;
                    }
                }
            }
        }
        true
    }

    fn main(&mut self) {
        for container in &self.spec.containers {
            let need = self.need(container, false);
            self.act(container, Role::Main, need);
        }
    }

    fn ephemeral(&mut self) {
        for container in spec::ephemeral_containers(self.spec) {
            if self.observed.latest(&container.name).is_none() {
                let need = self.held_back(&container.name);
                self.act(&container, Role::Ephemeral, need);
            }
        }
    }

    /// A container that could not be started waits as long as its trouble says.
    fn held_back(&mut self, name: &str) -> Need {
        match self.observed.waiting.get(name).and_then(|waiting| waiting.until) {
            Some(until) if self.now < until => {
                self.plan.wake_at(until);
                Need::Wait
            }
            _ => Need::Start,
        }
    }

    /// `again`: it runs again whatever its exit code, as sidecars and failed init containers do.
    fn need(&mut self, container: &Container, again: bool) -> Need {
        let Some(latest) = self.observed.latest(&container.name) else {
            let lost = !again && self.is_lost(container);
            return if lost { Need::Nothing } else { self.held_back(&container.name) };
        };
        let in_place = self.observed.current(&container.name).is_some();
        match latest.state {
            ContainerState::Running if in_place => return self.check_running(container, latest),
            ContainerState::Created => {
                self.plan.steps.push(Step::Forget { id: latest.id.clone() });
                return self.held_back(&container.name);
            }
            _ => {}
        }
        let restart = again || spec::restarts(self.spec, container, latest.exit_code);
        if !restart && in_place && !self.changed(container, latest) {
            return Need::Nothing;
        }
        if !restart && !in_place {
            return Need::Nothing;
        }
        self.after_exit(container, latest)
    }

    fn after_exit(&mut self, container: &Container, latest: &ContainerStatus) -> Need {
        // Why it could not be started is shown before the back-off is.
        if let Need::Wait = self.held_back(&container.name) {
            return Need::Wait;
        }
        let failed = latest.finished_at.unwrap_or(latest.created_at);
        let backoff = self.observed.backoffs.get(&container.name);
        if let Some(until) = backoff.and_then(|backoff| backoff.until(failed, self.now)) {
            let (container, role) = (container.name.clone(), self.role(container));
            self.plan.steps.push(Step::BackOff { container, role, until });
            self.plan.wake_at(until);
            return Need::Wait;
        }
        Need::Start
    }

    /// How often the API says that a container has run which the runtime does not know any more.
    fn reported_runs(&self, name: &str) -> u32 {
        let Some(status) = self.pod.status.as_ref() else { return 0 };
        let all = [&status.container_statuses, &status.init_container_statuses];
        let found =
            all.into_iter().flatten().flatten().find(|it| it.name == name && it.container_id.is_some());
        found.map_or(0, |it| u32::try_from(it.restart_count).unwrap_or(0).saturating_add(1))
    }

    /// It has run, nobody knows how it ended, and it is not to run again after a failure.
    fn is_lost(&self, container: &Container) -> bool {
        self.reported_runs(&container.name) > 0 && !spec::restarts(self.spec, container, LOST_EXIT_CODE)
    }

    fn role(&self, container: &Container) -> Role {
        let init = spec::init_containers(self.spec).iter().any(|it| it.name == container.name);
        match (init, spec::is_sidecar(container)) {
            (true, true) => Role::Sidecar,
            (true, false) => Role::Init,
            (false, _) => Role::Main,
        }
    }

    fn check_running(&mut self, container: &Container, latest: &ContainerStatus) -> Need {
        let kill = |message: String| Step::Kill {
            id: latest.id.clone(),
            container: container.name.clone(),
            message,
        };
        if self.changed(container, latest) {
            let message = format!("Container {} definition changed, will be restarted", container.name);
            self.plan.steps.push(kill(message));
            return Need::Start;
        }
        if let Some(probe) = self.observed.probed.get(&latest.id).and_then(|probed| probed.failed) {
            let again = spec::restarts(self.spec, container, LOST_EXIT_CODE);
            let then = if again { ", will be restarted" } else { "" };
            self.plan.steps.push(kill(format!("Container {} failed {probe} probe{then}", container.name)));
        }
        Need::Nothing
    }

    fn changed(&self, container: &Container, latest: &ContainerStatus) -> bool {
        let asked = latest.annotations.get(IMAGE_ANNOTATION);
        asked.is_some_and(|asked| Some(asked) != container.image.as_ref())
    }

    fn act(&mut self, container: &Container, role: Role, need: Need) {
        if let Need::Start = need {
            let name = container.name.clone();
            let attempt = match self.observed.latest(&name) {
                Some(latest) if latest.state == ContainerState::Created => latest.attempt,
                Some(_) => self.observed.next_attempt(&name),
                None => self.reported_runs(&name),
            };
            self.plan.steps.push(Step::Start { container: name, role, attempt });
        }
    }

    fn forget_old_attempts(&mut self) {
        let mut names: Vec<&str> = self.observed.containers.iter().map(|it| it.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            for old in self.observed.attempts(name).skip(KEPT_ATTEMPTS).filter(|old| ended(old)) {
                self.plan.steps.push(Step::Forget { id: old.id.clone() });
            }
        }
    }
}

fn ended(container: &ContainerStatus) -> bool {
    matches!(container.state, ContainerState::Exited | ContainerState::Unknown)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(crate) mod tests;
