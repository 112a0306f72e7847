//! A snapshot as bytes: a header for people and programs, the objects, and a checksum over all of it.
//!
//! Written and read in pieces, so that neither side ever holds a second copy. Nothing is handed out before the checksum
//! at the end has been seen to be right.
//!
//! ```text
//! coracle snapshot\n
//! format 1\n  revision N\n  objects N\n  cluster NAME\n  made TIME\n  \n        (one a line)
//! each object, by key: length of key (4), length of JSON (4), revision (8), position of its digits (4), key, JSON
//! SHA-256 of everything before (32)
//! ```
//! Numbers are little-endian.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::index::Root;
use crate::{MetaOf, Snapshot, Version};

const MAGIC: &str = "coracle snapshot\n";
const FORMAT: u32 = 1;
/// The header's lines after the magic, in order.
const FIELDS: [&str; 5] = ["format", "revision", "objects", "cluster", "made"];
/// A header has some 150 bytes; what has not ended by then is none.
const HEADER_MAX: usize = 4096;
const RECORD_HEAD: usize = 20;
/// Longest key, four times what names and paths of Kubernetes add up to.
const KEY_MAX: usize = 4096;
/// Largest object: ten times the 3 MiB that the API takes, so that nobody's damaged length makes us hold more.
const JSON_MAX: usize = 32 << 20;
const CHECKSUM: usize = 32;
/// Objects are joined up to this size.
const PIECE: usize = 64 << 10;

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub revision: u64,
    pub objects: usize,
    /// Which cluster it was taken of, in the words of whoever took it: one word.
    pub cluster: String,
    /// When: one word.
    pub made: String,
}

/// Why bytes are not taken for a snapshot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("it is no snapshot of a cluster")]
    Foreign,
    #[error("it has format {found}, this program reads format {FORMAT}")]
    Format { found: String },
    #[error("it is cut off: it ends {0}")]
    Truncated(String),
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// A snapshot as pieces of bytes.
#[derive(Debug)]
pub struct Encoder {
    snapshot: Snapshot,
    header: Option<Header>,
    last: Option<Arc<str>>,
    checksum: Option<Sha256>,
}

impl Encoder {
    /// `cluster` and `made` are for the header.
    pub fn new(snapshot: Snapshot, cluster: &str, made: &str) -> Encoder {
        let header = Header {
            revision: snapshot.revision,
            objects: snapshot.len(),
            cluster: cluster.to_owned(),
            made: made.to_owned(),
        };
        Encoder { snapshot, header: Some(header), last: None, checksum: Some(Sha256::new()) }
    }
}

impl Header {
    fn encode(&self) -> String {
        let values = [
            FORMAT.to_string(),
            self.revision.to_string(),
            self.objects.to_string(),
            self.cluster.clone(),
            self.made.clone(),
        ];
        let lines: String =
            FIELDS.iter().zip(values).map(|(field, value)| format!("{field} {value}\n")).collect();
        format!("{MAGIC}{lines}\n")
    }

    /// `None` while the header has not ended.
    fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, FileError> {
        let magic = MAGIC.as_bytes();
        if !bytes.starts_with(&magic[..magic.len().min(bytes.len())]) {
            return Err(FileError::Foreign);
        }
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\n\n") else {
            return if bytes.len() > HEADER_MAX { Err(FileError::Foreign) } else { Ok(None) };
        };
        let damaged = || FileError::Damaged("its header makes no sense".to_owned());
        let lines = std::str::from_utf8(&bytes[magic.len()..end]).map_err(|_| damaged())?;
        let mut values = Vec::new();
        for (line, field) in lines.split('\n').zip(FIELDS) {
            let value =
                line.strip_prefix(field).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(damaged)?;
            // What a newer format says after this line is its own affair.
            if field == "format" && value != FORMAT.to_string() {
                return Err(FileError::Format { found: value.to_owned() });
            }
            values.push(value);
        }
        let [_, revision, objects, cluster, made] = values[..] else { return Err(damaged()) };
        let header = Header {
            revision: revision.parse().map_err(|_| damaged())?,
            objects: objects.parse().map_err(|_| damaged())?,
            cluster: cluster.to_owned(),
            made: made.to_owned(),
        };
        Ok(Some((header, end + 2)))
    }
}

fn put(out: &mut BytesMut, version: &Version) {
    let length = |n: usize| u32::try_from(n).expect("an object is smaller than 4 GiB");
    out.put_u32_le(length(version.key.len()));
    out.put_u32_le(length(version.json.len()));
    out.put_u64_le(version.revision);
    out.put_u32_le(length(version.digits_at()));
    out.put_slice(version.key.as_bytes());
    out.put_slice(&version.json);
}

impl Iterator for Encoder {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let checksum = self.checksum.as_mut()?;
        let mut piece = BytesMut::with_capacity(PIECE);
        if let Some(header) = self.header.take() {
            piece.put_slice(header.encode().as_bytes());
        }
        let last = self.last.take();
        for version in self.snapshot.range("", last.as_deref()) {
            put(&mut piece, &version);
            self.last = Some(version.key.clone());
            if piece.len() >= PIECE {
                break;
            }
        }
        checksum.update(&piece);
        if piece.len() < PIECE {
            piece.put_slice(&self.checksum.take()?.finalize());
        }
        Some(piece.freeze())
    }
}

/// Takes a snapshot in, piece by piece.
pub struct Decoder {
    /// Reads what the store keeps beside an object; without it objects are checked and dropped.
    meta: Option<MetaOf>,
    pending: BytesMut,
    header: Option<Header>,
    checksum: Sha256,
    last: Option<Arc<str>>,
    read: usize,
    root: Root,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Decoder {
    pub fn new(meta: MetaOf) -> Decoder {
        Decoder {
            meta: Some(meta),
            pending: BytesMut::new(),
            header: None,
            checksum: Sha256::new(),
            last: None,
            read: 0,
            root: Root::new(),
        }
    }

    /// One that only tells whether a snapshot is whole; the snapshot that it yields is empty.
    pub fn verifier() -> Decoder {
        let nothing: MetaOf = Arc::new(|_: &str, _: &[u8]| crate::Meta::default());
        Decoder { meta: None, ..Decoder::new(nothing) }
    }

    pub fn feed(&mut self, piece: &[u8]) -> Result<(), FileError> {
        self.pending.extend_from_slice(piece);
        if self.header.is_none() {
            let Some((header, length)) = Header::decode(&self.pending)? else { return Ok(()) };
            self.header = Some(header);
            self.take(length);
        }
        let objects = self.header.as_ref().map_or(0, |header| header.objects);
        while self.read < objects && self.record()? {
            self.read += 1;
        }
        if self.read == objects && self.pending.len() > CHECKSUM {
            return Err(FileError::Damaged("it goes on after its end".to_owned()));
        }
        Ok(())
    }

    /// The snapshot, once all has been fed and is as it was written.
    pub fn finish(self) -> Result<(Header, Snapshot), FileError> {
        let Some(header) = self.header else {
            let too_short = self.pending.len() < MAGIC.len();
            let why = FileError::Truncated("inside its header".to_owned());
            return Err(if too_short { FileError::Foreign } else { why });
        };
        if self.read < header.objects {
            let (read, all) = (self.read, header.objects);
            return Err(FileError::Truncated(format!("after {read} of {all} objects")));
        }
        if self.pending.len() < CHECKSUM {
            return Err(FileError::Truncated("inside its checksum".to_owned()));
        }
        if self.checksum.finalize()[..] != self.pending[..] {
            return Err(FileError::Damaged("its checksum is not that of its content".to_owned()));
        }
        let snapshot = Snapshot::new(header.revision, self.root);
        Ok((header, snapshot))
    }

    fn take(&mut self, length: usize) -> Bytes {
        let taken = self.pending.split_to(length).freeze();
        self.checksum.update(&taken);
        taken
    }

    /// Take in one object; false when it has not arrived in full.
    fn record(&mut self) -> Result<bool, FileError> {
        let Some(head) = self.pending.first_chunk::<RECORD_HEAD>() else { return Ok(false) };
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (key_len, json_len, digits_at) = (number(0) as usize, number(4) as usize, number(16) as usize);
        let revision = u64::from(number(8)) | (u64::from(number(12)) << 32);
        let damaged = |read| FileError::Damaged(format!("its object number {} makes no sense", read + 1));
        if key_len > KEY_MAX || json_len > JSON_MAX {
            return Err(damaged(self.read));
        }
        let end = RECORD_HEAD + key_len + json_len;
        if self.pending.len() < end {
            return Ok(false);
        }
        let record = self.take(end);
        let (key, json) = record[RECORD_HEAD..].split_at(key_len);
        let key: Arc<str> = std::str::from_utf8(key).map_err(|_| damaged(self.read))?.into();
        let in_order = self.last.as_ref().is_none_or(|last| **last < *key);
        let known = self.header.as_ref().is_some_and(|header| revision <= header.revision);
        let meta = self.meta.as_ref().map_or_else(Default::default, |meta| Arc::new(meta(&key, json)));
        // Copied, since a slice of the piece would keep all of it alive for as long as this one object lives.
        let json = Bytes::copy_from_slice(json);
        let version = Version::restore(key.clone(), revision, json, digits_at, meta);
        let version = version.filter(|_| in_order && known).ok_or_else(|| damaged(self.read))?;
        self.last = Some(key.clone());
        if self.meta.is_some() {
            self.root.insert(key, Arc::new(version));
        }
        Ok(true)
    }
}
