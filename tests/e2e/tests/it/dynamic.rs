//! Python's dynamic client, which knows a cluster's kinds by discovery alone.

use std::process::Command;

use coracle_testkit::{Answer, Cluster, clients_dir, workspace};

#[test]
fn pythons_dynamic_client_handles_built_in_and_custom_kinds() {
    let cluster = Cluster::api_only();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(workspace().join("tests/e2e/programs/dynamic.py"));
    command.env("PYTHONPATH", clients_dir().join("python")).env("KUBECONFIG", cluster.kubeconfig());
    // Its discovery is cached in a file of the temporary directory, by the server's address: a port may come again.
    command.env("TMPDIR", cluster.dir());
    assert_eq!(Answer::of(command).ok(), "done\n");
}
