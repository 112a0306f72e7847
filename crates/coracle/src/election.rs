//! Who leads where several servers run the same part: whoever holds its Lease in kube-system, as with client-go.

use std::time::Duration;

use coracle_clock::Clock;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

/// How long a leader that says nothing is believed to lead; the flags' defaults of kube-controller-manager.
const LEASE: Duration = Duration::from_secs(15);
/// A leader that could not renew for this long stops: before anybody else may start.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts to get or to keep the Lease.
const RETRY: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kube-system";

/// One candidate for one Lease.
pub(crate) struct Candidate {
    leases: Api<Lease>,
    clock: Clock,
    name: &'static str,
    identity: String,
    seen: Option<Seen>,
}

/// The Lease as it was last seen, and when it was first seen so: the clocks of two machines need not agree.
struct Seen {
    spec: LeaseSpec,
    at: Duration,
}

impl Candidate {
    /// `identity` must be nobody else's.
    pub(crate) fn new(client: Client, clock: Clock, name: &'static str, identity: String) -> Candidate {
        Candidate { leases: Api::namespaced(client, NAMESPACE), clock, name, identity, seen: None }
    }

    /// Wait until this candidate leads.
    pub(crate) async fn acquire(&mut self) {
        while !self.try_lease().await {
            self.clock.sleep(RETRY).await;
        }
        tracing::info!(lease = self.name, identity = self.identity, "leads");
    }

    /// Keep leading; returns when it is over.
    pub(crate) async fn keep(&mut self) {
        let mut renewed = self.clock.elapsed();
        loop {
            self.clock.sleep(RETRY).await;
            let left = (renewed + RENEW_WITHIN).saturating_sub(self.clock.elapsed());
            let clock = self.clock.clone();
            if clock.timeout(left, self.try_lease()).await == Some(true) {
                renewed = self.clock.elapsed();
            } else if self.led_by_another() || self.clock.elapsed() >= renewed + RENEW_WITHIN {
                tracing::warn!(lease = self.name, identity = self.identity, "leads no more");
                return;
            }
        }
    }

    /// Let the next one lead at once.
    pub(crate) async fn release(&mut self) {
        let Some(seen) = &self.seen else { return };
        if seen.spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        let Ok(Some(mut lease)) = self.leases.get_opt(self.name).await else { return };
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) != Some(&self.identity) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(self.now());
        }
        if let Err(error) = self.leases.replace(self.name, &PostParams::default(), &lease).await {
            tracing::warn!(lease = self.name, %error, "the Lease was not released; it runs out");
        }
        self.seen = None;
    }

    fn led_by_another(&self) -> bool {
        let holder = self.seen.as_ref().and_then(|seen| seen.spec.holder_identity.as_deref());
        holder.is_some_and(|holder| !holder.is_empty() && holder != self.identity)
    }

    /// Get the Lease, or renew it. A failure is a no.
    async fn try_lease(&mut self) -> bool {
        match self.attempt().await {
            Ok(led) => led,
            Err(error) => {
                tracing::debug!(lease = self.name, %error, "neither acquired nor renewed");
                false
            }
        }
    }

    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.into()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.claim(None)) };
            let made = self.leases.create(&PostParams::default(), &lease).await?;
            self.note(made.spec.unwrap_or_default());
            return Ok(true);
        };
        let old = lease.spec.take().unwrap_or_default();
        self.note(old.clone());
        if self.led_by_another() && !self.has_run_out() {
            return Ok(false);
        }
        lease.spec = Some(self.claim(Some(&old)));
        // The version of what was read goes with it: of two who find it run out, one gets it.
        let written = self.leases.replace(self.name, &PostParams::default(), &lease).await?;
        self.note(written.spec.unwrap_or_default());
        Ok(true)
    }

    fn claim(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let mine = old.filter(|old| old.holder_identity.as_deref() == Some(&self.identity));
        let changes = old.map_or(0, |old| old.lease_transitions.unwrap_or(0) + i32::from(mine.is_none()));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: mine.and_then(|mine| mine.acquire_time.clone()).or_else(|| Some(self.now())),
            renew_time: Some(self.now()),
            lease_transitions: Some(changes),
            ..LeaseSpec::default()
        }
    }

    fn note(&mut self, spec: LeaseSpec) {
        if self.seen.as_ref().is_none_or(|seen| seen.spec != spec) {
            self.seen = Some(Seen { spec, at: self.clock.elapsed() });
        }
    }

    fn has_run_out(&self) -> bool {
        let Some(seen) = &self.seen else { return true };
        let seconds = seen.spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        let lasts = seconds.map_or(LEASE, Duration::from_secs);
        self.clock.elapsed() > seen.at + lasts
    }

    fn now(&self) -> MicroTime {
        MicroTime(self.clock.now())
    }
}
