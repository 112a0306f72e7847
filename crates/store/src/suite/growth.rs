//! What the log's file costs: one fsync for many writers, a size that churn does not grow, and, where a part of it is
//! missing or changed, a refusal that leaves it as it is.

use std::path::Path;

use super::drive::{Act, Drive};
use super::*;
use crate::OpenError;
use crate::log::embedded::{self, Embedded};

fn open(drive: &Arc<Drive>) -> Result<Store, OpenError> {
    let (log, revision, root) = Embedded::load(drive.clone(), Path::new("store.redb"), &meta_of())?;
    Ok(Store::start(Box::new(log), revision, root, Clock::system()))
}

fn formatted() -> Arc<Drive> {
    let drive = Arc::new(Drive::default());
    drop(embedded::format(drive.clone()).unwrap());
    drive
}

/// Let `tasks` writers rewrite `objects` objects, each `times` times.
async fn churn(store: &Store, tasks: usize, objects: usize, times: usize) {
    let writers = (0..tasks).map(|w| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..times {
                for object in (w..objects).step_by(tasks) {
                    let value = format!("{n}-{}", "x".repeat(300 + (object * 7 + n * 131) % 400));
                    let key = format!("/registry/pods/ns/{object}");
                    store.commit(Txn::put(key, Expect::Any, draft(&value))).await.unwrap();
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_one_fsync() {
    const WRITERS: usize = 256;
    const EACH: usize = 4;
    let drive = formatted();
    let store = open(&drive).unwrap();
    let before = drive.acts();
    churn(&store, WRITERS, WRITERS, EACH).await;
    let syncs = drive.recorded().split_off(before).iter().filter(|act| matches!(act, Act::Sync)).count();
    println!("group commit: {} writes of {WRITERS} writers, {syncs} fsyncs", WRITERS * EACH);
    assert!(syncs * 4 < WRITERS * EACH, "{syncs} fsyncs");
}

/// Objects and how often each is rewritten, and in full.
const CHURN: [(usize, usize); 2] = [(1_000, 10_000), (20, 100)];
/// The file is at most so many times as large as what is in it: half of the pages of a tree may be empty, and those of
/// the last two commits are kept beside it.
const SLACK: u64 = 5;
/// What a file of nothing costs.
const EMPTY: u64 = 2 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_file_stays_bounded_while_it_is_rewritten() {
    let [objects, times] = CHURN.map(counted);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), meta_of()).await.unwrap();
    let size = || dir.path().join("store.redb").metadata().unwrap().len();
    let (mut sizes, tenth) = (Vec::new(), times / 10);
    for _ in 0..10 {
        churn(&store, 256, objects, tenth).await;
        // History is compacted and lists are answered meanwhile.
        store.compact(store.revision());
        assert_eq!(store.snapshot().count("/registry/pods/", None), objects);
        sizes.push(size() >> 10);
    }
    let live: u64 = store.snapshot().range("", None).map(|v| (v.key.len() + v.json.len()) as u64).sum();
    println!(
        "churn: {objects} objects rewritten {times} times: {} KiB live, file in KiB after each tenth {sizes:?}",
        live >> 10
    );
    let most = (EMPTY + SLACK * live) >> 10;
    assert!(sizes.iter().all(|size| *size <= most), "more than {most} KiB: {sizes:?}");
    store.close().await;
    let closed = size() >> 10;
    let store = Store::open(dir.path(), meta_of()).await.unwrap();
    assert_eq!(store.snapshot().count("/registry/pods/", None), objects);
    assert!(closed <= most, "{closed} KiB when closed");
}

/// A file of some pages, and what is in it.
async fn file() -> (Vec<u8>, Vec<(String, bytes::Bytes)>) {
    let drive = formatted();
    let store = open(&drive).unwrap();
    churn(&store, 8, 120, 3).await;
    let contents = contents(&store);
    store.close().await;
    drop(store);
    (drive.bytes(), contents)
}

fn contents(store: &Store) -> Vec<(String, bytes::Bytes)> {
    store.snapshot().range("", None).map(|v| (v.key.to_string(), v.json.clone())).collect()
}

/// Whether damage is refused. If so, nothing has been written; if not, it did not matter.
fn refused(damaged: Vec<u8>, good: &[(String, bytes::Bytes)], what: &str) -> bool {
    let drive = Arc::new(Drive::holding(damaged));
    match open(&drive) {
        Ok(store) => {
            assert!(contents(&store) == good, "{what}: damage was served");
            false
        }
        Err(error) => {
            let said = error.to_string();
            assert!(
                said.starts_with("store.redb ") && said.len() > "store.redb is damaged: ".len(),
                "{what}: {said}"
            );
            assert_eq!(drive.acts(), 0, "{what}: the file was written to");
            true
        }
    }
}

#[tokio::test]
async fn a_file_cut_off_anywhere_is_refused_untouched() {
    let (whole, good) = file().await;
    let mut cuts: Vec<usize> = (0..whole.len()).step_by(whole.len() / 60).collect();
    cuts.extend((4096..whole.len()).step_by(16 * 4096).flat_map(|page| [page - 1, page, page + 1]));
    cuts.extend([1, 13, 4095, whole.len() - 1]);
    let refusals =
        cuts.iter().filter(|at| refused(whole[..**at].to_vec(), &good, &format!("cut at {at}"))).count();
    println!("truncation: {} places, {refusals} refused, the rest harmless", cuts.len());
    assert!(refusals * 10 > cuts.len() * 9, "{refusals} of {}", cuts.len());
    assert!(!refused(whole, &good, "whole"));
}

#[tokio::test]
async fn a_bit_flipped_anywhere_is_refused_untouched_or_harmless() {
    let (whole, good) = file().await;
    let places = counted((250, 4_000));
    let mut refusals = 0;
    for n in 0..places {
        let at = n * whole.len() / places + n % 61;
        let mut damaged = whole.clone();
        damaged[at.min(whole.len() - 1)] ^= 1 << (n % 8);
        refusals += usize::from(refused(damaged, &good, &format!("bit {} of byte {at}", n % 8)));
    }
    println!(
        "bit flips: {places} places in {} KiB, {refusals} refused, the rest in pages that hold nothing",
        whole.len() >> 10
    );
    assert!(refusals > 0);
}

#[tokio::test]
async fn what_is_no_store_of_this_format_is_refused_untouched() {
    let (whole, good) = file().await;
    let with = |text: &str| [text.as_bytes(), &whole[text.len()..]].concat();
    for (what, content, why) in [
        ("nothing", Vec::new(), "is not a store of this program"),
        ("zeros", vec![0; whole.len()], "is not a store of this program"),
        ("redb's own", whole[4096..].to_vec(), "is not a store of this program"),
        ("text", b"apiVersion: v1\nkind: List\n".repeat(1_000), "is not a store of this program"),
        ("newer", with("coracle store\nformat 2\n"), "has format 2, this program reads format 1"),
        (
            "much newer",
            with("coracle store\nformat 17 zstd\n"),
            "has format 17 zstd, this program reads format 1",
        ),
        ("no number", with("coracle store\nformat \n"), "has format , this program reads format 1"),
    ] {
        let drive = Arc::new(Drive::holding(content.clone()));
        let said = open(&drive).unwrap_err().to_string();
        assert_eq!(said, format!("store.redb {why}"), "{what}");
        assert!(drive.bytes() == content && drive.acts() == 0, "{what}: the file was written to");
    }
    assert!(!refused(whole, &good, "whole"));
}
