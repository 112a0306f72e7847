//! Many watches at once: what an idle one costs, how soon an update reaches all of them, and what a reader that stops
//! reading does to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use coracle_clock::Clock;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{Api, Watch};
use super::report::{Measured, Report, micros};
use super::rows;
use super::samples::Latencies;
use super::target::Target;
use super::valve::Valve;

pub(crate) const USUAL_WATCHES: u32 = 10_000;
pub(crate) const USUAL_UPDATES: u32 = 100;
/// As many as kube-apiserver allows on one HTTP/2 connection.
const WATCHES_A_CONNECTION: usize = 100;
/// Connections that are opened at a time.
const OPENING: usize = 8;
/// Between the last watch's being opened and the look at memory: what opening needed for a moment is given back.
const SETTLE: Duration = Duration::from_secs(2);
/// Events still under way when the last update has been sent have arrived by then, or never will.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(120);
/// A reader that has read nothing for so long is dead: twice the 45 s after which kube-apiserver's HTTP/2 server closes
/// a connection that does not answer its ping.
const STALLED_FOR: Duration = Duration::from_secs(90);
/// What is left of a stalled reader's watches when it reads again comes within this.
const THAW_TIMEOUT: Duration = Duration::from_secs(10);
/// Latencies are counted in steps of a tenth of a millisecond up to ten seconds.
const STEP: Duration = Duration::from_micros(100);
const STEPS: usize = 100_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) watches: usize,
    pub(crate) updates_a_second: usize,
    pub(crate) seconds: usize,
}

impl Sizes {
    /// Whether the targets are meant for these.
    fn is_usual(self) -> bool {
        self.watches == USUAL_WATCHES as usize && self.updates_a_second == USUAL_UPDATES as usize
    }

    fn updates(self) -> usize {
        self.updates_a_second * self.seconds
    }
}

pub(crate) async fn measure(target: &Target, sizes: Sizes, report: &mut Report) -> anyhow::Result<()> {
    let mut crowd = Crowd { target, clock: &target.clock, sizes, version: 0, watches: Vec::new() };
    crowd.create().await?;
    crowd.open(report).await?;
    let alone = crowd.update("alone").await?;
    report.add(&rows::FAN_OUT, alone.measured(target)?.of_size(sizes.is_usual()));
    report.add(&rows::FAN_OUT_CPU, alone.cpu_measured());

    let stalled = Stalled::open(target, &crowd.collection(), WATCHES_A_CONNECTION.min(sizes.watches)).await?;
    let began = target.clock.elapsed();
    let beside = crowd.update("stalled").await?;
    report.add(&rows::STALLED, beside.measured(target)?.of_size(sizes.is_usual()));
    if let (Some(alone), Some(beside)) = (alone.cpu, beside.cpu) {
        let more = (micros(beside) / micros(alone) - 1.0) * 100.0;
        report.add(&rows::STALLED_CPU, Measured::figure(more));
    }
    target.clock.sleep(STALLED_FOR.saturating_sub(target.clock.elapsed() - began)).await;
    let alive = stalled.alive(sizes.updates(), &target.clock).await;
    report.add(&rows::STALLED_ALIVE, Measured::figure(alive as f64));
    Ok(())
}

fn version(object: &[u8]) -> anyhow::Result<u64> {
    let object: Value = serde_json::from_slice(object)?;
    let version = object["metadata"]["resourceVersion"].as_str();
    Ok(version.context("the object has no resourceVersion")?.parse()?)
}

/// All the watches of one collection.
struct Crowd<'a> {
    target: &'a Target,
    clock: &'a Clock,
    sizes: Sizes,
    /// Watches begin after this one.
    version: u64,
    watches: Vec<Watch>,
}

/// What a round of updates took.
struct Round {
    latencies: Option<Latencies>,
    events_a_second: f64,
    /// Of the server, an event that arrived.
    cpu: Option<Duration>,
}

impl Round {
    fn measured(&self, target: &Target) -> anyhow::Result<Measured> {
        Ok(Measured {
            figure: self.latencies.map(|all| micros(all.p99)),
            per_second: Some(self.events_a_second),
            latencies: self.latencies,
            memory_mib: target.memory_mib()?,
            ..Measured::default()
        })
    }

    fn cpu_measured(&self) -> Measured {
        Measured { figure: self.cpu.map(micros), ..Measured::default() }
    }
}

impl Crowd<'_> {
    fn collection(&self) -> String {
        format!("{}?watch=true&resourceVersion={}", self.target.path("configmaps"), self.version)
    }

    /// The path of the object that so manieth an update is of: those of one second are of one each, so that none waits
    /// for another.
    fn object(&self, number: usize) -> String {
        self.target.path(&format!("configmaps/watched-{}", number % self.sizes.updates_a_second))
    }

    async fn create(&mut self) -> anyhow::Result<()> {
        for number in 0..self.sizes.updates_a_second {
            let name = format!("watched-{number}");
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            self.version = version(&self.target.api.post(&self.target.path("configmaps"), &body).await?)?;
        }
        Ok(())
    }

    async fn open(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (target, collection, all) = (self.target, &self.collection(), self.sizes.watches);
        let before = self.target.memory_mib()?;
        let began = self.clock.elapsed();
        let connections = (0..all.div_ceil(WATCHES_A_CONNECTION)).map(|i| async move {
            let api = target.access.connect().await?;
            watches(&api, collection, WATCHES_A_CONNECTION.min(all - i * WATCHES_A_CONNECTION)).await
        });
        let opened: Vec<Vec<Watch>> =
            futures::stream::iter(connections).buffer_unordered(OPENING).try_collect().await?;
        let took = self.clock.elapsed() - began;
        self.watches = opened.into_iter().flatten().collect();
        self.clock.sleep(SETTLE).await;
        let after = self.target.memory_mib()?;
        let each = before.zip(after).map(|(before, after)| (after - before) * 1024.0 / all as f64);
        let measured = Measured {
            figure: each,
            per_second: Some(all as f64 / took.as_secs_f64()),
            memory_mib: after,
            ..Measured::default()
        };
        report.add(&rows::IDLE_WATCH, measured);
        Ok(())
    }

    /// Update objects at the given rate while every watch reads; all of them hear of every update.
    async fn update(&mut self, round: &'static str) -> anyhow::Result<Round> {
        let updates = self.sizes.updates();
        let heard = Arc::new(Heard::new(updates, self.clock.clone()));
        let mut readers = JoinSet::new();
        for mut watch in self.watches.drain(..) {
            let heard = heard.clone();
            readers.spawn(async move {
                watch.count(updates, |number| heard.hear(number)).await?;
                anyhow::Ok(watch)
            });
        }
        let (cpu, began) = (self.target.cpu()?, self.clock.elapsed());
        self.version = self.send(round, &heard).await?;
        let all = self.clock.timeout(ARRIVAL_TIMEOUT, readers.join_all()).await;
        let all = all.context("not every watch has heard of every update")?;
        self.watches = all.into_iter().collect::<anyhow::Result<_>>().context("a watch was lost")?;
        let events = (self.watches.len() * updates) as f64;
        let used = self.target.cpu()?.zip(cpu).map(|(after, before)| after.saturating_sub(before));
        Ok(Round {
            latencies: heard.latencies(),
            events_a_second: events / (self.clock.elapsed() - began).as_secs_f64(),
            cpu: used.map(|used| used.div_f64(events)),
        })
    }

    /// Every update goes out when it is due, whatever has become of those before it: a server that cannot keep up must not
    /// slow the question down. The answer is the last one's version.
    async fn send(&self, round: &'static str, heard: &Heard) -> anyhow::Result<u64> {
        let began = self.clock.elapsed();
        let pause = Duration::from_secs(1) / u32::try_from(self.sizes.updates_a_second)?;
        let mut sent = JoinSet::new();
        for number in 0..self.sizes.updates() {
            let due = began + pause * u32::try_from(number)?;
            self.clock.sleep(due.saturating_sub(self.clock.elapsed())).await;
            heard.send(number, due);
            let (api, object) = (self.target.api.clone(), self.object(number));
            let change = json!({"data": {"round": round, "number": number.to_string()}});
            sent.spawn(async move { version(&api.merge_patch(&object, &change).await?) });
        }
        let versions: Vec<u64> = sent.join_all().await.into_iter().collect::<anyhow::Result<_>>()?;
        Ok(versions.into_iter().fold(self.version, u64::max))
    }
}

async fn watches(api: &Api, path: &str, n: usize) -> anyhow::Result<Vec<Watch>> {
    futures::future::try_join_all((0..n).map(|_| api.watch(path))).await
}

/// When each update was due, and how many watches heard of one how long after. What comes first is taken for the first
/// that was due: two that overtake each other have the same latencies between them.
struct Heard {
    clock: Clock,
    /// Nanoseconds of the clock.
    sent: Vec<AtomicU64>,
    /// How many latencies are so many steps long; the last stands for all that are longer.
    steps: Vec<AtomicU64>,
}

impl Heard {
    fn new(updates: usize, clock: Clock) -> Heard {
        let zeros = |n| (0..n).map(|_| AtomicU64::new(0)).collect();
        Heard { clock, sent: zeros(updates), steps: zeros(STEPS) }
    }

    fn send(&self, number: usize, at: Duration) {
        self.sent[number].store(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn hear(&self, number: usize) {
        let Some(sent) = self.sent.get(number) else { return };
        let took = self.clock.elapsed().saturating_sub(Duration::from_nanos(sent.load(Ordering::Relaxed)));
        let step = usize::try_from(took.as_nanos() / STEP.as_nanos()).unwrap_or(STEPS);
        self.steps[step.min(STEPS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    fn latencies(&self) -> Option<Latencies> {
        Some(Latencies { p50: self.percentile(50)?, p99: self.percentile(99)? })
    }

    /// The end of the step in which the nearest rank lies.
    fn percentile(&self, percent: u64) -> Option<Duration> {
        let all: u64 = self.steps.iter().map(|step| step.load(Ordering::Relaxed)).sum();
        let rank = (all * percent).div_ceil(100);
        let mut seen = 0;
        let step = self.steps.iter().position(|step| {
            seen += step.load(Ordering::Relaxed);
            seen >= rank && seen > 0
        })?;
        Some(STEP * u32::try_from(step + 1).ok()?)
    }
}

/// Watches of a reader that has stopped reading: its connection's window closes.
struct Stalled {
    watches: Vec<Watch>,
    valve: Arc<Valve>,
}

impl Stalled {
    async fn open(target: &Target, path: &str, n: usize) -> anyhow::Result<Stalled> {
        let (api, valve) = target.access.connect_to_stall().await?;
        let watches = watches(&api, path, n).await?;
        valve.shut();
        Ok(Stalled { watches, valve })
    }

    /// How many of the watches go on as if nothing had been, when the reader reads again.
    async fn alive(self, updates: usize, clock: &Clock) -> usize {
        self.valve.open();
        let each = self.watches.into_iter().map(|mut watch| async move {
            let all = clock.timeout(THAW_TIMEOUT, watch.count(updates, drop)).await;
            // Silence without an end is a watch that is alive, too.
            all.is_none_or(|all| all.is_ok())
        });
        let alive = futures::future::join_all(each).await;
        alive.into_iter().filter(|alive| *alive).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_in_steps() {
        let clock = Clock::stepped(Clock::system().now());
        let heard = Heard::new(2, clock.clone());
        assert_eq!(heard.latencies(), None);
        heard.send(0, clock.elapsed());
        clock.advance(Duration::from_millis(1));
        (0..98).for_each(|_| heard.hear(0));
        clock.advance(Duration::from_millis(99));
        (0..2).for_each(|_| heard.hear(0));
        // An event of no update is none.
        heard.hear(2);
        let expected = Latencies { p50: Duration::from_micros(1100), p99: Duration::from_micros(100_100) };
        assert_eq!(heard.latencies(), Some(expected));
        clock.advance(Duration::from_secs(3600));
        (0..1000).for_each(|_| heard.hear(1));
        assert_eq!(heard.latencies().map(|all| all.p99), Some(Duration::from_secs(10)));
    }
}
