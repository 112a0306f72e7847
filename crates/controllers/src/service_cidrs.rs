//! ServiceCIDRs: ready once they are there, kept by a finalizer until no Service has an address from them.

use std::net::IpAddr;
use std::time::Duration;

use coracle_api::cidr::Cidr;
use futures::stream::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// The manager of the condition, as in the reference.
const MANAGER: &str = "service-cidr-controller";
/// The IPAddresses that were given out from ServiceCIDRs.
const ALLOCATED: &str = "ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io";
/// A deleted ServiceCIDR stays for so long, that every server has stopped giving out its addresses.
const GRACE: Duration = Duration::from_secs(10);
/// How often one is looked at that addresses keep: nothing tells when the last of them goes.
const RECHECK: Duration = Duration::from_secs(2);

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let cidrs: Api<ServiceCIDR> = Api::all(cx.client.clone());
    let changed = work::changes(cidrs, watcher::Config::default()).map(|c| Key::of(c.object()));
    work::reconcile_all(changed.boxed(), &cx.clock, |key| reconcile(&cx, key)).await
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let cidrs: Api<ServiceCIDR> = Api::all(cx.client.clone());
    let Some(mut cidr) = found(cidrs.get(&key.name).await)? else { return Ok(Next::Wait) };
    let Some(deleted) = cidr.metadata.deletion_timestamp.as_ref().map(|at| at.0) else {
        if !cidr.finalizers().iter().any(|f| f == FINALIZER) {
            cidr.finalizers_mut().push(FINALIZER.to_owned());
            let Some(kept) = found(cidrs.replace(&key.name, &PostParams::default(), &cidr).await)? else {
                return Ok(Next::Wait);
            };
            cidr = kept;
        }
        say(cx, &cidrs, &cidr, ("True", "", "Kubernetes Service CIDR is ready")).await?;
        return Ok(Next::Wait);
    };
    let all = cidrs.list(&ListParams::default()).await?.items;
    let addresses: Api<IPAddress> = Api::all(cx.client.clone());
    let allocated = addresses.list_metadata(&ListParams::default().labels(ALLOCATED)).await?.items;
    let allocated: Vec<IpAddr> = allocated.iter().filter_map(|a| a.name_any().parse().ok()).collect();
    if !may_go(&cidr, &all, &allocated) {
        let words = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new \
                     ServiceCIDR";
        say(cx, &cidrs, &cidr, ("False", "Terminating", words)).await?;
        return Ok(Next::After(RECHECK));
    }
    let left = GRACE.saturating_sub(since(deleted, cx.clock.now()));
    if !left.is_zero() {
        return Ok(Next::After(left));
    }
    cidr.finalizers_mut().retain(|f| f != FINALIZER);
    found(cidrs.replace(&key.name, &PostParams::default(), &cidr).await)?;
    Ok(Next::Wait)
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

fn networks(cidr: &ServiceCIDR) -> impl Iterator<Item = Cidr> {
    cidr.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten()).filter_map(|text| text.parse().ok())
}

/// Whether no address would be left without a ServiceCIDR.
fn may_go(cidr: &ServiceCIDR, all: &[ServiceCIDR], allocated: &[IpAddr]) -> bool {
    let others = || all.iter().filter(|other| other.name_any() != cidr.name_any()).flat_map(networks);
    let is_covered = |network: Cidr| others().any(|other| other.holds(network));
    networks(cidr).all(is_covered)
        || !allocated.iter().any(|ip| {
            networks(cidr).any(|network| network.can_give(*ip)) && !others().any(|other| other.can_give(*ip))
        })
}

/// Have the condition say so, where it does not.
async fn say(
    cx: &Context,
    cidrs: &Api<ServiceCIDR>,
    cidr: &ServiceCIDR,
    (status, reason, message): (&str, &str, &str),
) -> Result<(), Error> {
    let conditions = cidr.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let now = conditions.clone().find(|c| c.type_ == "Ready");
    if now.is_some_and(|c| (&*c.status, &*c.reason, &*c.message) == (status, reason, message)) {
        return Ok(());
    }
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: None,
        last_transition_time: Time(cx.clock.now()),
    };
    let applied = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": cidr.name_any()}, "status": {"conditions": [ready]}});
    let params = PatchParams::apply(MANAGER).force();
    found(cidrs.patch_status(&cidr.name_any(), &params, &Patch::Apply(&applied)).await)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(name: &str, networks: &[&str]) -> ServiceCIDR {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"cidrs": networks}})).unwrap()
    }

    #[test]
    fn a_network_stays_while_addresses_are_only_in_it() {
        let (small, wide) = (cidr("small", &["10.0.0.0/24"]), cidr("wide", &["10.0.0.0/16"]));
        let (part, both) = (cidr("part", &["10.0.0.0/28"]), cidr("both", &["10.0.0.0/24", "fd00::/120"]));
        let ips: Vec<IpAddr> = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()].into();
        let cases: [(&ServiceCIDR, &[&ServiceCIDR], &[IpAddr], bool); 7] = [
            (&small, &[], &[], true),
            (&small, &[], &ips, false),
            // All that it has, the other has, too.
            (&small, &[&wide], &ips, true),
            (&wide, &[&small], &ips, true),
            (&small, &[&part], &ips, true),
            (&part, &[&cidr("far", &["10.9.0.0/16"])], &ips, false),
            // The second family is in no other.
            (&both, &[&wide], &ips, false),
        ];
        for (one, others, allocated, want) in cases {
            let all: Vec<ServiceCIDR> = others.iter().copied().chain([one]).cloned().collect();
            let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
            assert_eq!(may_go(one, &all, allocated), want, "{} of {names:?}", one.name_any());
        }
    }
}
