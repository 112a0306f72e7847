//! The acceptance tests every log must pass: what kube-apiserver expects of its storage, and etcd's watch guarantees.

mod disk;
mod drive;
mod etcd_bugs;
mod growth;
mod history;
mod linear;
mod lists;
mod model;
mod power;
mod proofs;
mod restore;
mod snapshot_files;
mod transactions;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use coracle_clock::Clock;

use crate::{Committed, Draft, Error, EtcdOptions, Event, Expect, Meta, MetaOf, Snapshot, Store, Txn, Watch};

/// What has not happened by then never will, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A store under test, with what it stands on.
pub(crate) struct Sut {
    store: Store,
    clock: Clock,
    _dir: Option<tempfile::TempDir>,
    _etcd: Option<coracle_testkit_etcd::Etcd>,
}

impl Sut {
    async fn memory() -> Sut {
        let clock = Clock::stepped(Default::default());
        Sut { store: Store::memory_with(meta_of(), clock.clone()), clock, _dir: None, _etcd: None }
    }

    /// On an etcd of its own, so that its revisions are those of the test.
    pub(crate) async fn etcd() -> Sut {
        let clock = Clock::stepped(Default::default());
        let etcd = coracle_testkit_etcd::Etcd::start();
        // The test's clock jumps over compactions, and each is a revision more.
        let compaction = Duration::ZERO;
        let options = EtcdOptions { endpoints: etcd.endpoints(), compaction, ..EtcdOptions::default() };
        let store = Store::etcd(&options, meta_of(), clock.clone()).await.unwrap();
        Sut { store, clock, _dir: None, _etcd: Some(etcd) }
    }

    async fn embedded() -> Sut {
        let clock = Clock::stepped(Default::default());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with(dir.path().join("data"), meta_of(), clock.clone()).await.unwrap();
        Sut { store, clock, _dir: Some(dir), _etcd: None }
    }

    async fn create(&self, key: &str, value: &str) -> u64 {
        self.store.commit(Txn::create(key, draft(value))).await.unwrap().revision
    }

    async fn update(&self, key: &str, revision: u64, value: &str) -> Result<Committed, Error> {
        self.store.commit(Txn::update(key, revision, draft(value))).await
    }

    async fn put(&self, key: &str, value: &str) -> u64 {
        self.store.commit(Txn::put(key, Expect::Any, draft(value))).await.unwrap().revision
    }

    async fn delete(&self, key: &str) -> u64 {
        self.store.commit(Txn::delete(key, Expect::Any)).await.unwrap().revision
    }

    fn watch(&self, prefix: &str, revision: u64) -> Watch {
        self.store.watch(prefix, revision).unwrap()
    }

    /// Let everything but the last write grow too old.
    async fn age(&self) {
        self.clock.advance(crate::HISTORY_AGE + Duration::from_secs(1));
        self.put("/registry/clock/tick", &format!("{:?}", self.clock.elapsed())).await;
    }
}

/// How much of a long test is done: the first number, or the second where `CORACLE_FULL` asks for the whole.
fn counted((short, full): (usize, usize)) -> usize {
    if std::env::var_os("CORACLE_FULL").is_some() { full } else { short }
}

/// The label is the value, so that tests see whether meta follows.
fn meta_of() -> MetaOf {
    Arc::new(|_, json| meta(&value_of(json)))
}

fn meta(value: &str) -> Meta {
    Meta { uid: format!("uid of {value}"), labels: vec![("v".into(), value.into())], ..Meta::default() }
}

fn draft(value: &str) -> Draft {
    Draft {
        head: br#"{"rv":""#.to_vec(),
        tail: format!(r#"","v":"{value}"}}"#).into_bytes(),
        meta: Arc::new(meta(value)),
    }
}

fn json(revision: u64, value: &str) -> String {
    format!(r#"{{"rv":"{revision}","v":"{value}"}}"#)
}

fn value_of(json: &[u8]) -> String {
    let text = String::from_utf8(json.to_vec()).unwrap();
    text.split('"').nth(7).unwrap_or_default().to_owned()
}

fn keys(snapshot: &Snapshot, prefix: &str) -> Vec<String> {
    snapshot.range(prefix, None).map(|v| v.key.to_string()).collect()
}

/// `+key@revision` created, `~` changed, `-` deleted.
pub(crate) fn say(event: &Event) -> String {
    let sign = match (&event.prev, &event.now) {
        (None, _) => '+',
        (_, Some(_)) => '~',
        (_, None) => '-',
    };
    format!("{sign}{}@{}", event.key, event.revision)
}

pub(crate) async fn told(watch: &mut Watch, events: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < events {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await;
        told.push(say(&event.expect("an event arrives").unwrap()));
    }
    told
}

fn assert_silent(watch: &mut Watch) {
    assert_eq!(watch.ready(10).unwrap().iter().map(|e| say(e)).collect::<Vec<_>>(), Vec::<String>::new());
}

/// For what only a log of our own does, such as becoming an earlier state.
macro_rules! on_every_log_of_our_own {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $test() { super::$test(crate::suite::Sut::memory().await).await })*
        }
        mod embedded {
            $(#[tokio::test] async fn $test() { super::$test(crate::suite::Sut::embedded().await).await })*
        }
    };
}
use on_every_log_of_our_own;

macro_rules! on_every_log {
    ($($test:ident)*) => {
        crate::suite::on_every_log_of_our_own! { $($test)* }
        mod etcd {
            $(#[tokio::test] async fn $test() { super::$test(crate::suite::Sut::etcd().await).await })*
        }
    };
}
use on_every_log;
