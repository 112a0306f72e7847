//! `kill -9` of the program: no acknowledged write is lost, no container notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coracle_testkit::{Cluster, Options, eventually, is_root};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};

use crate::articles::{ROLE, ROLE_BINDING, curl};

const ROUNDS: u64 = 20;
/// Writers at once: enough that one fsync holds writes of several.
const WRITERS: usize = 8;
/// How many writes a life acknowledges before the blow; each round a few more, so that the blows fall differently.
const WRITES: u64 = 40;

/// What became of one object, as far as the server has told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Acknowledged with this value, and nothing asked since.
    Has(u64),
    /// A later write was sent but never answered: both outcomes are right.
    HasOr(u64, Option<u64>),
    /// A creation was sent and never answered.
    Unknown,
    Deleted,
}

type Fates = BTreeMap<String, Fate>;

fn object(name: &str, n: u64) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "data": {"n": n.to_string()}}))
        .expect("a ConfigMap")
}

/// Creates, updates and deletes objects of its own until the server is gone.
async fn write(maps: Api<ConfigMap>, prefix: String, acknowledged: Arc<AtomicU64>) -> Fates {
    let mut fates = Fates::new();
    let count = || acknowledged.fetch_add(1, Ordering::Relaxed);
    for i in 0u64.. {
        let name = format!("{prefix}-{i}");
        fates.insert(name.clone(), Fate::Unknown);
        if maps.create(&PostParams::default(), &object(&name, 0)).await.is_err() {
            break;
        }
        count();
        fates.insert(name.clone(), Fate::HasOr(0, Some(i)));
        if maps.replace(&name, &PostParams::default(), &object(&name, i)).await.is_err() {
            break;
        }
        count();
        fates.insert(name.clone(), Fate::Has(i));
        if i % 3 == 0 {
            fates.insert(name.clone(), Fate::HasOr(i, None));
            if maps.delete(&name, &DeleteParams::default()).await.is_err() {
                break;
            }
            count();
            fates.insert(name, Fate::Deleted);
        }
    }
    fates
}

/// What is wrong with the server's objects, given what it had acknowledged.
fn wrong(fates: &Fates, found: &BTreeMap<String, u64>) -> Vec<String> {
    let right = |name: &str, fate: &Fate| match (fate, found.get(name)) {
        (Fate::Unknown, None | Some(0)) | (Fate::Deleted, None) => true,
        (Fate::Has(n), Some(got)) => n == got,
        (Fate::HasOr(n, other), got) => got == Some(n) || got == other.as_ref(),
        _ => false,
    };
    let lost = fates.iter().filter(|(name, fate)| !right(name, fate));
    let mut told: Vec<String> =
        lost.map(|(name, fate)| format!("{name}: {fate:?}, found {:?}", found.get(name))).collect();
    let strange = found.keys().filter(|name| !fates.contains_key(*name));
    told.extend(strange.map(|name| format!("{name}: nobody made it")));
    told
}

#[test]
fn a_lost_write_would_be_noticed() {
    let fates = Fates::from([
        ("has".into(), Fate::Has(3)),
        ("either".into(), Fate::HasOr(3, None)),
        ("gone".into(), Fate::Deleted),
        ("unknown".into(), Fate::Unknown),
    ]);
    let found = |pairs: &[(&str, u64)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    assert_eq!(wrong(&fates, &found(&[("has", 3)])).len(), 0);
    assert_eq!(wrong(&fates, &found(&[("has", 3), ("either", 3), ("unknown", 0)])).len(), 0);
    assert_eq!(wrong(&fates, &found(&[])).len(), 1);
    assert_eq!(wrong(&fates, &found(&[("has", 2), ("gone", 1), ("either", 2), ("new", 0)])).len(), 4);
}

async fn found(maps: &Api<ConfigMap>) -> BTreeMap<String, u64> {
    let list = maps.list(&ListParams::default()).await.expect("the restarted server lists");
    let value = |m: &ConfigMap| m.data.as_ref().and_then(|d| d.get("n")).and_then(|n| n.parse().ok());
    let ours = list.iter().filter(|m| m.name_any() != "kube-root-ca.crt");
    ours.map(|m| (m.name_any(), value(m).expect("a whole object"))).collect()
}

async fn life(cluster: &mut Cluster, round: u64, fates: &mut Fates) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(cluster).await);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let start = |w| tokio::spawn(write(maps.clone(), format!("r{round}-w{w}"), acknowledged.clone()));
    let writers: Vec<_> = (0..WRITERS).map(start).collect();
    eventually("the server acknowledges writes", || match acknowledged.load(Ordering::Relaxed) {
        n if n >= WRITES + 3 * round => Ok(()),
        n => Err(format!("{n} so far")),
    });
    cluster.kill();
    let ended = futures::stream::iter(writers).then(|w| w).collect::<Vec<_>>().await;
    fates.extend(ended.into_iter().flat_map(|f| f.expect("no writer panics")));
}

async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    Client::try_from(config.expect("a whole kubeconfig")).expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut cluster = Cluster::start(Options { api_only: true, ..Options::default() });
    let mut fates = Fates::new();
    for round in 1..=ROUNDS {
        life(&mut cluster, round, &mut fates).await;
        cluster.up();
        let maps = Api::default_namespaced(client(&cluster).await);
        let wrong = wrong(&fates, &found(&maps).await);
        assert!(wrong.is_empty(), "after kill {round}:\n{}", wrong.join("\n"));
    }
    println!("{ROUNDS} kills, {} objects written, none lost", fates.len());
}

/// The container's PID 1 as the machine sees it, with the time at which it started: a process's identity.
fn process(cluster: &Cluster) -> String {
    let script = "for p in $(pgrep -x sleep); do grep -qz MARK=crash /proc/$p/environ && \
                  echo $p $(cut -d' ' -f22 /proc/$p/stat); done";
    cluster.machine().sh(script).stdout
}

#[test]
fn a_container_outlives_the_program() {
    if !is_root("containers over a crash") {
        return;
    }
    let mut cluster = Cluster::start(Options::default());
    cluster.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: survivor}\nspec:\n  containers:\n  - name: main\n    \
         image: coracle.local/host\n    command: [sleep, infinity]\n    env: [{name: MARK, value: crash}]\n",
    );
    cluster.apply(ROLE);
    cluster.apply(ROLE_BINDING);
    cluster.await_ready_pod("survivor");
    let before = process(&cluster);
    assert_eq!(before.lines().count(), 1, "{before}");
    let field = |cluster: &Cluster, path: &str| {
        cluster.kubectl(&["get", "pod", "survivor", "-o", &format!("jsonpath={path}")]).ok()
    };
    let id = "{.metadata.uid} {.status.podIP} {.status.containerStatuses[0].containerID}";
    let identity = field(&cluster, id);
    let read_token = ["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"];
    let token = cluster.exec("survivor", "main", &read_token).ok();

    for _ in 0..3 {
        cluster.kill();
        assert_eq!(process(&cluster), before, "while the program is gone");
        cluster.up();
        cluster.await_ready_pod("survivor");
        let list = eventually("the Pod reaches the API", || {
            let list =
                cluster.exec("survivor", "main", &["bash", "-c", &curl("/api/v1/namespaces/default/pods")]);
            if list.stdout.contains("PodList") { Ok(list.stdout) } else { Err(format!("{list:?}")) }
        });
        assert!(list.contains("survivor"), "{list}");
        // A restarted kubelet asks for a new token, as the reference does; a program may hold the old one still.
        let held =
            curl("/api/v1/namespaces/default/pods").replace(&format!("$({})", read_token.join(" ")), &token);
        assert!(held.contains(&token), "{held}");
        let list = cluster.exec("survivor", "main", &["bash", "-c", &held]).ok();
        assert!(list.contains("PodList"), "{list}");
        assert_eq!(process(&cluster), before, "after the restart");
        assert_eq!(field(&cluster, id), identity);
        assert_eq!(
            field(&cluster, "{.status.containerStatuses[0].restartCount} {.status.phase}"),
            "0 Running"
        );
    }
}
