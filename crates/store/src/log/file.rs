//! The file under redb: our own header page in front, and nothing written until the content is known to be good.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The header has a page of its own so that redb's pages stay aligned: 4 KiB, the page size of Linux on common machines.
pub(crate) const HEADER: u64 = 4096;

/// What a log asks of the file it is kept in, so that tests can put a disk under it that fails or loses power.
pub(crate) trait Disk: std::fmt::Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Whatever was written before is durable when this returns; in which order it became so is not promised.
    fn sync(&self) -> io::Result<()>;
}

impl Disk for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// What redb does is held in memory until [`Backing::release`], so that a file that turns out to be damaged stays as it
/// was, even though redb repairs and marks a file while opening it.
#[derive(Clone, Debug)]
pub(crate) struct Backing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    len: u64,
    /// What the disk has, which stays so while everything is held: asked once, not for each of 300,000 pages.
    on_disk: u64,
    done: Vec<Done>,
}

#[derive(Debug)]
enum Done {
    Write(u64, Vec<u8>),
    SetLen(u64),
    /// What comes later may rest on what came before being durable: left out, a power cut during the release could
    /// keep a later write and lose an earlier one, and redb would find a file that it calls corrupt.
    Sync,
}

impl Backing {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> io::Result<Backing> {
        let len = disk.len()?.saturating_sub(HEADER);
        Ok(Backing(Arc::new(Inner {
            disk,
            held: Mutex::new(Some(Held { len, on_disk: len, done: Vec::new() })),
        })))
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Do what was held, in its order, and from now on everything at once.
    pub(crate) fn release(&self) -> io::Result<()> {
        let Some(held) = self.held().take() else { return Ok(()) };
        let disk = &self.0.disk;
        for done in &held.done {
            match done {
                Done::Write(offset, data) => disk.write(HEADER + offset, data)?,
                Done::SetLen(len) => disk.set_len(HEADER + len)?,
                Done::Sync => disk.sync()?,
            }
        }
        disk.sync()
    }
}

impl Held {
    fn read(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = (self.on_disk.clamp(offset, end) - offset) as usize;
        disk.read(HEADER + offset, &mut out[..there])?;
        out[there..].fill(0);
        for done in &self.done {
            match done {
                Done::Write(at, data) => {
                    let from = offset.max(*at);
                    let to = end.min(at + data.len() as u64);
                    if from < to {
                        let source = &data[(from - at) as usize..(to - at) as usize];
                        out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
                    }
                }
                Done::SetLen(len) => out[(len.clamp(&offset, &end) - offset) as usize..].fill(0),
                Done::Sync => {}
            }
        }
        Ok(())
    }
}

impl redb::StorageBackend for Backing {
    fn len(&self) -> io::Result<u64> {
        match &*self.held() {
            Some(held) => Ok(held.len),
            None => Ok(self.0.disk.len()?.saturating_sub(HEADER)),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.held() {
            Some(held) => held.read(&*self.0.disk, offset, out),
            None => self.0.disk.read(HEADER + offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => {
                held.len = len;
                held.done.push(Done::SetLen(len));
            }
            None => self.0.disk.set_len(HEADER + len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => held.done.push(Done::Sync),
            None => self.0.disk.sync()?,
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => held.done.push(Done::Write(offset, data.to_vec())),
            None => self.0.disk.write(HEADER + offset, data)?,
        }
        Ok(())
    }
}
