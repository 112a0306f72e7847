//! Power cuts and failing disks: whatever part of the writes since the last fsync is lost, the store opens again with
//! everything it has acknowledged; and a disk that has failed once is not trusted again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::drive::{Call, Drive, Fault, PowerCuts};
use super::*;
use crate::log::embedded::{self, Embedded};

/// How many images are made, and in full.
const IMAGES: (usize, usize) = (200, 2_000);
/// How many of the images are cut a second time while they are being opened: one in so many.
const CUT_AGAIN: usize = 4;
const WRITERS: usize = 6;
const SEED: u64 = 14_370;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

type Contents = BTreeMap<String, (u64, String)>;

fn open(drive: &Arc<Drive>) -> Result<Store, crate::OpenError> {
    let (log, revision, root) = Embedded::load(drive.clone(), Path::new("store.redb"), &meta_of())?;
    Ok(Store::start(Box::new(log), revision, root, Clock::system()))
}

fn contents(snapshot: &Snapshot) -> Contents {
    let all = snapshot.range("", None);
    all.map(|v| (v.key.to_string(), (v.revision, value_of(&v.json)))).collect()
}

/// What was told to writers: after so many acts of the disk, this revision was acknowledged.
type Acknowledged = Arc<Mutex<Vec<(usize, u64)>>>;

/// Writes of every size, some of them deletions, from several writers at once.
async fn work(store: &Store, drive: &Arc<Drive>, writes: usize, told: &Acknowledged) {
    let writers = (0..WRITERS).map(|w| {
        let (store, drive, told) = (store.clone(), drive.clone(), told.clone());
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(SEED + w as u64);
            for n in 0..writes / WRITERS {
                let key = format!("/registry/pods/ns/{}", random.random_range(0..60));
                let txn = match random.random_range(0..8) {
                    0 | 1 => Txn::delete(key, Expect::Any),
                    2 => Txn::put(key, Expect::Any, draft(&format!("{w}-{n}-{}", "x".repeat(9_000)))),
                    _ => Txn::put(key, Expect::Any, draft(&format!("{w}-{n}-{}", "x".repeat(n % 700)))),
                };
                let revision = store.commit(txn).await.unwrap().revision;
                let acts = drive.acts();
                told.lock().unwrap().push((acts, revision));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

/// Every state that the store went through, by revision.
fn history(watch: &mut Watch) -> BTreeMap<u64, Contents> {
    let mut state = Contents::new();
    let mut states = BTreeMap::from([(1, state.clone())]);
    for event in watch.ready(usize::MAX).unwrap() {
        match &event.now {
            Some(now) => state.insert(now.key.to_string(), (now.revision, value_of(&now.json))),
            None => state.remove(&*event.key),
        };
        states.insert(event.revision, state.clone());
    }
    states
}

/// Open an image: it holds one of the states, and none older than what was acknowledged.
fn check(image: Vec<u8>, least: u64, states: &BTreeMap<u64, Contents>, what: &str) -> (Arc<Drive>, u64) {
    let drive = Arc::new(Drive::holding(image));
    let store = open(&drive).unwrap_or_else(|error| panic!("{what}: {error}"));
    let snapshot = store.snapshot();
    assert!(snapshot.revision >= least, "{what}: {} is lost, found {}", least, snapshot.revision);
    assert!(
        contents(&snapshot) == states[&snapshot.revision],
        "{what}: not the state at {}",
        snapshot.revision
    );
    (drive, snapshot.revision)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_image_of_a_power_cut_opens_with_every_acknowledged_write() {
    let images = counted(IMAGES);
    let drive = Arc::new(Drive::default());
    drop(embedded::format(drive.clone()).unwrap());
    let before = drive.bytes();
    let recorded_before = drive.acts();
    let store = open(&drive).unwrap();
    let mut watch = store.watch("", 1).unwrap();
    let told = Acknowledged::default();
    work(&store, &drive, images, &told).await;
    store.close().await;
    let states = history(&mut watch);
    let mut told = std::mem::take(&mut *told.lock().unwrap());
    told.sort_unstable();
    let mut cuts = PowerCuts::new(before, drive.recorded().split_off(recorded_before));
    let acts = drive.acts() - recorded_before;
    let mut random = StdRng::seed_from_u64(SEED);
    let (mut least, mut next, mut again) = (1, 0, 0);
    for n in 0..images {
        let at = acts * (n + 1) / images;
        while let Some((acts, revision)) = told.get(next).filter(|(acts, _)| acts - recorded_before <= at) {
            let _ = acts;
            least = least.max(*revision);
            next += 1;
        }
        let image = cuts.image(at, &mut random);
        let (opened, found) = check(image.clone(), least, &states, &format!("image {n}, cut at {at}"));
        if n % CUT_AGAIN == 0 {
            // Opening writes too. What it found is what every later opening must find.
            let acts = opened.recorded();
            let at = random.random_range(0..=acts.len());
            let image = PowerCuts::new(image, acts).image(at, &mut random);
            check(image, found, &states, &format!("image {n}, cut again while opening at {at}"));
            again += 1;
        }
    }
    assert_eq!(next, told.len(), "the last image has everything");
    println!(
        "power cuts: {images} images of {} writes in {acts} disk writes, {again} cut again while opening, revision {}: \
         none lost",
        told.len(),
        states.keys().max().unwrap()
    );
}

/// That the check can fail: a disk that says it has synced and has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let drive = Arc::new(Drive::default());
    drop(embedded::format(drive.clone()).unwrap());
    let (before, recorded) = (drive.bytes(), drive.acts());
    let store = open(&drive).unwrap();
    let mut watch = store.watch("", 1).unwrap();
    let told = Acknowledged::default();
    work(&store, &drive, 60, &told).await;
    let states = history(&mut watch);
    let mut acts = drive.recorded().split_off(recorded);
    acts.retain(|act| !matches!(act, super::drive::Act::Sync));
    let at = acts.len();
    let mut random = StdRng::seed_from_u64(SEED);
    let noticed = (0..20).filter(|_| {
        let image = PowerCuts::new(before.clone(), acts.clone()).image(at, &mut random);
        let checked = std::panic::AssertUnwindSafe(|| check(image, store.revision(), &states, "lied to"));
        std::panic::catch_unwind(checked).is_err()
    });
    assert!(noticed.count() > 10);
}

/// Write until the disk fails. What was acknowledged, and what the store says of itself.
async fn write_until_failure(store: &Store, drive: &Arc<Drive>) -> (Contents, u64, Error) {
    let mut acknowledged = Contents::new();
    let mut last = store.revision();
    for n in 0..400 {
        let key = format!("/registry/{n}");
        let value = "v".repeat(n * 13 % 6_000);
        match store.commit(Txn::create(&*key, draft(&value))).await {
            Ok(done) => {
                assert!(!drive.has_failed(), "acknowledged on a disk that has failed");
                last = done.revision;
                acknowledged.insert(key, (done.revision, value));
            }
            Err(error) => return (acknowledged, last, error),
        }
    }
    panic!("the disk did not fail");
}

async fn fails_well(fault: Fault, random: &mut StdRng) {
    let what = format!("{fault:?}");
    let drive = Arc::new(Drive::default());
    drop(embedded::format(drive.clone()).unwrap());
    let (before, recorded) = (drive.bytes(), drive.acts());
    let store = open(&drive).unwrap();
    drive.fail(fault);
    let (acknowledged, last, error) = write_until_failure(&store, &drive).await;
    let says = std::io::Error::from_raw_os_error(fault.errno).to_string();
    assert!(matches!(error, Error::Halted(_)) && error.to_string().contains(&says), "{what}: {error}");
    // The disk is well again. What it holds is not known, so that nothing is built on it.
    let acts = drive.acts();
    for _ in 0..3 {
        let refused = store.commit(Txn::create("/registry/later", draft("1"))).await;
        assert!(matches!(refused, Err(Error::Halted(_))), "{what}: {refused:?}");
    }
    assert!(store.health().unwrap_err().to_string().contains(&says), "{what}");
    assert_eq!((store.revision(), contents(&store.snapshot())), (last, acknowledged.clone()), "{what}");
    assert_eq!(drive.acts(), acts, "{what}: written to after a failure");
    drop(store);
    // A page whose fsync failed is gone or not: any part of what was not synced may be there.
    let acts = drive.recorded().split_off(recorded);
    for _ in 0..4 {
        let image = PowerCuts::new(before.clone(), acts.clone()).image(acts.len(), random);
        let reopened = Arc::new(Drive::holding(image));
        let store = open(&reopened).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = contents(&store.snapshot());
        assert!(acknowledged.iter().all(|(key, version)| found.get(key) == Some(version)), "{what}");
        assert!(found.len() <= acknowledged.len() + 1, "{what}: at most the write in doubt is there");
    }
}

#[tokio::test]
async fn a_failing_disk_ends_all_acknowledging_and_says_why() {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut faults = 0;
    for (call, places) in [(Call::Write, 40), (Call::Sync, 12), (Call::SetLen, 2)] {
        for nth in 1..=places {
            let errno = [ENOSPC, EIO, EROFS][nth as usize % 3];
            fails_well(Fault { call, nth, errno }, &mut random).await;
            faults += 1;
        }
    }
    println!(
        "failing disk: {faults} faults (write, fsync, grow; ENOSPC, EIO, EROFS): none acknowledged after one"
    );
}
