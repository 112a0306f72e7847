//! What is kept in etcd: the names of keys, and a version without its revision, which only etcd knows.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Draft, MetaOf, Version};

/// Every stored value starts with this, then says where in the JSON the revision belongs, then a newline, then the
/// JSON with an empty string in its place. So it reads well in `etcdctl`, and what others wrote is told apart.
const MAGIC: &str = "coracle1 ";
/// Where the keys of objects start in the store.
const ROOT: &str = "/registry";
/// Keys below this, under the prefix, are no objects but signs between servers.
const SIGNS: &str = "/.coracle/";

/// Maps the store's keys into etcd's, below a prefix of their own.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Names {
        Names { prefix: format!("/{}", prefix.trim_matches('/')) }
    }

    /// The first key that may be ours, and the first that no longer is.
    pub(super) fn all(&self) -> (Bytes, Bytes) {
        // `0` follows `/`.
        (format!("{}/", self.prefix).into(), format!("{}0", self.prefix).into())
    }

    pub(super) fn sign(&self, name: &str) -> Bytes {
        format!("{}{SIGNS}{name}", self.prefix).into()
    }

    /// `None` for a key that no object can have.
    pub(super) fn place(&self, key: &str) -> Option<Bytes> {
        let rest = key.strip_prefix(ROOT).filter(|rest| rest.starts_with('/'))?;
        Some(format!("{}{rest}", self.prefix).into())
    }

    pub(super) fn find(&self, key: &[u8]) -> Found {
        let text = String::from_utf8_lossy(key);
        match text.strip_prefix(&self.prefix) {
            Some(rest) if rest.starts_with(SIGNS) => Found::Sign,
            Some(rest) => Found::Object(format!("{ROOT}{rest}").into()),
            None => Found::Object(text.into()),
        }
    }
}

/// What a key in etcd names.
#[derive(Debug)]
pub(super) enum Found {
    Object(Arc<str>),
    Sign,
}

pub(super) fn encode(draft: &Draft) -> Bytes {
    let place = draft.head.len().to_string();
    let mut value = Vec::with_capacity(MAGIC.len() + place.len() + 1 + draft.head.len() + draft.tail.len());
    value.extend_from_slice(MAGIC.as_bytes());
    value.extend_from_slice(place.as_bytes());
    value.push(b'\n');
    value.extend_from_slice(&draft.head);
    value.extend_from_slice(&draft.tail);
    value.into()
}

/// `None` for a value that is not ours.
pub(super) fn decode(key: Arc<str>, revision: u64, value: &[u8], meta: &MetaOf) -> Option<Version> {
    let rest = value.strip_prefix(MAGIC.as_bytes())?;
    let newline = rest.iter().position(|b| *b == b'\n')?;
    let place: usize = std::str::from_utf8(&rest[..newline]).ok()?.parse().ok()?;
    let (head, tail) = rest[newline + 1..].split_at_checked(place)?;
    let json: Bytes = [head, revision.to_string().as_bytes(), tail].concat().into();
    let facts = meta(&key, &json);
    Version::restore(key, revision, json, place, Arc::new(facts))
}

/// What a value that is not ours looks like, for those who must find out how it came there.
pub(super) fn describe(value: &[u8]) -> String {
    let whose = if value.starts_with(b"k8s\0") { " (kube-apiserver's protobuf)" } else { "" };
    let start = value[..value.len().min(24)].escape_ascii();
    format!("\"{start}\"{whose}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft { head: br#"{"rv":""#.to_vec(), tail: br#"","v":1}"#.to_vec(), ..Draft::default() }
    }

    fn no_meta() -> MetaOf {
        Arc::new(|_, _| crate::Meta::default())
    }

    #[test]
    fn a_stored_value_is_json_behind_one_line() {
        assert_eq!(encode(&draft()), "coracle1 7\n{\"rv\":\"\",\"v\":1}");
        let back = decode("/registry/a".into(), 120, &encode(&draft()), &no_meta()).unwrap();
        assert_eq!((back.revision, &*back.json), (120, br#"{"rv":"120","v":1}"#.as_slice()));
        assert!(back.says_the_same(&draft()));
    }

    #[test]
    fn what_others_wrote_is_told_apart() {
        for value in ["", "{}", "k8s\0\n", "coracle1 ", "coracle1 9\n{}", "coracle1 x\n{}", "coracle2 0\n{}"]
        {
            assert!(decode("/registry/a".into(), 2, value.as_bytes(), &no_meta()).is_none(), "{value}");
        }
        assert_eq!(describe(b"k8s\0\n\x0c"), r#""k8s\x00\n\x0c" (kube-apiserver's protobuf)"#);
    }

    #[test]
    fn keys_go_below_the_prefix_and_come_back() {
        let names = Names::new("clusters/one/");
        let (from, to) = names.all();
        let there = names.place("/registry/pods/ns/a").unwrap();
        assert_eq!(there, "/clusters/one/pods/ns/a");
        assert!(from <= there && there < to);
        assert!(matches!(names.find(&there), Found::Object(key) if &*key == "/registry/pods/ns/a"));
        assert!(matches!(names.find(&names.sign("seen")), Found::Sign));
        assert!(names.place("/elsewhere/a").is_none() && names.place("/registrya").is_none());
    }
}
