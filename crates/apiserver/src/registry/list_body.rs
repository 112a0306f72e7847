//! Lists as they are sent: a head, the bytes of stored objects, an end. Nothing is decoded that has been before.

use std::sync::Arc;

use bytes::Bytes;
use coracle_api::codec::{encode, protobuf};
use coracle_api::{Kind, table};
use coracle_store::Version;
use serde_json::{Map, Value, json};

use super::forms::{self, Shown};
use super::list::item_prefix;
use crate::body::{Body, Pieces};
use crate::negotiate::MetaVersion;
use crate::server::Core;

/// Items are joined up to this size, so that a page of small objects costs few writes and a huge list never stands in
/// memory a second time.
const PIECE_BYTES: usize = 64 * 1024;
/// Room for the item with which a piece becomes full: a piece is moved if an item is larger, and few are.
const LAST_ITEM_BYTES: usize = 16 * 1024;

/// The pieces of a list.
struct Joined<T, P> {
    head: Vec<u8>,
    items: std::vec::IntoIter<T>,
    put: P,
    tail: &'static [u8],
    is_done: bool,
}

impl<T, P: FnMut(&mut Vec<u8>, T)> Iterator for Joined<T, P> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.is_done {
            return None;
        }
        let mut piece = Vec::with_capacity(self.head.len() + PIECE_BYTES + LAST_ITEM_BYTES);
        piece.append(&mut self.head);
        while piece.len() < PIECE_BYTES {
            let Some(item) = self.items.next() else {
                piece.extend_from_slice(self.tail);
                self.is_done = true;
                break;
            };
            (self.put)(&mut piece, item);
        }
        Some(piece.into())
    }
}

const JSON_END: &[u8] = b"]}\n";

fn open_json(mut frame: Map<String, Value>, items: &str) -> Vec<u8> {
    frame.shift_remove(items);
    let mut head = encode::compact(&Value::Object(frame));
    head.pop();
    head.extend_from_slice(format!(",\"{items}\":[").as_bytes());
    head
}

/// Items of JSON, with commas between them.
fn json_items(
    head: Vec<u8>,
    items: Vec<Arc<Version>>,
    mut put: impl FnMut(&mut Vec<u8>, &Version) + Send + 'static,
) -> impl Iterator<Item = Bytes> + Send {
    let mut is_first = true;
    let put = move |out: &mut Vec<u8>, item: Arc<Version>| {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        put(out, &item);
    };
    Joined { head, items: items.into_iter(), put, tail: JSON_END, is_done: false }
}

fn frame(kind: &str, api_version: &str, meta: Map<String, Value>) -> Map<String, Value> {
    let frame =
        [("kind", json!(kind)), ("apiVersion", json!(api_version)), ("metadata", Value::Object(meta))];
    frame.map(|(k, v)| (k.to_owned(), v)).into_iter().collect()
}

/// Whole objects, as they are stored.
pub(crate) fn json(kind: &Kind, meta: Map<String, Value>, items: Vec<Arc<Version>>) -> Body {
    let head = open_json(frame(&kind.list_kind(), &kind.api_version(), meta), "items");
    let strip = item_prefix(kind);
    let commas = items.len().saturating_sub(1);
    let held: usize =
        items.iter().map(|v| v.json.len() - stripped(v, &strip).map_or(0, |_| strip.len() - 1)).sum();
    let length = head.len() + held + commas + JSON_END.len();
    let put = move |out: &mut Vec<u8>, v: &Version| match stripped(v, &strip) {
        Some(rest) => {
            out.push(b'{');
            out.extend_from_slice(rest);
        }
        None => out.extend_from_slice(&v.json),
    };
    Body::Pieces(Pieces::new(Some(length as u64), json_items(head, items, put)))
}

/// An item loses the kind and version that the list's own name says.
fn stripped<'a>(v: &'a Version, strip: &[u8]) -> Option<&'a [u8]> {
    v.json.strip_prefix(strip).filter(|_| !strip.is_empty())
}

/// Metadata only.
pub(crate) fn json_metadata(
    core: &Arc<Core>,
    kind: &Arc<Kind>,
    meta: Map<String, Value>,
    items: Vec<Arc<Version>>,
    version: MetaVersion,
) -> Body {
    let head = open_json(frame("PartialObjectMetadataList", version.api_version(), meta), "items");
    let (core, kind) = (core.clone(), kind.clone());
    let put = move |out: &mut Vec<u8>, v: &Version| Shown::of(&core, &kind, v).put_metadata(out, version);
    Body::Pieces(Pieces::new(None, json_items(head, items, put)))
}

pub(crate) fn table(
    core: &Arc<Core>,
    kind: &Arc<Kind>,
    meta: Map<String, Value>,
    items: Vec<Arc<Version>>,
    include: table::Include,
    version: MetaVersion,
) -> Body {
    let mut frame = table::frame(kind, meta, true);
    frame.insert("apiVersion".to_owned(), json!(version.api_version()));
    let head = open_json(frame, "rows");
    let (core, kind, now) = (core.clone(), kind.clone(), core.clock.unix_seconds());
    let put = move |out: &mut Vec<u8>, v: &Version| forms::put_row(&core, &kind, v, include, now, out);
    Body::Pieces(Pieces::new(None, json_items(head, items, put)))
}

/// A list in protobuf: whole objects, or of `metadata_only` that part of each message. All messages are made first, as
/// the envelope says their length.
pub(crate) fn protobuf(
    core: &Core,
    kind: &Kind,
    meta: Map<String, Value>,
    items: &[Arc<Version>],
    metadata_only: Option<MetaVersion>,
) -> Body {
    let messages: Vec<Bytes> = items.iter().map(|v| forms::message(core, kind, v)).collect();
    let shown = match metadata_only {
        None => |message: &Bytes| message.clone(),
        Some(_) => |message: &Bytes| message.slice_ref(protobuf::metadata_of(message)),
    };
    let messages: Vec<Bytes> = messages.iter().map(shown).collect();
    let meta = protobuf::list_metadata(&core.schemas, &Value::Object(meta));
    let mut item_head = Vec::new();
    let mut held = meta.len();
    for message in &messages {
        item_head.clear();
        protobuf::put_item_head(&mut item_head, message.len());
        held += item_head.len() + message.len();
    }
    let mut head = match metadata_only {
        None => protobuf::envelope(&kind.api_version(), &kind.list_kind(), held),
        Some(version) => protobuf::envelope(version.api_version(), "PartialObjectMetadataList", held),
    };
    let length = head.len() + held + protobuf::ENVELOPE_END.len();
    head.extend_from_slice(&meta);
    let put = |out: &mut Vec<u8>, message: Bytes| {
        protobuf::put_item_head(out, message.len());
        out.extend_from_slice(&message);
    };
    let items = messages.into_iter();
    let pieces = Joined { head, items, put, tail: &protobuf::ENVELOPE_END, is_done: false };
    Body::Pieces(Pieces::new(Some(length as u64), pieces))
}
