//! Where transactions are made durable.

mod ahead;
pub(crate) mod embedded;
pub(crate) mod file;
pub(crate) mod memory;
mod read;

use std::path::PathBuf;
use std::sync::Arc;

use crate::Version;

/// The net effect of a group of transactions.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// The revision of the last transaction.
    pub(crate) revision: u64,
    /// What each key became, in the order in which it happened; `None` for gone.
    pub(crate) changes: &'a [(Arc<str>, Option<Arc<Version>>)],
}

pub(crate) trait Log: Send {
    /// Make the group durable as a whole. After an error the log must not be written to again: what is on disk is
    /// unknown.
    fn append(&mut self, group: &Group<'_>) -> Result<(), AppendError>;
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct AppendError(#[from] pub(crate) redb::Error);

/// Why a data directory was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data directory {} is in use by another process", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} is not a store of this program", file.display())]
    Foreign { file: PathBuf },
    #[error("{} has format {found}, this program reads format {known}", file.display())]
    Format { file: PathBuf, found: String, known: u32 },
    #[error("{} is damaged: {reason}", file.display())]
    Damaged { file: PathBuf, reason: String },
    #[error("etcd at {endpoints}: {reason}")]
    Etcd { endpoints: String, reason: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}
