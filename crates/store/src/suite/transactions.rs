//! Suite: create, update, delete, compare-and-swap, transactions, observers.

use std::sync::Mutex;

use super::*;
use crate::Op;

on_every_log! {
    an_empty_store_has_revision_one
    create_stores_the_bytes_with_their_revision
    create_refuses_an_existing_key_and_shows_it
    get_finds_only_what_is_there
    an_unconditional_delete_deletes
    a_conditional_delete_needs_the_version
    a_delete_with_a_stale_revision_shows_the_present_version
    deleting_what_is_not_there_changes_nothing
    a_delete_that_must_find_its_object_conflicts_with_its_absence
    an_update_replaces_the_version_it_read
    an_update_of_a_stale_version_shows_the_present_one
    a_no_op_keeps_the_revision
    a_key_can_be_created_again
    of_concurrent_updates_of_one_version_one_wins
    concurrent_increments_are_not_lost
    a_transaction_has_one_revision
    a_transaction_with_a_failing_check_does_nothing
    a_transaction_may_check_a_key_it_does_not_write
    an_answered_write_is_visible
    observers_see_the_present_then_every_event_before_the_answer
    an_observer_reads_its_own_event
    revisions_increase_across_kinds
    a_closed_store_refuses_writes_and_keeps_answering_reads
    meta_follows_the_version
}

const A: &str = "/registry/pods/ns/a";
const B: &str = "/registry/pods/ns/b";

async fn an_empty_store_has_revision_one(sut: Sut) {
    assert_eq!((sut.store.revision(), sut.store.snapshot().revision, sut.store.oldest()), (1, 1, 1));
    assert_eq!(sut.create(A, "1").await, 2);
}

async fn create_stores_the_bytes_with_their_revision(sut: Sut) {
    let done = sut.store.commit(Txn::create(A, draft("1"))).await.unwrap();
    assert_eq!(done.versions.len(), 1);
    assert_eq!(done.versions[0].json, json(2, "1"));
    assert_eq!(done.events.iter().map(|e| say(e)).collect::<Vec<_>>(), [format!("+{A}@2")]);
    let read = sut.store.snapshot().get(A).unwrap();
    assert_eq!((read.revision, &*read.key, read.json.clone()), (2, A, json(2, "1").into()));
}

async fn create_refuses_an_existing_key_and_shows_it(sut: Sut) {
    sut.create(A, "1").await;
    match sut.store.commit(Txn::create(A, draft("2"))).await {
        Err(Error::Conflict { key, current: Some(current) }) => {
            assert_eq!((&*key, current.json.clone()), (A, json(2, "1").into()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sut.store.revision(), 2);
}

async fn get_finds_only_what_is_there(sut: Sut) {
    sut.create(A, "1").await;
    let snapshot = sut.store.snapshot();
    assert!(snapshot.get(A).is_some());
    for key in [B, "/registry/pods/ns/", "/registry/pods/ns/a/", ""] {
        assert!(snapshot.get(key).is_none(), "{key}");
    }
}

async fn an_unconditional_delete_deletes(sut: Sut) {
    sut.create(A, "1").await;
    let done = sut.store.commit(Txn::delete(A, Expect::Any)).await.unwrap();
    assert_eq!((done.revision, done.versions.len()), (3, 0));
    assert_eq!(*done.events[0].object(), json(3, "1"), "the last state says the deletion's revision");
    assert!(sut.store.snapshot().get(A).is_none());
}

async fn a_conditional_delete_needs_the_version(sut: Sut) {
    let created = sut.create(A, "1").await;
    sut.store.commit(Txn::delete(A, Expect::Revision(created))).await.unwrap();
    assert!(sut.store.snapshot().get(A).is_none());
}

async fn a_delete_with_a_stale_revision_shows_the_present_version(sut: Sut) {
    let created = sut.create(A, "1").await;
    sut.put(A, "2").await;
    match sut.store.commit(Txn::delete(A, Expect::Revision(created))).await {
        Err(Error::Conflict { current: Some(current), .. }) => assert_eq!(current.json, json(3, "2")),
        other => panic!("{other:?}"),
    }
    assert!(sut.store.snapshot().get(A).is_some());
}

async fn deleting_what_is_not_there_changes_nothing(sut: Sut) {
    let done = sut.store.commit(Txn::delete(A, Expect::Any)).await.unwrap();
    assert_eq!((done.revision, done.events.len()), (1, 0));
}

async fn a_delete_that_must_find_its_object_conflicts_with_its_absence(sut: Sut) {
    let answer = sut.store.commit(Txn::delete(A, Expect::Revision(2))).await;
    assert!(matches!(answer, Err(Error::Conflict { current: None, .. })), "{answer:?}");
}

async fn an_update_replaces_the_version_it_read(sut: Sut) {
    let created = sut.create(A, "1").await;
    let done = sut.update(A, created, "2").await.unwrap();
    assert_eq!(done.versions[0].json, json(3, "2"));
    assert_eq!(done.events[0].prev.as_ref().unwrap().json, json(2, "1"));
}

async fn an_update_of_a_stale_version_shows_the_present_one(sut: Sut) {
    let created = sut.create(A, "1").await;
    sut.update(A, created, "2").await.unwrap();
    match sut.update(A, created, "3").await {
        Err(Error::Conflict { current: Some(current), .. }) => {
            // What a retry needs is in the answer.
            assert_eq!(sut.update(A, current.revision, "3").await.unwrap().revision, 4);
        }
        other => panic!("{other:?}"),
    }
}

async fn a_no_op_keeps_the_revision(sut: Sut) {
    let created = sut.create(A, "1").await;
    let mut watch = sut.watch("/registry/pods/", created);
    let done = sut.update(A, created, "1").await.unwrap();
    assert_eq!((done.revision, done.versions[0].revision, done.events.len()), (created, created, 0));
    assert_eq!(sut.store.revision(), created);
    assert_silent(&mut watch);
}

async fn a_key_can_be_created_again(sut: Sut) {
    sut.create(A, "1").await;
    sut.delete(A).await;
    assert_eq!(sut.create(A, "1").await, 4);
    assert_eq!(sut.store.snapshot().get(A).unwrap().json, json(4, "1"));
}

async fn of_concurrent_updates_of_one_version_one_wins(sut: Sut) {
    let created = sut.create(A, "0").await;
    let updates = (1..=20).map(|n| {
        let store = sut.store.clone();
        tokio::spawn(
            async move { store.commit(Txn::update(A, created, draft(&n.to_string()))).await.is_ok() },
        )
    });
    let mut won = 0;
    for update in updates.collect::<Vec<_>>() {
        won += u32::from(update.await.unwrap());
    }
    assert_eq!((won, sut.store.revision()), (1, created + 1));
}

async fn concurrent_increments_are_not_lost(sut: Sut) {
    sut.create(A, "0").await;
    let add = |store: Store| async move {
        for _ in 0..20 {
            let mut current = store.snapshot().get(A).unwrap();
            loop {
                let next = value_of(&current.json).parse::<u32>().unwrap() + 1;
                let txn = Txn::update(A, current.revision, draft(&next.to_string()));
                match store.commit(txn).await {
                    Ok(_) => break,
                    Err(Error::Conflict { current: Some(newer), .. }) => current = newer,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let adders: Vec<_> = (0..8).map(|_| tokio::spawn(add(sut.store.clone()))).collect();
    for adder in adders {
        adder.await.unwrap();
    }
    assert_eq!(value_of(&sut.store.snapshot().get(A).unwrap().json), "160");
    assert_eq!(sut.store.revision(), 2 + 160);
}

async fn a_transaction_has_one_revision(sut: Sut) {
    sut.create(B, "1").await;
    let mut watch = sut.watch("", 2);
    let ops = vec![
        Op::Put(A.into(), draft("1")),
        Op::Put(B.into(), draft("2")),
        Op::Put("/registry/x".into(), draft("1")),
        Op::Delete("/registry/absent".into()),
    ];
    let done = sut.store.commit(Txn { checks: vec![], ops }).await.unwrap();
    assert_eq!((done.revision, done.versions.len(), done.events.len()), (3, 3, 3));
    assert!(done.versions.iter().all(|v| v.revision == 3));
    assert_eq!(told(&mut watch, 3).await, [format!("+{A}@3"), format!("~{B}@3"), "+/registry/x@3".into()]);
    assert_eq!(keys(&sut.store.at(2).unwrap(), ""), [B]);
}

async fn a_transaction_with_a_failing_check_does_nothing(sut: Sut) {
    let created = sut.create(A, "1").await;
    let checks = vec![(A.into(), Expect::Revision(created)), (B.into(), Expect::Revision(1))];
    let ops = vec![Op::Put(A.into(), draft("2")), Op::Put(B.into(), draft("2"))];
    match sut.store.commit(Txn { checks, ops }).await {
        Err(Error::Conflict { key, current: None }) => assert_eq!(&*key, B),
        other => panic!("{other:?}"),
    }
    assert_eq!(sut.store.snapshot().get(A).unwrap().json, json(2, "1"));
    assert_eq!(sut.store.revision(), created);
}

async fn a_transaction_may_check_a_key_it_does_not_write(sut: Sut) {
    let created = sut.create(A, "1").await;
    let txn = |revision| Txn {
        checks: vec![(A.into(), Expect::Revision(revision)), (B.into(), Expect::Absent)],
        ops: vec![Op::Put(B.into(), draft("1"))],
    };
    assert!(sut.store.commit(txn(99)).await.is_err());
    assert_eq!(sut.store.commit(txn(created)).await.unwrap().revision, created + 1);
}

async fn an_answered_write_is_visible(sut: Sut) {
    for n in 0..50 {
        let revision = sut.put(A, &n.to_string()).await;
        assert_eq!(sut.store.snapshot().get(A).unwrap().revision, revision);
        assert!(sut.store.revision() >= revision);
        sut.store.wait_for(revision, Duration::ZERO).await.unwrap();
    }
}

async fn observers_see_the_present_then_every_event_before_the_answer(sut: Sut) {
    sut.create(A, "1").await;
    sut.create("/registry/nodes/n", "1").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    sut.store.observe("/registry/pods/", Box::new(move |event| note.lock().unwrap().push(say(event))));
    assert_eq!(*seen.lock().unwrap(), [format!("+{A}@2")]);
    sut.put(A, "2").await;
    assert_eq!(seen.lock().unwrap().last(), Some(&format!("~{A}@4")));
    sut.put("/registry/nodes/n", "2").await;
    sut.delete(A).await;
    assert_eq!(*seen.lock().unwrap(), [format!("+{A}@2"), format!("~{A}@4"), format!("-{A}@6")]);
}

async fn an_observer_reads_its_own_event(sut: Sut) {
    let store = sut.store.clone();
    let behind = Arc::new(Mutex::new(0));
    let note = behind.clone();
    sut.store.observe(
        "",
        Box::new(move |event| *note.lock().unwrap() += u32::from(store.revision() < event.revision)),
    );
    sut.create(A, "1").await;
    sut.delete(A).await;
    assert_eq!(*behind.lock().unwrap(), 0);
}

async fn revisions_increase_across_kinds(sut: Sut) {
    let mut last = sut.store.revision();
    for (kind, n) in ["pods", "nodes", "secrets"].iter().cycle().zip(0..12) {
        let revision = sut.create(&format!("/registry/{kind}/{n}"), "1").await;
        assert!(revision > last);
        last = revision;
    }
}

async fn a_closed_store_refuses_writes_and_keeps_answering_reads(sut: Sut) {
    sut.create(A, "1").await;
    let mut watch = sut.watch("", 2);
    sut.store.close().await;
    assert!(matches!(sut.store.commit(Txn::create(B, draft("1"))).await, Err(Error::Closed)));
    assert!(matches!(watch.next().await, Err(Error::Closed)));
    assert!(sut.store.snapshot().get(A).is_some());
}

async fn meta_follows_the_version(sut: Sut) {
    sut.create(A, "1").await;
    sut.put(A, "2").await;
    let label = |revision| sut.store.at(revision).unwrap().get(A).unwrap().meta.label("v").map(str::to_owned);
    assert_eq!((label(2), label(3)), (Some("1".into()), Some("2".into())));
}
