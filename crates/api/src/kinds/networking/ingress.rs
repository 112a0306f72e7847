//! The rules of Ingresses and IngressClasses.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::pod::defaults::set_pointer;
use crate::kinds::core::service::checks::load_balancer_status;
use crate::names;
use crate::object::at;
use crate::rules::{Rules, Write};

#[derive(Debug)]
pub struct Ingress;

#[derive(Debug)]
pub struct IngressClass;

/// The longest name of a controller.
const CONTROLLER_MAX: usize = 250;
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

impl Rules for Ingress {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        let (rules, default) = (spec.get("rules"), spec.get("defaultBackend"));
        if rules.is_empty() && !default.is_set() {
            errs.invalid(&spec.path, rules.value, "either `defaultBackend` or `rules` must be specified");
        }
        if default.is_set() {
            backend(&default, errs);
        }
        for rule in rules.items() {
            host(&rule.get("host"), errs);
            let http = rule.get("http");
            if http.is_set() {
                paths(&http.get("paths"), errs);
            }
        }
        tls(&spec.get("tls"), errs);
        let class = spec.get("ingressClassName");
        if class.is_set() {
            errs.bad_texts(&class, names::dns_subdomain(class.text(), false));
        }
        let annotation = at(obj, &["metadata", "annotations"]).get(CLASS_ANNOTATION);
        let is_new = at(obj, &["metadata", "resourceVersion"]).is_null();
        if let Some(annotation) = annotation.filter(|a| is_new && class.is_set() && *a != class.value) {
            let path = crate::field::Path::new("annotations").child(CLASS_ANNOTATION);
            errs.invalid(&path, annotation, "must match `ingressClassName` when both are specified");
        }
    }

    fn validate_update(&self, obj: &Value, _old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Status {
            load_balancer_status(&At::root(obj).get("status").get("loadBalancer"), errs);
        }
    }
}

fn host(at: &At<'_>, errs: &mut Errors) {
    if at.is_empty() {
        return;
    }
    if names::ip(at.text()).is_empty() {
        errs.bad_text(at, "must be a DNS name, not an IP address");
    }
    if at.text().contains('*') {
        errs.bad_texts(at, names::wildcard_subdomain(at.text()));
    } else {
        errs.bad_texts(at, names::dns1123_subdomain(at.text()));
    }
}

fn paths(at: &At<'_>, errs: &mut Errors) {
    if at.is_empty() {
        errs.required(&at.path, "");
    }
    for path in at.items() {
        let (text, kind) = (path.get("path"), path.get("pathType"));
        match kind.text() {
            "" => errs.required(&kind.path, "pathType must be specified"),
            "Exact" | "Prefix" => {
                if !text.text().starts_with('/') {
                    errs.bad_text(&text, "must be an absolute path");
                }
                odd_sequences(&text, errs);
            }
            "ImplementationSpecific" => {
                if !text.is_empty() && !text.text().starts_with('/') {
                    errs.bad_text(&text, "must be an absolute path");
                }
            }
            _ => errs.not_supported(&kind.path, kind.value, &PATH_TYPES),
        }
        backend(&path.get("backend"), errs);
    }
}

/// What servers read in different ways.
fn odd_sequences(path: &At<'_>, errs: &mut Errors) {
    for odd in ["//", "/./", "/../", "%2f", "%2F"] {
        if path.text().contains(odd) {
            errs.bad_text(path, format!("must not contain '{odd}'"));
        }
    }
    for odd in ["/..", "/."] {
        if path.text().ends_with(odd) {
            errs.bad_text(path, format!("cannot end with '{odd}'"));
        }
    }
}

fn backend(at: &At<'_>, errs: &mut Errors) {
    let (service, resource) = (at.get("service"), at.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            errs.bad(at, "cannot set both resource and service backends");
            return;
        }
        (false, false) => {
            errs.required(&at.path, "resource or service backend is required");
            return;
        }
        _ => {}
    }
    if resource.is_set() {
        for key in ["kind", "name"] {
            if resource.peek_text(key).is_empty() {
                errs.required(&resource.get(key).path, "");
            }
        }
        return;
    }
    let (name, port) = (service.get("name"), service.get("port"));
    if name.is_empty() {
        errs.required(&name.path, "");
    } else {
        errs.bad_texts(&name, names::dns_label(name.text(), false));
    }
    let (number, port_name) = (port.get("number"), port.get("name"));
    match (number.int() != 0, !port_name.is_empty()) {
        (true, true) => errs.bad(&port, "cannot set both port name & port number"),
        (true, false) => errs.bad_ints(&number, names::port_number(number.int())),
        (false, true) => errs.bad_texts(&port_name, names::port_name(port_name.text())),
        (false, false) => errs.required(&port.path, "port name or number is required"),
    }
}

fn tls(at: &At<'_>, errs: &mut Errors) {
    for entry in at.items() {
        for name in entry.get("hosts").items() {
            if name.text().contains('*') {
                errs.bad_texts(&name, names::wildcard_subdomain(name.text()));
            } else {
                errs.bad_texts(&name, names::dns1123_subdomain(name.text()));
            }
        }
        let secret = entry.get("secretName");
        if !secret.is_empty() {
            errs.bad_texts(&secret, names::dns_subdomain(secret.text(), false));
        }
    }
}

impl Rules for IngressClass {
    fn default(&self, obj: &mut Value) {
        let parameters = obj.get_mut("spec").and_then(|s| s.get_mut("parameters"));
        if let Some(parameters) = parameters.and_then(Value::as_object_mut) {
            set_pointer(parameters, "scope", "Cluster");
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        let controller = spec.get("controller");
        if controller.is_empty() {
            errs.required(&controller.path, "");
        } else if !controller.text().contains('/') {
            errs.bad_text(&controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        }
        if controller.text().len() > CONTROLLER_MAX {
            errs.too_long(&controller.path, CONTROLLER_MAX);
        }
        let parameters = spec.get("parameters");
        if !parameters.is_set() {
            return;
        }
        for key in ["kind", "name"] {
            if parameters.peek_text(key).is_empty() {
                errs.required(&parameters.get(key).path, key.to_owned() + " is required");
            }
        }
        let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
        errs.one_of(&scope, &["Cluster", "Namespace"]);
        if scope.text() == "Namespace" && namespace.is_empty() {
            errs.required(&namespace.path, "`parameters.scope` is set to 'Namespace'");
        }
        if scope.text() == "Cluster" && namespace.is_set() {
            errs.forbidden(&namespace.path, "`parameters.scope` is set to 'Cluster'");
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write == Write::Main {
            errs.immutable(&At::root(obj).get("spec").get("controller"), at(old, &["spec", "controller"]));
        }
    }
}
