//! One stored version of one object: its bytes as clients get them, and the few facts that selecting needs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::Form;

/// What the store keeps beside the bytes, so that nothing decodes them on the read path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub uid: String,
    /// Unix seconds of `metadata.deletionTimestamp`.
    pub deletion_timestamp: Option<i64>,
    pub labels: Vec<(String, String)>,
    /// The kind's selectable fields.
    pub fields: Vec<(&'static str, String)>,
    /// How long after this version was written the object is to be deleted.
    pub ttl: Option<Duration>,
}

impl Meta {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn field(&self, path: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| *n == path).map(|(_, v)| v.as_str())
    }
}

/// An object ready to be stored, encoded but for its revision: the bytes before and after the digits of
/// `metadata.resourceVersion`.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
    pub meta: Arc<Meta>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub key: Arc<str>,
    pub revision: u64,
    pub json: Bytes,
    pub meta: Arc<Meta>,
    /// The object's protobuf message.
    pub protobuf: Form,
    /// What a table shows of the object.
    pub row: Form,
    /// Where the digits of the revision start in `json`.
    digits_at: usize,
}

impl Version {
    pub(crate) fn assemble(key: Arc<str>, revision: u64, draft: Draft) -> Version {
        let digits = revision.to_string();
        let mut json = Vec::with_capacity(draft.head.len() + digits.len() + draft.tail.len());
        json.extend_from_slice(&draft.head);
        json.extend_from_slice(digits.as_bytes());
        json.extend_from_slice(&draft.tail);
        Version {
            key,
            revision,
            json: json.into(),
            meta: draft.meta,
            protobuf: Form::default(),
            row: Form::default(),
            digits_at: draft.head.len(),
        }
    }

    /// Bytes of the object in all forms there are.
    pub(crate) fn weight(&self) -> usize {
        self.json.len() + self.protobuf.weight() + self.row.weight()
    }

    /// A version read back from a log; `None` when the digits are not where they are said to be.
    pub(crate) fn restore(
        key: Arc<str>,
        revision: u64,
        json: Bytes,
        digits_at: usize,
        meta: Arc<Meta>,
    ) -> Option<Version> {
        let digits = revision.to_string();
        let found = json.get(digits_at..digits_at.checked_add(digits.len())?)?;
        let (protobuf, row) = Default::default();
        (found == digits.as_bytes()).then_some(Version {
            key,
            revision,
            json,
            meta,
            protobuf,
            row,
            digits_at,
        })
    }

    /// The same version in other words: as another version of its kind has it.
    pub fn rewritten(&self, draft: Draft) -> Version {
        Version::assemble(self.key.clone(), self.revision, draft)
    }

    pub(crate) fn digits_at(&self) -> usize {
        self.digits_at
    }

    fn around_digits(&self) -> (&[u8], &[u8]) {
        let digits = self.revision.checked_ilog10().unwrap_or(0) as usize + 1;
        (&self.json[..self.digits_at], &self.json[self.digits_at + digits..])
    }

    /// The same object saying another revision: stored again, or as the last state of a deleted object.
    pub(crate) fn at_revision(&self, revision: u64) -> Version {
        let (head, tail) = self.around_digits();
        let json = [head, revision.to_string().as_bytes(), tail].concat().into();
        Version { revision, json, ..self.clone() }
    }

    /// Whether the two differ in nothing but the revision.
    pub(crate) fn is_same_object(&self, other: &Version) -> bool {
        self.around_digits() == other.around_digits()
    }

    /// Whether storing `draft` would change nothing but the revision.
    pub fn says_the_same(&self, draft: &Draft) -> bool {
        self.around_digits() == (draft.head.as_slice(), draft.tail.as_slice())
    }
}
