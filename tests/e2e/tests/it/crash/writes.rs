//! The API server killed under concurrent writes: no acknowledged write is lost, and revisions never go back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_testkit::{Cluster, Options, eventually, stopwatch};
use coracle_testkit_etcd::Etcd;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::task::JoinHandle;

use super::moment;

/// How often something is killed, and in full, as `CORACLE_FULL` asks for.
const KILLS: (u32, u32) = (30, 200);
/// Before one in so many kills of a server on an etcd, the etcd is killed under it and comes back.
const ETCD_EVERY: u32 = 2;
/// How long the writers go on after that.
const AFTER_ETCD: Duration = Duration::from_millis(300);
const OBJECTS: u32 = 10_000;
const WRITERS: u32 = 8;
const UNDER_LOAD: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Acknowledged writes a second, without which a kill proves nothing: etcd's robustness tests ask for as many.
const LEAST_RATE: f64 = 100.0;
/// Kills under less load are repeated, but not for ever.
const VOID_MAX: u32 = 20;
/// From the start of the program to `/readyz`. Held in the full run alone, which is of a release build on a quiet machine;
/// the short one says what it took.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// The key in each ConfigMap's data whose value only grows.
const VALUE: &str = "value";
/// Of each writer's steps, one in so many makes a new object, and one in so many deletes one; others update. The number
/// of objects stays about the same.
const CREATE_EVERY: u64 = 11;
const DELETE_EVERY: u64 = 13;

/// What a writer knows about one object.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The last value that was sent, acknowledged or not.
    sent: u64,
    /// The last acknowledged value and its revision.
    acknowledged: Option<(u64, u64)>,
    delete_sent: bool,
    deleted: bool,
}

/// All that was ever sent and acknowledged.
#[derive(Debug, Default)]
struct Ledger {
    objects: BTreeMap<String, Known>,
    /// Revision → who got it. One revision is one write's alone.
    revisions: BTreeMap<u64, String>,
    /// The highest revision that any answer named.
    highest: u64,
}

impl Ledger {
    fn acknowledge(&mut self, name: &str, value: u64, revision: u64) {
        let what = format!("{name}={value}");
        if let Some(other) = self.revisions.insert(revision, what.clone()) {
            assert_eq!(other, what, "revision {revision} was given twice");
        }
        self.highest = self.highest.max(revision);
        let known = self.objects.entry(name.to_owned()).or_default();
        assert!(
            known.acknowledged.is_none_or(|(_, earlier)| earlier < revision),
            "{name} went back to {revision}"
        );
        known.acknowledged = Some((value, revision));
    }
}

type Shared = Arc<Mutex<Ledger>>;

fn revision(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).expect("a revision")
}

fn value(map: &ConfigMap) -> u64 {
    let data = map.data.as_ref().expect("data");
    data[VALUE].parse().expect("a number")
}

fn config_map(name: &str, value: u64) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([(VALUE.to_owned(), value.to_string())].into()),
        ..ConfigMap::default()
    }
}

/// A connection of its own, over TLS, as the admin.
async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await.expect("the kubeconfig is whole");
    Client::try_from(config).expect("a client")
}

struct Writer {
    number: u32,
    round: u32,
    maps: Api<ConfigMap>,
    ledger: Shared,
    mine: Vec<String>,
    on_etcd: bool,
}

impl Writer {
    /// Write until an answer fails to come.
    async fn run(mut self) -> u64 {
        let mut step = 0;
        loop {
            step += 1;
            let done = if step % DELETE_EVERY == 0 {
                self.delete().await
            } else if self.mine.is_empty() || step % CREATE_EVERY == 0 {
                self.create(step).await
            } else {
                self.update(step).await
            };
            match done {
                Ok(()) => {}
                // What the server stands on was killed; whether the write was done is open.
                Err(kube::Error::Api(status)) if self.on_etcd && status.code >= 500 => {}
                // The server has answered, so it is not that it was killed.
                Err(kube::Error::Api(status)) => panic!("writer {}: {status:?}", self.number),
                Err(_) => return step,
            }
        }
    }

    fn note(&self, name: &str, write: impl FnOnce(&mut Known) -> u64) -> u64 {
        write(self.ledger.lock().expect("no writer has panicked").objects.entry(name.to_owned()).or_default())
    }

    async fn create(&mut self, step: u64) -> kube::Result<()> {
        let name = format!("m-{}-{}-{step}", self.round, self.number);
        self.note(&name, |known| {
            known.sent = 1;
            1
        });
        let made = match self.maps.create(&PostParams::default(), &config_map(&name, 1)).await {
            // As of a deletion: found done, at a revision that nobody was told.
            Err(kube::Error::Api(status)) if self.on_etcd && status.code == 409 => return Ok(()),
            made => made?,
        };
        self.ledger.lock().expect("no writer has panicked").acknowledge(
            &name,
            value(&made),
            revision(&made.metadata),
        );
        self.mine.push(name);
        Ok(())
    }

    async fn update(&mut self, step: u64) -> kube::Result<()> {
        let name = self.mine[usize::try_from(step).expect("few steps") * 7 % self.mine.len()].clone();
        let next = self.note(&name, |known| {
            known.sent += 1;
            known.sent
        });
        let made = self.maps.replace(&name, &PostParams::default(), &config_map(&name, next)).await?;
        assert_eq!(value(&made), next);
        self.ledger.lock().expect("no writer has panicked").acknowledge(
            &name,
            next,
            revision(&made.metadata),
        );
        Ok(())
    }

    async fn delete(&mut self) -> kube::Result<()> {
        let Some(name) = self.mine.pop() else { return Ok(()) };
        self.note(&name, |known| {
            known.delete_sent = true;
            0
        });
        match self.maps.delete(&name, &DeleteParams::default()).await {
            // The client tries again where it is told that the outcome is open, and then finds its own work done.
            Err(kube::Error::Api(status)) if self.on_etcd && status.code == 404 => {}
            done => drop(done?),
        }
        self.note(&name, |known| {
            known.deleted = true;
            0
        });
        Ok(())
    }
}

/// Load the cluster until it is killed; each writer tells how many steps it took.
async fn load(kubeconfig: &Path, round: u32, ledger: &Shared, on_etcd: bool) -> Vec<JoinHandle<u64>> {
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let maps = Api::default_namespaced(client(kubeconfig).await);
        // Objects of earlier rounds are written too, by the writer that made them.
        let ending = |name: &str| name.split('-').nth(2) == Some(&number.to_string());
        let mine = {
            let ledger = ledger.lock().expect("no writer has panicked");
            let usable = |known: &Known| known.acknowledged.is_some() && !known.delete_sent;
            ledger
                .objects
                .iter()
                .filter(|(name, known)| ending(name) && usable(known))
                .map(|(n, _)| n.clone())
                .collect()
        };
        let writer = Writer { number, round, maps, ledger: ledger.clone(), mine, on_etcd };
        writers.push(tokio::spawn(writer.run()));
    }
    writers
}

/// What the API has, by name: value and revision; and the revision of the whole list.
async fn list(kubeconfig: &Path) -> (BTreeMap<String, (u64, u64)>, u64) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(kubeconfig).await);
    let list = maps.list(&ListParams::default()).await.expect("the list after the restart");
    let at =
        list.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).expect("a revision");
    let named = list.items.iter().filter_map(|map| Some((map.metadata.name.clone()?, map)));
    let ours = named.filter(|(name, _)| name.starts_with("m-"));
    (ours.map(|(name, map)| (name, (value(map), revision(&map.metadata)))).collect(), at)
}

/// Everything acknowledged is there, nothing that nobody sent is, and no revision has been used twice.
fn check(found: &BTreeMap<String, (u64, u64)>, at: u64, ledger: &mut Ledger) {
    assert!(at >= ledger.highest, "revision {at} after {}", ledger.highest);
    ledger.highest = at;
    let distinct: BTreeSet<u64> = found.values().map(|(_, revision)| *revision).collect();
    assert_eq!(distinct.len(), found.len(), "two objects share a revision");
    assert!(distinct.last().is_none_or(|last| *last <= at), "an object is newer than its list");
    for name in found.keys() {
        assert!(ledger.objects.contains_key(name), "nobody made {name}");
    }
    let names: Vec<String> = ledger.objects.keys().cloned().collect();
    for name in names {
        check_object(&name, found.get(&name).copied(), ledger);
    }
}

fn check_object(name: &str, found: Option<(u64, u64)>, ledger: &mut Ledger) {
    let known = ledger.objects.get_mut(name).expect("it is known");
    let Some((value, revision)) = found else {
        assert!(known.delete_sent || known.acknowledged.is_none(), "{name} is lost, {known:?}");
        ledger.objects.remove(name);
        return;
    };
    assert!(!known.deleted, "{name} is back, its deletion was acknowledged");
    assert!(value <= known.sent, "{name} is {value}, {known:?}");
    // The deletion was not done, and will not be.
    known.delete_sent = false;
    if let Some((acknowledged, at)) = known.acknowledged {
        let same = value == acknowledged && revision == at;
        let later = value > acknowledged && revision > at;
        assert!(same || later, "{name} is {value} at {revision}, {known:?}");
    }
    if known.acknowledged != Some((value, revision)) {
        ledger.acknowledge(name, value, revision);
    }
}

/// That the check can fail: each of these it must find.
#[test]
fn a_lost_write_would_be_noticed() {
    let ledger = || {
        let mut ledger = Ledger::default();
        ledger.acknowledge("m-a", 3, 10);
        ledger.acknowledge("m-b", 1, 11);
        ledger.objects.entry("m-a".to_owned()).or_default().sent = 4;
        ledger.objects.entry("m-b".to_owned()).or_default().deleted = true;
        ledger.objects.entry("m-b".to_owned()).or_default().delete_sent = true;
        ledger
    };
    let passes = |found: &[(&str, (u64, u64))], at: u64| {
        let found = found.iter().map(|(name, what)| ((*name).to_owned(), *what)).collect();
        std::panic::catch_unwind(|| check(&found, at, &mut ledger())).is_ok()
    };
    assert!(passes(&[("m-a", (3, 10))], 12), "the last acknowledged value");
    assert!(passes(&[("m-a", (4, 12))], 12), "a later one that was sent");
    for (what, found, at) in [
        ("lost", &[][..], 12),
        ("older", &[("m-a", (2, 9))], 12),
        ("never sent", &[("m-a", (5, 12))], 12),
        ("another revision", &[("m-a", (3, 12))], 12),
        ("the list went back", &[("m-a", (3, 10))], 10),
        ("newer than its list", &[("m-a", (4, 13))], 12),
        ("a revision of another", &[("m-a", (4, 11))], 12),
        ("deleted", &[("m-a", (3, 10)), ("m-b", (1, 11))], 12),
        ("nobody's", &[("m-a", (3, 10)), ("m-c", (1, 12))], 12),
        ("two with one", &[("m-a", (4, 12)), ("m-c", (1, 12))], 12),
    ] {
        assert!(!passes(found, at), "{what} was not noticed");
    }
}

/// Make the objects that are there from the beginning.
async fn fill(kubeconfig: &Path, ledger: &Shared) {
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let maps = Api::default_namespaced(client(kubeconfig).await);
        let (ledger, mine) = (ledger.clone(), Vec::new());
        let mut writer = Writer { number, round: 0, maps, ledger, mine, on_etcd: false };
        writers.push(tokio::spawn(async move {
            for step in 0..u64::from(OBJECTS / WRITERS) {
                writer.create(step).await.expect("nothing is killed yet");
            }
        }));
    }
    for writer in writers {
        writer.await.expect("the objects are made");
    }
}

fn acknowledged(ledger: &Shared) -> Result<usize, String> {
    Ok(ledger.lock().map_err(|_| "a writer has panicked".to_owned())?.revisions.len())
}

/// A server and what it stands on.
struct Stage {
    cluster: Cluster,
    etcd: Option<Etcd>,
    ledger: Shared,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    /// A server that keeps its objects in a file, or in the etcd; filled.
    fn set(etcd: Option<Etcd>) -> Stage {
        // Fails only where a provider is installed already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let store = |etcd: &Etcd| vec!["--store".to_owned(), format!("etcd={}", etcd.endpoints().join(","))];
        let flags = etcd.as_ref().map(store).unwrap_or_default();
        let cluster =
            Cluster::start(Options { api_only: true, same_port: true, flags, ..Options::default() });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let ledger = Shared::default();
        runtime.block_on(fill(&cluster.kubeconfig(), &ledger));
        Stage { cluster, etcd, ledger, runtime }
    }

    /// Load the cluster and kill: how many steps were taken, and how many writes were acknowledged a second before it.
    fn kill_under_load(&mut self, round: u32) -> (u64, f64) {
        let ledger = &self.ledger;
        let kubeconfig = self.cluster.kubeconfig();
        let writers = self.runtime.block_on(load(&kubeconfig, round, ledger, self.etcd.is_some()));
        let before = acknowledged(ledger).expect("no writer has panicked");
        eventually("the first write is acknowledged", || {
            let now = acknowledged(ledger)?;
            if now > before { Ok(()) } else { Err(format!("{now} in all")) }
        });
        let (first, start) = (acknowledged(ledger).expect("no writer has panicked"), stopwatch());
        std::thread::sleep(moment(round, UNDER_LOAD.0, UNDER_LOAD.1));
        let (last, took) = (acknowledged(ledger).expect("no writer has panicked"), start.elapsed());
        if let Some(etcd) = self.etcd.as_mut().filter(|_| round.is_multiple_of(ETCD_EVERY)) {
            etcd.restart(0);
            std::thread::sleep(AFTER_ETCD);
        }
        self.cluster.kill();
        let mut steps = 0;
        for writer in writers {
            steps += self.runtime.block_on(writer).expect("no answer was wrong");
        }
        (steps, (last - first) as f64 / took.as_secs_f64())
    }

    /// Start again: how long until `/readyz` says so.
    fn ready_again(&mut self) -> Duration {
        let asking = self.runtime.block_on(client(&self.cluster.kubeconfig()));
        let start = stopwatch();
        self.cluster.begin();
        loop {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            if self.runtime.block_on(asking.request_text(request)).is_ok_and(|said| said == "ok") {
                return start.elapsed();
            }
            assert!(start.elapsed() < coracle_testkit::PATIENCE, "not ready again\n{}", self.cluster.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kill, start and look until that has been done often enough.
    fn play(mut self, what: &str) {
        let is_full = std::env::var_os("CORACLE_FULL").is_some();
        let kills = if is_full { KILLS.1 } else { KILLS.0 };
        let (mut steps, mut rates, mut readies, mut void) = (0, Vec::new(), Vec::new(), 0);
        let mut round = 0;
        while rates.len() < kills as usize {
            round += 1;
            let (taken, rate) = self.kill_under_load(round);
            let ready = self.ready_again();
            let (found, at) = self.runtime.block_on(list(&self.cluster.kubeconfig()));
            println!(
                "kill {round}: at {rate:.0} writes/s, ready again after {ready:.0?}: {} objects at {at}",
                found.len()
            );
            check(&found, at, &mut self.ledger.lock().expect("no writer has panicked"));
            steps += taken;
            readies.push(ready);
            if rate < LEAST_RATE {
                void += 1;
                assert!(void < VOID_MAX, "there is no load: {rate} writes a second");
            } else {
                rates.push(rate);
            }
        }
        readies.sort_unstable();
        rates.sort_unstable_by(f64::total_cmp);
        let (median, worst) = (readies[readies.len() / 2], readies[readies.len() - 1]);
        println!(
            "crash test on {what}: {kills} kills at {:.0} to {:.0} writes/s ({void} void), {steps} writes, {OBJECTS} \
             objects, revision {}: no write lost, no revision repeated; the server ready again after {median:.0?} \
             (median), {worst:.0?} (worst)",
            rates[0],
            rates[rates.len() - 1],
            self.ledger.lock().expect("no writer has panicked").highest
        );
        assert!(!is_full || worst <= READY_WITHIN, "ready again only after {worst:?}");
    }
}

#[test]
fn no_acknowledged_write_is_lost() {
    Stage::set(None).play("the embedded log");
}

#[test]
fn no_acknowledged_write_is_lost_on_etcd() {
    Stage::set(Some(Etcd::start())).play("etcd, killed before every second of them");
}
