//! Snapshots as bytes: nothing is lost, and nothing that is not whole is taken.

use proptest::prelude::*;

use super::*;
use crate::index::Root;
use crate::{Decoder, Encoder, FileError, Header, Version};

fn snapshot(objects: impl IntoIterator<Item = (String, u64, String)>) -> Snapshot {
    let mut root = Root::new();
    let mut newest = 1;
    for (key, revision, value) in objects {
        let key: Arc<str> = key.into();
        newest = newest.max(revision);
        root.insert(key.clone(), Arc::new(Version::assemble(key, revision, draft(&value))));
    }
    Snapshot::new(newest, root)
}

fn numbered(objects: u64) -> Snapshot {
    snapshot((0..objects).map(|n| (format!("/registry/pods/ns/{n}"), 2 + n, format!("value {n}"))))
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    Encoder::new(snapshot.clone(), "abc123", "2026-01-02T03:04:05Z").flatten().collect()
}

fn decode_in(mut decoder: Decoder, bytes: &[u8], piece: usize) -> Result<(Header, Snapshot), FileError> {
    for piece in bytes.chunks(piece) {
        decoder.feed(piece)?;
    }
    decoder.finish()
}

/// What the store keeps beside an object, of bytes that may be anything.
fn any_meta() -> MetaOf {
    Arc::new(|_, json| meta(String::from_utf8_lossy(json).split('"').nth(7).unwrap_or_default()))
}

fn decode(bytes: &[u8]) -> Result<(Header, Snapshot), FileError> {
    decode_in(Decoder::new(any_meta()), bytes, 64 << 10)
}

fn versions(snapshot: &Snapshot) -> Vec<Arc<Version>> {
    snapshot.range("", None).collect()
}

#[test]
fn ten_thousand_objects_come_back_as_they_were() {
    let saved = numbered(10_000);
    let bytes = encode(&saved);
    for piece in [1, 1000, 64 << 10, bytes.len()] {
        let (header, read) = decode_in(Decoder::new(any_meta()), &bytes, piece).unwrap();
        assert!(versions(&read) == versions(&saved), "in pieces of {piece}");
        assert_eq!((header.revision, header.objects, read.revision), (10_001, 10_000, 10_001));
        assert_eq!((&*header.cluster, &*header.made), ("abc123", "2026-01-02T03:04:05Z"));
    }
    let (header, nothing) = decode_in(Decoder::verifier(), &bytes, 1000).unwrap();
    assert_eq!((header.objects, nothing.len()), (10_000, 0));
}

#[test]
fn pieces_stay_small() {
    let longest = Encoder::new(numbered(10_000), "c", "t").map(|piece| piece.len()).max();
    assert!(longest.unwrap() < 70_000, "{longest:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_state_comes_back_as_it_was(
        objects in prop::collection::btree_map("[a-z/.]{1,40}", (1..u64::MAX, "[ -!#-~]{0,200}"), 0..60)
    ) {
        let saved = snapshot(objects.into_iter().map(|(key, (revision, value))| (key, revision, value)));
        let (_, read) = decode(&encode(&saved)).unwrap();
        prop_assert_eq!(versions(&read), versions(&saved));
        prop_assert_eq!(read.revision, saved.revision);
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = encode(&numbered(40));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(decode(&damaged).is_err(), "byte {at}");
    }
}

#[test]
fn every_cut_is_refused() {
    let bytes = encode(&numbered(40));
    for length in 0..bytes.len() {
        let why = decode(&bytes[..length]).unwrap_err();
        assert!(matches!(why, FileError::Truncated(_) | FileError::Foreign), "{length}: {why}");
    }
    let told = |length: usize| decode(&bytes[..length]).unwrap_err().to_string();
    assert_eq!(told(bytes.len() - 1), "it is cut off: it ends inside its checksum");
    assert_eq!(told(bytes.len() / 2), "it is cut off: it ends after 19 of 40 objects");
}

#[test]
fn what_follows_the_end_is_refused() {
    let bytes = [encode(&numbered(3)), b"x".to_vec()].concat();
    assert_eq!(decode(&bytes).unwrap_err().to_string(), "it is damaged: it goes on after its end");
}

#[test]
fn other_files_are_refused_by_their_first_bytes() {
    for foreign in [&b""[..], b"x", b"SQLite format 3\0", b"coracle store\nformat 1\n", &[0; 100_000]] {
        let mut decoder = Decoder::new(any_meta());
        let refused = decoder.feed(foreign).and_then(|()| decoder.finish().map(drop));
        assert_eq!(refused.unwrap_err().to_string(), "it is no snapshot of a cluster");
    }
    let endless = [b"coracle snapshot\n".to_vec(), vec![b'x'; 5000]].concat();
    assert_eq!(decode(&endless).unwrap_err(), FileError::Foreign);
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let newer = "coracle snapshot\nformat 2\nanything else\n\nand more";
    let why = decode(newer.as_bytes()).unwrap_err().to_string();
    assert_eq!(why, "it has format 2, this program reads format 1");
}

/// Key, revision, and where the digits are said to be.
type Record = (&'static str, u64, usize);

/// A file whose checksum is right, made by a program that is wrong.
fn sealed(objects: &[Record]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut bytes =
        format!("coracle snapshot\nformat 1\nrevision 9\nobjects {}\ncluster c\nmade t\n\n", objects.len())
            .into_bytes();
    for (key, revision, digits_at) in objects {
        let json = format!(r#"{{"rv":"{revision}"}}"#);
        bytes.extend((key.len() as u32).to_le_bytes());
        bytes.extend((json.len() as u32).to_le_bytes());
        bytes.extend(revision.to_le_bytes());
        bytes.extend((*digits_at as u32).to_le_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend(json.as_bytes());
    }
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

#[test]
fn objects_that_no_store_could_hold_are_refused() {
    assert!(decode(&sealed(&[("a", 3, 7), ("b", 9, 7)])).is_ok());
    let cases: [(&str, &[Record]); 4] = [
        ("twice", &[("a", 3, 7), ("a", 3, 7)]),
        ("out of order", &[("b", 3, 7), ("a", 3, 7)]),
        ("from the future", &[("a", 3, 7), ("b", 10, 7)]),
        ("no revision there", &[("a", 3, 7), ("b", 3, 6)]),
    ];
    for (what, objects) in cases {
        let why = decode(&sealed(objects)).unwrap_err().to_string();
        assert_eq!(why, "it is damaged: its object number 2 makes no sense", "{what}");
    }
}
