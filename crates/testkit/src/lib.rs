//! Clusters for tests: the program as it was built, driven by the clients that users have.
//!
//! A test gets a [`Cluster`] of its own. With a node it lives in namespaces of its own (see [`Machine`]), so that tests
//! neither see each other nor leave anything on the machine when they fail.
#![forbid(unsafe_code)]

mod answer;
mod cluster;
mod fork;
mod machine;
mod paths;
mod terminal;
mod wait;

pub use answer::Answer;
pub use cluster::{Cluster, Options};
pub use fork::Fork;
pub use machine::{Machine, Process, Snapshot};
pub use paths::{clients_dir, coracle, kubectl, workspace};
pub use terminal::Terminal;
pub use wait::{PATIENCE, eventually, stopwatch};

/// Nodes need root. Says so in one line where there is none; the caller then returns.
pub fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("left out: {test} needs root for namespaces and mounts");
    }
    root
}
