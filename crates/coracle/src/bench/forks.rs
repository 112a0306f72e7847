//! A cluster of ten thousand objects: forked a hundred times, saved, emptied and brought back.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use coracle_clock::Clock;
use http::Method;
use serde_json::{Value, json};

use super::access::Access;
use super::client::{Api, JSON};
use super::cluster::{Cluster, Kind};
use super::flight::{IN_FLIGHT, Load};
use super::load::pod;
use super::report::{Measured, Report, micros};
use super::rows;
use super::samples::Latencies;
use super::target::Target;

const OBJECTS: usize = 10_000;
const FORKS: usize = 100;
/// How many of them are written to, so that their controllers start.
const WRITTEN: usize = 10;
/// Memory is read this long after the last request: what requests needed for a moment has been given back.
const SETTLE: Duration = Duration::from_secs(5);
const SNAPSHOT: &str = "/coracle/v1/snapshot";
const KEPT: &str = "/coracle/v1/snapshots/base";

pub(crate) async fn measure(clock: &Clock, namespace: &str, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::start(Kind::ApiOnly, clock).await?;
    let target = cluster.target(namespace, clock)?;
    target.prepare().await?;
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let load = Load::new(&target).await?;
    let create = |api: Api, i: usize| {
        let pods = pods.clone();
        async move {
            let pod = pod(&format!("pod-{i:06}"), &format!("app-{}", i % FORKS));
            api.post(&pods, &pod).await.map(drop)
        }
    };
    load.run(OBJECTS, IN_FLIGHT, create).await?;
    clock.sleep(SETTLE).await;
    forks(&cluster, &target, clock, report).await?;
    snapshots(&target, &pods, clock, report).await
}

async fn forks(cluster: &Cluster, target: &Target, clock: &Clock, report: &mut Report) -> anyhow::Result<()> {
    let before = cluster.memory_mib()?;
    let mut took = Vec::new();
    let mut made = Vec::new();
    for _ in 0..FORKS {
        let began = clock.elapsed();
        let fork = target.api.post("/coracle/v1/forks", &json!({})).await?;
        took.push(clock.elapsed() - began);
        made.push(serde_json::from_slice::<Value>(&fork)?);
    }
    let latencies = Latencies::of(took);
    let slowest = latencies.map(|all| micros(all.p99));
    report.add(&rows::FORK, Measured { figure: slowest, latencies, ..Measured::default() });
    clock.sleep(SETTLE).await;
    let idle = cluster.memory_mib()?;
    report.add(&rows::FORK_MEMORY, Measured::figure((idle - before) * 1024.0 / FORKS as f64));
    for fork in &made {
        check(&connect(fork).await?, target.namespace()).await?;
    }
    for fork in made.iter().take(WRITTEN) {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "first"}});
        connect(fork).await?.post("/api/v1/namespaces/default/configmaps", &object).await?;
    }
    clock.sleep(SETTLE).await;
    let written = cluster.memory_mib()?;
    report.add(&rows::FORK_WRITTEN, Measured::figure((written - idle) / WRITTEN as f64));
    for fork in &made {
        let name = fork["name"].as_str().unwrap_or_default();
        target.api.delete(&format!("/coracle/v1/forks/{name}")).await?;
    }
    Ok(())
}

async fn connect(fork: &Value) -> anyhow::Result<Api> {
    let kubeconfig = fork["kubeconfig"].as_str().context("the fork has no kubeconfig")?;
    Access::read(Path::new(kubeconfig)).await?.connect().await
}

/// The fork has what its parent had.
async fn check(fork: &Api, namespace: &str) -> anyhow::Result<()> {
    let page = fork.get(&format!("/api/v1/namespaces/{namespace}/pods?limit=1")).await?;
    let rest = page["metadata"]["remainingItemCount"].as_u64().unwrap_or_default();
    if rest + 1 != OBJECTS as u64 {
        bail!("a fork has {} Pods, not {OBJECTS}", rest + 1);
    }
    Ok(())
}

async fn snapshots(target: &Target, pods: &str, clock: &Clock, report: &mut Report) -> anyhow::Result<()> {
    let began = clock.elapsed();
    let file = target.api.get_bytes(SNAPSHOT).await?;
    report.add(&rows::SNAPSHOT_SAVE, Measured::time(clock.elapsed() - began));
    send(target, Method::PUT, KEPT, Bytes::new()).await?;
    for (row, path, body) in [
        (&rows::SNAPSHOT_RESTORE, SNAPSHOT, file),
        (&rows::SNAPSHOT_RESET, "/coracle/v1/snapshots/base/restore", Bytes::new()),
    ] {
        target.api.delete(pods).await?;
        let method = if body.is_empty() { Method::POST } else { Method::PUT };
        let began = clock.elapsed();
        let done = send(target, method, path, body).await?;
        let took = clock.elapsed() - began;
        let created = done["created"].as_u64().unwrap_or_default();
        if created < OBJECTS as u64 {
            bail!("{path} brought back {created} objects, not {OBJECTS}");
        }
        report.add(row, Measured::time(took));
    }
    Ok(())
}

async fn send(target: &Target, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
    let (status, answer) = target.api.ask(method, path, (JSON, ""), body).await?;
    if !status.is_success() {
        bail!("{path}: {status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(serde_json::from_slice(&answer)?)
}
