//! Where a cluster's objects live: revisions, compare-and-swap, watch, exact past snapshots and durability.
//!
//! One persistent (structure-sharing) map holds the present, a bounded history of events gives the past back. One
//! writer orders all transactions and makes them durable in groups; readers never wait for it.

#![forbid(unsafe_code)]

mod commit;
mod engine;
mod etcd;
mod event;
mod forms;
mod index;
mod log;
mod restore;
mod snapshot_file;
mod store;
#[cfg(test)]
mod suite;
mod terms;
mod txn;
mod version;
mod watch;

pub use etcd::EtcdOptions;
pub use event::Event;
pub use forms::{Budget, Form};
pub use index::{
    HISTORY_AGE, HISTORY_BYTES, HISTORY_EVENTS, HISTORY_FRESH, HISTORY_FRESH_BYTES, Range, Snapshot,
};
pub use log::OpenError;
pub use snapshot_file::{Decoder, Encoder, FileError, Header};
pub use store::{MetaOf, Observer, Store};
pub use terms::Term;
pub use txn::{Committed, Error, Expect, Op, Txn};
pub use version::{Draft, Meta, Version};
pub use watch::Watch;

/// Whether `prefix` covers `key`: the same key, or a folder (ending in `/`, or empty for everything) that holds it.
pub fn covers(prefix: &str, key: &str) -> bool {
    prefix == key || ((prefix.is_empty() || prefix.ends_with('/')) && key.starts_with(prefix))
}
