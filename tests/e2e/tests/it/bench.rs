//! `coracle bench` on a server that is not its own: what it says, and that it leaves nothing behind.

use std::process::{Child, Command, Stdio};

use coracle_testkit::{Answer, Cluster, coracle, eventually};

const NAMESPACE: &str = "coracle-bench";

fn command(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(coracle());
    command.arg("bench").arg("--kubeconfig").arg(cluster.kubeconfig()).args(args);
    command.stdin(Stdio::null());
    command
}

fn has_namespace(cluster: &Cluster) -> bool {
    cluster.kubectl(&["get", "namespace", NAMESPACE]).success()
}

fn pods(cluster: &Cluster) -> usize {
    cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "name"]).stdout.lines().count()
}

#[test]
fn a_server_is_measured_and_left_as_it_was() {
    let cluster = Cluster::api_only();
    let pid = cluster.pid().to_string();
    let answer =
        Answer::of(command(&cluster, &["--pid", &pid, "--pods", "500", "--only", "create,page", "--json"]));
    let report = answer.json();
    let rows = report["servers"][0]["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["before", "create", "page", "memory"]);
    for row in &rows[1..3] {
        let positive = |key: &str| row[key].as_f64().is_some_and(|value| value > 0.0);
        let all = ["figure", "perSecond", "p50Millis", "p99Millis", "memoryMiB"];
        assert!(all.into_iter().all(positive), "{row}");
    }
    assert!(!has_namespace(&cluster));
}

#[test]
fn an_interrupted_bench_removes_what_it_made() {
    let cluster = Cluster::api_only();
    let mut command = command(&cluster, &["--pods", "450000", "--only", "create"]);
    let mut bench: Child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    eventually("Pods are made", || if pods(&cluster) > 0 { Ok(()) } else { Err("none yet".to_owned()) });
    let interrupted = Command::new("kill").args(["-INT", &bench.id().to_string()]).status();
    assert!(interrupted.expect("kill runs").success());
    let ended = eventually("it ends", || {
        bench.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| "it runs".to_owned())
    });
    assert!(!ended.success());
    let output = bench.wait_with_output().expect("it has ended");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: stopped by a signal\n");
    assert!(!has_namespace(&cluster));
}

#[test]
fn a_namespace_of_somebody_is_not_touched() {
    let cluster = Cluster::api_only();
    cluster.kubectl(&["create", "namespace", NAMESPACE]).ok();
    cluster.kubectl(&["create", "configmap", "theirs", "-n", NAMESPACE]).ok();
    let answer = Answer::of(command(&cluster, &["--pods", "500", "--only", "get"]));
    assert!(!answer.success());
    assert!(answer.stderr.starts_with("error: there is a namespace coracle-bench already"), "{answer:?}");
    cluster.kubectl(&["get", "configmap", "theirs", "-n", NAMESPACE]).ok();
    assert_eq!(pods(&cluster), 0);
}

#[test]
fn what_cannot_be_measured_is_one_clear_line() {
    let mut cluster = Cluster::api_only();
    let check = |args: &[&str], expected: &str| {
        let mut command = Command::new(coracle());
        command.arg("bench").args(args).stdin(Stdio::null());
        let answer = Answer::of(command);
        assert!(!answer.success() && answer.stderr.lines().count() == 1, "{answer:?}");
        assert!(answer.stderr.starts_with(expected), "{answer:?}");
    };
    let kubeconfig = cluster.kubeconfig().display().to_string();
    check(
        &["--kubeconfig", "/no/such/file"],
        "error: cannot read the kubeconfig /no/such/file: No such file",
    );
    // Larger than any process id of Linux.
    check(&["--kubeconfig", &kubeconfig, "--pid", "5000000"], "error: no process has the id 5000000");
    check(
        &["--kubeconfig", &kubeconfig, "--only", "scale"],
        "error: start, node, fork and scale are measured on",
    );
    check(&["--kubeconfig", &kubeconfig, "--only", "running"], "error: running needs an --image");
    cluster.stop().expect("a clean end");
    check(&["--kubeconfig", &kubeconfig], "error: cannot reach the server 127.0.0.1:");
}
