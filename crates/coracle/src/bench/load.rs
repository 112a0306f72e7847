//! The server's own CPU time an operation, with requests of an ordinary client in flight.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use coracle_clock::Clock;
use futures::{StreamExt, TryStreamExt};
use http::Method;
use serde_json::{Value, json};

use super::client::{Api, Watch};
use super::cluster::Cluster;
use super::report::{Report, Unit};

const NAMESPACE: &str = "bench";
const PODS: &str = "/api/v1/namespaces/bench/pods";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
/// As many as the reference was measured with.
const IN_FLIGHT: usize = 32;
const CONNECTIONS: usize = 4;
/// Whole lists are large: as many at a time as there are cores in the reference's measurement.
const LISTS_IN_FLIGHT: usize = 2;
const LISTS: usize = 30;
const PAGES: usize = 300;
/// Watchers of all Pods, and patches that each of them hears of.
const WATCHERS: usize = 100;
const WATCHED_PATCHES: usize = 500;
/// An annotation of this length brings a stored Pod to about 3.2 kB, the reference's measure.
const PADDING: usize = 1000;

pub(crate) async fn measure(
    cluster: &Cluster,
    clock: &Clock,
    pods: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(cluster.access.connect().await?);
    }
    let mut load = Load { cluster, clock, connections, report };
    load.prepare().await?;
    load.single_objects(pods as usize).await?;
    load.report.row("memory after that", cluster.memory_mib()?, Unit::MiB, Some(100.0));
    Ok(())
}

struct Load<'a> {
    cluster: &'a Cluster,
    clock: &'a Clock,
    connections: Vec<Api>,
    report: &'a mut Report,
}

/// What a phase took.
struct Taken {
    cpu: Duration,
    wall: Duration,
}

impl Load<'_> {
    async fn prepare(&self) -> anyhow::Result<()> {
        let api = &self.cluster.api;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        api.post("/api/v1/namespaces", &namespace).await?;
        let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
        while api.get_bytes(&account).await.is_err() {
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn single_objects(&mut self, n: usize) -> anyhow::Result<()> {
        let create = |api: Api, i| async move { api.post(PODS, &pod(i)).await };
        self.phase("create a Pod, fsynced", n, IN_FLIGHT, 150.0, create).await?;
        let get = |api: Api, i| async move { api.get_bytes(&path(i)).await };
        self.phase("get", n, IN_FLIGHT, 50.0, get).await?;
        let list = |api: Api, _| async move { api.get_bytes(PODS).await };
        self.phase(&format!("list {n} Pods"), LISTS, LISTS_IN_FLIGHT, 15_000.0, list).await?;
        let page = |api: Api, _| async move { api.get_bytes(&format!("{PODS}?limit=500")).await };
        self.phase("list, limit=500", PAGES, LISTS_IN_FLIGHT, 1500.0, page).await?;
        let review = |api: Api, _| async move { api.post(REVIEWS, &access_review()).await };
        self.phase("SubjectAccessReview", n, IN_FLIGHT, 40.0, review).await?;
        self.phase("merge patch", n, IN_FLIGHT, 180.0, |api, i| patch(api, i, "each")).await?;
        self.watch_events().await?;
        let delete = |api: Api, i| async move { api.delete(&path(i)).await };
        self.phase("delete", n, IN_FLIGHT, 150.0, delete).await
    }

    async fn phase<F>(
        &mut self,
        name: &str,
        n: usize,
        in_flight: usize,
        at_most: f64,
        operation: impl Fn(Api, usize) -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<Bytes>>,
    {
        let taken =
            self.run(n, in_flight, operation).await.with_context(|| format!("cannot measure {name:?}"))?;
        let rate = n as f64 / taken.wall.as_secs_f64();
        self.report.operation(name, taken.cpu.div_f64(n as f64), rate, at_most);
        Ok(())
    }

    async fn run<F>(
        &self,
        n: usize,
        in_flight: usize,
        operation: impl Fn(Api, usize) -> F,
    ) -> anyhow::Result<Taken>
    where
        F: Future<Output = anyhow::Result<Bytes>>,
    {
        let (cpu, began) = (self.cluster.cpu()?, self.clock.elapsed());
        let calls = (0..n).map(|i| operation(self.connections[i % CONNECTIONS].clone(), i));
        futures::stream::iter(calls).buffer_unordered(in_flight).try_for_each(|_| async { Ok(()) }).await?;
        Ok(Taken { cpu: self.cluster.cpu()? - cpu, wall: self.clock.elapsed() - began })
    }

    /// What patches cost with many watchers, less what they cost with none, for each event that arrived.
    async fn watch_events(&mut self) -> anyhow::Result<()> {
        let alone = self.run(WATCHED_PATCHES, IN_FLIGHT, |api, i| patch(api, i, "unwatched")).await?;
        let list: Value = self.cluster.api.get(&format!("{PODS}?limit=1")).await?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let mut watches: Vec<Watch> = Vec::new();
        for i in 0..WATCHERS {
            let from = format!("{PODS}?watch=true&resourceVersion={version}");
            watches.push(self.connections[i % CONNECTIONS].watch(&from).await?);
        }
        let (cpu, began) = (self.cluster.cpu()?, self.clock.elapsed());
        let arrived = futures::future::try_join_all(watches.iter_mut().map(|w| w.count(WATCHED_PATCHES)));
        let patches = self.run(WATCHED_PATCHES, IN_FLIGHT, |api, i| patch(api, i, "watched"));
        futures::future::try_join(patches, arrived).await?;
        let events = (WATCHERS * WATCHED_PATCHES) as f64;
        let cpu = (self.cluster.cpu()? - cpu).saturating_sub(alone.cpu);
        let rate = events / (self.clock.elapsed() - began).as_secs_f64();
        self.report.operation("deliver one watch event", cpu.div_f64(events), rate, 6.0);
        Ok(())
    }
}

/// The round's name is a value that no Pod has yet: a patch that changes nothing would write nothing.
async fn patch(api: Api, i: usize, round: &str) -> anyhow::Result<Bytes> {
    let body = json!({"metadata": {"annotations": {"bench.coracle/patch": round}}}).to_string();
    api.call(Method::PATCH, &path(i), "application/merge-patch+json", body.into()).await
}

fn path(i: usize) -> String {
    format!("{PODS}/{}", name(i))
}

fn name(i: usize) -> String {
    format!("pod-{i:06}")
}

fn pod(i: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name(i),
            "labels": {"app": format!("app-{}", i % 100), "tier": "bench"},
            "annotations": {"bench.coracle/padding": "x".repeat(PADDING)},
        },
        "spec": {
            // Nobody's: the API server is measured, not a scheduler.
            "schedulerName": "nobody",
            "containers": [{
                "name": "main", "image": "registry.example/app:1", "ports": [{"containerPort": 8080}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            }],
        },
    })
}

fn access_review() -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": "system:serviceaccount:bench:default",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:bench", "system:authenticated"],
            "resourceAttributes": {"namespace": NAMESPACE, "verb": "list", "resource": "pods"},
        },
    })
}
