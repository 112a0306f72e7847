//! How soon a cluster is there and what it costs when nothing happens: alone, and with a node.

use std::time::Duration;

use anyhow::Context;
use coracle_clock::Clock;

use super::cluster::{Cluster, Kind};
use super::report::{Measured, Report};
use super::rows;
use super::samples::median;

/// Memory is read this long after a cluster was ready: what start-up needed for a moment has been given back.
const SETTLE: Duration = Duration::from_secs(5);
/// The node is Ready within this, or something is wrong.
const NODE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn control_plane(clock: &Clock, runs: u16, report: &mut Report) -> anyhow::Result<()> {
    let mut starts = Vec::new();
    for _ in 1..runs {
        starts.push(Cluster::start(Kind::ApiOnly, clock).await?.ready);
    }
    let cluster = Cluster::start(Kind::ApiOnly, clock).await?;
    starts.push(cluster.ready);
    report.add(&rows::START, Measured::time(median(starts)));
    clock.sleep(SETTLE).await;
    report.add(&rows::IDLE, Measured::figure(cluster.memory_mib()?));
    Ok(())
}

pub(crate) async fn node(clock: &Clock, runs: u16, report: &mut Report) -> anyhow::Result<()> {
    let (mut starts, mut nodes) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let cluster = Cluster::start(Kind::Node, clock).await?;
        starts.push(cluster.ready);
        nodes.push(node_ready(&cluster, clock).await?);
        if run == runs {
            report.add(&rows::NODE_START, Measured::time(median(starts.clone())));
            report.add(&rows::NODE_READY, Measured::time(median(nodes.clone())));
            clock.sleep(SETTLE).await;
            report.add(&rows::NODE_IDLE, Measured::figure(cluster.memory_mib()?));
        }
    }
    Ok(())
}

/// From the start of the program to the node's being Ready.
pub(crate) async fn node_ready(cluster: &Cluster, clock: &Clock) -> anyhow::Result<Duration> {
    let ready = async {
        while !is_node_ready(&cluster.api.get("/api/v1/nodes").await?) {
            clock.sleep(Duration::from_millis(1)).await;
        }
        anyhow::Ok(clock.elapsed() - cluster.spawned)
    };
    clock.timeout(NODE_TIMEOUT, ready).await.context("the node did not become Ready")?
}

fn is_node_ready(nodes: &serde_json::Value) -> bool {
    let conditions = nodes["items"][0]["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}
