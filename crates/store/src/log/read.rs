//! Reading a large store back on all cores: one thread reads records, the others make versions of them.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::Version;
use crate::index::Root;

/// Records that are handed over at a time: enough that handing over costs nothing, few enough that all cores have some.
const BATCH: usize = 512;
/// Batches that wait to be decoded, at most: reading ahead of the others would only take memory.
const WAITING: usize = 8;
/// More threads than this wait for the one that reads.
const THREADS_MAX: usize = 8;

/// A record as it was read: key and value.
pub(super) type Record = (Arc<str>, Bytes);
type Batch<T> = (usize, Vec<T>);

/// The versions of all records, which come in the order of their keys. The first that cannot be decoded is an error, and
/// its key says which.
pub(super) fn decode_all<E: Send>(
    records: impl Iterator<Item = Result<Record, E>>,
    decode: impl Fn(Record) -> Option<Version> + Sync,
    undecodable: impl Fn(&str) -> E + Sync,
) -> Result<Root, E> {
    let mut records = records.peekable();
    let mut root = Root::new();
    let decode_batch = |batch: Vec<Record>| -> Result<Vec<Version>, E> {
        let one = |record: Record| {
            let key = record.0.clone();
            decode(record).ok_or_else(|| undecodable(&key))
        };
        batch.into_iter().map(one).collect()
    };
    // What fits in one batch, as nearly every store does, is not worth a thread.
    let first: Vec<Record> = records.by_ref().take(BATCH).collect::<Result<_, E>>()?;
    insert(&mut root, decode_batch(first)?);
    if records.peek().is_none() {
        return Ok(root);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let (give, work) = sync_channel(WAITING);
    let (tell, told) = channel();
    // The threads' alone: when all have ended, as by a panic, handing out ends, too.
    let work = Arc::new(Mutex::new(work));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (work, tell, decode_batch) = (work.clone(), tell.clone(), &decode_batch);
            scope.spawn(move || decode_from(&work, &tell, decode_batch));
        }
        drop((work, tell));
        let read = hand_out(records, &give);
        drop(give);
        read.and_then(|()| collect(&mut root, &told))
    })?;
    Ok(root)
}

/// Read everything, unless nobody takes any more.
fn hand_out<E>(
    mut records: impl Iterator<Item = Result<Record, E>>,
    give: &SyncSender<Batch<Record>>,
) -> Result<(), E> {
    for number in 0.. {
        let batch: Vec<Record> = records.by_ref().take(BATCH).collect::<Result<_, E>>()?;
        if batch.is_empty() || give.send((number, batch)).is_err() {
            break;
        }
    }
    Ok(())
}

fn decode_from<E>(
    work: &Mutex<Receiver<Batch<Record>>>,
    tell: &Sender<(usize, Result<Vec<Version>, E>)>,
    decode: impl Fn(Vec<Record>) -> Result<Vec<Version>, E>,
) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, batch)) = next else { return };
        // It fails only where nobody wants to know any more.
        let _ = tell.send((number, decode(batch)));
    }
}

/// In the order of the batches, so that the same damage always has the same words.
fn collect<E>(root: &mut Root, told: &Receiver<(usize, Result<Vec<Version>, E>)>) -> Result<(), E> {
    let mut batches: Vec<_> = told.iter().collect();
    batches.sort_unstable_by_key(|(number, _)| *number);
    for (_, versions) in batches {
        insert(root, versions?);
    }
    Ok(())
}

fn insert(root: &mut Root, versions: Vec<Version>) {
    for version in versions {
        root.insert(version.key.clone(), Arc::new(version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draft, Meta};

    fn records(n: usize) -> impl Iterator<Item = Result<Record, String>> {
        (0..n).map(|i| Ok((format!("/registry/things/{i:06}").into(), i.to_string().into())))
    }

    fn version(record: Record) -> Option<Version> {
        let revision = std::str::from_utf8(&record.1).ok()?.parse().ok()?;
        Some(Version::assemble(
            record.0.clone(),
            revision,
            Draft { meta: Arc::new(Meta::default()), ..Draft::default() },
        ))
    }

    #[test]
    fn every_record_is_there_once_however_many_there_are() {
        for n in [0, 1, BATCH - 1, BATCH, BATCH + 1, 20 * BATCH + 7] {
            let root = decode_all(records(n), version, str::to_owned).unwrap();
            assert_eq!(root.len(), n);
            for (i, (key, version)) in root.iter().enumerate() {
                assert_eq!((&**key, version.revision), (&*format!("/registry/things/{i:06}"), i as u64));
            }
        }
    }

    #[test]
    fn the_first_damage_is_told_in_every_batch() {
        for bad in [3, BATCH, 9 * BATCH + 1] {
            let wrong = records(10 * BATCH).enumerate().map(move |(i, record)| {
                record
                    .map(|(key, value)| if i >= bad { (key, Bytes::from_static(b"?")) } else { (key, value) })
            });
            let error = decode_all(wrong, version, str::to_owned).unwrap_err();
            assert_eq!(error, format!("/registry/things/{bad:06}"));
        }
        let unreadable = records(5 * BATCH).chain([Err("cannot read".to_owned())]);
        assert_eq!(decode_all(unreadable, version, str::to_owned).unwrap_err(), "cannot read");
    }
}
