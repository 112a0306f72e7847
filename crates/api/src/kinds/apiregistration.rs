//! The rules of apiregistration.k8s.io: APIServices.

use serde_json::Value;

use super::core::pod::defaults::{child, set_pointer};
use crate::at::At;
use crate::field::Errors;
use crate::names;
use crate::object::{self, map_at_mut};
use crate::rules::{Rules, facts};

#[derive(Debug)]
pub struct ApiService;

/// The highest priorities of a group and of a version.
const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1_000;

impl Rules for ApiService {
    fn default(&self, obj: &mut Value) {
        if let Some(service) = child(map_at_mut(obj, &["spec"]), "service") {
            set_pointer(service, "port", 443);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let root = At::root(obj);
        let spec = root.get("spec");
        let (group, version) = (spec.get("group"), spec.get("version"));
        let wanted = format!("{}.{}", version.text(), group.text());
        if object::name(obj) != wanted {
            let words = "must be `spec.version+\".\"+spec.group`: ".to_owned() + &format!("{wanted:?}");
            errs.bad_text(&root.get("metadata").get("name"), words);
        }
        if !group.is_empty() {
            for words in names::dns1123_subdomain(group.text()) {
                errs.bad_text(&group, words);
            }
        }
        if version.is_empty() {
            errs.required(&version.path, "");
        } else {
            errs.bad_texts(&version, names::dns1035_label(version.text()));
        }
        let bounded = |key: &str, max: i64, errs: &mut Errors| {
            let number = spec.get(key);
            if number.int() <= 0 || number.int() > max {
                errs.bad_int(&number, format!("must be positive and less than {max}"));
            }
        };
        bounded("groupPriorityMinimum", GROUP_PRIORITY_MAX, errs);
        bounded("versionPriority", VERSION_PRIORITY_MAX, errs);
        service(&spec, errs);
    }

    facts!(uncounted, conditional, any_name);
}

/// An API is served by a Service, or by this server itself.
fn service(spec: &At<'_>, errs: &mut Errors) {
    let (service, bundle) = (spec.get("service"), spec.get("caBundle"));
    let insecure = spec.get("insecureSkipTLSVerify");
    if !service.is_set() {
        if !bundle.is_empty() {
            errs.bad(&bundle, "local APIServices may not have a caBundle");
        }
        if insecure.is_true() {
            errs.bad(&insecure, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    for key in ["namespace", "name"] {
        if service.peek_text(key).is_empty() {
            errs.required(&service.get(key).path, "");
        }
    }
    let port = service.get("port");
    errs.bad_ints(&port, names::port_number(port.int()));
    if insecure.is_true() && !bundle.is_empty() {
        errs.bad(&insecure, "may not be true if caBundle is present");
    }
}
