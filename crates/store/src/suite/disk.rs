//! What only the log on disk promises: durability, one owner, and refusing what it should not touch.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::OpenError;
use crate::index::Root;
use crate::log::{AppendError, Group, Log};

const CRASH_DIR: &str = "CORACLE_STORE_CRASH_DIR";
const FULL_DIR: &str = "CORACLE_STORE_FULL_DIR";

async fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, meta_of()).await
}

fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("store.redb")
}

fn contents(store: &Store) -> Vec<(String, bytes::Bytes, Arc<Meta>)> {
    let versions: Vec<_> = store.snapshot().range("", None).collect();
    versions.iter().map(|v| (v.key.to_string(), v.json.clone(), v.meta.clone())).collect()
}

async fn put(store: &Store, key: &str, value: &str) -> u64 {
    store.commit(Txn::put(key, Expect::Any, draft(value))).await.unwrap().revision
}

#[tokio::test]
async fn a_reopened_store_has_what_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    for n in 0..50 {
        put(&store, &format!("/registry/pods/ns/{}", n % 20), &n.to_string()).await;
    }
    let last = store.commit(Txn::delete("/registry/pods/ns/3", Expect::Any)).await.unwrap().revision;
    let before = contents(&store);
    drop(store);
    let store = open(dir.path()).await.unwrap();
    assert_eq!((store.revision(), contents(&store)), (last, before));
    assert!(store.watch("", last).is_ok());
    assert!(
        matches!(store.watch("", last - 1), Err(Error::Compacted { .. })),
        "history ends with the process"
    );
    assert_eq!(put(&store, "/registry/pods/ns/3", "new").await, last + 1);
}

#[tokio::test]
async fn directory_and_file_are_the_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let store = open(&data).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&file(&data))), (0o700, 0o600));
    drop(store);
}

#[tokio::test]
async fn a_store_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let refused = open(dir.path()).await.unwrap_err().to_string();
    assert_eq!(refused, format!("data directory {} is in use by another process", dir.path().display()));
    store.close().await;
    open(dir.path()).await.unwrap();
}

/// Opening is refused for a reason that contains `why`, and leaves the file as it was.
async fn refused(dir: &Path, why: &str) {
    let before = std::fs::read(file(dir)).unwrap();
    let error = open(dir).await.unwrap_err().to_string();
    assert!(error.contains(why) && error.contains("store.redb"), "{error}");
    assert!(std::fs::read(file(dir)).unwrap() == before, "the file was touched");
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["", "hello", &"x".repeat(100_000)] {
        std::fs::write(file(dir.path()), content).unwrap();
        refused(dir.path(), "is not a store").await;
    }
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await.unwrap());
    let mut content = std::fs::read(file(dir.path())).unwrap();
    let digit = content.windows(8).position(|w| w == b"format 1").unwrap() + 7;
    content[digit] = b'2';
    std::fs::write(file(dir.path()), content).unwrap();
    refused(dir.path(), "has format 2, this program reads format 1").await;
}

#[tokio::test]
async fn a_flipped_bit_is_refused_untouched_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    for n in 0..200 {
        put(&store, &format!("/registry/pods/ns/{n}"), &"v".repeat(n * 5)).await;
    }
    let good = (store.revision(), contents(&store));
    drop(store);
    let content = std::fs::read(file(dir.path())).unwrap();
    let mut refusals = 0;
    // A place in every page behind the header, moving through the page.
    for (n, place) in (4096..content.len()).step_by(4096 + 61).enumerate() {
        let mut damaged = content.clone();
        damaged[place] ^= 1 << (n % 8);
        std::fs::write(file(dir.path()), &damaged).unwrap();
        match open(dir.path()).await {
            Ok(store) => {
                assert!((store.revision(), contents(&store)) == good, "damage at {place} was served")
            }
            Err(OpenError::Damaged { .. }) => {
                refusals += 1;
                assert!(std::fs::read(file(dir.path())).unwrap() == damaged, "the file was touched");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refusals > 0);
}

#[tokio::test]
async fn a_truncated_file_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    put(&store, "/registry/a", "1").await;
    drop(store);
    let len = file(dir.path()).metadata().unwrap().len();
    std::fs::File::options().write(true).open(file(dir.path())).unwrap().set_len(len / 2).unwrap();
    refused(dir.path(), "is damaged").await;
}

#[tokio::test]
async fn a_store_half_made_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("store.redb.new"), "half").unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(store.revision(), 1);
    assert!(!dir.path().join("store.redb.new").exists());
}

struct FailsWhenTold(Arc<AtomicBool>);

impl Log for FailsWhenTold {
    fn append(&mut self, _: &Group<'_>) -> Result<(), AppendError> {
        if self.0.load(Ordering::SeqCst) { Err(AppendError(redb::Error::PreviousIo)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_acknowledged_or_shown() {
    let failing = Arc::new(AtomicBool::new(false));
    let log = Box::new(FailsWhenTold(failing.clone()));
    let store = Store::start(log, 1, Root::new(), Clock::system());
    put(&store, "/registry/a", "1").await;
    let mut watch = store.watch("", 2).unwrap();
    store.health().unwrap();
    failing.store(true, Ordering::SeqCst);
    let failed = store.commit(Txn::create("/registry/b", draft("1"))).await;
    assert!(matches!(failed, Err(Error::Halted(_))), "{failed:?}");
    // The disk may be well again, but what it holds is unknown.
    failing.store(false, Ordering::SeqCst);
    let refused = store.commit(Txn::create("/registry/c", draft("1"))).await;
    assert!(matches!(refused, Err(Error::Halted(_))), "{refused:?}");
    assert!(matches!(store.health(), Err(Error::Halted(_))));
    assert_eq!((store.revision(), keys(&store.snapshot(), "")), (2, vec!["/registry/a".to_owned()]));
    assert_silent(&mut watch);
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "suite::disk::the_process_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(CRASH_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut enough = 40 + round * 37;
        let mut line = String::new();
        while enough > 0 && lines.read_line(&mut line).unwrap() > 0 {
            enough -= u32::from(note(&line, &mut acknowledged));
            line.clear();
        }
        assert_eq!(enough, 0, "the child wrote");
        child.kill().unwrap();
        child.wait().unwrap();
        // What was acknowledged before the kill but not read yet.
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
        whole.lines().for_each(|line| {
            note(line, &mut acknowledged);
        });
        let store = open(dir.path()).await.unwrap();
        let snapshot = store.snapshot();
        for (key, revision) in &acknowledged {
            let found = snapshot.get(key).map_or(0, |v| v.revision);
            assert!(found >= *revision, "{key} was acknowledged at {revision}, found {found}");
        }
        assert!(store.revision() >= *acknowledged.values().max().unwrap());
    }
}

#[tokio::test]
async fn a_full_disk_stops_writes_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    // The largest file the child may write stands for the disk: 8 MiB in blocks of 512 bytes. Ignored, the signal about it
    // becomes an error of the write.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 16384; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "suite::disk::the_process_whose_disk_is_full", "--nocapture"])
        .env(FULL_DIR, dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut acknowledged = BTreeMap::new();
    String::from_utf8_lossy(&output.stdout).lines().for_each(|line| {
        note(line, &mut acknowledged);
    });
    let store = open(dir.path()).await.unwrap();
    assert!(acknowledged.len() > 10, "{acknowledged:?}");
    for (key, revision) in acknowledged {
        assert_eq!(store.snapshot().get(&key).map(|v| v.revision), Some(revision));
    }
}

/// Not a test of its own: what `a_full_disk_stops_writes_and_loses_none` starts.
#[tokio::test]
async fn the_process_whose_disk_is_full() {
    let Some(dir) = std::env::var_os(FULL_DIR) else { return };
    let store = open(Path::new(&dir)).await.unwrap();
    for n in 0.. {
        let key = format!("/registry/{n}");
        match store.commit(Txn::create(&*key, draft(&"x".repeat(20_000)))).await {
            Ok(done) => println!("acknowledged {key} {}", done.revision),
            Err(error) => {
                assert!(matches!(error, Error::Halted(_)), "{error}");
                assert!(store.snapshot().get(&key).is_none(), "a refused write is not shown");
                break;
            }
        }
    }
    let small = store.commit(Txn::create("/registry/small", draft("1"))).await;
    assert!(matches!(small, Err(Error::Halted(_))), "{small:?}");
    assert!(store.health().is_err() && store.snapshot().get("/registry/0").is_some());
}

/// Take down one line `acknowledged KEY REVISION`.
fn note(line: &str, acknowledged: &mut BTreeMap<String, u64>) -> bool {
    let mut words = line.split_whitespace().skip_while(|w| *w != "acknowledged").skip(1);
    let (Some(key), Some(revision)) = (words.next(), words.next().and_then(|r| r.parse::<u64>().ok())) else {
        return false;
    };
    let newest = acknowledged.entry(key.to_owned()).or_default();
    *newest = revision.max(*newest);
    true
}

/// Not a test of its own: what `a_killed_process_loses_nothing_it_acknowledged` starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let store = open(Path::new(&dir)).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|w| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..u64::MAX {
                    let key = format!("/registry/pods/{w}/{}", n % 50);
                    let revision = put(&store, &key, &format!("{n}-{}", store.revision())).await;
                    println!("acknowledged {key} {revision}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_torn_tail_of_the_file_is_noticed_or_repaired() {
    // The last page of the file is lost, as by a power cut in the middle of growing it.
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    put(&store, "/registry/a", "1").await;
    let good = contents(&store);
    drop(store);
    let handle = std::fs::File::options().write(true).open(file(dir.path())).unwrap();
    let len = handle.metadata().unwrap().len();
    handle.write_all_at(&[0; 4096], len - 4096).unwrap();
    match open(dir.path()).await {
        Ok(store) => assert_eq!(contents(&store), good),
        Err(error) => assert!(matches!(error, OpenError::Damaged { .. }), "{error}"),
    }
}
