//! A fork of a test's cluster: a second one that begins as the first is, in milliseconds.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Answer, Cluster, paths};

/// Ends with its cluster, or by [`Fork::delete`].
#[derive(Debug)]
pub struct Fork<'a> {
    cluster: &'a Cluster,
    pub name: String,
    /// `https://host:port`.
    pub server: String,
    pub kubeconfig: PathBuf,
}

impl Cluster {
    /// This program's own commands for running clusters, at this one: `snapshot`, `reset`, `fork`.
    pub fn coracle(&self, args: &[&str]) -> Answer {
        let mut command = self.machine().command(paths::coracle());
        command.args(args).arg("--kubeconfig").arg(self.kubeconfig());
        Answer::of(command)
    }

    /// A second cluster from this one's present state.
    #[track_caller]
    pub fn fork(&self) -> Fork<'_> {
        let told = self.coracle(&["fork", "create", "--json"]).json();
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        Fork {
            cluster: self,
            name: text("name"),
            server: text("server"),
            kubeconfig: text("kubeconfig").into(),
        }
    }

    /// Keep the present state, to come back to it by [`Cluster::reset`].
    #[track_caller]
    pub fn keep(&self, name: &str) {
        self.coracle(&["snapshot", "keep", name]).ok();
    }

    #[track_caller]
    pub fn reset(&self, name: &str) {
        self.coracle(&["reset", name]).ok();
    }
}

impl Fork<'_> {
    /// The stock kubectl as the fork's admin.
    pub fn kubectl(&self, args: &[&str]) -> Answer {
        let mut command: Command = self.cluster.machine().command(paths::kubectl());
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args).stdin(Stdio::null());
        command.env("KUBECACHEDIR", self.cluster.dir().join("cache"));
        Answer::of(command)
    }

    #[track_caller]
    pub fn delete(self) {
        self.cluster.coracle(&["fork", "delete", &self.name]).ok();
    }
}
