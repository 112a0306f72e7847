//! The file under redb: our own header page in front, and nothing written until the content is known to be good.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The header has a page of its own so that redb's pages stay aligned: 4 KiB, the page size of Linux on common machines.
pub(super) const HEADER: u64 = 4096;

/// Writes are held in memory until [`Store::release`], so that a file that turns out to be damaged stays as it was,
/// even though redb repairs and marks a file while opening it.
#[derive(Clone, Debug)]
pub(super) struct Backing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    len: u64,
    writes: Vec<(u64, Vec<u8>)>,
}

impl Backing {
    pub(super) fn new(file: File) -> io::Result<Backing> {
        let len = file.metadata()?.len().saturating_sub(HEADER);
        Ok(Backing(Arc::new(Inner { file, held: Mutex::new(Some(Held { len, writes: Vec::new() })) })))
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Write what was held, and from now on everything at once.
    pub(super) fn release(&self) -> io::Result<()> {
        let Some(held) = self.held().take() else { return Ok(()) };
        self.0.file.set_len(HEADER + held.len)?;
        for (offset, data) in &held.writes {
            self.0.file.write_all_at(data, HEADER + offset)?;
        }
        self.0.file.sync_data()
    }
}

impl Held {
    fn read(&self, file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let on_disk = file.metadata()?.len().saturating_sub(HEADER);
        let there = usize::try_from(on_disk.clamp(offset, end) - offset).unwrap_or(out.len());
        file.read_exact_at(&mut out[..there], HEADER + offset)?;
        out[there..].fill(0);
        for (at, data) in &self.writes {
            let from = offset.max(*at);
            let to = end.min(at + data.len() as u64);
            if from < to {
                let (from, to) = (from as usize, to as usize);
                let (offset, at) = (offset as usize, *at as usize);
                out[from - offset..to - offset].copy_from_slice(&data[from - at..to - at]);
            }
        }
        Ok(())
    }
}

impl redb::StorageBackend for Backing {
    fn len(&self) -> io::Result<u64> {
        match &*self.held() {
            Some(held) => Ok(held.len),
            None => Ok(self.0.file.metadata()?.len().saturating_sub(HEADER)),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.held() {
            Some(held) => held.read(&self.0.file, offset, out),
            None => self.0.file.read_exact_at(out, HEADER + offset),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => held.len = len,
            None => self.0.file.set_len(HEADER + len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match &*self.held() {
            Some(_) => Ok(()),
            None => self.0.file.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => held.writes.push((offset, data.to_vec())),
            None => self.0.file.write_all_at(data, HEADER + offset)?,
        }
        Ok(())
    }
}
