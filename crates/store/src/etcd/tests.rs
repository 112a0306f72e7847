//! What only a store in etcd promises: several see one history, and it goes on whatever happens to the members.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_testkit_etcd as testkit;
use tokio::net::{TcpListener, TcpStream};

use super::client::Client;
use super::wire::RangeRequest;
use super::*;
use crate::suite::{PATIENCE, say, told};
use crate::{Draft, Expect, Meta, Store};

const A: &str = "/registry/pods/ns/a";
const PODS: &str = "/registry/pods/";

fn options(etcd: &testkit::Etcd) -> EtcdOptions {
    EtcdOptions { endpoints: etcd.endpoints(), compaction: Duration::ZERO, ..EtcdOptions::default() }
}

async fn open(options: &EtcdOptions) -> Store {
    Store::etcd(options, Arc::new(|_, _| Meta::default()), Clock::system()).await.unwrap()
}

fn draft(value: &str) -> Draft {
    let tail = format!(r#"","v":"{value}"}}"#).into_bytes();
    Draft { head: br#"{"rv":""#.to_vec(), tail, ..Draft::default() }
}

async fn put(store: &Store, key: &str, value: &str) -> u64 {
    store.commit(Txn::put(key, Expect::Any, draft(value))).await.unwrap().revision
}

/// A put that is tried until it is known to be done, whoever dies meanwhile.
async fn insist(store: &Store, key: &str, value: &str) -> u64 {
    loop {
        match store.commit(Txn::put(key, Expect::Any, draft(value))).await {
            Ok(done) => return done.revision,
            Err(Error::Unknown(_) | Error::Unavailable(_)) => pause().await,
            Err(other) => panic!("{other}"),
        }
    }
}

async fn pause() {
    Clock::system().sleep(Duration::from_millis(20)).await;
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = Clock::system().timeout(PATIENCE, future).await;
    done.unwrap_or_else(|| panic!("{what} takes longer than {PATIENCE:?}"))
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            pause().await;
        }
    };
    within(what, waiting).await;
}

fn contents(store: &Store) -> BTreeMap<String, bytes::Bytes> {
    store.snapshot().range("", None).map(|v| (v.key.to_string(), v.json.clone())).collect()
}

/// Connections to one member that can be cut, and kept from being made.
struct Cable {
    address: SocketAddr,
    plugged: Arc<AtomicBool>,
    carried: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Cable {
    async fn to(member: &str) -> Cable {
        let member: SocketAddr = member.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (plugged, carried) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<Vec<_>>>::default());
        let (is_plugged, carries) = (plugged.clone(), carried.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if is_plugged.load(Ordering::SeqCst) {
                    let carry = tokio::spawn(async move {
                        let mut far = TcpStream::connect(member).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    });
                    carries.lock().unwrap().push(carry.abort_handle());
                }
            }
        });
        Cable { address, plugged, carried }
    }

    fn unplug(&self) {
        self.plugged.store(false, Ordering::SeqCst);
        self.carried.lock().unwrap().drain(..).for_each(|carry| carry.abort());
    }

    fn plug(&self) {
        self.plugged.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn what_one_store_acknowledged_every_other_shows() {
    let etcd = testkit::Etcd::start();
    let stores = [open(&options(&etcd)).await, open(&options(&etcd)).await, open(&options(&etcd)).await];
    for n in 0..60 {
        let (writer, reader) = (&stores[n % 3], &stores[(n + 1 + n / 3 % 2) % 3]);
        let revision = put(writer, A, &n.to_string()).await;
        reader.sync().await.unwrap();
        assert_eq!(reader.snapshot().get(A).unwrap().revision, revision);
    }
    // A version that this store may not have heard of yet is no conflict.
    let theirs = put(&stores[0], A, "theirs").await;
    let done = stores[1].commit(Txn::update(A, theirs, draft("ours"))).await.unwrap();
    let stale = stores[2].commit(Txn::update(A, theirs, draft("late"))).await;
    assert!(
        matches!(stale, Err(Error::Conflict { current: Some(ref v), .. }) if v.revision == done.revision),
        "{stale:?}"
    );
}

#[tokio::test]
async fn many_readers_share_one_question() {
    let etcd = testkit::Etcd::start();
    let store = open(&options(&etcd)).await;
    let readers: Vec<_> = (0..500)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.sync().await.unwrap() })
        })
        .collect();
    for reader in readers {
        within("a reader", reader).await.unwrap();
    }
}

#[tokio::test]
async fn writes_elsewhere_in_etcd_hold_no_reader_up() {
    let etcd = testkit::Etcd::start();
    let ours = open(&options(&etcd)).await;
    let elsewhere = open(&EtcdOptions { prefix: "/elsewhere".into(), ..options(&etcd) }).await;
    for n in 0..5 {
        let revision = put(&elsewhere, A, &n.to_string()).await;
        within("a read", ours.sync()).await.unwrap();
        assert!(ours.revision() >= revision);
    }
    assert_eq!((contents(&ours).len(), contents(&elsewhere).len()), (0, 1));
}

#[tokio::test]
async fn a_watch_goes_on_over_a_restart_of_etcd() {
    let mut etcd = testkit::Etcd::start();
    let store = open(&options(&etcd)).await;
    let mut watch = store.watch(PODS, store.revision()).unwrap();
    let mut expected = vec![format!("+{A}@{}", put(&store, A, "0").await)];
    for n in 1..4 {
        etcd.kill(0);
        eventually("trouble is noticed", async || store.health().is_err()).await;
        let refused = store.commit(Txn::put(A, Expect::Any, draft("refused"))).await;
        assert!(matches!(refused, Err(Error::Unavailable(_) | Error::Unknown(_))), "{refused:?}");
        assert!(store.snapshot().get(A).is_some(), "what is known can still be read");
        etcd.restart(0);
        expected.push(format!("~{A}@{}", insist(&store, A, &n.to_string()).await));
        eventually("the trouble is over", async || store.health().is_ok()).await;
        within("a read", store.sync()).await.unwrap();
    }
    assert_eq!(told(&mut watch, 4).await, expected);
    assert!(watch.ready(9).unwrap().is_empty());
}

#[tokio::test]
async fn of_three_members_any_may_die() {
    let mut etcd = testkit::Etcd::start_with(testkit::Options { members: 3, ..Default::default() });
    let stores = [open(&options(&etcd)).await, open(&options(&etcd)).await];
    let mut watches: Vec<_> = stores.iter().map(|s| s.watch(PODS, s.revision()).unwrap()).collect();
    let mut last = 0;
    for round in 0..3 {
        etcd.kill(round);
        for n in 0..20 {
            let key = format!("{PODS}ns/{}", n % 7);
            let revision = insist(&stores[n % 2], &key, &format!("{round}-{n}")).await;
            assert!(revision > last, "{revision} after {last}");
            last = revision;
            let other = &stores[(n + 1) % 2];
            eventually("a read", async || other.sync().await.is_ok()).await;
            assert_eq!(other.snapshot().get(&key).unwrap().revision, revision);
        }
        etcd.restart(round);
    }
    assert_eq!(contents(&stores[0]), contents(&stores[1]));
    let histories: Vec<Vec<String>> =
        watches.iter_mut().map(|w| w.ready(1000).unwrap().iter().map(|e| say(e)).collect()).collect();
    assert_eq!(histories[0], histories[1], "both watches told the same");
    let mut once = histories[0].clone();
    once.sort();
    once.dedup();
    assert!(once.len() == histories[0].len() && once.len() >= 60, "{} events", once.len());
}

#[tokio::test]
async fn a_store_that_missed_what_is_compacted_cuts_its_watches_and_goes_on() {
    let etcd = testkit::Etcd::start();
    let cable = Cable::to(&etcd.endpoints()[0]).await;
    let near = open(&options(&etcd)).await;
    let far =
        open(&EtcdOptions { endpoints: vec![format!("http://{}", cable.address)], ..options(&etcd) }).await;
    for key in ["changes", "goes", "stays"] {
        put(&near, &format!("{PODS}ns/{key}"), "1").await;
    }
    far.sync().await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    far.observe(PODS, Box::new(move |event| note.lock().unwrap().push(say(event))));
    seen.lock().unwrap().clear();
    let mut watch = far.watch(PODS, far.revision()).unwrap();
    cable.unplug();
    eventually("the cut is noticed", async || far.health().is_err()).await;
    let changed = put(&near, &format!("{PODS}ns/changes"), "2").await;
    near.commit(Txn::delete(format!("{PODS}ns/goes"), Expect::Any)).await.unwrap();
    let made = put(&near, &format!("{PODS}ns/made"), "1").await;
    let client = Client::new(&options(&etcd)).unwrap();
    client.compact(near.revision() as i64).await.unwrap();
    cable.plug();
    let cut = within("the watch is cut", watch.next()).await;
    assert!(matches!(cut, Err(Error::Slow)), "{cut:?}");
    far.sync().await.unwrap();
    assert_eq!(contents(&far), contents(&near));
    // Observers cannot list anew, so they are told the difference.
    let mut expected = vec![
        format!("~{PODS}ns/changes@{changed}"),
        format!("+{PODS}ns/made@{made}"),
        format!("-{PODS}ns/goes@{made}"),
    ];
    let mut observed = seen.lock().unwrap().clone();
    observed.sort();
    expected.sort();
    assert_eq!(observed, expected);
    assert!(
        matches!(far.watch(PODS, changed), Err(Error::Compacted { .. })),
        "the gap cannot be resumed from"
    );
    let mut watch = far.watch(PODS, far.revision()).unwrap();
    let next = put(&near, A, "1").await;
    assert_eq!(told(&mut watch, 1).await, [format!("+{A}@{next}")]);
}

#[tokio::test]
async fn an_emptied_etcd_stops_writes() {
    let mut etcd = testkit::Etcd::start();
    let store = open(&options(&etcd)).await;
    put(&store, A, "1").await;
    etcd.kill(0);
    etcd.forget(0);
    etcd.restart(0);
    eventually("the store halts", async || matches!(store.health(), Err(Error::Halted(_)))).await;
    let refused = store.commit(Txn::put(A, Expect::Any, draft("2"))).await;
    assert!(matches!(refused, Err(Error::Halted(_))), "{refused:?}");
}

#[tokio::test]
async fn values_of_others_are_named_and_left_alone() {
    let etcd = testkit::Etcd::start();
    let store = open(&options(&etcd)).await;
    let client = Client::new(&options(&etcd)).unwrap();
    let mut watch = store.watch(PODS, store.revision()).unwrap();
    client.put(A.into(), "k8s\0\n".into()).await.unwrap();
    let next = put(&store, &format!("{A}a"), "1").await;
    assert_eq!(told(&mut watch, 1).await, [format!("+{A}a@{next}")], "the others' is not told");
    let refused = store.commit(Txn::create(A, draft("1"))).await.unwrap_err().to_string();
    assert!(refused.contains(A) && refused.contains("kube-apiserver"), "{refused}");
    let closed = Store::etcd(&options(&etcd), Arc::new(|_, _| Meta::default()), Clock::system()).await;
    let why = closed.unwrap_err().to_string();
    assert!(why.contains(A) && why.contains("prefix"), "{why}");
    let header = client.range(RangeRequest { key: A.into(), ..Default::default() }).await.unwrap();
    assert_eq!(header.kvs[0].value, "k8s\0\n", "nobody has touched it");
}

#[tokio::test]
async fn what_has_a_time_to_live_goes_by_itself() {
    let etcd = testkit::Etcd::start();
    let store = open(&options(&etcd)).await;
    let short = Meta { ttl: Some(Duration::from_secs(1)), ..Meta::default() };
    let mut watch = store.watch(PODS, store.revision()).unwrap();
    let lived =
        store.commit(Txn::create(A, Draft { meta: Arc::new(short), ..draft("1") })).await.unwrap().revision;
    assert_eq!(told(&mut watch, 2).await, [format!("+{A}@{lived}"), format!("-{A}@{}", lived + 1)]);
    assert!(contents(&store).is_empty());
}

#[tokio::test]
async fn objects_written_together_share_a_lease() {
    let etcd = testkit::Etcd::start();
    let options = options(&etcd);
    let meta: MetaOf = Arc::new(|_, _| Meta::default());
    let remote = Remote { client: Client::new(&options).unwrap(), names: Names::new("/registry"), meta };
    let leases = Leases::default();
    let hour = Duration::from_secs(3600);
    let first = leases.get(&remote, hour).await.unwrap();
    for _ in 1..1000 {
        assert_eq!(leases.get(&remote, hour).await.unwrap(), first);
    }
    assert_ne!(leases.get(&remote, hour).await.unwrap(), first, "a thousand fill it");
    assert_ne!(leases.get(&remote, hour * 2).await.unwrap(), first, "another time, another lease");
}

#[tokio::test]
async fn one_of_several_servers_compacts() {
    let etcd = testkit::Etcd::start();
    let interval = Duration::from_secs(300);
    let (one, two) = (Clock::stepped(Default::default()), Clock::stepped(Default::default()));
    let mut stores = Vec::new();
    for clock in [&one, &two] {
        let options = EtcdOptions { compaction: interval, ..options(&etcd) };
        stores.push(Store::etcd(&options, Arc::new(|_, _| Meta::default()), clock.clone()).await.unwrap());
    }
    let client = Client::new(&options(&etcd)).unwrap();
    let old = put(&stores[0], A, "1").await;
    put(&stores[0], A, "2").await;
    let count = async || {
        let read = client.range(RangeRequest { key: "compact_rev_key".into(), ..Default::default() }).await;
        read.unwrap().kvs.first().map_or(0, |kv| kv.version)
    };
    // Each interval is over for both at about the same time, and counted once.
    for round in 1..4 {
        one.advance(interval);
        eventually("a round", async || count().await == round).await;
        two.advance(interval);
        // Both look at the clock again by then.
        Clock::system().sleep(Duration::from_millis(500)).await;
        assert_eq!(count().await, round, "the second was too late");
    }
    let gone = client
        .range(RangeRequest { key: A.into(), revision: old as i64, ..Default::default() })
        .await
        .unwrap_err();
    assert!(gone.to_string().contains("compacted"), "{gone}");
    assert_eq!(stores[0].at(old).unwrap().get(A).unwrap().revision, old, "our own history is not etcd's");
}

#[tokio::test]
async fn a_write_without_an_answer_is_said_to_be_unknown() {
    let etcd = testkit::Etcd::start();
    let store = open(&options(&etcd)).await;
    put(&store, A, "1").await;
    etcd.freeze(0);
    let silent = within("a write", store.commit(Txn::create(format!("{A}a"), draft("1")))).await;
    assert!(matches!(silent, Err(Error::Unknown(_))), "{silent:?}");
    let unread = within("a read", store.sync()).await;
    assert!(matches!(unread, Err(Error::Unavailable(_))), "{unread:?}");
    etcd.thaw(0);
    // It was done, is done by the member that only now reads it, or never will be: either way there is one object.
    eventually("a read", async || store.sync().await.is_ok()).await;
    let done = store.snapshot().get(&format!("{A}a")).is_some();
    let again = store.commit(Txn::create(format!("{A}a"), draft("2"))).await;
    assert!(matches!(again, Err(Error::Conflict { .. }) | Ok(_)), "{again:?}");
    assert!(!done || again.is_err(), "created twice: {again:?}");
    let kept = store.snapshot().get(&format!("{A}a")).expect("one of the two was done");
    let expected = if again.is_ok() { "2" } else { "1" };
    assert_eq!(kept.json, crate::Version::assemble(kept.key.clone(), kept.revision, draft(expected)).json);
}

/// An authority, and one certificate by it that is good for members and clients on this machine.
fn keys() -> [String; 3] {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let mut leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    [authority_pem, leaf.pem(), key.serialize_pem()]
}

#[tokio::test]
async fn over_tls_both_sides_show_who_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let [authority, certificate, key] = keys();
    let file = |name: &str, pem: &str| {
        std::fs::write(dir.path().join(name), pem).unwrap();
        dir.path().join(name)
    };
    let tls = (file("ca", &authority), file("crt", &certificate), file("key", &key));
    let etcd = testkit::Etcd::start_with(testkit::Options { tls: Some(tls), ..Default::default() });
    let identity = Some((certificate.into_bytes(), key.into_bytes()));
    let good = EtcdOptions { ca: Some(authority.into_bytes()), identity, ..options(&etcd) };
    let store = open(&good).await;
    let revision = put(&store, A, "1").await;
    store.sync().await.unwrap();
    assert_eq!(store.snapshot().get(A).unwrap().revision, revision);
    let [stranger, ..] = keys();
    for bad in [
        EtcdOptions { identity: None, ..good.clone() },
        EtcdOptions { ca: Some(stranger.into_bytes()), ..good.clone() },
        EtcdOptions { ca: None, ..good.clone() },
    ] {
        let refused = Store::etcd(&bad, Arc::new(|_, _| Meta::default()), Clock::system()).await;
        assert!(refused.is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_said_so() {
    let options = EtcdOptions { endpoints: vec!["http://127.0.0.1:1".into()], ..EtcdOptions::default() };
    let refused = Store::etcd(&options, Arc::new(|_, _| Meta::default()), Clock::system()).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.starts_with("etcd at http://127.0.0.1:1: ") && why.contains("refused"), "{why}");
}
