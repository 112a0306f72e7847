//! Several servers on one etcd: they serve and watch as one, whatever happens to etcd or to one of them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use coracle_testkit::{Cluster, Options, PATIENCE, eventually};
use coracle_testkit_etcd::{self as testkit, Etcd};
use tempfile::TempDir;

/// The servers of one cluster, and what they share.
struct Shared {
    servers: Vec<Cluster>,
    etcd: Etcd,
    _keys: TempDir,
}

fn start(servers: usize, members: usize) -> Shared {
    let etcd = Etcd::start_with(testkit::Options { members, ..Default::default() });
    let keys = tempfile::tempdir().expect("a temporary directory");
    let flags = [
        "--store".to_owned(),
        format!("etcd={}", etcd.endpoints().join(",")),
        "--pki-dir".to_owned(),
        keys.path().display().to_string(),
    ];
    let options = || Options { api_only: true, same_port: true, flags: flags.to_vec(), ..Options::default() };
    Shared { servers: (0..servers).map(|_| Cluster::start(options())).collect(), etcd, _keys: keys }
}

/// `kubectl get --watch` in the background, line by line.
struct Watching {
    process: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn of(cluster: &Cluster, kind: &str) -> Watching {
        let args = ["get", kind, "--watch", "--output-watch-events", "-o", "name"];
        let mut process = cluster.kubectl_command(&args).stdout(Stdio::piped()).spawn().expect("kubectl");
        let out = BufReader::new(process.stdout.take().expect("it is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        Watching { process, lines }
    }

    #[track_caller]
    fn expect(&self, name: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|e| panic!("the watch did not tell of {name}: {e}"));
            if line.contains(name) {
                return;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn create(cluster: &Cluster, name: &str) {
    cluster.kubectl(&["create", "configmap", name]).ok();
}

#[test]
fn three_servers_are_one_cluster() {
    let cluster = start(3, 1);
    let [a, b, c] = &cluster.servers[..] else { panic!("three were started") };
    let watching = Watching::of(c, "configmaps");
    for n in 0..6 {
        let (writer, reader) = (&cluster.servers[n % 3], &cluster.servers[(n + 1) % 3]);
        let name = format!("written-{n}");
        create(writer, &name);
        reader.kubectl(&["get", "configmap", &name]).ok();
        watching.expect(&name);
    }
    // A grant is in force on every server as soon as one has acknowledged it, and so is its end.
    let may = ["auth", "can-i", "list", "secrets", "--as=jane"];
    assert!(b.kubectl(&may).stdout.starts_with("no"));
    a.kubectl(&["create", "rolebinding", "jane", "--clusterrole=admin", "--user=jane"]).ok();
    assert!(b.kubectl(&may).stdout.starts_with("yes"));
    assert!(c.kubectl(&may).stdout.starts_with("yes"));
    a.kubectl(&["delete", "rolebinding", "jane"]).ok();
    assert!(b.kubectl(&may).stdout.starts_with("no"));
    // A token of one server is good for all: they share its key and its account.
    let token = a.kubectl(&["create", "token", "default"]).ok();
    let review = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.trim()},
    });
    let who = b.kubectl_input(&["create", "-o", "jsonpath={.status.user.username}"], &review.to_string());
    assert_eq!(who.ok(), "system:serviceaccount:default:default");
    // All are found under the Service's name.
    let ports = ["get", "endpoints", "kubernetes", "-o", "jsonpath={.subsets[*].ports[*].port}"];
    assert_eq!(c.kubectl(&ports).ok().split_whitespace().count(), 3);
}

#[test]
fn controllers_run_in_one_server_and_move_when_it_is_gone() {
    let mut cluster = start(2, 1);
    let leader = |cluster: &Cluster| {
        let lease = ["get", "lease", "-n", "kube-system", "kube-controller-manager"];
        cluster.kubectl(&[&lease[..], &["-o", "jsonpath={.spec.holderIdentity}"]].concat()).ok()
    };
    let first = leader(&cluster.servers[1]);
    assert!(!first.is_empty());
    // The first to start leads. A clean end hands over.
    let gone = cluster.servers.remove(0);
    drop(gone);
    let left = &cluster.servers[0];
    left.kubectl(&["create", "namespace", "later"]).ok();
    eventually("the other server's controllers make an account", || {
        let account = left.kubectl(&["get", "serviceaccount", "default", "-n", "later"]);
        if account.success() { Ok(()) } else { Err(account.stderr) }
    });
    assert_ne!(leader(left), first);
    let ports = ["get", "endpoints", "kubernetes", "-o", "jsonpath={.subsets[*].ports[*].port}"];
    assert_eq!(left.kubectl(&ports).ok().split_whitespace().count(), 1, "who has gone is not named");
}

#[test]
fn watches_go_on_over_restarts_of_etcd_and_of_another_server() {
    let mut cluster = start(2, 1);
    let watching = Watching::of(&cluster.servers[1], "configmaps");
    create(&cluster.servers[0], "before");
    watching.expect("before");
    cluster.etcd.kill(0);
    let refused = cluster.servers[0].kubectl(&["create", "configmap", "refused"]);
    assert!(!refused.success(), "{refused:#?}");
    cluster.etcd.restart(0);
    for name in ["after-etcd", "after-server"] {
        eventually("writes go on", || {
            let created = cluster.servers[0].kubectl(&["create", "configmap", name]);
            // A try without an answer may have been done.
            if created.success() || created.stderr.contains("already exists") {
                Ok(())
            } else {
                Err(created.stderr)
            }
        });
        watching.expect(name);
        cluster.servers[0].kill();
        cluster.servers[0].up();
    }
}

#[test]
fn one_of_three_members_may_die() {
    let mut cluster = start(2, 3);
    let watching = Watching::of(&cluster.servers[1], "configmaps");
    for member in 0..3 {
        cluster.etcd.kill(member);
        let name = format!("without-{member}");
        eventually("writes go on", || {
            let created = cluster.servers[0].kubectl(&["create", "configmap", &name]);
            if created.success() || created.stderr.contains("already exists") {
                Ok(())
            } else {
                Err(created.stderr)
            }
        });
        watching.expect(&name);
        cluster.etcd.restart(member);
    }
}
