//! The rules of ConfigMaps, and what Secrets share with them: keys, size, immutability.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::at::{At, same};
use crate::field::{Errors, Path};
use crate::names;
use crate::rules::{Rules, Write, facts};

#[derive(Debug)]
pub struct ConfigMap;

/// All values of one ConfigMap or Secret together (the reference's `MaxSecretSize`): 1 MiB.
pub const DATA_MAX: usize = 1024 * 1024;

impl Rules for ConfigMap {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let root = At::root(obj);
        let (data, binary) = (root.get("data"), root.get("binaryData"));
        let mut size = 0;
        for (key, value) in data.entries() {
            check_key(key, &value.path, errs);
            if binary.has(key) {
                errs.invalid(&value.path, &Value::from(key), "duplicate of key present in binaryData");
            }
            size += value.text().len();
        }
        for (key, value) in binary.entries() {
            check_key(key, &value.path, errs);
            size += decoded_size(value.text());
        }
        if size > DATA_MAX {
            errs.too_long(&Path::root(), DATA_MAX);
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            keep_immutable(obj, old, &["data", "binaryData"], errs);
        }
    }

    facts!(uncounted);
}

pub fn check_key(key: &str, path: &Path, errs: &mut Errors) {
    for words in names::config_key(key) {
        errs.invalid(path, &Value::from(key), words);
    }
}

/// How many bytes the base64 text stands for.
pub fn decoded_size(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What was marked immutable stays, and stays marked.
pub fn keep_immutable(obj: &Value, old: &Value, keys: &[&str], errs: &mut Errors) {
    const WORDS: &str = "field is immutable when `immutable` is set";
    let (new, old) = (At::root(obj), At::root(old));
    if !old.peek_true("immutable") {
        return;
    }
    if !new.peek_true("immutable") {
        errs.forbidden(&new.get("immutable").path, WORDS);
    }
    for key in keys {
        if !same(new.peek(key), old.peek(key)) {
            errs.forbidden(&new.get(key).path, WORDS);
        }
    }
}
