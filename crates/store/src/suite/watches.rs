//! Suite: watches are ordered, unique, reliable, atomic, resumable and bookmarkable.

use futures::StreamExt;

use super::*;

on_every_log! {
    a_watch_tells_creations_changes_and_deletions
    a_watch_tells_only_what_came_after_its_revision
    a_watch_from_the_past_tells_what_it_missed
    a_watch_can_be_resumed_at_any_event
    a_watch_of_a_namespace_leaves_others_out
    a_watch_of_one_key_leaves_others_out
    a_watch_of_the_future_is_refused
    a_watch_at_a_compacted_revision_is_refused
    a_deletion_right_after_the_compaction_revision_is_told
    a_late_reader_gets_every_event
    a_reader_that_falls_out_of_history_is_cut
    a_cut_watch_tells_nothing_after_its_error
    a_dropped_watch_leaves_the_others_alone
    a_dropped_wait_loses_no_event
    a_deleted_object_says_the_revision_of_its_deletion
    an_event_knows_the_state_before_it
    all_watchers_share_one_encoding
    a_bookmark_waits_for_the_events_before_it
    a_bookmark_follows_writes_elsewhere
    watchers_under_load_see_the_same_history
    list_then_watch_misses_nothing
}

const A: &str = "/registry/pods/ns/a";
const PODS: &str = "/registry/pods/";

async fn live(sut: &Sut) -> Vec<String> {
    sut.create(A, "1").await;
    sut.put(A, "2").await;
    sut.delete(A).await;
    vec![format!("+{A}@2"), format!("~{A}@3"), format!("-{A}@4")]
}

async fn a_watch_tells_creations_changes_and_deletions(sut: Sut) {
    let mut watch = sut.watch(PODS, 1);
    let lived = live(&sut).await;
    assert_eq!(told(&mut watch, 3).await, lived);
    assert_silent(&mut watch);
}

async fn a_watch_tells_only_what_came_after_its_revision(sut: Sut) {
    sut.create(A, "1").await;
    let mut watch = sut.watch(PODS, sut.store.revision());
    assert_silent(&mut watch);
    sut.put(A, "2").await;
    assert_eq!(told(&mut watch, 1).await, [format!("~{A}@3")]);
}

async fn a_watch_from_the_past_tells_what_it_missed(sut: Sut) {
    let lived = live(&sut).await;
    assert_eq!(told(&mut sut.watch(PODS, 1), 3).await, lived);
    // The same again beside a watch that has made the topic already.
    let _other = sut.watch(PODS, sut.store.revision());
    assert_eq!(told(&mut sut.watch(PODS, 1), 3).await, lived);
}

async fn a_watch_can_be_resumed_at_any_event(sut: Sut) {
    let lived = live(&sut).await;
    for seen in 0..=lived.len() {
        let mut watch = sut.watch(PODS, 1 + seen as u64);
        assert_eq!(told(&mut watch, lived.len() - seen).await, lived[seen..]);
        assert_silent(&mut watch);
    }
}

async fn a_watch_of_a_namespace_leaves_others_out(sut: Sut) {
    let mut watch = sut.watch("/registry/pods/ns/", 1);
    for key in ["/registry/pods/ns2/a", "/registry/pods/n/a", "/registry/podsx/ns/a", A] {
        sut.create(key, "1").await;
    }
    assert_eq!(told(&mut watch, 1).await, [format!("+{A}@5")]);
    assert_silent(&mut watch);
}

async fn a_watch_of_one_key_leaves_others_out(sut: Sut) {
    let mut watch = sut.watch(A, 1);
    sut.create("/registry/pods/ns/ab", "1").await;
    sut.create(A, "1").await;
    assert_eq!(told(&mut watch, 1).await, [format!("+{A}@3")]);
    assert_silent(&mut watch);
}

async fn a_watch_of_the_future_is_refused(sut: Sut) {
    assert!(matches!(sut.store.watch(PODS, 2), Err(Error::Future { wanted: 2, present: 1 })));
}

async fn a_watch_at_a_compacted_revision_is_refused(sut: Sut) {
    live(&sut).await;
    sut.age().await;
    for revision in 1..4 {
        assert!(matches!(sut.store.watch(PODS, revision), Err(Error::Compacted { .. })), "{revision}");
    }
    assert!(sut.store.watch(PODS, 4).is_ok());
}

async fn a_deletion_right_after_the_compaction_revision_is_told(sut: Sut) {
    sut.create(A, "1").await;
    sut.clock.advance(crate::HISTORY_AGE + Duration::from_secs(1));
    sut.delete(A).await;
    assert_eq!(sut.store.oldest(), 2);
    assert_eq!(told(&mut sut.watch(PODS, 2), 1).await, [format!("-{A}@3")]);
}

async fn a_late_reader_gets_every_event(sut: Sut) {
    let mut watch = sut.watch(PODS, 1);
    let mut expected = Vec::new();
    for n in 0..300 {
        expected.push(format!("+{A}{n}@{}", sut.create(&format!("{A}{n}"), "1").await));
    }
    assert_eq!(told(&mut watch, 300).await, expected);
}

async fn a_reader_that_falls_out_of_history_is_cut(sut: Sut) {
    let mut slow = sut.watch(PODS, 1);
    live(&sut).await;
    assert_eq!(told(&mut slow, 1).await.len(), 1);
    sut.clock.advance(crate::HISTORY_AGE + Duration::from_secs(1));
    // Sweeping happens once in a while.
    for n in 0..300 {
        sut.put("/registry/pods/ns/b", &n.to_string()).await;
    }
    let read = slow.ready(100);
    assert!(matches!(read, Err(Error::Slow)), "{read:?}");
}

async fn a_cut_watch_tells_nothing_after_its_error(sut: Sut) {
    let slow = sut.watch(PODS, 1);
    live(&sut).await;
    sut.clock.advance(crate::HISTORY_AGE + Duration::from_secs(1));
    for n in 0..300 {
        sut.put("/registry/pods/ns/b", &n.to_string()).await;
    }
    let told: Vec<_> =
        slow.into_stream().map(|e| e.map(|e| say(&e)).map_err(|e| e.to_string())).collect().await;
    assert_eq!(told, [Err(Error::Slow.to_string())]);
}

async fn a_dropped_watch_leaves_the_others_alone(sut: Sut) {
    let gone = sut.watch(PODS, 1);
    let mut stays = sut.watch(PODS, 1);
    drop(gone);
    let lived = live(&sut).await;
    assert_eq!(told(&mut stays, 3).await, lived);
    drop(stays);
    assert_eq!(told(&mut sut.watch(PODS, 1), 3).await, lived);
}

async fn a_dropped_wait_loses_no_event(sut: Sut) {
    let mut watch = sut.watch(PODS, 1);
    for n in 0..20 {
        tokio::select! {
            biased;
            event = watch.next() => panic!("nothing has happened: {event:?}"),
            () = std::future::ready(()) => {}
        }
        let revision = sut.create(&format!("{A}{n}"), "1").await;
        assert_eq!(told(&mut watch, 1).await, [format!("+{A}{n}@{revision}")]);
    }
}

async fn a_deleted_object_says_the_revision_of_its_deletion(sut: Sut) {
    let mut watch = sut.watch(PODS, 1);
    for n in 0..12 {
        // The revision grows a digit on the way.
        sut.create(A, &n.to_string()).await;
        let deleted = sut.delete(A).await;
        let event = watch.next_batch(2).await.unwrap().pop().unwrap();
        assert_eq!(*event.object(), json(deleted, &n.to_string()));
        assert_eq!(event.prev.as_ref().unwrap().json, json(deleted - 1, &n.to_string()));
    }
}

async fn an_event_knows_the_state_before_it(sut: Sut) {
    live(&sut).await;
    let events = sut.watch(PODS, 1).ready(3).unwrap();
    let tombstones: Vec<_> = events.iter().map(|e| e.tombstone().cloned()).collect();
    assert_eq!(tombstones, [None, Some(json(3, "1").into()), Some(json(4, "2").into())]);
}

async fn all_watchers_share_one_encoding(sut: Sut) {
    let (mut one, mut two) = (sut.watch(PODS, 1), sut.watch("", 1));
    sut.create(A, "1").await;
    sut.delete(A).await;
    let budget = crate::Budget::new(100);
    for _ in 0..2 {
        let (one, two) = (one.next().await.unwrap(), two.next().await.unwrap());
        let state = |e: &crate::Event| e.now.as_ref().or(e.last()).unwrap().clone();
        assert_eq!(state(&one).protobuf.get_or_make(&budget, || b"first".to_vec()), "first");
        assert_eq!(state(&two).protobuf.get_or_make(&budget, || b"second".to_vec()), "first");
    }
}

async fn a_bookmark_waits_for_the_events_before_it(sut: Sut) {
    let mut watch = sut.watch(PODS, 1);
    assert_eq!(watch.progress(), Some(1));
    let created = sut.create(A, "1").await;
    assert_eq!(watch.progress(), None);
    told(&mut watch, 1).await;
    assert_eq!(watch.progress(), Some(created));
}

async fn a_bookmark_follows_writes_elsewhere(sut: Sut) {
    let watch = sut.watch(PODS, 1);
    let elsewhere = sut.create("/registry/nodes/n", "1").await;
    assert_eq!(watch.progress(), Some(elsewhere));
}

async fn watchers_under_load_see_the_same_history(sut: Sut) {
    const WRITES: usize = 100;
    let watchers: Vec<_> = ["", "/registry/", "/registry/load/"]
        .into_iter()
        .map(|prefix| {
            let mut watch = sut.watch(prefix, 1);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < 4 * WRITES {
                    seen.extend(
                        watch.next_batch(7).await.unwrap().iter().map(|e| (e.revision, e.key.clone())),
                    );
                    assert!(watch.progress().is_none_or(|p| p >= seen[seen.len() - 1].0));
                }
                seen
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let store = sut.store.clone();
            tokio::spawn(async move {
                for n in 0..WRITES {
                    let txn = Txn::put(
                        format!("/registry/load/{}", n % 9),
                        Expect::Any,
                        draft(&format!("{w}-{n}")),
                    );
                    store.commit(txn).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut histories = Vec::new();
    for watcher in watchers {
        histories.push(watcher.await.unwrap());
    }
    assert!(histories[0].windows(2).all(|pair| pair[0].0 < pair[1].0), "ordered and unique");
    assert_eq!(histories[0].last().unwrap().0, sut.store.revision());
    assert!(histories.iter().all(|history| *history == histories[0]));
}

async fn list_then_watch_misses_nothing(sut: Sut) {
    let store = sut.store.clone();
    let writer = tokio::spawn(async move {
        for n in 0..150_u32 {
            let key = format!("/registry/pods/ns/{}", n % 11);
            let txn = if n % 4 == 3 {
                Txn::delete(key, Expect::Any)
            } else {
                Txn::put(key, Expect::Any, draft(&n.to_string()))
            };
            store.commit(txn).await.unwrap();
        }
    });
    let mut copies = Vec::new();
    while !writer.is_finished() {
        let snapshot = sut.store.snapshot();
        let copy: std::collections::BTreeMap<_, _> =
            snapshot.range(PODS, None).map(|v| (v.key.to_string(), v.json.clone())).collect();
        copies.push((copy, sut.watch(PODS, snapshot.revision)));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    let present: std::collections::BTreeMap<_, _> =
        sut.store.snapshot().range(PODS, None).map(|v| (v.key.to_string(), v.json.clone())).collect();
    for (mut copy, mut watch) in copies {
        for event in watch.ready(usize::MAX).unwrap() {
            match &event.now {
                Some(now) => copy.insert(now.key.to_string(), now.json.clone()),
                None => copy.remove(&*event.key),
            };
        }
        assert_eq!(copy, present);
    }
}
