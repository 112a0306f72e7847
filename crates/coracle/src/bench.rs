//! `coracle bench`: what an API server costs on this machine, this program's own or any other.
//!
//! Nothing here is tuned to what is measured: a cluster of our own is a fresh `coracle up`, the client an ordinary one.

mod access;
mod client;
mod cluster;
mod custom;
mod flight;
mod forks;
mod heartbeats;
mod load;
mod pods;
mod process;
mod report;
mod rows;
mod samples;
mod scale;
mod start;
mod target;
mod valve;
mod watches;

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::{Args as ClapArgs, ValueEnum};
use coracle_clock::Clock;
use nix::unistd::Uid;
use tokio::signal::unix::{SignalKind, signal};

use cluster::{Cluster, Kind};
use report::{Measured, Report};
use target::Target;

#[derive(Debug, ClapArgs)]
#[command(after_help = help_of_parts())]
pub(crate) struct Args {
    /// Measure the server of this kubeconfig, not fresh clusters of our own; what is made there is removed at the end
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// That server's processes on this machine, itself and its store: their CPU time and memory are measured
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "kubeconfig")]
    pid: Vec<i32>,
    /// Then measure the server of this kubeconfig in the same way, and print how the two compare
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The other server's processes
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "against")]
    against_pid: Vec<i32>,
    /// The namespace that is made on a server; one that is there already is refused
    #[arg(long, default_value = "coracle-bench")]
    namespace: String,
    /// With --kubeconfig: an image with `sleep` that the nodes have, to measure how soon a Pod runs
    #[arg(long)]
    image: Option<String>,
    /// How many times each start and each Pod is measured; the median is shown
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How many Pods the API server is loaded with
    #[arg(long, default_value_t = rows::REFERENCE_PODS, value_parser = clap::value_parser!(u32).range(500..))]
    pods: u32,
    /// Measure these parts only, by the names below
    #[arg(long, value_name = "PART", value_delimiter = ',', hide_possible_values = true)]
    only: Vec<Part>,
    /// watches: how many
    #[arg(long, default_value_t = watches::USUAL_WATCHES, value_parser = clap::value_parser!(u32).range(1..))]
    watches: u32,
    /// watches: updates a second, each of which reaches all of them
    #[arg(long, default_value_t = watches::USUAL_UPDATES, value_parser = clap::value_parser!(u32).range(1..=1000))]
    updates: u32,
    /// watches: for so many seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// scale: how many Pods
    #[arg(long, default_value_t = scale::USUAL_PODS, value_parser = clap::value_parser!(u32).range(500..=450_000))]
    scale_pods: u32,
    /// scale: how many Nodes
    #[arg(long, default_value_t = scale::USUAL_NODES, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    scale_nodes: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Fresh clusters without a node: from the command to /readyz, and memory when idle
    Start,
    /// The same with a node on this machine; needs root
    Node,
    /// Single Pods: from the request to Running, and to their program's first API call
    Running,
    /// All of the following on the same Pods, 32 requests in flight
    Load,
    /// Create Pods of 3 kB; each is on disk when it is answered
    Create,
    /// Get each of them
    Get,
    /// List all of them as JSON
    List,
    /// List all of them as protobuf
    Protobuf,
    /// List all of them as the table that `kubectl get` asks for
    Table,
    /// List the first 500
    Page,
    /// List the 50 with a certain label
    Selector,
    /// Get each and put it back changed
    Update,
    /// Change each by a merge patch
    Patch,
    /// Change each by a server-side apply
    Apply,
    /// Create as many custom resources, whose schema has rules in CEL
    Custom,
    /// Ask whether a service account may list Pods
    Review,
    /// Patch Pods that 100 watchers watch: what one event to one of them costs and takes
    Watch,
    /// Delete each
    Delete,
    /// Only when asked for: memory an idle watch, updates to all of them, a reader that stalls
    Watches,
    /// Only when asked for: a hundred forks of a cluster of 10,000 objects, and its snapshots
    Fork,
    /// Only when asked for: many Pods and Nodes on a cluster of our own; memory, reads, restart
    Scale,
}

/// What is measured when nothing is chosen.
const USUAL_PARTS: &[Part] = &[Part::Start, Part::Node, Part::Running, Part::Load];

fn help_of_parts() -> String {
    let mut text = "Parts:".to_owned();
    for part in Part::value_variants().iter().filter_map(Part::to_possible_value) {
        let help = part.get_help().map(ToString::to_string).unwrap_or_default();
        text = format!("{text}\n  {:<10} {help}", part.get_name());
    }
    text
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    crate::install_crypto();
    let bench = Bench { clock: Clock::system(), args };
    bench.check()?;
    let mut report = Report::new(bench.args.json, bench.args.pods);
    match &bench.args.kubeconfig {
        Some(kubeconfig) => bench.foreign(kubeconfig, &bench.args.pid, &mut report).await?,
        None => bench.own(&mut report).await?,
    }
    if let Some(kubeconfig) = &bench.args.against {
        bench.foreign(kubeconfig, &bench.args.against_pid, &mut report).await?;
    }
    report.finish();
    Ok(())
}

struct Bench {
    clock: Clock,
    args: Args,
}

impl Bench {
    /// What cannot be measured is said before anything is.
    fn check(&self) -> anyhow::Result<()> {
        let own_only = [Part::Start, Part::Node, Part::Fork, Part::Scale];
        if self.args.kubeconfig.is_some() && self.args.only.iter().any(|part| own_only.contains(part)) {
            bail!("start, node, fork and scale are measured on clusters of our own, without --kubeconfig");
        }
        let is_foreign = self.args.kubeconfig.is_some() || self.args.against.is_some();
        if is_foreign && self.args.image.is_none() && self.args.only.contains(&Part::Running) {
            bail!("running needs an --image");
        }
        Ok(())
    }

    fn wants(&self, part: Part) -> bool {
        let only = &self.args.only;
        if only.is_empty() {
            return USUAL_PARTS.contains(&part);
        }
        only.contains(&part)
    }

    /// The parts of the load; all of them where they are wanted as a whole.
    fn load_parts(&self) -> Vec<Part> {
        let all = self.wants(Part::Load);
        load::PARTS.iter().copied().filter(|part| all || self.wants(*part)).collect()
    }

    async fn own(&self, report: &mut Report) -> anyhow::Result<()> {
        report.server(format!("coracle {}", env!("CARGO_PKG_VERSION")));
        // A dropped future drops its cluster, which stops it.
        until_signal(async {
            if self.wants(Part::Start) {
                start::control_plane(&self.clock, self.args.runs, report).await?;
            }
            self.own_node(report).await?;
            if !self.load_parts().is_empty() || self.wants(Part::Watches) {
                let cluster = Cluster::start(Kind::ApiOnly, &self.clock).await?;
                let target = cluster.target(&self.args.namespace, &self.clock)?;
                target.prepare().await?;
                self.requests(&target, report).await?;
            }
            if self.wants(Part::Fork) {
                forks::measure(&self.clock, &self.args.namespace, report).await?;
            }
            if self.wants(Part::Scale) {
                let (pods, nodes) = (self.args.scale_pods, self.args.scale_nodes);
                let sizes = scale::Sizes::new(pods as usize, nodes as usize);
                scale::measure(&self.clock, &self.args.namespace, sizes, report).await?;
            }
            Ok(())
        })
        .await
    }

    async fn own_node(&self, report: &mut Report) -> anyhow::Result<()> {
        let (node, running) = (self.wants(Part::Node), self.wants(Part::Running));
        if !node && !running {
            return Ok(());
        }
        if !Uid::effective().is_root() {
            eprintln!("no root: left out what a node needs");
            return Ok(());
        }
        if node {
            start::node(&self.clock, self.args.runs, report).await?;
        }
        if running {
            let cluster = Cluster::start(Kind::Node, &self.clock).await?;
            start::node_ready(&cluster, &self.clock).await?;
            let target = cluster.target(&self.args.namespace, &self.clock)?;
            target.prepare().await?;
            pods::measure(&target, pods::HOST_IMAGE, self.args.runs, report).await?;
        }
        Ok(())
    }

    async fn foreign(&self, kubeconfig: &Path, pids: &[i32], report: &mut Report) -> anyhow::Result<()> {
        let target = Target::foreign(kubeconfig, pids, &self.args.namespace, &self.clock).await?;
        report.server(format!("{} at {}", kubeconfig.display(), target.access.authority()));
        let measured = until_signal(self.phases(&target, report)).await;
        // Also after a failure and after Ctrl-C.
        let cleaned = until_signal(target.clean_up()).await;
        let cleaned = cleaned
            .map_err(|error| anyhow!("the namespace {} was not removed: {error:#}", self.args.namespace));
        measured.and(cleaned)
    }

    async fn phases(&self, target: &Target, report: &mut Report) -> anyhow::Result<()> {
        if let Some(memory) = target.memory_mib()? {
            report.add(&rows::BEFORE, Measured::figure(memory));
        }
        target.prepare().await?;
        if let Some(image) = self.args.image.as_ref().filter(|_| self.wants(Part::Running)) {
            pods::measure(target, image, self.args.runs, report).await?;
        }
        self.requests(target, report).await
    }

    /// What any server can be asked for.
    async fn requests(&self, target: &Target, report: &mut Report) -> anyhow::Result<()> {
        let parts = self.load_parts();
        if !parts.is_empty() {
            load::measure(target, &parts, self.args.pods, report).await?;
        }
        if self.wants(Part::Watches) {
            let sizes = watches::Sizes {
                watches: self.args.watches as usize,
                updates_a_second: self.args.updates as usize,
                seconds: self.args.seconds as usize,
            };
            watches::measure(target, sizes, report).await?;
        }
        Ok(())
    }
}

/// Ends with an error when the program is told to end.
async fn until_signal(measure: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = measure => done,
        _ = terminate.recv() => bail!("stopped by a signal"),
        _ = interrupt.recv() => bail!("stopped by a signal"),
    }
}
