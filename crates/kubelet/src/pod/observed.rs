//! What the runtime has of one Pod, and what the kubelet remembers of it between passes.

use std::collections::BTreeMap;

use coracle_runtime::{ContainerState, ContainerStatus, SandboxState, SandboxStatus};
use jiff::Timestamp;

use super::Backoff;

/// Why a container does not run, as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// When the container may be tried again.
    pub(crate) until: Option<Timestamp>,
}

/// What the probes of one container (by ID) have found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The startup probe has succeeded; `None` when there is none.
    pub(crate) started: Option<bool>,
    /// `None` when there is no readiness probe.
    pub(crate) ready: Option<bool>,
    /// The liveness or startup probe has failed too often; which one.
    pub(crate) failed: Option<&'static str>,
}

/// A Pod that is to end for another reason than its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// The newest sandbox first.
    pub(crate) sandboxes: Vec<SandboxStatus>,
    /// The newest attempt of a name first.
    pub(crate) containers: Vec<ContainerStatus>,
    /// Termination messages by container ID.
    pub(crate) messages: BTreeMap<String, String>,
    /// What keeps a container from being started, by name.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    /// Restart delays by container name.
    pub(crate) backoffs: BTreeMap<String, Backoff>,
    /// Probe results by container ID.
    pub(crate) probed: BTreeMap<String, Probed>,
    /// When this kubelet first saw the Pod.
    pub(crate) started: Option<Timestamp>,
    pub(crate) failure: Option<Failure>,
    pub(crate) host_ip: String,
    pub(crate) host_network: bool,
}

impl Observed {
    pub(crate) fn sort(&mut self) {
        self.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created_at)));
        self.containers.sort_by_key(|container| std::cmp::Reverse((container.attempt, container.created_at)));
    }

    pub(crate) fn sandbox(&self) -> Option<&SandboxStatus> {
        self.sandboxes.first()
    }

    pub(crate) fn ready_sandbox(&self) -> Option<&SandboxStatus> {
        self.sandbox().filter(|sandbox| sandbox.state == SandboxState::Ready)
    }

    /// The newest attempts of a container, newest first.
    pub(crate) fn attempts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ContainerStatus> {
        self.containers.iter().filter(move |container| container.name == name)
    }

    pub(crate) fn latest(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The newest attempt when it belongs to the present sandbox.
    pub(crate) fn current(&self, name: &str) -> Option<&ContainerStatus> {
        let sandbox = self.sandbox()?;
        self.latest(name).filter(|container| container.sandbox_id == sandbox.id)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|container| container.state == ContainerState::Running)
    }

    pub(crate) fn next_attempt(&self, name: &str) -> u32 {
        self.latest(name).map_or(0, |container| container.attempt + 1)
    }

    pub(crate) fn pod_ips(&self) -> Vec<String> {
        if self.host_network {
            return self.sandbox().map(|_| self.host_ip.clone()).into_iter().collect();
        }
        let sandbox = self.ready_sandbox();
        sandbox.map(|it| it.address.ips.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    pub(crate) fn is_started(&self, container: &ContainerStatus) -> bool {
        container.state == ContainerState::Running
            && self.probed.get(&container.id).is_none_or(|probed| probed.started != Some(false))
    }

    pub(crate) fn is_ready(&self, container: &ContainerStatus) -> bool {
        self.is_started(container)
            && self.probed.get(&container.id).is_none_or(|probed| probed.ready != Some(false))
    }
}
