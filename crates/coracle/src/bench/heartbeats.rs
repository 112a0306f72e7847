//! The Leases of nodes that are only records, renewed as kubelets do it: without, the node lifecycle controller finds the
//! nodes silent and marks their Pods in the middle of a measurement.

use std::time::Duration;

use coracle_clock::Clock;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::client::Api;
use super::flight::{IN_FLIGHT, Load};
use super::target::Target;

/// A kubelet renews its Lease every 10 s, and 50 s of silence are too long. Half of that leaves room for a slow machine.
const EVERY: Duration = Duration::from_secs(25);
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Goes on until it is dropped.
pub(crate) struct Heartbeats(JoinHandle<()>);

impl Heartbeats {
    pub(crate) async fn start(target: &Target, nodes: Vec<String>) -> anyhow::Result<Heartbeats> {
        let (clock, api) = (target.clock.clone(), target.access.connect().await?);
        Ok(Heartbeats(tokio::spawn(async move {
            if let Err(error) = renew(&clock, &api, &nodes).await {
                eprintln!("the nodes' heartbeats have ended: {error:#}");
            }
        })))
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The Leases, as the nodes' first heartbeats make them.
pub(crate) async fn begin(load: &Load<'_>, nodes: &[String], clock: &Clock) -> anyhow::Result<()> {
    let first = |api: Api, i: usize| async move {
        let spec =
            json!({"holderIdentity": nodes[i], "leaseDurationSeconds": 40, "renewTime": clock.now_micro()});
        let meta = json!({"name": nodes[i]});
        let lease: Value =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec});
        api.post(LEASES, &lease).await.map(drop)
    };
    load.run(nodes.len(), IN_FLIGHT, first).await.map(drop)
}

/// One after the other, evenly over the time there is.
async fn renew(clock: &Clock, api: &Api, nodes: &[String]) -> anyhow::Result<()> {
    let (began, apart) = (clock.elapsed(), EVERY.div_f64(nodes.len() as f64));
    for (beat, node) in (0_u32..).zip(nodes.iter().cycle()) {
        clock.sleep((apart * beat).saturating_sub(clock.elapsed() - began)).await;
        let renewed = json!({"spec": {"renewTime": clock.now_micro()}});
        api.merge_patch(&format!("{LEASES}/{node}"), &renewed).await?;
    }
    Ok(())
}
