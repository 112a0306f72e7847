//! `coracle up`: a cluster in the foreground, until a signal ends it.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args as ClapArgs;
use tokio::signal::unix::{SignalKind, signal};

use crate::boot::{self, Options};
use crate::data_dir::DataDir;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where the cluster lives [default: /var/lib/coracle, or the user's state directory]
    #[arg(long, env = "CORACLE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The API server's port on 127.0.0.1; 0 takes a free one
    #[arg(long, env = "CORACLE_PORT", default_value_t = 6443)]
    port: u16,
    /// Where to write the admin's kubeconfig [default: kubeconfig in the data directory]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The control plane alone: no node, no root needed
    #[arg(long)]
    api_only: bool,
    /// Keep the objects in memory and forget them at the end
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    store: crate::store_flags::Flags,
    /// Where the cluster's CA, admin and token keys are, for several servers of one cluster to share [default: pki in
    /// the data directory]
    #[arg(long, value_name = "DIR")]
    pki_dir: Option<PathBuf>,
    /// The node's name [default: the machine's host name]
    #[arg(long)]
    node_name: Option<String>,
    /// Leave the Pods running at a clean stop, to be taken over by the next start
    #[arg(long)]
    keep_pods: bool,
    /// What to log, as RUST_LOG says it
    #[arg(long, env = "CORACLE_LOG", default_value = "warn")]
    log: String,
    /// Give the tokens of Pods a year, with a warning after their hour, as kube-apiserver does
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    service_account_extend_token_expiration: bool,
    /// The longest life of a service account token in seconds, as kube-apiserver's flag but with no least value: shows
    /// what follows a rotation within a test's patience
    #[arg(long, hide = true, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..))]
    service_account_max_token_expiration: Option<i64>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&args.log)
        .with_context(|| format!("cannot read --log {:?}", args.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    crate::install_crypto();
    // Only here: its thread would keep a shim from entering namespaces.
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!("memory will be given back late: {error}");
    }
    // Listen for signals first: one that comes while starting must still end in a clean stop.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let store = args.store.read(args.ephemeral)?;
    let options = Options {
        data_dir: args.data_dir.unwrap_or_else(DataDir::default_path),
        port: args.port,
        kubeconfig: args.kubeconfig,
        api_only: args.api_only,
        store,
        pki_dir: args.pki_dir,
        node_name: args.node_name,
        extend_tokens: args.service_account_extend_token_expiration,
        max_token_seconds: args.service_account_max_token_expiration,
    };
    let cluster = boot::start(options).await?;
    println!(
        "coracle is ready at {} after {} ms, kubeconfig {}",
        cluster.url(),
        cluster.start_time.as_millis(),
        cluster.kubeconfig.display()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    cluster.stop(args.keep_pods).await
}
