//! Reading a large store while redb checks it, which is one thread's work and takes as long. What was read counts only
//! once the check has found it to be sound.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, ReadOnlyDatabase, StorageBackend};

use super::file::{Disk, HEADER};

/// A store that is not yet known to be sound may lead round in circles: so much of its length is read at most, where
/// each page is needed once.
const LENGTHS_MAX: u64 = 2;

/// The file as it is, to be read until told to stop.
#[derive(Clone, Debug)]
pub(super) struct Ahead(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    len: u64,
    /// How many bytes may still be read.
    left: AtomicU64,
}

impl Ahead {
    /// Of a store that takes `len` bytes of the disk.
    pub(super) fn new(disk: Arc<dyn Disk>, len: u64) -> Ahead {
        Ahead(Arc::new(Inner { disk, len, left: AtomicU64::new(len.saturating_mul(LENGTHS_MAX)) }))
    }

    /// What `read` makes of the store. `None` where nothing can be made of it yet, as of one that was not closed.
    pub(super) fn read<T>(&self, read: impl FnOnce(&ReadOnlyDatabase) -> Option<T>) -> Option<T> {
        // Without a cache no page is met again behind the back of the limit. The check will say what is wrong, better
        // than a panic over it.
        let read = || {
            let db = Database::builder().set_cache_size(0).open_read_only_with_backend(self.clone()).ok()?;
            read(&db)
        };
        catch_unwind(AssertUnwindSafe(read)).ok().flatten()
    }

    /// Have every reader end once what is returned goes, be it by a panic.
    pub(super) fn stop_at_end(&self) -> Stop<'_> {
        Stop(self)
    }
}

pub(super) struct Stop<'a>(&'a Ahead);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.0.left.store(0, Ordering::Relaxed);
    }
}

impl StorageBackend for Ahead {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let taken = |left: u64| left.checked_sub(out.len() as u64);
        let left = &self.0.left;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .map_err(|_| io::Error::other("nobody waits for more"))?;
        self.0.disk.read(HEADER + offset, out)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use redb::{ReadableDatabase, TableDefinition};

    use super::super::embedded::format;
    use super::*;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("numbers");

    fn disk(path: &Path) -> Arc<dyn Disk> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        Arc::new(file.unwrap())
    }

    fn sum(path: &Path, stopped: bool) -> Option<u64> {
        let disk = disk(path);
        let ahead = Ahead::new(disk.clone(), disk.len().unwrap() - HEADER);
        if stopped {
            drop(ahead.stop_at_end());
        }
        ahead.read(|db| {
            let table = db.begin_read().ok()?.open_table(TABLE).ok()?;
            redb::ReadableTable::iter(&table).ok()?.map(|entry| Some(entry.ok()?.1.value())).sum()
        })
    }

    #[test]
    fn a_closed_store_is_read_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let db = format(disk(&path)).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let mut table = txn.open_table(TABLE).unwrap();
            (0..10_000).for_each(|n| drop(table.insert(n, n).unwrap()));
        }
        txn.commit().unwrap();
        let open = dir.path().join("open");
        std::fs::copy(&path, &open).unwrap();
        assert_eq!(sum(&open, false), None, "it was not closed");
        drop(db);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(sum(&path, false), Some(49_995_000));
        assert_eq!(sum(&path, true), None, "it was told to stop");
        assert!(std::fs::read(&path).unwrap() == before, "reading changes nothing");
        // A branch that leads back to itself, or whatever these bytes come to: an end, not a loop.
        for page in 1..before.len() / 4096 {
            let mut bytes = before.clone();
            bytes.copy_within(4096..8192, page * 4096);
            std::fs::write(&open, bytes).unwrap();
            sum(&open, false);
        }
    }
}
