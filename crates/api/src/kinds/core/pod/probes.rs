//! Probes and lifecycle hooks: what they do, and when.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::names;

/// A probe or hook must do exactly one thing.
pub fn handler(at: &At<'_>, kinds: &[&str], grace: Option<i64>, errs: &mut Errors) {
    let mut found = 0;
    for kind in kinds {
        let action = at.get(kind);
        if !action.is_set() {
            continue;
        }
        found += 1;
        if found > 1 {
            errs.forbidden(&action.path, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" => {
                if action.get("command").is_empty() {
                    errs.required(&action.get("command").path, "");
                }
            }
            "httpGet" => http_get(&action, errs),
            "sleep" => sleep(&action, grace, errs),
            _ => port_number_or_name(&action.get("port"), errs),
        }
    }
    if found == 0 {
        errs.required(&at.path, "must specify a handler type");
    }
}

fn http_get(at: &At<'_>, errs: &mut Errors) {
    if at.peek_text("path").is_empty() {
        errs.required(&at.get("path").path, "");
    }
    port_number_or_name(&at.get("port"), errs);
    let scheme = at.get("scheme");
    if !["HTTP", "HTTPS"].contains(&scheme.text()) {
        errs.not_supported(&scheme.path, &Value::from(scheme.text()), &["HTTP", "HTTPS"]);
    }
    let headers = at.get("httpHeaders");
    for header in headers.items() {
        let name = header.peek_text("name");
        for words in names::http_header(name) {
            errs.invalid(&headers.path, &Value::from(name), words);
        }
    }
}

fn sleep(at: &At<'_>, grace: Option<i64>, errs: &mut Errors) {
    let seconds = at.peek("seconds").as_i64().unwrap_or(0);
    if let Some(grace) = grace
        && !(0..=grace).contains(&seconds)
    {
        let words = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errs.invalid(&at.path, &Value::from(seconds), words);
    }
}

pub fn port_number_or_name(at: &At<'_>, errs: &mut Errors) {
    match at.value {
        Value::String(name) => errs.bad_texts(at, names::port_name(name)),
        _ => errs.bad_ints(at, names::port_number(at.int())),
    }
}

pub fn lifecycle(at: &At<'_>, grace: Option<i64>, errs: &mut Errors) {
    for hook in [at.get("postStart"), at.get("preStop")].iter().filter(|h| h.is_set()) {
        handler(hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, errs);
    }
}

/// The three probes of a container.
pub fn probes(container: &At<'_>, grace: Option<i64>, errs: &mut Errors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let at = container.get(name);
        if !at.is_set() {
            continue;
        }
        probe(&at, grace, errs);
        if name == "readinessProbe" {
            let own_grace = at.get("terminationGracePeriodSeconds");
            if own_grace.is_set() {
                errs.bad(&own_grace, "must not be set for readinessProbes");
            }
        } else if at.get("successThreshold").int() != 1 {
            errs.bad_int(&at.get("successThreshold"), "must be 1");
        }
    }
}

fn probe(at: &At<'_>, grace: Option<i64>, errs: &mut Errors) {
    handler(at, &["exec", "httpGet", "tcpSocket", "grpc"], grace, errs);
    for key in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        errs.nonnegative(&at.get(key));
    }
    errs.positive_if_set(&at.get("terminationGracePeriodSeconds"));
}
