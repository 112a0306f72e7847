//! Snapshots and forks of the whole program, as users have them: by its commands, with stock kubectl.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use coracle_testkit::{Cluster, Fork, eventually, is_root};

const ACCOUNT: [&str; 5] = ["get", "serviceaccount", "default", "-o", "name"];

fn await_account(cluster: &Cluster) {
    eventually("the namespace default has its account", || {
        let answer = cluster.kubectl(&ACCOUNT);
        if answer.success() { Ok(()) } else { Err(answer.stderr) }
    });
}

fn listens(fork: &Fork<'_>) -> bool {
    TcpStream::connect(fork.server.trim_start_matches("https://")).is_ok()
}

/// What the program holds: threads and open files.
fn held(cluster: &Cluster) -> (usize, usize) {
    let count = |what: &str| {
        let entries = std::fs::read_dir(format!("/proc/{}/{what}", cluster.pid())).expect("the program runs");
        entries.count()
    };
    (count("task"), count("fd"))
}

/// Alive all at once, each with what was there and what was written to it alone; then gone without a trace.
#[test]
fn a_hundred_forks_live_in_one_process() {
    let mut cluster = Cluster::api_only();
    await_account(&cluster);
    cluster.kubectl(&["create", "configmap", "base", "--from-literal=a=1"]).ok();
    // The first one makes what all of them share.
    cluster.fork().delete();
    let before = held(&cluster);
    let forks: Vec<Fork<'_>> = (0..100).map(|_| cluster.fork()).collect();
    for (n, fork) in forks.iter().enumerate().step_by(20) {
        fork.kubectl(&["create", "configmap", &format!("of-{n}"), "--from-literal=a=1"]).ok();
    }
    for (n, fork) in forks.iter().enumerate().step_by(10) {
        let names = fork.kubectl(&["get", "configmaps", "-o", "name"]).ok();
        let own = if n % 20 == 0 { format!("configmap/of-{n}\n") } else { String::new() };
        assert_eq!(names, format!("configmap/base\nconfigmap/kube-root-ca.crt\n{own}"), "{}", fork.name);
        let mode = fork.kubeconfig.metadata().expect("the kubeconfig is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(forks.iter().all(listens));
    let listed = cluster.coracle(&["fork", "list", "--json"]).json();
    assert_eq!(listed["forks"].as_array().map(Vec::len), Some(100));
    assert_eq!(cluster.kubectl(&["get", "configmaps", "-o", "name"]).ok().lines().count(), 2);
    let (half, rest) = (forks.len() / 2, forks);
    let mut rest = rest.into_iter();
    for fork in rest.by_ref().take(half) {
        let kubeconfig = fork.kubeconfig.clone();
        fork.delete();
        assert!(!kubeconfig.exists());
    }
    let left: Vec<(String, std::path::PathBuf)> =
        rest.map(|fork| (fork.server.clone(), fork.kubeconfig.clone())).collect();
    for n in half..100 {
        cluster.coracle(&["fork", "delete", &format!("fork-{}", n + 1)]).ok();
        if n == 97 {
            break;
        }
    }
    eventually("deleted forks leave nothing in the process", || {
        let now = held(&cluster);
        // Two forks live: a thread and at most a few files each.
        let more = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        if more.0 <= 4 && more.1 <= 8 { Ok(()) } else { Err(format!("{before:?} → {now:?}")) }
    });
    cluster.stop().expect("a clean end");
    for (server, kubeconfig) in left {
        assert!(!kubeconfig.exists(), "{}", kubeconfig.display());
        assert!(TcpStream::connect(server.trim_start_matches("https://")).is_err(), "{server}");
    }
}

/// Nothing moves in a fork before its first write; after it, its controllers work.
#[test]
fn a_fork_wakes_with_its_first_write() {
    let cluster = Cluster::api_only();
    await_account(&cluster);
    let fork = cluster.fork();
    fork.kubectl(&["create", "namespace", "new"]).ok();
    eventually("the fork's own controllers give the namespace its account", || {
        let answer = fork.kubectl(&["get", "serviceaccount", "default", "-n", "new"]);
        if answer.success() { Ok(()) } else { Err(answer.stderr) }
    });
    fork.kubectl(&["delete", "namespace", "new", "--timeout=60s"]).ok();
    assert!(!cluster.kubectl(&["get", "namespace", "new"]).success());
}

#[test]
fn a_saved_snapshot_comes_back_and_a_damaged_one_does_not() {
    let cluster = Cluster::api_only();
    await_account(&cluster);
    let token = cluster.kubectl(&["create", "token", "default"]).ok();
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=a=1"]).ok();
    let file = cluster.dir().join("snapshot");
    let path = file.to_str().expect("a path in UTF-8");
    cluster.coracle(&["snapshot", "save", path]).ok();
    assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
    let saved = std::fs::read(&file).expect("it can be read");
    cluster.kubectl(&["delete", "configmap", "kept"]).ok();
    cluster.kubectl(&["create", "configmap", "since", "--from-literal=a=1"]).ok();
    let revision = || cluster.kubectl(&["get", "--raw", "/api/v1/namespaces/default/configmaps"]).json();
    let before = revision();
    for at in (0..saved.len()).step_by(saved.len() / 12) {
        let mut damaged = saved.clone();
        damaged[at] ^= 4;
        std::fs::write(&file, damaged).expect("it can be written");
        let refused = cluster.coracle(&["snapshot", "restore", path]);
        assert_eq!(refused.code, 1, "byte {at}: {refused:?}");
        assert!(refused.stderr.starts_with(&format!("error: cannot restore {path}: ")), "{refused:?}");
    }
    std::fs::write(&file, &saved[..saved.len() - 7]).expect("it can be written");
    let refused = cluster.coracle(&["snapshot", "restore", path]).stderr;
    assert_eq!(
        refused,
        format!("error: cannot restore {path}: it is cut off: it ends inside its checksum\n")
    );
    let items = |list: &serde_json::Value| list["items"].clone();
    assert_eq!(items(&revision()), items(&before), "refusals change nothing");
    std::fs::write(&file, &saved).expect("it can be written");
    cluster.coracle(&["snapshot", "restore", path]).ok();
    let names = cluster.kubectl(&["get", "configmaps", "-o", "name"]).ok();
    assert_eq!(names, "configmap/kept\nconfigmap/kube-root-ca.crt\n");
    let who = cluster.kubectl(&[
        "--token",
        token.trim(),
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username}",
    ]);
    // The kubeconfig's certificate is named first; a token beside it is what counts.
    assert!(who.success(), "{who:?}");
}

/// The node follows: a Pod that the snapshot does not have is stopped, one that it has runs again.
#[test]
fn a_reset_stops_and_starts_pods() {
    if !is_root("a reset with a node") {
        return;
    }
    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
        containers: [{name: main, image: coracle.local/host, command: [sleep, \"SECONDS\"]}]\n";
    let pod = |name: &str, seconds: &str| POD.replace("NAME", name).replace("SECONDS", seconds);
    let cluster = Cluster::node();
    cluster.apply(&pod("first", "4711"));
    cluster.await_ready_pod("first");
    cluster.keep("base");
    cluster.apply(&pod("second", "4712"));
    cluster.await_ready_pod("second");
    cluster.kubectl(&["delete", "pod", "first", "--wait"]).ok();
    let running = || {
        let found =
            cluster.machine().sh("ps -e -o args= | grep -oE 'sleep 471[0-9]' | sort -u || true").stdout;
        found.lines().map(|line| line.trim_start_matches("sleep ").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(running(), ["4712"]);
    cluster.reset("base");
    eventually("the node does as the restored Pods say", || {
        let now = running();
        if now == ["4711"] { Ok(()) } else { Err(format!("{now:?}")) }
    });
    cluster.await_ready_pod("first");
    assert!(!cluster.kubectl(&["get", "pod", "second"]).success());
}
