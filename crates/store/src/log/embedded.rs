//! The log on disk: one redb file, one fsync a group of transactions.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend as _, TableDefinition};

use super::ahead::Ahead;
use super::file::{Backing, Disk, HEADER};
use super::{AppendError, Group, Log, OpenError, read};
use crate::index::{FIRST_REVISION, Root};
use crate::store::MetaOf;
use crate::{Meta, Version};

const FILE: &str = "store.redb";
/// A store in the making; renamed to [`FILE`] once whole.
const NEW_FILE: &str = "store.redb.new";
const MAGIC: &str = "coracle store\nformat ";
const FORMAT: u32 = 1;
/// Key → revision (8 bytes) and position of its digits in the JSON (4 bytes), both little-endian, then the JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const PREFIX: usize = 12;
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const REVISION: &str = "revision";
/// redb caches pages for writing only, since reads are served from the index: 8 MiB hold the inner pages of more than a
/// million objects.
const CACHE_BYTES: usize = 8 << 20;
/// A store as large as this is read while it is checked; smaller ones take less than 100 ms for both. Tests do so always.
const AHEAD_BYTES: u64 = if cfg!(test) { 1 } else { 16 << 20 };

#[derive(Debug)]
pub(crate) struct Embedded {
    db: Database,
    /// Locked as long as the store is open.
    _dir: Option<File>,
}

impl Embedded {
    pub(crate) fn open(dir: &Path, meta: &MetaOf) -> Result<(Embedded, u64, Root), OpenError> {
        let locked = prepare(dir)?;
        let path = dir.join(FILE);
        let at = |source| OpenError::Io { path: path.clone(), source };
        if !path.try_exists().map_err(at)? {
            let db = create(dir, &locked)?;
            return Ok((Embedded { db, _dir: Some(locked) }, FIRST_REVISION, Root::new()));
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at)?;
        let (log, revision, root) = Embedded::load(Arc::new(file), &path, meta)?;
        Ok((Embedded { _dir: Some(locked), ..log }, revision, root))
    }

    /// The store that `disk` holds; `path` is what to call it.
    pub(crate) fn load(
        disk: Arc<dyn Disk>,
        path: &Path,
        meta: &MetaOf,
    ) -> Result<(Embedded, u64, Root), OpenError> {
        let at = |source| OpenError::Io { path: path.to_owned(), source };
        check_header(&*disk, path)?;
        let ahead = Ahead::new(disk.clone(), disk.len().map_err(at)?.saturating_sub(HEADER));
        let backing = Backing::new(disk).map_err(at)?;
        // redb promises no panic on damage when it checks integrity, but a panic here must not take the program along.
        let loaded = catch_unwind(AssertUnwindSafe(|| load(backing.clone(), &ahead, meta)));
        let damaged = |reason| OpenError::Damaged { file: path.to_owned(), reason };
        let (db, revision, root) = loaded
            .map_err(|_| damaged("its pages make no sense".to_owned()))?
            .map_err(|error| damaged(error.to_string()))?;
        backing.release().map_err(at)?;
        Ok((Embedded { db, _dir: None }, revision, root))
    }
}

/// Make the directory if need be and lock it.
fn prepare(dir: &Path) -> Result<File, OpenError> {
    let at = |source| OpenError::Io { path: dir.to_owned(), source };
    let is_new = !dir.try_exists().map_err(at)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
    let handle = File::open(dir).map_err(at)?;
    match handle.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(at(source)),
    }
    if is_new && let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(at)?;
    }
    Ok(handle)
}

/// Put an empty store in place, whole or not at all.
fn create(dir: &Path, locked: &File) -> Result<Database, OpenError> {
    let path = dir.join(NEW_FILE);
    let at = |source| OpenError::Io { path: path.clone(), source };
    let db = write_new(&path).map_err(at)?;
    std::fs::rename(&path, dir.join(FILE)).map_err(at)?;
    locked.sync_all().map_err(at)?;
    Ok(db)
}

fn write_new(path: &Path) -> io::Result<Database> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    format(Arc::new(file))
}

/// Make an empty store of an empty disk.
pub(crate) fn format(disk: Arc<dyn Disk>) -> io::Result<Database> {
    let mut header = format!("{MAGIC}{FORMAT}\n").into_bytes();
    header.resize(HEADER as usize, 0);
    disk.write(0, &header)?;
    let backing = Backing::new(disk)?;
    let initialize = || -> Result<Database, redb::Error> {
        let db = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backing.clone())?;
        let txn = db.begin_write()?;
        txn.open_table(OBJECTS)?;
        txn.open_table(FACTS)?.insert(REVISION, FIRST_REVISION)?;
        txn.commit()?;
        Ok(db)
    };
    let db = initialize().map_err(io::Error::other)?;
    backing.release()?;
    Ok(db)
}

/// Refuse what is not ours or newer than us before redb sees it.
fn check_header(disk: &dyn Disk, path: &Path) -> Result<(), OpenError> {
    let foreign = || OpenError::Foreign { file: path.to_owned() };
    let mut header = vec![0; HEADER as usize];
    disk.read(0, &mut header).map_err(|_| foreign())?;
    let rest = header.strip_prefix(MAGIC.as_bytes()).ok_or_else(foreign)?;
    let format = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    let found = String::from_utf8_lossy(format).into_owned();
    if found == FORMAT.to_string() {
        Ok(())
    } else {
        Err(OpenError::Format { file: path.to_owned(), found, known: FORMAT })
    }
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Redb(#[from] redb::Error),
    #[error("the record of {0} makes no sense")]
    Record(String),
    #[error("the revision is missing")]
    NoRevision,
}

fn load(backing: Backing, ahead: &Ahead, meta: &MetaOf) -> Result<(Database, u64, Root), LoadError> {
    std::thread::scope(|scope| {
        let _stop = ahead.stop_at_end();
        let is_large = ahead.len().is_ok_and(|len| len >= AHEAD_BYTES);
        let reading = is_large.then(|| scope.spawn(|| ahead.read(|db| read_all(db, meta).ok())));
        let db = check(backing)?;
        let early = reading.and_then(|reading| reading.join().ok().flatten());
        // The check may have gone back to the last commit but one. Every append has a revision of its own, and a commit
        // without one changes nothing that was read.
        let (revision, root) = match early {
            Some(early) if early.0 == revision_of(&db)? => early,
            _ => read_all(&db, meta)?,
        };
        Ok((db, revision, root))
    })
}

/// Open the store if every page of it is as it was written.
fn check(backing: Backing) -> Result<Database, LoadError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(backing).map_err(redb::Error::from)?)
}

fn revision_of(db: &impl ReadableDatabase) -> Result<u64, LoadError> {
    let txn = db.begin_read().map_err(redb::Error::from)?;
    let facts = txn.open_table(FACTS).map_err(redb::Error::from)?;
    Ok(facts.get(REVISION).map_err(redb::Error::from)?.ok_or(LoadError::NoRevision)?.value())
}

fn read_all(db: &impl ReadableDatabase, meta: &MetaOf) -> Result<(u64, Root), LoadError> {
    let revision = revision_of(db)?;
    let txn = db.begin_read().map_err(redb::Error::from)?;
    let objects = txn.open_table(OBJECTS).map_err(redb::Error::from)?;
    let records = objects.iter().map_err(redb::Error::from)?.map(|entry| {
        let (key, value) = entry.map_err(redb::Error::from)?;
        Ok((key.value().into(), Bytes::copy_from_slice(value.value())))
    });
    let decode = |(key, record): read::Record| {
        decode(key, record, meta).filter(|version| version.revision <= revision)
    };
    let root = read::decode_all(records, decode, |key| LoadError::Record(key.to_owned()))?;
    drop(objects);
    txn.close().map_err(redb::Error::from)?;
    Ok((revision, root))
}

fn encode(version: &Version) -> Vec<u8> {
    let mut record = Vec::with_capacity(PREFIX + version.json.len());
    record.extend_from_slice(&version.revision.to_le_bytes());
    let digits_at = u32::try_from(version.digits_at()).expect("an object is smaller than 4 GiB");
    record.extend_from_slice(&digits_at.to_le_bytes());
    record.extend_from_slice(&version.json);
    record
}

fn decode(key: Arc<str>, mut record: Bytes, meta: &MetaOf) -> Option<Version> {
    let revision = record.try_get_u64_le().ok()?;
    let digits_at = usize::try_from(record.try_get_u32_le().ok()?).ok()?;
    // What is left of the record is the object's JSON: kept where it has been read to.
    let facts: Meta = meta(&key, &record);
    Version::restore(key, revision, record, digits_at, Arc::new(facts))
}

impl Log for Embedded {
    fn append(&mut self, group: &Group<'_>) -> Result<(), AppendError> {
        Ok(write(&self.db, group)?)
    }
}

fn write(db: &Database, group: &Group<'_>) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    {
        let mut objects = txn.open_table(OBJECTS)?;
        for (key, version) in group.changes {
            match version {
                Some(version) => objects.insert(&**key, encode(version).as_slice())?,
                None => objects.remove(&**key)?,
            };
        }
        txn.open_table(FACTS)?.insert(REVISION, group.revision)?;
    }
    // Durability is immediate by default: commit returns after the fsync.
    txn.commit()?;
    Ok(())
}
