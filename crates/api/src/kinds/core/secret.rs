//! The rules of Secrets.

use serde_json::Value;

use super::config_map::{DATA_MAX, check_key, decode, decoded_size, encode, keep_immutable};
use super::pod::defaults;
use crate::at::At;
use crate::field::{Errors, Path};
use crate::object::{map_at_mut, map_mut, text};
use crate::rules::{Rules, Write, facts, selectable};

#[derive(Debug)]
pub struct Secret;

pub const TYPE_SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
pub const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

impl Rules for Secret {
    /// `stringData` is only ever written: it overrides `data`.
    fn default(&self, obj: &mut Value) {
        let map = map_mut(obj);
        defaults::set(map, "type", "Opaque");
        if let Some(Value::Object(texts)) = map.remove("stringData") {
            let data = map_at_mut(obj, &["data"]);
            for (key, value) in texts {
                data.insert(key, encode(value.as_str().unwrap_or("").as_bytes()).into());
            }
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let root = At::root(obj);
        let data = root.get("data");
        let mut size = 0;
        for (key, value) in data.entries() {
            check_key(key, &value.path, errs);
            size += decoded_size(value.text());
        }
        if size > DATA_MAX {
            errs.too_long(&data.path, DATA_MAX);
        }
        check_type(&root, &data, errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            errs.immutable(&At::root(obj).get("type"), &Value::from(text(old, &["type"])));
            keep_immutable(obj, old, &["data"], errs);
        }
    }

    selectable!["type"];

    facts!(uncounted);
}

/// The well-known types promise certain keys.
fn check_type(root: &At<'_>, data: &At<'_>, errs: &mut Errors) {
    let need = |key: &str, errs: &mut Errors| {
        if data.peek(key).is_null() {
            errs.required(&data.path.key(key), "");
        }
    };
    match root.peek_text("type") {
        TYPE_SERVICE_ACCOUNT_TOKEN => {
            let annotations = root.get("metadata").get("annotations");
            if annotations.peek_text(SERVICE_ACCOUNT_NAME).is_empty() {
                errs.required(&annotations.path.key(SERVICE_ACCOUNT_NAME), "");
            }
        }
        "kubernetes.io/dockercfg" => json_key(data, ".dockercfg", errs),
        "kubernetes.io/dockerconfigjson" => json_key(data, ".dockerconfigjson", errs),
        "kubernetes.io/basic-auth" if data.peek("username").is_null() && data.peek("password").is_null() => {
            need("username", errs);
            need("password", errs);
        }
        "kubernetes.io/ssh-auth" if data.peek_text("ssh-privatekey").is_empty() => {
            errs.required(&data.path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            need("tls.crt", errs);
            need("tls.key", errs);
        }
        _ => {}
    }
}

fn json_key(data: &At<'_>, key: &str, errs: &mut Errors) {
    let path: Path = data.path.key(key);
    let Some(text) = data.peek(key).as_str() else {
        errs.required(&path, "");
        return;
    };
    let parsed = serde_json::from_slice::<serde_json::Map<String, Value>>(&decode(text).unwrap_or_default());
    if let Err(error) = parsed {
        let words =
            if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        errs.invalid(&path, &Value::from("<secret contents redacted>"), words);
    }
}
