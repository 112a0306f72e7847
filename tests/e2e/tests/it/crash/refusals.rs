//! Starts that must not happen: on a data directory in use, and on a damaged store.

use std::path::Path;

use coracle_testkit::{Answer, Cluster, Options, coracle, is_root};

/// `coracle up` where it cannot succeed: ends by itself, having said why in one line.
fn refused(cluster: &Cluster, data_dir: &Path, flags: &[&str]) -> String {
    let mut command = cluster.machine().command("timeout");
    // Should it come up after all, it must not stay.
    command
        .args(["--kill-after=5", "20"])
        .arg(coracle())
        .args(["up", "--port", "0", "--data-dir"])
        .arg(data_dir);
    command.args(flags);
    let answer = Answer::of(command);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert_eq!(answer.stdout, "", "{answer:#?}");
    let lines: Vec<&str> = answer.stderr.lines().collect();
    let [line] = lines[..] else { panic!("not one line: {answer:#?}") };
    line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

fn in_use(cluster: &Cluster, flags: &[&str]) {
    let data_dir = cluster.data_dir();
    let why = refused(cluster, &data_dir, flags);
    assert!(why.contains(&data_dir.display().to_string()) && why.contains("in use"), "{why}");
}

#[test]
fn a_data_directory_has_one_cluster() {
    let cluster = Cluster::start(Options { api_only: true, ..Options::default() });
    let kubeconfig = std::fs::read(cluster.kubeconfig()).expect("a kubeconfig");
    cluster.kubectl(&["create", "configmap", "before"]).ok();
    in_use(&cluster, &["--api-only"]);
    in_use(&cluster, &["--api-only", "--ephemeral"]);
    assert_eq!(std::fs::read(cluster.kubeconfig()).expect("a kubeconfig"), kubeconfig);
    cluster.kubectl(&["get", "configmap", "before"]).ok();
    cluster.kubectl(&["create", "configmap", "after"]).ok();
}

#[test]
fn a_second_node_leaves_the_first_alone() {
    if !is_root("a_second_node_leaves_the_first_alone") {
        return;
    }
    // Objects in memory: there is no file that could be locked.
    let cluster = Cluster::node();
    cluster.kubectl(&["run", "one", "--image=coracle.local/host", "--", "sleep", "1000"]).ok();
    cluster.await_ready_pod("one");
    let state = "ip -o addr; nft list ruleset | sed 's/counter packets.*bytes [0-9]*//'";
    let before = cluster.machine().sh(state).ok();
    in_use(&cluster, &["--ephemeral"]);
    in_use(&cluster, &[]);
    assert_eq!(cluster.machine().sh(state).ok(), before);
    assert_eq!(cluster.kubectl(&["exec", "one", "--", "echo", "here"]).ok(), "here\n");
    let pod = cluster.kubectl(&["get", "pod", "one", "-o", "json"]).json();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let mut cluster = Cluster::start(Options { api_only: true, ..Options::default() });
    for n in 0..20 {
        cluster.kubectl(&["create", "configmap", &format!("map-{n}"), "--from-literal=key=value"]).ok();
    }
    cluster.stop().expect("a clean end");
    let file = cluster.data_dir().join("store/store.redb");
    let whole = std::fs::read(&file).expect("the store");
    let mut flipped = whole.clone();
    let at = flipped.windows(6).position(|bytes| bytes == b"map-13").expect("the object is in the file");
    flipped[at] ^= 0x20;
    let wrong = [("cut", whole[..whole.len() / 2].to_vec()), ("changed", flipped), ("empty", Vec::new())];
    for (what, content) in wrong {
        std::fs::write(&file, &content).expect("the store can be written");
        let why = refused(&cluster, &cluster.data_dir(), &["--api-only"]);
        assert!(why.contains("store.redb"), "{what}: {why}");
        println!("{what}: {why}");
        assert_eq!(std::fs::read(&file).expect("the store"), content, "{what}: the file was changed");
    }
    std::fs::write(&file, &whole).expect("the store can be written");
    cluster.up();
    cluster.kubectl(&["get", "configmap", "map-13"]).ok();
}
