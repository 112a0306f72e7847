//! The server's own CPU time an operation: one phase after another on the same Pods.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use coracle_clock::Clock;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Part;
use super::client::{Api, JSON, PROTOBUF, TABLE, Watch};
use super::custom;
use super::flight::{IN_FLIGHT, Load};
use super::report::{Measured, Report, micros};
use super::rows::{self, Row};
use super::samples::Latencies;
use super::target::Target;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
/// Whole lists are large: as many at a time as there are cores in the reference's measurement.
const LISTS_IN_FLIGHT: usize = 2;
const LISTS: usize = 30;
const PAGES: usize = 300;
const PAGE_PODS: usize = 500;
const SELECTIONS: usize = 500;
/// So many Pods have the same label `app`.
const SELECTED_PODS: usize = 50;
/// Watchers of all Pods, and patches that each of them hears of.
const WATCHERS: usize = 100;
const WATCHED_PATCHES: usize = 500;
const NAME_PREFIX: &str = "bench-pod-";
/// An annotation of this length brings a stored Pod to about 3.2 kB, the reference's measure.
const PADDING: usize = 1000;

/// The parts that are measured on the same Pods.
pub(crate) const PARTS: &[Part] = &[
    Part::Create,
    Part::Get,
    Part::List,
    Part::Protobuf,
    Part::Table,
    Part::Page,
    Part::Selector,
    Part::Update,
    Part::Patch,
    Part::Apply,
    Part::Custom,
    Part::Review,
    Part::Watch,
    Part::Delete,
];

pub(crate) async fn measure(
    target: &Target,
    parts: &[Part],
    n: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let n = n as usize;
    let load = Load::new(target).await?;
    let mut phases = Phases { target, clock: &target.clock, load, pods: Pods::new(target, n), report, n };
    for part in PARTS {
        phases.part(*part, parts.contains(part)).await?;
    }
    if let Some(memory) = target.memory_mib()? {
        phases.report.add(&rows::MEMORY, Measured::figure(memory));
    }
    Ok(())
}

struct Phases<'a> {
    target: &'a Target,
    clock: &'a Clock,
    load: Load<'a>,
    pods: Pods,
    report: &'a mut Report,
    n: usize,
}

impl Phases<'_> {
    async fn part(&mut self, part: Part, is_wanted: bool) -> anyhow::Result<()> {
        let (pods, n) = (self.pods.clone(), self.n);
        let pods = &pods;
        if part == Part::Create {
            let create = |api: Api, i| async move { api.post(&pods.all, &pods.pod(i)).await.map(drop) };
            // The others need the Pods, wanted or not.
            if !is_wanted {
                return self.load.run(n, IN_FLIGHT, create).await.map(drop);
            }
            return self.phase(&rows::CREATE, n, IN_FLIGHT, create).await;
        }
        if !is_wanted {
            return Ok(());
        }
        match part {
            Part::Get => {
                let get = |api: Api, i| async move { api.get_bytes(&pods.path(i)).await.map(drop) };
                self.phase(&rows::GET, n, IN_FLIGHT, get).await
            }
            Part::List => self.list(&rows::LIST, LISTS, JSON, &pods.all, n).await,
            Part::Protobuf => self.list(&rows::PROTOBUF, LISTS, PROTOBUF, &pods.all, n).await,
            Part::Table => self.list(&rows::TABLE, LISTS, TABLE, &pods.all, n).await,
            Part::Page => self.list(&rows::PAGE, PAGES, JSON, &pods.page(), PAGE_PODS).await,
            Part::Selector => {
                self.list(&rows::SELECTOR, SELECTIONS, JSON, &pods.selection(), SELECTED_PODS).await
            }
            Part::Update => self.phase(&rows::UPDATE, n, IN_FLIGHT, |api, i| pods.update(api, i)).await,
            Part::Patch => self.phase(&rows::PATCH, n, IN_FLIGHT, |api, i| pods.patch(api, i, "each")).await,
            Part::Apply => self.phase(&rows::APPLY, n, IN_FLIGHT, |api, i| pods.apply(api, i)).await,
            Part::Custom => self.custom().await,
            Part::Review => {
                let review = &access_review(self.target.namespace());
                let ask = |api: Api, _| async move { api.post(REVIEWS, review).await.map(drop) };
                self.phase(&rows::REVIEW, n, IN_FLIGHT, ask).await
            }
            Part::Watch => self.watch_events().await,
            Part::Delete => {
                let delete = |api: Api, i| async move { api.delete(&pods.path(i)).await.map(drop) };
                self.phase(&rows::DELETE, n, IN_FLIGHT, delete).await
            }
            _ => Ok(()),
        }
    }

    /// A list of known length: a server that answered less would be measured at something else.
    async fn list(
        &mut self,
        row: &'static Row,
        n: usize,
        accept: &'static str,
        path: &str,
        items: usize,
    ) -> anyhow::Result<()> {
        let (status, answer) = self.target.api.ask(Method::GET, path, (accept, ""), Bytes::new()).await?;
        if status == StatusCode::NOT_ACCEPTABLE {
            self.report.add(row, Measured::refused());
            return Ok(());
        }
        if !status.is_success() {
            bail!("GET {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        let found = names(&answer);
        if found != items {
            bail!("GET {path} gave {found} Pods, not {items}");
        }
        let list = |api: Api, _| async move { api.get_as(accept, path).await.map(drop) };
        self.phase(row, n, LISTS_IN_FLIGHT, list).await
    }

    async fn phase<F>(
        &mut self,
        row: &'static Row,
        n: usize,
        in_flight: usize,
        operation: impl Fn(Api, usize) -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let taken = self.load.run(n, in_flight, operation).await;
        let taken = taken.with_context(|| format!("cannot measure {:?}", row.title))?;
        self.report.add(row, taken.measured(self.target)?);
        Ok(())
    }

    async fn custom(&mut self) -> anyhow::Result<()> {
        self.target.define(&custom::definition(&self.target.labels())).await?;
        let all = &self.target.path_in(custom::GROUP, custom::PLURAL);
        let create = |api: Api, i| async move { api.post(all, &custom::object(i)).await.map(drop) };
        self.phase(&rows::CUSTOM, self.n, IN_FLIGHT, create).await
    }

    /// What patches cost with many watchers, less what they cost with none, for each event that arrived. The latency is
    /// that from a patch being sent to one watcher's hearing of it.
    async fn watch_events(&mut self) -> anyhow::Result<()> {
        let (pods, clock) = (&self.pods, self.clock);
        let alone =
            self.load.run(WATCHED_PATCHES, IN_FLIGHT, |api, i| pods.patch(api, i, "unwatched")).await?;
        let list: Value = self.target.api.get(&format!("{}?limit=1", pods.all)).await?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let mut watches: Vec<Watch> = Vec::new();
        for i in 0..WATCHERS {
            let from = format!("{}?watch=true&resourceVersion={version}", pods.all);
            watches.push(self.load.connection(i).watch(&from).await?);
        }
        let timed = watches.pop();
        let sent: Vec<AtomicU64> = (0..WATCHED_PATCHES).map(|_| AtomicU64::new(0)).collect();
        let arrived =
            futures::future::try_join_all(watches.iter_mut().map(|w| w.count(WATCHED_PATCHES, drop)));
        let heard = async {
            let mut latencies = Vec::new();
            let Some(mut watch) = timed else { return Ok(latencies) };
            for _ in 0..WATCHED_PATCHES {
                let event = watch.next().await?;
                let at = pods
                    .number(&event["object"])
                    .and_then(|i| sent.get(i))
                    .map(|at| at.load(Ordering::Relaxed));
                let at = at.with_context(|| format!("an event of an unknown Pod: {event}"))?;
                latencies.push(clock.elapsed().saturating_sub(Duration::from_nanos(at)));
            }
            anyhow::Ok(latencies)
        };
        let patches = self.load.run(WATCHED_PATCHES, IN_FLIGHT, |api, i| {
            sent[i].store(nanos(clock.elapsed()), Ordering::Relaxed);
            pods.patch(api, i, "watched")
        });
        let (cpu, began) = (self.target.cpu()?, clock.elapsed());
        let (_, _, latencies) = futures::future::try_join3(patches, arrived, heard).await?;
        let events = (WATCHERS * WATCHED_PATCHES) as f64;
        let used = self.target.cpu()?.zip(cpu).map(|(after, before)| after.saturating_sub(before));
        let used = used.zip(alone.cpu).map(|(used, alone)| used.saturating_sub(alone));
        let measured = Measured {
            figure: used.map(|cpu| micros(cpu) / events),
            per_second: Some(events / (clock.elapsed() - began).as_secs_f64()),
            latencies: Latencies::of(latencies),
            memory_mib: self.target.memory_mib()?,
            ..Measured::default()
        };
        self.report.add(&rows::WATCH, measured);
        Ok(())
    }
}

/// How many Pods of ours an answer names, in whatever form it has.
fn names(answer: &[u8]) -> usize {
    let all: HashSet<&[u8]> =
        answer.windows(name(0).len()).filter(|part| part.starts_with(NAME_PREFIX.as_bytes())).collect();
    all.len()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The Pods that the server is loaded with.
#[derive(Clone)]
pub(crate) struct Pods {
    /// The path of their list.
    all: String,
    /// How many values their label `app` has.
    apps: usize,
}

impl Pods {
    fn new(target: &Target, n: usize) -> Pods {
        Pods { all: target.path("pods"), apps: n / SELECTED_PODS }
    }

    fn path(&self, i: usize) -> String {
        format!("{}/{}", self.all, name(i))
    }

    fn page(&self) -> String {
        format!("{}?limit={PAGE_PODS}", self.all)
    }

    fn selection(&self) -> String {
        format!("{}?labelSelector=app%3Dapp-0", self.all)
    }

    /// Which one an object is.
    fn number(&self, pod: &Value) -> Option<usize> {
        pod["metadata"]["name"].as_str()?.strip_prefix(NAME_PREFIX)?.parse().ok()
    }

    /// The round's name is a value that no Pod has yet: a patch that changes nothing would write nothing.
    async fn patch(&self, api: Api, i: usize, round: &str) -> anyhow::Result<()> {
        let change = json!({"metadata": {"annotations": {"bench.coracle/patch": round}}});
        api.merge_patch(&self.path(i), &change).await.map(drop)
    }

    /// What a deployment tool does: the whole manifest again, with something changed.
    async fn apply(&self, api: Api, i: usize) -> anyhow::Result<()> {
        let mut pod = self.pod(i);
        pod["metadata"]["annotations"]["bench.coracle/apply"] = "done".into();
        api.apply(&self.path(i), &pod).await.map(drop)
    }

    async fn update(&self, api: Api, i: usize) -> anyhow::Result<()> {
        let path = self.path(i);
        let mut pod = api.get(&path).await?;
        pod["metadata"]["annotations"]["bench.coracle/update"] = "done".into();
        api.put(&path, &pod).await.map(drop)
    }

    fn pod(&self, i: usize) -> Value {
        // The last ones of a number that does not divide evenly have a label of their own.
        let is_rest = i >= self.apps * SELECTED_PODS;
        let app = if is_rest { "rest".to_owned() } else { format!("app-{}", i % self.apps) };
        pod(&name(i), &app)
    }
}

fn name(i: usize) -> String {
    format!("{NAME_PREFIX}{i:06}")
}

pub(crate) fn pod(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": app, "tier": "bench"},
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

fn access_review(namespace: &str) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{namespace}:default"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
            "resourceAttributes": {"namespace": namespace, "verb": "list", "resource": "pods"},
        },
    })
}
