//! One program, several roles: `coracle up`, `coracle kubectl …`, `coracle proxy`, … and `kubectl` when called so.

#![forbid(unsafe_code)]

mod bench;
mod boot;
mod control;
mod data_dir;
mod election;
mod fork;
mod forks;
mod image;
mod kubeconfig;
mod node;
mod part;
mod snapshot;
mod store_flags;
mod tour;
mod up;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use coracle_clock::Clock;

/// A write makes a few hundred small allocations: with this allocator it takes a quarter less CPU than with glibc's, and
/// what a burst needed goes back to the system. `.cargo/config.toml` has its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(
    name = "coracle",
    version,
    about = "A whole Kubernetes in one small program, for programs that call its API from inside Pods"
)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run a cluster in the foreground: API server, controllers, scheduler, and a node on this machine
    Up(up::Args),
    /// Play two articles on calling the API from inside Pods on a throwaway cluster, and check every answer
    Tour(tour::Args),
    /// kubectl, with its own words and exit codes
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// The API on localhost with this Pod's credential: the sidecar, with kubectl proxy's flags
    #[command(disable_help_flag = true)]
    Proxy {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Container images of the node on this machine
    Image(image::Args),
    /// The state of a running cluster as a file, or kept in memory under a name
    Snapshot(snapshot::Args),
    /// Bring a running cluster back to a snapshot that it keeps in memory
    Reset(snapshot::ResetArgs),
    /// Second clusters from the present state of a running one, each with an endpoint of its own
    Fork(fork::Args),
    /// What a cluster costs on this machine: start, memory, Pods, and CPU time of the API's operations
    Bench(bench::Args),
    /// One Pod's sandbox and containers; started by the runtime, never by hand
    #[command(hide = true, disable_help_flag = true)]
    Shim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let called_as = args.first().map(|a| Path::new(a).file_name().unwrap_or_default().to_owned());
    if called_as.is_some_and(|name| name == "kubectl") {
        return code(run_kubectl(args));
    }
    match Cli::parse_from(args).role {
        // Before any thread is made: the shim forks.
        Role::Shim { args } => code(coracle_runtime::embedded::shim::main(&args)),
        Role::Kubectl { args } => code(run_kubectl(with_name(&["kubectl"], args))),
        Role::Proxy { args } => code(run_kubectl(with_name(&["kubectl", "proxy"], args))),
        Role::Bench(args) => report(runtime().block_on(bench::run(args))),
        Role::Fork(args) => report(runtime().block_on(fork::run(args))),
        Role::Snapshot(args) => report(runtime().block_on(snapshot::run(args))),
        Role::Reset(args) => report(runtime().block_on(snapshot::reset(args))),
        Role::Image(args) => report(runtime().block_on(image::run(args))),
        Role::Tour(args) => report(tour::run(&args)),
        Role::Up(args) => report(runtime().block_on(up::run(args))),
    }
}

fn with_name(name: &[&str], args: Vec<OsString>) -> Vec<OsString> {
    name.iter().map(OsString::from).chain(args).collect()
}

fn run_kubectl(args: Vec<OsString>) -> i32 {
    install_crypto();
    runtime().block_on(coracle_cli::kubectl(args, Clock::system()))
}

/// Every TLS user of this process finds the same provider.
fn install_crypto() {
    // Fails only where a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// An object that nests as deep as a body may (1,000 levels) is walked by recursion, which takes 2 to 3 MiB in a debug
/// build. What is not used of a stack costs no memory.
const STACK_BYTES: usize = 8 * 1024 * 1024;

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.enable_all().thread_stack_size(STACK_BYTES).build();
    match built {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            std::process::exit(1)
        }
    }
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// One clear line for whatever went wrong.
fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
