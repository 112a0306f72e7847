//! The bytes of stored objects in each form that a client may ask for; what is made once is kept with the version.

use bytes::{BufMut, Bytes};
use coracle_api::codec::{encode, protobuf};
use coracle_api::print::{Now, duration};
use coracle_api::table::{self, Include};
use coracle_api::{Kind, object};
use coracle_store::Version;
use serde_json::Value;

use super::decode_stored;
use crate::negotiate::MetaVersion;
use crate::server::Core;

/// How many bytes of forms other than JSON are kept: 64 MiB, the messages of 28,000 Pods of the usual 2.3 KiB, or their
/// rows. A version's forms go with it; those that do not fit are made for each reader anew, as the reference does.
pub(crate) const KEPT_BYTES: usize = 64 << 20;

/// The protobuf message of an object as `kind` serves it; empty for what cannot be decoded.
pub(crate) fn message(core: &Core, kind: &Kind, version: &Version) -> Bytes {
    let make = || message_of(core, kind, &decoded(kind, version));
    // What is kept is the form of the row that stores the kind.
    if kind.is_view { make().into() } else { version.protobuf.get_or_make(&core.forms, make) }
}

pub(crate) fn message_of(core: &Core, kind: &Kind, object: &Value) -> Vec<u8> {
    protobuf::message(&core.schemas, &kind.schema, object).unwrap_or_default()
}

fn decoded(kind: &Kind, version: &Version) -> Value {
    decode_stored(kind, version).unwrap_or_else(|why| {
        tracing::error!(key = &*version.key, "{why}");
        Value::Null
    })
}

/// What tables and lists of metadata show of an object: a row up to the object in it, and the object's metadata.
pub(crate) struct Shown(Bytes);

/// Where a row's text ends, in the first bytes of what is kept.
const ENDS: usize = size_of::<u32>();
/// For a row that cannot be kept, as its object uses what marks an open age.
const NOT_KEPT: u32 = 0;

impl Shown {
    pub(crate) fn of(core: &Core, kind: &Kind, version: &Version) -> Shown {
        let make = || Shown::make(kind, version);
        Shown(if kind.is_view { make().into() } else { version.row.get_or_make(&core.forms, make) })
    }

    fn make(kind: &Kind, version: &Version) -> Vec<u8> {
        let object = decoded(kind, version);
        let mut row = table::row_text(kind, &object, Now::Open);
        let marks_itself = String::from_utf8_lossy(&version.json).contains(duration::MARK);
        let ends = if marks_itself { NOT_KEPT } else { row.len() as u32 };
        if marks_itself {
            row.clear();
        }
        let mut out = Vec::with_capacity(ENDS + row.len() + version.json.len() / 2);
        out.put_u32(ends);
        out.append(&mut row);
        encode::write_value(&mut out, object::metadata(&object));
        out
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let (ends, rest) = self.0.split_at_checked(ENDS).unwrap_or_default();
        let ends = ends.try_into().map_or(NOT_KEPT, u32::from_be_bytes);
        rest.split_at_checked(ends as usize).unwrap_or_default()
    }

    /// Whether there was an object to show: every one has metadata.
    pub(crate) fn is_readable(&self) -> bool {
        !matches!(self.split().1, b"" | b"{}" | b"null")
    }

    /// The object as `PartialObjectMetadata`.
    pub(crate) fn put_metadata(&self, out: &mut Vec<u8>, version: MetaVersion) {
        out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
        out.extend_from_slice(version.api_version().as_bytes());
        out.extend_from_slice(b"\",\"metadata\":");
        out.extend_from_slice(self.split().1);
        out.push(b'}');
    }
}

/// How a Table shows an object. `now` is seconds since the epoch, for ages.
pub(crate) fn put_row(
    core: &Core,
    kind: &Kind,
    version: &Version,
    include: Include,
    now: i64,
    out: &mut Vec<u8>,
) {
    let shown = Shown::of(core, kind, version);
    match std::str::from_utf8(shown.split().0) {
        Ok(row) if !row.is_empty() => duration::close(row, now, out),
        _ => out.extend(table::row_text(kind, &decoded(kind, version), Now::At(now))),
    }
    match include {
        Include::None => out.extend_from_slice(b"null"),
        Include::Metadata => shown.put_metadata(out, MetaVersion::V1),
        Include::Object if kind.is_view => encode::write_value(out, &decoded(kind, version)),
        Include::Object => out.extend_from_slice(&version.json),
    }
    out.push(b'}');
}
