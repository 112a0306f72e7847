//! The node's program killed again and again: containers run on as the same processes, and everything around them
//! works again once it is back.

use std::time::Duration;

use coracle_testkit::{Cluster, Options, Snapshot, eventually, is_root};
use serde_json::Value;

use super::{ROUNDS, moment};

const BEFORE_KILL: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(700));
/// A start takes some 0.2 s in a debug build, and a stop as long as the counter's shell lets it wait.
const WHILE_STARTING: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(500));
const WHILE_STOPPING: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(2500));
/// Every so many rounds, a Pod is being made when the kill comes.
const ANOTHER_EVERY: u32 = 3;
/// How long such a Pod runs.
const ANOTHER_SECONDS: u32 = 1;

/// Counts, and asks the API by its Service's name with the mounted token, for ever.
const COUNTER: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: counter}
spec:
  clusterIP: None
  selector: {app: counter}
---
apiVersion: v1
kind: Pod
metadata: {name: counter, labels: {app: counter}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: coracle.local/host
    command:
    - bash
    - -c
    - |
      cp /var/run/secrets/kubernetes.io/serviceaccount/token /first-token
      for ((n = 1; ; n++)); do
        echo "$n $(/ask)"
        sleep 0.1
      done
    volumeMounts: [{name: scripts, mountPath: /ask, subPath: ask}]
  volumes: [{name: scripts, configMap: {name: scripts, defaultMode: 0755}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: scripts}
data:
  ask: |
    #!/bin/bash
    here=/var/run/secrets/kubernetes.io/serviceaccount
    curl -s -o /dev/null -w '%{http_code}' --max-time 2 --cacert $here/ca.crt \
      -H "Authorization: Bearer $(cat ${1:-$here/token})" https://kubernetes.default.svc/api
"#;

fn pod(cluster: &Cluster, name: &str) -> Value {
    cluster.kubectl(&["get", "pod", name, "-o", "json"]).json()
}

/// A process as it cannot come back: its PID and when it started, in ticks since the machine's boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    container: String,
    pid: String,
    started: String,
    restarts: u64,
    address: String,
}

fn identity(cluster: &Cluster, name: &str) -> Identity {
    let pod = pod(cluster, name);
    let status = &pod["status"]["containerStatuses"][0];
    let container = status["containerID"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let run = format!("{}/runtime/sandboxes/*/c/{container}/run.json", cluster.data_dir().display());
    let run = cluster.machine().sh(&format!("cat {run}")).json();
    let pid = run["pid"].to_string();
    // The second field, the name in brackets, has no blank here.
    let started = cluster.machine().sh(&format!("cut -d' ' -f22 /proc/{pid}/stat")).ok();
    Identity {
        container: container.to_owned(),
        pid,
        started,
        restarts: status["restartCount"].as_u64().unwrap_or(u64::MAX),
        address: pod["status"]["podIP"].as_str().unwrap_or_default().to_owned(),
    }
}

/// The counter's log as numbers and HTTP codes; none is missing and none comes twice.
fn counted(cluster: &Cluster) -> Vec<(u64, String)> {
    let text = cluster.kubectl(&["logs", "counter"]).ok();
    let whole = text.lines().filter_map(|line| line.split_once(' '));
    let lines: Vec<(u64, String)> =
        whole.map(|(n, code)| (n.parse().expect("a number"), code.to_owned())).collect();
    for (at, (n, _)) in lines.iter().enumerate() {
        assert_eq!(*n, at as u64 + 1, "the log has lost or doubled a line:\n{text}");
    }
    lines
}

fn ask_from_inside(cluster: &Cluster) {
    eventually("the mounted token answers from inside", || {
        let answer = cluster.exec("counter", "main", &["/ask"]);
        if answer.stdout == "200" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

/// A program may hold on to the token that it read before the kill.
fn ask_with_first_token(cluster: &Cluster) {
    assert_eq!(cluster.exec("counter", "main", &["/ask", "/first-token"]).ok(), "200");
}

/// The API is reached from inside by exec and by the loop itself, and the log has every line.
fn check_around(cluster: &Cluster, before: &Identity) {
    let seen = counted(cluster).len();
    ask_from_inside(cluster);
    ask_with_first_token(cluster);
    eventually("the loop is answered again", || {
        let lines = counted(cluster);
        match lines[seen..].iter().find(|(_, code)| code == "200") {
            Some(_) => Ok(()),
            None => Err(format!("{:?}", lines.last())),
        }
    });
    assert_eq!(identity(cluster, "counter"), *before, "not the same process");
}

fn headless_name_leads_to(cluster: &Cluster, address: &str) {
    eventually("a headless Service's name leads to the Pod", || {
        let answer = cluster.exec("counter", "main", &["getent", "hosts", "counter"]);
        if answer.stdout.starts_with(address) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

fn start_another(cluster: &Cluster, name: &str) {
    // Longer than the node needs to be back, so that some end while nobody looks and some do not.
    let script = format!("echo hello; sleep {ANOTHER_SECONDS}; echo bye");
    let run = ["run", name, "--image=coracle.local/host", "--restart=Never", "--", "sh", "-c", &script];
    cluster.kubectl(&run).ok();
}

/// A Pod that was started shortly before a kill has run once, whole.
fn check_another(cluster: &Cluster, name: &str) {
    let wait = ["wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"];
    let waited = cluster.kubectl(&[&wait[..], &[&format!("pod/{name}")]].concat());
    assert!(waited.success(), "{waited:#?}\n{}", cluster.kubectl(&["describe", "pod", name]).stdout);
    assert_eq!(cluster.kubectl(&["logs", name]).ok(), "hello\nbye\n");
    assert_eq!(pod(cluster, name)["status"]["containerStatuses"][0]["restartCount"], 0);
    // Left to the next start: the kill comes while the Pod goes.
    cluster.kubectl(&["delete", "pod", name, "--wait=false"]).ok();
}

/// This cluster's mark on the machine, from its bridge.
fn mark(cluster: &Cluster) -> String {
    let bridge = cluster.machine().sh("ip -o link show | grep -o 'cor-[0-9a-f]*' | head -n 1").ok();
    let mark = bridge.trim().replace("cor-", "coracle-");
    assert!(mark.starts_with("coracle-"), "no bridge: {bridge}");
    mark
}

/// What the machine looks like when the cluster is down; only this cluster's own things count.
struct Clean {
    mark: String,
    machine: Snapshot,
}

impl Clean {
    /// Stop the cluster, and nothing may be left that was not there before.
    fn check(&self, mut cluster: Cluster) {
        cluster.stop().expect("a clean end");
        assert_eq!(Snapshot::of(cluster.machine(), &self.mark), self.machine);
    }
}

/// A node that keeps its data, with the counter on it.
fn counting_node() -> (Cluster, Clean) {
    let mut cluster = Cluster::start(Options { same_port: true, ..Options::default() });
    let mark = mark(&cluster);
    cluster.stop().expect("a clean end");
    let machine = Snapshot::of(cluster.machine(), &mark);
    cluster.up();
    cluster.apply(COUNTER);
    cluster.await_ready_pod("counter");
    (cluster, Clean { mark, machine })
}

#[test]
fn containers_run_on_through_kills() {
    if !is_root("containers_run_on_through_kills") {
        return;
    }
    let (mut cluster, clean) = counting_node();
    ask_from_inside(&cluster);
    let before = identity(&cluster, "counter");
    for round in 1..=ROUNDS {
        let another = round.is_multiple_of(ANOTHER_EVERY).then(|| format!("another-{round}"));
        if let Some(name) = &another {
            start_another(&cluster, name);
        }
        std::thread::sleep(moment(round, BEFORE_KILL.0, BEFORE_KILL.1));
        cluster.kill();
        cluster.up();
        check_around(&cluster, &before);
        if let Some(name) = &another {
            headless_name_leads_to(&cluster, &before.address);
            check_another(&cluster, name);
        }
    }
    let left = cluster.kubectl(&["wait", "--for=delete", "pod", "-l", "run", "--timeout=60s"]);
    assert!(left.success(), "{left:#?}");
    assert_eq!(identity(&cluster, "counter"), before);
    clean.check(cluster);
}

/// A kill that comes so early or so late that a start or a stop is half done.
#[test]
fn kills_while_starting_and_stopping_leave_nothing_broken() {
    if !is_root("kills_while_starting_and_stopping_leave_nothing_broken") {
        return;
    }
    let (mut cluster, clean) = counting_node();
    let before = identity(&cluster, "counter");
    cluster.kill();
    for round in 1..=ROUNDS / 2 {
        cluster.begin();
        std::thread::sleep(moment(round, WHILE_STARTING.0, WHILE_STARTING.1));
        cluster.kill();
    }
    cluster.up();
    check_around(&cluster, &before);
    for round in 1..=ROUNDS / 4 {
        cluster.ask_to_stop();
        std::thread::sleep(moment(round, WHILE_STOPPING.0, WHILE_STOPPING.1));
        cluster.kill();
        cluster.up();
        ask_from_inside(&cluster);
    }
    clean.check(cluster);
}

/// The PID of the shim of the container's sandbox.
fn shim(cluster: &Cluster, container: &str) -> String {
    let sandboxes = format!("{}/runtime/sandboxes", cluster.data_dir().display());
    cluster.machine().sh(&format!("cat {sandboxes}/*/c/{container}/../../shim.json")).json()["shim_pid"]
        .to_string()
}

/// Wait until the Pod runs as other processes than `before`, whole again, and nothing is left of those.
fn await_successor(cluster: &Cluster, before: &Identity) -> Identity {
    let after = eventually("the Pod runs again", || {
        let status = pod(cluster, "counter")["status"].clone();
        let container = &status["containerStatuses"][0];
        let fresh = container["containerID"].as_str().is_some_and(|id| !id.ends_with(&before.container));
        match fresh && container["ready"] == true {
            true => Ok(identity(cluster, "counter")),
            false => Err(status.to_string()),
        }
    });
    assert_eq!(after.restarts, before.restarts + 1);
    let old = cluster.machine().sh(&format!("cut -d' ' -f22 /proc/{}/stat", before.pid));
    assert!(!old.success() || old.stdout != before.started, "the old container still runs");
    ask_from_inside(cluster);
    after
}

#[test]
fn a_killed_shim_takes_its_pod_along_and_the_pod_comes_back() {
    if !is_root("a_killed_shim_takes_its_pod_along_and_the_pod_comes_back") {
        return;
    }
    let (mut cluster, clean) = counting_node();
    let first = identity(&cluster, "counter");
    cluster.machine().sh(&format!("kill -9 {}", shim(&cluster, &first.container))).ok();
    let second = await_successor(&cluster, &first);
    // Now with nobody there to see it.
    let shim = shim(&cluster, &second.container);
    cluster.kill();
    cluster.machine().sh(&format!("kill -9 {shim}")).ok();
    cluster.up();
    await_successor(&cluster, &second);
    clean.check(cluster);
}
