//! The store in etcd held to the promises that every store is held to, watches and linearizability, while etcd is killed
//! and the server on it starts anew, in turn and for as long as the clients go on.

use coracle_testkit_etcd::Etcd;

use super::history::{self, Handle};
use super::{linear, *};

/// Milliseconds between two disturbances.
const CALM: u64 = 200;
/// Of a long history, and in full: the more etcd holds, the longer it takes to start.
const LONG_CALM: (usize, usize) = (200, 2_000);
/// How many events are watched, and in full: a write is a round trip to another process, which syncs its file.
const EVENTS: (usize, usize) = (10_000, 1_000_000);
/// How many operations are checked for linearizability, and in full: some 5 s of them at least.
const OPERATIONS: (usize, usize) = (20_000, 100_000);

async fn open(etcd: &Etcd) -> Store {
    let compaction = Duration::ZERO;
    let options = EtcdOptions { endpoints: etcd.endpoints(), compaction, ..EtcdOptions::default() };
    Store::etcd(&options, meta_of(), Clock::system()).await.unwrap()
}

/// How often each has started anew.
#[derive(Debug, Default)]
struct Restarts {
    etcd: u32,
    server: u32,
}

/// Kill etcd and start it again, then do so with the server, and so on.
async fn disturb(etcd: &mut Etcd, handle: &Handle, calm: Duration, restarts: &mut Restarts) {
    loop {
        Clock::system().sleep(calm).await;
        // Blocks this thread, as a test may; others run the clients meanwhile.
        tokio::task::block_in_place(|| etcd.restart(0));
        restarts.etcd += 1;
        Clock::system().sleep(calm).await;
        let before = handle.store();
        handle.replace(open(etcd).await);
        before.close().await;
        restarts.server += 1;
    }
}

/// Let the clients that `run` starts go to their end, and not in peace.
async fn disturbed(calm: u64, run: impl AsyncFnOnce(Handle)) {
    let mut etcd = Etcd::start();
    let handle = Handle::new(open(&etcd).await);
    let mut restarts = Restarts::default();
    tokio::select! {
        () = run(handle.clone()) => {}
        () = disturb(&mut etcd, &handle, Duration::from_millis(calm), &mut restarts) => unreachable!("it has no end"),
    }
    println!("meanwhile: {restarts:?}");
    assert!(restarts.etcd > 0 && restarts.server > 0, "too short to disturb: {restarts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_in_etcd_hold_their_promises_through_restarts() {
    let plan = history::Plan { events: counted(EVENTS), ..history::plan() };
    let calm = counted(LONG_CALM) as u64;
    disturbed(calm, async move |handle| history::holds(handle, plan, "etcd with restarts").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_linearizable_through_restarts() {
    let read: linear::Read = |store| {
        Box::pin(async {
            store.sync().await?;
            Ok(store.snapshot())
        })
    };
    let plan = linear::Plan { operations: counted(OPERATIONS), read, ..linear::plan() };
    disturbed(CALM, async move |handle| linear::holds(handle, plan, "etcd with restarts").await).await;
}
