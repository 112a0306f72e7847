//! The rules of certificates.k8s.io: CertificateSigningRequests.

use serde_json::{Map, Value, json};

use super::core::config_map::decode;
use crate::Subresource;
use crate::at::{At, same};
use crate::field::Errors;
use crate::names;
use crate::object::{at, map_at_mut, map_mut};
use crate::rules::{Cx, Rules, Write, facts, selectable};

#[derive(Debug)]
pub struct CertificateSigningRequest;

/// The shortest life that may be asked for, in seconds.
const SECONDS_MIN: i64 = 600;
/// The longest name of a signer: a domain, a slash and a path.
const SIGNER_MAX: usize = 571;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// What only `approval` may decide.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

impl Rules for CertificateSigningRequest {
    /// The request speaks for whoever made it, whatever it says.
    fn prepare_create(&self, cx: &Cx, obj: &mut Value) {
        map_mut(obj).insert("status".into(), json!({}));
        let spec = map_at_mut(obj, &["spec"]);
        for key in ["username", "uid", "groups", "extra"] {
            spec.remove(key);
        }
        spec.insert("username".into(), cx.user.name.clone().into());
        if !cx.user.uid.is_empty() {
            spec.insert("uid".into(), cx.user.uid.clone().into());
        }
        if !cx.user.groups.is_empty() {
            spec.insert("groups".into(), json!(cx.user.groups));
        }
        if !cx.user.extra.is_empty() {
            spec.insert("extra".into(), json!(cx.user.extra));
        }
    }

    fn prepare_update(&self, cx: &Cx, obj: &mut Value, old: &Value, write: Write) {
        if let Some(spec) = old.get("spec") {
            map_mut(obj).insert("spec".into(), spec.clone());
        }
        match write {
            Write::Main | Write::Sub(Subresource::Approval) => {
                let decided = at(obj, &["status", "conditions"]).clone();
                map_mut(obj).insert("status".into(), old.get("status").cloned().unwrap_or(json!({})));
                if write != Write::Main {
                    map_at_mut(obj, &["status"]).insert("conditions".into(), decided);
                }
            }
            Write::Status => keep_decisions(obj, old),
            Write::Sub(_) => {}
        }
        stamp_conditions(cx, obj);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        request(&spec.get("request"), errs);
        let usages = spec.get("usages");
        if usages.is_empty() {
            errs.required(&usages.path, "");
        }
        let mut seen: Vec<&str> = Vec::new();
        for usage in usages.items() {
            errs.one_of_if_set(&usage, &USAGES);
            if seen.contains(&usage.text()) {
                errs.duplicate(&usage.path, usage.value);
            }
            seen.push(usage.text());
        }
        signer(&spec.get("signerName"), errs);
        let seconds = spec.get("expirationSeconds");
        if seconds.is_set() && seconds.int() < SECONDS_MIN {
            errs.bad_int(&seconds, "may not specify a duration less than 600 seconds (10 minutes)");
        }
        conditions(&At::root(obj).get("status").get("conditions"), errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let new = At::root(obj).get("status");
        if write == Write::Status && !at(old, &["status", "certificate"]).is_null() {
            let certificate = new.get("certificate");
            if !same(certificate.value, at(old, &["status", "certificate"])) {
                errs.forbidden(
                    &certificate.path,
                    "updates may not modify a certificate that has been issued",
                );
            }
        }
        for kind in DECISIONS {
            let has = |v: &Value| {
                crate::object::items(v, &["status", "conditions"]).iter().any(|c| c["type"] == kind)
            };
            if has(old) && !has(obj) {
                let words = format!("updates may not remove a condition of type {kind:?}");
                errs.forbidden(&new.get("conditions").path, words);
            }
        }
    }

    selectable!["spec.signerName"];

    fn check_name(&self, _name: &str, _prefix: bool) -> Vec<String> {
        Vec::new()
    }

    facts!(uncounted);
}

/// A signer's report leaves decisions as they are.
fn keep_decisions(obj: &mut Value, old: &Value) {
    let decided = |v: &Value| DECISIONS.iter().any(|kind| v["type"] == *kind);
    let mut kept: Vec<Value> =
        crate::object::items(old, &["status", "conditions"]).iter().filter(|c| decided(c)).cloned().collect();
    let status = map_at_mut(obj, &["status"]);
    let reported = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    kept.extend(reported.into_iter().filter(|c| !decided(c)));
    if !kept.is_empty() {
        status.insert("conditions".into(), kept.into());
    }
}

fn stamp_conditions(cx: &Cx, obj: &mut Value) {
    let list = obj.get_mut("status").and_then(|s| s.get_mut("conditions")).and_then(Value::as_array_mut);
    for condition in list.into_iter().flatten().filter_map(Value::as_object_mut) {
        let stamp = |condition: &mut Map<String, Value>, key: &str| {
            if condition.get(key).is_none_or(Value::is_null) {
                condition.insert(key.to_owned(), cx.now.clone().into());
            }
        };
        stamp(condition, "lastUpdateTime");
        stamp(condition, "lastTransitionTime");
    }
}

/// The request must be a PEM block of the right type; its signature is the signer's to check.
fn request(at: &At<'_>, errs: &mut Errors) {
    let pem = decode(at.text()).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    if !pem.contains("-----BEGIN CERTIFICATE REQUEST-----") {
        errs.bad_text(at, "PEM block type must be CERTIFICATE REQUEST");
    }
}

fn signer(at: &At<'_>, errs: &mut Errors) {
    if at.is_empty() {
        errs.required(&at.path, "");
        return;
    }
    let Some((domain, path)) = at.text().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        errs.bad_text(at, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    };
    for words in names::dns1123_subdomain(domain) {
        errs.bad_text(at, format!("validating label {domain:?}: {words}"));
    }
    if !domain.contains('.') {
        errs.bad_text(at, "should be a domain with at least two segments separated by dots");
    }
    for words in names::dns1123_subdomain(path) {
        errs.bad_text(at, format!("validating label {path:?}: {words}"));
    }
    if at.text().len() > SIGNER_MAX {
        errs.too_long(&at.path, SIGNER_MAX);
    }
}

fn conditions(at: &At<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for condition in at.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        if kind.is_empty() {
            errs.required(&kind.path, "");
        }
        if seen.contains(&kind.text()) {
            errs.duplicate(&kind.path, kind.value);
        }
        seen.push(kind.text());
        errs.one_of(&status, &["False", "True", "Unknown"]);
        let decides = DECISIONS.contains(&kind.text()) || kind.text() == "Failed";
        if decides && status.text() != "True" && !status.is_empty() {
            errs.not_supported(&status.path, status.value, &["True"]);
        }
    }
    if DECISIONS.iter().all(|kind| seen.contains(kind)) {
        errs.bad(at, "Approved and Denied conditions are mutually exclusive");
    }
}
