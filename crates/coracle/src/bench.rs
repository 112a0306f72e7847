//! `coracle bench`: what a cluster costs on this machine, measured on clusters that run as programs of their own.
//!
//! Nothing here is tuned to what is measured: every cluster is a fresh `coracle up`, its client an ordinary one.

mod client;
mod cluster;
mod load;
mod pods;
mod report;

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use coracle_clock::Clock;
use nix::unistd::Uid;
use tokio::signal::unix::{SignalKind, signal};

use cluster::{Cluster, Kind};
use report::{Report, Unit};

/// Memory is read this long after a cluster was ready: what start-up needed for a moment has been given back.
const SETTLE: Duration = Duration::from_secs(5);
/// The node is Ready within this, or something is wrong.
const NODE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many times each start and each Pod is measured; the median is shown
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How many Pods the API server is loaded with
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(500..))]
    pods: u32,
    /// Measure these parts only
    #[arg(long, value_delimiter = ',', default_value = "start,node,load")]
    only: Vec<Part>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Start and idle memory of the control plane alone
    Start,
    /// Start and idle memory of a whole node, and Pods on it; needs root
    Node,
    /// The server's CPU time an operation
    Load,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    crate::install_crypto();
    let mut report = Report::new(args.json);
    let bench = Bench { clock: Clock::system(), runs: args.runs };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A dropped future drops its cluster, which stops it.
    tokio::select! {
        done = bench.measure(&args, &mut report) => done?,
        _ = terminate.recv() => bail!("stopped by a signal"),
        _ = interrupt.recv() => bail!("stopped by a signal"),
    }
    report.finish();
    Ok(())
}

struct Bench {
    clock: Clock,
    runs: u16,
}

impl Bench {
    async fn measure(&self, args: &Args, report: &mut Report) -> anyhow::Result<()> {
        if args.only.contains(&Part::Start) {
            self.control_plane(report).await?;
        }
        if args.only.contains(&Part::Node) {
            if Uid::effective().is_root() {
                self.node(report).await?;
            } else {
                eprintln!("no root: left out what a node needs");
            }
        }
        if args.only.contains(&Part::Load) {
            let cluster = Cluster::start(Kind::ApiOnly, &self.clock).await?;
            load::measure(&cluster, &self.clock, args.pods, report).await?;
        }
        Ok(())
    }

    async fn control_plane(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut starts = Vec::new();
        for _ in 1..self.runs {
            starts.push(Cluster::start(Kind::ApiOnly, &self.clock).await?.ready);
        }
        let cluster = Cluster::start(Kind::ApiOnly, &self.clock).await?;
        starts.push(cluster.ready);
        report.time("start to /readyz, control plane alone", median(starts), Some(100.0));
        self.clock.sleep(SETTLE).await;
        report.row("idle memory, control plane alone", cluster.memory_mib()?, Unit::MiB, None);
        Ok(())
    }

    async fn node(&self, report: &mut Report) -> anyhow::Result<()> {
        let (mut starts, mut nodes) = (Vec::new(), Vec::new());
        for _ in 1..self.runs {
            let cluster = Cluster::start(Kind::Node, &self.clock).await?;
            starts.push(cluster.ready);
            nodes.push(self.node_ready(&cluster).await?);
        }
        let cluster = Cluster::start(Kind::Node, &self.clock).await?;
        starts.push(cluster.ready);
        nodes.push(self.node_ready(&cluster).await?);
        report.time("start to /readyz, with a node", median(starts), Some(100.0));
        report.time("start to node Ready", median(nodes), None);
        self.clock.sleep(SETTLE).await;
        report.row("idle memory, with a node", cluster.memory_mib()?, Unit::MiB, Some(40.0));
        pods::measure(&cluster, &self.clock, self.runs, report).await?;
        report.row("memory after those Pods", cluster.memory_mib()?, Unit::MiB, None);
        Ok(())
    }

    async fn node_ready(&self, cluster: &Cluster) -> anyhow::Result<Duration> {
        let ready = async {
            while !is_node_ready(&cluster.api.get("/api/v1/nodes").await?) {
                self.clock.sleep(Duration::from_millis(1)).await;
            }
            anyhow::Ok(self.clock.elapsed() - cluster.spawned)
        };
        self.clock.timeout(NODE_TIMEOUT, ready).await.context("the node did not become Ready")?
    }
}

fn is_node_ready(nodes: &serde_json::Value) -> bool {
    let conditions = nodes["items"][0]["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// The middle one; the mean of the two in the middle of an even number.
fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    let half = all.len() / 2;
    match all.len() {
        0 => Duration::ZERO,
        n if n % 2 == 1 => all[half],
        _ => (all[half - 1] + all[half]) / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of =
            |millis: &[u64]| median(millis.iter().map(|m| Duration::from_millis(*m)).collect()).as_millis();
        assert_eq!((of(&[]), of(&[7]), of(&[9, 1, 5]), of(&[1, 9, 3, 5])), (0, 7, 5, 4));
    }
}
