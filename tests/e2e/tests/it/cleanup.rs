//! A clean stop leaves the machine as it was found.

use coracle_testkit::{Cluster, Options, Snapshot, is_root};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  containers: [{name: main, image: coracle.local/host}]
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: coracle.local/host, command: [bash, -c, "sleep 1000 & sleep 1000"]}
  - name: b
    image: coracle.local/host
    volumeMounts: [{name: memory, mountPath: /memory}]
  volumes: [{name: memory, emptyDir: {medium: Memory}}]
---
apiVersion: v1
kind: Service
metadata: {name: two}
spec: {selector: {app: two}, ports: [{port: 80}]}
"#;

/// Loopback, and the tunnels that some kernels give every network namespace.
const LINKS_OF_THE_KERNEL: usize = 8;

#[test]
fn nothing_is_left_after_a_clean_stop() {
    if !is_root("the state of the machine") {
        return;
    }
    let mut cluster = Cluster::start(Options::default());
    // The cluster's mark on the machine, since control groups are in no namespace and other clusters may run.
    let bridge = cluster.machine().sh("ip -o link show | grep -o 'cor-[0-9a-f]*' | head -n 1").ok();
    let mark = bridge.trim().replace("cor-", "coracle-");
    assert!(mark.starts_with("coracle-"), "no bridge: {bridge}");
    cluster.stop().expect("a clean end");
    let before = Snapshot::of(cluster.machine(), &mark);
    assert!(before.nft.is_empty() && before.processes.is_empty(), "left by the first life: {before:#?}");
    assert!(before.cgroups.is_empty() && before.links.len() <= LINKS_OF_THE_KERNEL, "{before:#?}");
    cluster.up();
    cluster.apply(PODS);
    cluster.await_ready_pod("one");
    cluster.await_ready_pod("two");
    let during = Snapshot::of(cluster.machine(), &mark);
    cluster.stop().expect("a clean end");
    let after = Snapshot::of(cluster.machine(), &mark);
    // That the comparison can fail: while Pods run, every part that a cluster must clean up differs.
    assert_ne!(during.links, before.links);
    assert_ne!(during.nft, before.nft);
    assert_ne!(during.mounts, before.mounts);
    assert_ne!(during.cgroups, before.cgroups);
    assert_ne!(during.processes, before.processes);
    assert_eq!(after, before);
}
