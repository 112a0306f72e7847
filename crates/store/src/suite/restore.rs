//! Going back to a snapshot on a live store: what becomes of the state, of revisions and of those who watch.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const PODS: &str = "/registry/pods/ns/";

/// A new value of the same object.
fn same(uid: &str, value: &str) -> Draft {
    Draft { meta: Arc::new(Meta { uid: uid.into(), ..meta(value) }), ..draft(value) }
}

fn state(snapshot: &Snapshot) -> BTreeMap<String, String> {
    snapshot.range("", None).map(|v| (v.key.to_string(), value_of(&v.json))).collect()
}

async fn all(sut: &Sut, txns: impl IntoIterator<Item = Txn>) -> u64 {
    for txn in txns {
        sut.store.commit(txn).await.unwrap();
    }
    sut.store.revision()
}

fn put(name: &str, uid: &str, value: &str) -> Txn {
    Txn::put(format!("{PODS}{name}"), Expect::Any, same(uid, value))
}

async fn a_restored_state_comes_as_events(sut: Sut) {
    let since =
        all(&sut, ["changed", "deleted", "kept", "replaced"].map(|name| put(name, name, "old"))).await;
    let old = sut.store.snapshot();
    let now = [
        put("changed", "changed", "new"),
        Txn::delete(format!("{PODS}deleted"), Expect::Any),
        put("made", "made", "new"),
        put("replaced", "another", "new"),
    ];
    let before = all(&sut, now).await;
    let mut watch = sut.watch(PODS, before);
    let done = sut.store.restore(&old).await.unwrap();
    assert_eq!((before, done.revision), (since + 4, since + 9));
    let events = told(&mut watch, 5).await;
    // A revision each, so that a watch may be resumed between any two.
    let expected = ["-made@10", "-replaced@11", "~changed@12", "+deleted@13", "+replaced@14"];
    assert_eq!(events, expected.map(|e| format!("{}{PODS}{}", &e[..1], &e[1..])));
    let present = sut.store.snapshot();
    assert_eq!(state(&present), state(&old));
    let revisions = |s: &Snapshot| s.range(PODS, None).map(|v| v.revision).collect::<Vec<_>>();
    assert_eq!(revisions(&present), [12, 13, 4, 14], "what was the same is untouched");
    assert_eq!(present.get(&format!("{PODS}changed")).unwrap().json, json(12, "old").as_bytes());
}

async fn nothing_to_restore_is_no_event(sut: Sut) {
    all(&sut, [put("a", "a", "1")]).await;
    let done = sut.store.restore(&sut.store.snapshot()).await.unwrap();
    assert_eq!((done.revision, done.events.len()), (2, 0));
}

async fn a_stale_write_after_a_restore_is_refused(sut: Sut) {
    let first = all(&sut, [put("a", "a", "1")]).await;
    let old = sut.store.snapshot();
    let second = all(&sut, [put("a", "a", "2")]).await;
    sut.store.restore(&old).await.unwrap();
    for revision in [first, second] {
        let refused = sut.update(&format!("{PODS}a"), revision, "3").await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{revision}: {refused:?}");
    }
}

async fn a_state_of_a_later_revision_sends_everybody_back_to_the_list(sut: Sut) {
    let elsewhere = Sut::memory().await;
    for n in 0..40 {
        all(&elsewhere, [put("a", "a", &n.to_string())]).await;
    }
    let before = all(&sut, [put("b", "b", "1")]).await;
    let mut live = sut.watch(PODS, before);
    let done = sut.store.restore(&elsewhere.store.snapshot()).await.unwrap();
    assert!(done.revision > 41 + 1_000_000_000, "{}", done.revision);
    let (gone, made) = (done.revision - 1, done.revision);
    assert_eq!(told(&mut live, 2).await, [format!("-{PODS}b@{gone}"), format!("+{PODS}a@{made}")]);
    for lost in [before, 41, gone] {
        assert!(matches!(sut.store.watch(PODS, lost), Err(Error::Compacted { .. })), "{lost}");
        assert!(matches!(sut.store.at(lost), Err(Error::Compacted { .. })), "{lost}");
    }
    assert_eq!(told_after(&sut, made).await, [format!("~{PODS}a@{}", made + 1)]);
}

async fn told_after(sut: &Sut, revision: u64) -> Vec<String> {
    let mut watch = sut.watch(PODS, revision);
    all(sut, [put("a", "a", "after")]).await;
    told(&mut watch, 1).await
}

on_every_log_of_our_own! {
    a_restored_state_comes_as_events
    nothing_to_restore_is_no_event
    a_stale_write_after_a_restore_is_refused
    a_state_of_a_later_revision_sends_everybody_back_to_the_list
}

fn txns() -> impl Strategy<Value = Vec<Txn>> {
    let op = (0..40_u8, 0..3_u8, prop::option::of(0..4_u8)).prop_map(|(name, uid, value)| match value {
        Some(value) => put(&name.to_string(), &uid.to_string(), &value.to_string()),
        None => Txn::delete(format!("{PODS}{name}"), Expect::Any),
    });
    prop::collection::vec(op, 0..80)
}

/// What a client makes of the events that it is told.
fn follow(mut state: BTreeMap<String, String>, events: &[Arc<Event>]) -> BTreeMap<String, String> {
    let mut last = (0, String::new());
    for event in events {
        let at = (event.revision, event.key.to_string());
        assert!(at.0 > last.0, "{at:?} after {last:?}");
        let had = state.contains_key(&at.1);
        assert_eq!(had, event.prev.is_some(), "{at:?}");
        match &event.now {
            Some(now) => drop(state.insert(at.1.clone(), value_of(&now.json))),
            None => drop(state.remove(&at.1)),
        }
        last = at;
    }
    state
}

/// Go back past `since`, and check what everybody is told. The snapshot that was gone back to.
async fn undo(sut: &Sut, before: Vec<Txn>, since: Vec<Txn>) -> Snapshot {
    all(sut, before).await;
    let old = sut.store.snapshot();
    all(sut, since).await;
    let left = sut.store.snapshot();
    let done = sut.store.restore(&old).await.unwrap();
    assert_eq!(follow(state(&left), &done.events), state(&old));
    let present = sut.store.snapshot();
    assert_eq!(state(&present), state(&old));
    assert!(present.revision >= left.revision && present.revision == done.revision);
    old
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work);
}

proptest! {
    #[test]
    fn whatever_happened_since_is_undone(before in txns(), since in txns()) {
        block_on(async { drop(undo(&Sut::memory().await, before, since).await) });
    }
}

proptest! {
    // Each case waits for the disk a hundred times.
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn what_is_undone_stays_undone(before in txns(), since in txns()) {
        block_on(async {
            let sut = Sut::embedded().await;
            let old = undo(&sut, before, since).await;
            let (revision, dir) = (sut.store.revision(), sut._dir.unwrap());
            drop(sut.store);
            let again = Store::open(dir.path().join("data"), meta_of()).await.unwrap();
            assert_eq!((state(&again.snapshot()), again.revision()), (state(&old), revision));
        });
    }
}
