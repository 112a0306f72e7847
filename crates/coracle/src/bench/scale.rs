//! A large cluster on one server: many Pods and Nodes, read and restarted.

use std::time::Duration;

use anyhow::bail;
use coracle_clock::Clock;
use serde_json::{Value, json};

use super::client::Api;
use super::cluster::{Cluster, Kind};
use super::flight::{IN_FLIGHT, Load};
use super::heartbeats::{self, Heartbeats};
use super::load::pod;
use super::report::{Measured, Report, micros};
use super::rows;
use super::samples::Latencies;
use super::target::Target;

pub(crate) const USUAL_PODS: u32 = 150_000;
pub(crate) const USUAL_NODES: u32 = 5000;
/// As many as the target of the list of one namespace is for.
const PODS_A_NAMESPACE: usize = 500;
/// Memory is read this long after the last request: what requests needed for a moment has been given back.
const SETTLE: Duration = Duration::from_secs(5);
const GETS: usize = 20_000;
/// Gets in flight: enough to keep the server busy, too few to queue.
const GETS_IN_FLIGHT: usize = 4;
const LISTS: usize = 200;
const LISTS_IN_FLIGHT: usize = 2;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pods: usize,
    nodes: usize,
}

impl Sizes {
    /// Every namespace is full: what does not fill one is left out.
    pub(crate) fn new(pods: usize, nodes: usize) -> Sizes {
        Sizes { pods: pods - pods % PODS_A_NAMESPACE, nodes }
    }

    /// Whether the targets are meant for these.
    fn is_usual(self) -> bool {
        self.pods == USUAL_PODS as usize && self.nodes == USUAL_NODES as usize
    }
}

pub(crate) async fn measure(
    clock: &Clock,
    namespace: &str,
    sizes: Sizes,
    report: &mut Report,
) -> anyhow::Result<()> {
    let cluster = Cluster::start(Kind::ApiOnly, clock).await?;
    let target = cluster.target(namespace, clock)?;
    let heartbeats = fill(&target, sizes, report).await?;
    clock.sleep(SETTLE).await;
    let memory = Measured::figure(cluster.memory_mib()?);
    report.add(&rows::SCALE_MEMORY, memory.of_size(sizes.is_usual()));
    read(&target, sizes, report).await?;
    drop(heartbeats);
    let cluster = cluster.restart(clock).await?;
    report.add(&rows::SCALE_RESTART, Measured::time(cluster.ready).of_size(sizes.is_usual()));
    let target = cluster.target(namespace, clock)?;
    let heartbeats = Heartbeats::start(&target, node_names(sizes)).await?;
    let found = names_in(&target, sizes.pods / PODS_A_NAMESPACE - 1).await?;
    if found != PODS_A_NAMESPACE {
        bail!("after the restart a namespace has {found} Pods, not {PODS_A_NAMESPACE}");
    }
    clock.sleep(SETTLE).await;
    let memory = Measured::figure(cluster.memory_mib()?);
    report.add(&rows::SCALE_RESTARTED, memory.of_size(sizes.is_usual()));
    drop(heartbeats);
    Ok(())
}

/// Nodes that stay alive, and the Pods on them.
async fn fill(target: &Target, sizes: Sizes, report: &mut Report) -> anyhow::Result<Heartbeats> {
    let load = Load::new(target).await?;
    let nodes = |api: Api, i| async move { api.post("/api/v1/nodes", &node(i)).await.map(drop) };
    load.run(sizes.nodes, IN_FLIGHT, nodes).await?;
    heartbeats::begin(&load, &node_names(sizes), &target.clock).await?;
    let heartbeats = Heartbeats::start(target, node_names(sizes)).await?;
    for number in 0..sizes.pods / PODS_A_NAMESPACE {
        target.in_namespace(&namespace(target, number)).prepare().await?;
    }
    let pods = |api: Api, i| async move {
        let mut pod = pod(&format!("pod-{i:06}"), &format!("app-{}", i % 100));
        // Bound, as nearly all Pods of a large cluster are.
        pod["spec"]["nodeName"] = node_name(i % sizes.nodes).into();
        api.post(&pods_of(target, i / PODS_A_NAMESPACE), &pod).await.map(drop)
    };
    let taken = load.run(sizes.pods, IN_FLIGHT, pods).await?;
    report.add(&rows::SCALE_LOAD, taken.measured(target)?);
    Ok(heartbeats)
}

async fn read(target: &Target, sizes: Sizes, report: &mut Report) -> anyhow::Result<()> {
    let load = Load::new(target).await?;
    let get = |api: Api, i: usize| async move {
        // A prime apart, so that neighbours in time are no neighbours in the store.
        let pod = i * 7919 % sizes.pods;
        let path = format!("{}/pod-{pod:06}", pods_of(target, pod / PODS_A_NAMESPACE));
        api.get_bytes(&path).await.map(drop)
    };
    let taken = load.run(GETS, GETS_IN_FLIGHT, get).await?;
    let measured = taken.measured(target)?;
    let p99 = Latencies::of(taken.each).map(|all| micros(all.p99));
    report.add(&rows::SCALE_GET, Measured { figure: p99, ..measured }.of_size(sizes.is_usual()));
    let namespaces = sizes.pods / PODS_A_NAMESPACE;
    let list =
        |api: Api, i: usize| async move { api.get_bytes(&pods_of(target, i % namespaces)).await.map(drop) };
    let taken = load.run(LISTS, LISTS_IN_FLIGHT, list).await?;
    report.add(&rows::SCALE_LIST, taken.measured(target)?.of_size(sizes.is_usual()));
    Ok(())
}

async fn names_in(target: &Target, number: usize) -> anyhow::Result<usize> {
    let list = target.api.get(&pods_of(target, number)).await?;
    Ok(list["items"].as_array().map_or(0, Vec::len))
}

fn namespace(target: &Target, number: usize) -> String {
    format!("{}-{number:03}", target.namespace())
}

fn pods_of(target: &Target, number: usize) -> String {
    format!("/api/v1/namespaces/{}/pods", namespace(target, number))
}

fn node_name(number: usize) -> String {
    format!("node-{number:05}")
}

fn node_names(sizes: Sizes) -> Vec<String> {
    (0..sizes.nodes).map(node_name).collect()
}

/// A node as a kubelet registers it.
fn node(number: usize) -> Value {
    let name = node_name(number);
    let amounts = json!({"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": format!("kubelet says {reason}"),
               "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
        }},
        "spec": {"podCIDR": format!("10.{}.{}.0/24", number / 256, number % 256)},
        "status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
            "addresses": [{"type": "InternalIP", "address": format!("10.{}.{}.1", number / 256, number % 256)}],
        },
    })
}
