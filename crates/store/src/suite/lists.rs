//! Suite: lists, pages, exact past revisions, compaction.

use super::*;

on_every_log! {
    a_list_is_ordered_by_key
    a_list_of_a_namespace_leaves_others_out
    a_list_of_a_kind_leaves_kinds_with_a_longer_name_out
    a_list_of_one_key_finds_that_key
    a_list_is_consistent
    a_snapshot_does_not_move
    pages_of_one_revision_do_not_see_later_writes
    a_page_starts_after_a_key_that_is_gone
    the_rest_of_a_list_is_counted
    every_kept_revision_can_be_listed_exactly
    a_revision_of_the_future_is_refused
    waiting_for_a_future_revision_ends_with_it_or_with_the_time
    a_compacted_revision_is_refused
    the_compaction_revision_itself_is_kept
    fresh_history_is_kept
    fresh_history_is_bounded_in_bytes
    fresh_history_of_fewer_events_than_objects_is_kept
    history_that_is_not_fresh_is_bounded_in_bytes
    a_fork_goes_its_own_way
    one_key_may_be_the_beginning_of_another
}

async fn fill(sut: &Sut) {
    for key in ["pods/ns2/a", "pods/ns1/b", "pods/ns1/a", "podsecurity/x", "pods/ns10/c", "nodes/n"] {
        sut.create(&format!("/registry/{key}"), "1").await;
    }
}

async fn a_list_is_ordered_by_key(sut: Sut) {
    fill(&sut).await;
    let listed = keys(&sut.store.snapshot(), "/registry/pods/");
    assert_eq!(
        listed,
        ["/registry/pods/ns1/a", "/registry/pods/ns1/b", "/registry/pods/ns10/c", "/registry/pods/ns2/a"]
    );
}

async fn a_list_of_a_namespace_leaves_others_out(sut: Sut) {
    fill(&sut).await;
    let listed = keys(&sut.store.snapshot(), "/registry/pods/ns1/");
    assert_eq!(listed, ["/registry/pods/ns1/a", "/registry/pods/ns1/b"]);
}

async fn a_list_of_a_kind_leaves_kinds_with_a_longer_name_out(sut: Sut) {
    fill(&sut).await;
    let snapshot = sut.store.snapshot();
    assert_eq!((snapshot.count("/registry/pods/", None), snapshot.count("", None)), (4, 6));
}

async fn a_list_of_one_key_finds_that_key(sut: Sut) {
    fill(&sut).await;
    let snapshot = sut.store.snapshot();
    assert_eq!(keys(&snapshot, "/registry/pods/ns1/a"), ["/registry/pods/ns1/a"]);
    assert_eq!(keys(&snapshot, "/registry/pods/ns1"), Vec::<String>::new());
}

async fn a_list_is_consistent(sut: Sut) {
    // Two keys that only ever change together are never seen apart.
    let both = |n: u32| Txn {
        checks: vec![],
        ops: ["/registry/p/a", "/registry/p/b"]
            .map(|key| crate::Op::Put(key.into(), draft(&n.to_string())))
            .into(),
    };
    let store = sut.store.clone();
    let writer = tokio::spawn(async move {
        for n in 0..200 {
            store.commit(both(n)).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let snapshot = sut.store.snapshot();
        let values: Vec<_> = snapshot.range("/registry/p/", None).map(|v| value_of(&v.json)).collect();
        assert!(values.is_empty() || values.len() == 2 && values[0] == values[1], "{values:?}");
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

async fn a_snapshot_does_not_move(sut: Sut) {
    fill(&sut).await;
    let snapshot = sut.store.snapshot();
    let before = keys(&snapshot, "");
    sut.delete("/registry/pods/ns1/a").await;
    sut.create("/registry/pods/ns1/c", "1").await;
    assert_eq!(keys(&snapshot, ""), before);
}

async fn pages_of_one_revision_do_not_see_later_writes(sut: Sut) {
    for n in 0..10 {
        sut.create(&format!("/registry/pods/ns/{n}"), "1").await;
    }
    let revision = sut.store.revision();
    let (mut pages, mut last) = (Vec::new(), None::<String>);
    loop {
        let snapshot = sut.store.at(revision).unwrap();
        let page: Vec<_> = snapshot.range("/registry/pods/", last.as_deref()).take(3).collect();
        let Some(end) = page.last() else { break };
        last = Some(end.key.to_string());
        pages.push(page.len());
        assert!(page.iter().all(|v| v.revision <= revision));
        // Each page is followed by writes before and behind it.
        sut.put("/registry/pods/ns/0", &format!("{last:?}").replace('"', "")).await;
        sut.delete(&format!("/registry/pods/ns/{}", 9 - pages.len())).await;
        sut.create(&format!("/registry/pods/ns/99{}", pages.len()), "1").await;
    }
    assert_eq!(pages, [3, 3, 3, 1]);
}

async fn a_page_starts_after_a_key_that_is_gone(sut: Sut) {
    fill(&sut).await;
    sut.delete("/registry/pods/ns1/b").await;
    let snapshot = sut.store.snapshot();
    let next = snapshot.range("/registry/pods/", Some("/registry/pods/ns1/b")).next().unwrap();
    assert_eq!(&*next.key, "/registry/pods/ns10/c");
}

async fn the_rest_of_a_list_is_counted(sut: Sut) {
    fill(&sut).await;
    let snapshot = sut.store.snapshot();
    assert_eq!(snapshot.count("/registry/pods/", Some("/registry/pods/ns1/a")), 3);
    assert_eq!(snapshot.count("/registry/pods/", Some("/registry/zzz")), 0);
    assert_eq!(snapshot.count("/registry/pods/", Some("/a")), 4);
}

async fn every_kept_revision_can_be_listed_exactly(sut: Sut) {
    // More events than there are between two kept roots.
    let mut expected = vec![(sut.store.revision(), Vec::new())];
    for n in 0..600_u32 {
        let key = format!("/registry/pods/ns/{}", n % 7);
        if n % 5 == 4 {
            sut.delete(&key).await;
        } else {
            sut.put(&key, &n.to_string()).await;
        }
        let snapshot = sut.store.snapshot();
        expected.push((snapshot.revision, contents(&snapshot)));
    }
    for (revision, contained) in expected {
        let past = sut.store.at(revision).unwrap();
        assert_eq!((past.revision, contents(&past)), (revision, contained));
    }
}

fn contents(snapshot: &Snapshot) -> Vec<(String, bytes::Bytes)> {
    snapshot.range("", None).map(|v| (v.key.to_string(), v.json.clone())).collect()
}

async fn a_revision_of_the_future_is_refused(sut: Sut) {
    fill(&sut).await;
    let present = sut.store.revision();
    match sut.store.at(present + 1) {
        Err(Error::Future { wanted, present: said }) => assert_eq!((wanted, said), (present + 1, present)),
        other => panic!("{other:?}"),
    }
}

async fn waiting_for_a_future_revision_ends_with_it_or_with_the_time(sut: Sut) {
    let waiting = tokio::spawn({
        let store = sut.store.clone();
        async move { store.wait_for(3, Duration::from_secs(3)).await.is_ok() }
    });
    sut.create("/registry/a", "1").await;
    sut.create("/registry/b", "1").await;
    assert!(waiting.await.unwrap());
    let waiting = tokio::spawn({
        let store = sut.store.clone();
        async move { store.wait_for(9, Duration::from_secs(3)).await }
    });
    tokio::task::yield_now().await;
    sut.clock.advance(Duration::from_secs(3));
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(Error::Future { wanted: 9, present: 3 })), "{ended:?}");
}

async fn a_compacted_revision_is_refused(sut: Sut) {
    fill(&sut).await;
    let old = sut.store.revision();
    sut.create("/registry/pods/ns1/z", "1").await;
    sut.age().await;
    assert!(
        matches!(sut.store.at(old), Err(Error::Compacted { wanted, oldest }) if wanted == old && oldest > old)
    );
    assert!(matches!(sut.store.watch("", old), Err(Error::Compacted { .. })));
    assert_eq!(sut.store.snapshot().count("", None), 8, "the present is not compacted");
}

async fn the_compaction_revision_itself_is_kept(sut: Sut) {
    fill(&sut).await;
    let before = keys(&sut.store.snapshot(), "");
    sut.age().await;
    let oldest = sut.store.oldest();
    assert_eq!(keys(&sut.store.at(oldest).unwrap(), ""), before);
    let mut watch = sut.watch("", oldest);
    assert_eq!(told(&mut watch, 1).await, [format!("+/registry/clock/tick@{}", oldest + 1)]);
    assert!(sut.store.at(oldest - 1).is_err());
}

async fn fresh_history_is_kept(sut: Sut) {
    let big = "x".repeat(crate::HISTORY_BYTES / 4);
    for n in 0..6 {
        sut.put("/registry/big", &format!("{n}{big}")).await;
    }
    sut.clock.advance(crate::HISTORY_FRESH);
    sut.put("/registry/big", "small").await;
    assert_eq!(sut.store.oldest(), 1);
    assert_eq!(told(&mut sut.watch("", 1), 7).await.len(), 7);
}

async fn history_that_is_not_fresh_is_bounded_in_bytes(sut: Sut) {
    let big = "x".repeat(crate::HISTORY_BYTES / 4);
    for n in 0..6 {
        sut.put("/registry/big", &format!("{n}{big}")).await;
    }
    sut.clock.advance(crate::HISTORY_FRESH + Duration::from_secs(1));
    sut.put("/registry/small", "1").await;
    // Five superseded versions are too much by two: three fit, being slightly larger than a quarter each.
    assert_eq!(sut.store.oldest(), 4);
}

async fn fresh_history_is_bounded_in_bytes(sut: Sut) {
    write_big(&sut, 14).await;
    // Of thirteen superseded versions eleven fit, being slightly larger than a twelfth each.
    assert_eq!(sut.store.oldest(), 4);
}

async fn fresh_history_of_fewer_events_than_objects_is_kept(sut: Sut) {
    for n in 0..20 {
        sut.put(&format!("/registry/small/{n}"), "1").await;
    }
    sut.age().await;
    let before = sut.store.oldest();
    write_big(&sut, 14).await;
    assert_eq!(sut.store.oldest(), before);
}

async fn write_big(sut: &Sut, times: usize) {
    let big = "x".repeat(crate::HISTORY_FRESH_BYTES / 12);
    for n in 0..times {
        sut.put("/registry/big", &format!("{n}{big}")).await;
    }
}

async fn a_fork_goes_its_own_way(sut: Sut) {
    fill(&sut).await;
    let fork = Store::fork(&sut.store.snapshot(), sut.clock.clone());
    assert_eq!(contents(&fork.snapshot()), contents(&sut.store.snapshot()));
    let forked = fork.commit(Txn::create("/registry/f", draft("1"))).await.unwrap();
    assert_eq!(forked.revision, sut.store.revision() + 1);
    assert!(sut.store.snapshot().get("/registry/f").is_none());
}

async fn one_key_may_be_the_beginning_of_another(sut: Sut) {
    sut.create("/registry/a", "1").await;
    sut.create("/registry/a/b", "1").await;
    let mut watch = sut.watch("/registry/a", 1);
    assert_eq!(told(&mut watch, 1).await, ["+/registry/a@2"]);
    assert_silent(&mut watch);
    assert_eq!(keys(&sut.store.snapshot(), "/registry/a"), ["/registry/a"]);
    assert_eq!(keys(&sut.store.snapshot(), "/registry/a/"), ["/registry/a/b"]);
}
