//! The correctness bugs that etcd's robustness tests found, or would have: a named test for each, on every log.

use super::*;

on_every_log! {
    a_watcher_that_starves_loses_no_event
    a_deletion_right_at_a_compaction_is_told
    a_watch_from_the_compaction_revision_is_told_the_deletion_after_it
    a_watch_of_a_future_revision_is_told_nothing_old
    no_event_is_told_twice
    progress_is_never_ahead_of_events
}

const A: &str = "/registry/pods/ns/a";
const PODS: &str = "/registry/pods/";

/// "Watch events lost during stream starvation", etcd #17529: a watcher too slow for its stream missed events without
/// being told. Here it reads all of them late, or is cut and says so.
async fn a_watcher_that_starves_loses_no_event(sut: Sut) {
    let mut starving = sut.watch(PODS, sut.store.revision());
    let mut cut = sut.watch(PODS, sut.store.revision());
    let mut made = Vec::new();
    for n in 0..200 {
        made.push(format!("+{A}{n}@{}", sut.create(&format!("{A}{n}"), &"x".repeat(2_000)).await));
    }
    assert_eq!(told(&mut starving, 200).await, made);
    assert_eq!(cut.ready(50).unwrap().len(), 50);
    sut.store.compact(sut.store.revision());
    assert!(matches!(cut.ready(50), Err(Error::Slow)), "events 51 to 200 are gone, and it says so");
}

/// "Watch dropping an event when compacting on delete", etcd #18089: compacting up to the revision of a deletion lost
/// that deletion for who watched from right before it.
async fn a_deletion_right_at_a_compaction_is_told(sut: Sut) {
    sut.create(A, "1").await;
    let before = sut.store.revision();
    let mut open = sut.watch(PODS, before);
    let deleted = sut.delete(A).await;
    assert_eq!(told(&mut open, 1).await, [format!("-{A}@{deleted}")]);
    let mut late = sut.watch(PODS, before);
    sut.store.compact(deleted);
    let read = late.ready(1);
    assert!(matches!(read, Err(Error::Slow)), "told of it or told that it missed it: {read:?}");
    assert!(matches!(sut.store.watch(PODS, before), Err(Error::Compacted { .. })));
    assert_silent(&mut sut.watch(PODS, deleted));
    assert!(sut.store.at(deleted).unwrap().get(A).is_none());
}

/// "Missing delete event when watch opens at the compaction revision", etcd #19179.
async fn a_watch_from_the_compaction_revision_is_told_the_deletion_after_it(sut: Sut) {
    let created = sut.create(A, "1").await;
    let deleted = sut.delete(A).await;
    sut.create("/registry/pods/ns/b", "1").await;
    sut.store.compact(created);
    let mut watch = sut.watch(PODS, created);
    assert_eq!(told(&mut watch, 1).await, [format!("-{A}@{deleted}")]);
    // The same of one key, and with the object that was deleted still told whole.
    let event = sut.watch(A, created).next().await.unwrap();
    assert_eq!(*event.object(), json(deleted, "1"));
}

/// "Future-revision watch returns old events", etcd #20221: here there is no such watch, and one at the present is told
/// what is new alone.
async fn a_watch_of_a_future_revision_is_told_nothing_old(sut: Sut) {
    for n in 0..5 {
        sut.put(A, &n.to_string()).await;
    }
    let present = sut.store.revision();
    for ahead in [1, 2, 100, u64::MAX - present] {
        let refused = sut.store.watch(PODS, present + ahead);
        assert!(matches!(refused, Err(Error::Future { .. })), "{ahead}: {refused:?}");
    }
    let mut watch = sut.watch(PODS, present);
    assert_silent(&mut watch);
    let next = sut.put(A, "new").await;
    assert_eq!(told(&mut watch, 1).await, [format!("~{A}@{next}")]);
}

/// "Duplicate event", etcd #17247: a watcher that fell behind and caught up was told an event by both of its streams.
async fn no_event_is_told_twice(sut: Sut) {
    let start = sut.store.revision();
    let mut open = sut.watch(PODS, start);
    let (mut made, mut seen) = (Vec::new(), 0);
    for n in 0..60 {
        made.push(format!("{}{A}@{}", if n == 0 { '+' } else { '~' }, sut.put(A, &n.to_string()).await));
        if n % 7 == 0 {
            seen += open.ready(3).unwrap().len();
            // Others that open in the middle of it make and share its queue.
            let mut other = sut.watch(PODS, start);
            assert_eq!(told(&mut other, n + 1).await, made);
            assert_silent(&mut other);
        }
    }
    assert_eq!(told(&mut open, 60 - seen).await, made[seen..]);
    assert_silent(&mut open);
}

/// "Progress notify ahead of events", etcd #15220: a bookmark said a revision whose events were yet to be told.
async fn progress_is_never_ahead_of_events(sut: Sut) {
    let mut watch = sut.watch(PODS, sut.store.revision());
    let store = sut.store.clone();
    let writing = tokio::spawn(async move {
        for n in 0..150 {
            let key = if n % 3 == 0 { "/registry/nodes/n" } else { A };
            store.commit(Txn::put(key, Expect::Any, draft(&n.to_string()))).await.unwrap();
        }
    });
    let (mut last, mut events, mut marks) = (0, 0, 0);
    while events < 100 {
        if let Some(mark) = watch.progress() {
            assert!(mark >= last);
            marks += 1;
            // Whatever is told from here on is newer than the mark.
            last = mark;
        }
        for event in watch.ready(2).unwrap() {
            assert!(event.revision > last, "{} after a mark at {last}", event.revision);
            last = event.revision;
            events += 1;
        }
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert!(marks > 0);
}

mod of_our_own {
    //! Those about what a crash leaves behind, on the log that this program keeps itself.

    use std::path::Path;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::drive::{Act, Drive, PowerCuts};
    use super::super::*;
    use crate::log::embedded::{self, Embedded};

    /// A store on a disk that writes down what is done to it.
    fn start() -> (Arc<Drive>, Vec<u8>, usize, Store) {
        let drive = Arc::new(Drive::default());
        drop(embedded::format(drive.clone()).unwrap());
        let (before, acts) = (drive.bytes(), drive.acts());
        let store = open(&drive);
        (drive, before, acts, store)
    }

    fn open(drive: &Arc<Drive>) -> Store {
        let (log, revision, root) =
            Embedded::load(drive.clone(), Path::new("store.redb"), &meta_of()).unwrap();
        Store::start(Box::new(log), revision, root, Clock::system())
    }

    async fn put(store: &Store, value: &str) -> u64 {
        store.commit(Txn::put(super::A, Expect::Any, draft(value))).await.unwrap().revision
    }

    /// "Single node cluster can lose a write on crash", etcd #14370: a lone member answered before its log was synced.
    /// At the moment of every answer, all that the write needs has been synced.
    #[tokio::test]
    async fn an_answered_write_has_been_synced() {
        let (drive, before, acts, store) = start();
        for n in 0..40 {
            let revision = put(&store, &n.to_string()).await;
            let mut synced = drive.recorded().split_off(acts);
            let last = synced.iter().rposition(|act| matches!(act, Act::Sync)).unwrap();
            synced.truncate(last + 1);
            let all = synced.len();
            let image = PowerCuts::new(before.clone(), synced).image(all, &mut StdRng::seed_from_u64(0));
            let reopened = open(&Arc::new(Drive::holding(image)));
            assert_eq!(reopened.revision(), revision);
            assert_eq!(reopened.snapshot().get(super::A).unwrap().json, json(revision, &n.to_string()));
        }
    }

    /// "Revision decreasing after crash during compaction", etcd #17780: compacted revisions at the end of the history
    /// were not there to be counted after a restart. Here the revision is written with every group.
    #[tokio::test]
    async fn the_revision_does_not_go_back_after_a_crash_during_compaction() {
        let (drive, before, acts, store) = start();
        let mut last = 1;
        for n in 0..30 {
            put(&store, &n.to_string()).await;
            // The newest revision is one of a deletion, and compacted: nothing but the count of it is left.
            last = store.commit(Txn::delete(super::A, Expect::Any)).await.unwrap().revision;
            store.compact(last);
            let recorded = drive.recorded().split_off(acts);
            let all = recorded.len();
            let image = PowerCuts::new(before.clone(), recorded).image(all, &mut StdRng::seed_from_u64(n));
            let reopened = open(&Arc::new(Drive::holding(image)));
            assert!(reopened.revision() >= last, "{} after {last}", reopened.revision());
            assert!(reopened.commit(Txn::create("/registry/b", draft("1"))).await.unwrap().revision > last);
        }
        assert_eq!(store.revision(), last);
    }

    /// "Defrag crash inconsistency", etcd #14685: a crash while the file was rewritten smaller left one that disagreed
    /// with the log. Here a file shrinks by the same commits that write it, and every image of them is whole.
    #[tokio::test]
    async fn a_crash_while_the_file_shrinks_leaves_it_whole() {
        let (drive, before, acts, store) = start();
        let key = |n: usize| format!("/registry/pods/ns/{n}");
        for n in 0..150 {
            store.commit(Txn::create(key(n), draft(&"x".repeat(20_000)))).await.unwrap();
        }
        let (grown, full) = (drive.bytes().len(), drive.acts());
        let ops = (1..150).map(|n| crate::Op::Delete(key(n).into())).collect();
        let last = store.commit(Txn { checks: Vec::new(), ops }).await.unwrap().revision;
        for n in 0..20 {
            put(&store, &n.to_string()).await;
        }
        store.close().await;
        drop(store);
        assert!(drive.bytes().len() * 2 < grown, "{} after {grown}: it has shrunk", drive.bytes().len());
        let recorded = drive.recorded().split_off(acts);
        let mut cuts = PowerCuts::new(before, recorded.clone());
        let mut random = StdRng::seed_from_u64(14_685);
        for at in (full - acts..=recorded.len()).step_by(3) {
            let store = open(&Arc::new(Drive::holding(cuts.image(at, &mut random))));
            let count = store.snapshot().count("/registry/pods/ns/", None);
            assert!(
                if store.revision() < last { count == 150 } else { count <= 2 },
                "{count} at {}",
                store.revision()
            );
        }
    }
}
