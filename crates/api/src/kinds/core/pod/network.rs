//! A Pod's place in the network: DNS, host aliases, host ports.

use serde_json::Value;

use crate::at::At;
use crate::field::Errors;
use crate::names;

/// What the resolver of libc takes.
const NAMESERVERS_MAX: usize = 3;
/// The longest search list, in entries and in characters (libc 2.26 and later).
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARS_MAX: usize = 2048;

pub fn dns(spec: &At<'_>, errs: &mut Errors) {
    let at = spec.get("dnsConfig");
    let servers = at.get("nameservers");
    if spec.peek_text("dnsPolicy") == "None" {
        if !at.is_set() {
            errs.required(&at.path, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            errs.required(&servers.path, "must provide at least one DNS nameserver when `dnsPolicy` is None");
            return;
        }
    }
    if servers.len() > NAMESERVERS_MAX {
        errs.bad(&servers, format!("must not have more than {NAMESERVERS_MAX} nameservers"));
    }
    for server in servers.items() {
        errs.bad_texts(&server, names::ip(server.text()));
    }
    searches(&at.get("searches"), errs);
    for option in at.get("options").items() {
        if option.peek_text("name").is_empty() {
            errs.required(&option.path, "must not be empty");
        }
    }
}

fn searches(at: &At<'_>, errs: &mut Errors) {
    if at.len() > SEARCHES_MAX {
        errs.bad(at, format!("must not have more than {SEARCHES_MAX} search paths"));
    }
    let spaces = at.len().saturating_sub(1);
    if at.texts().map(str::len).sum::<usize>() + spaces > SEARCH_CHARS_MAX {
        let words = format!(
            "must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list"
        );
        errs.bad(at, words);
    }
    for search in at.items().filter(|s| s.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        for words in names::dns1123_subdomain_with_underscore(name) {
            errs.invalid(&search.path, &Value::from(name), words);
        }
    }
}

pub fn host_aliases(at: &At<'_>, errs: &mut Errors) {
    for alias in at.items() {
        let ip = alias.get("ip");
        errs.bad_texts(&ip, names::ip(ip.text()));
        for name in alias.get("hostnames").items() {
            errs.bad_texts(&name, names::dns1123_subdomain(name.text()));
        }
    }
}

/// With the host's network a container's port is the host's port. A template may leave it out, a Pod may not.
pub fn host_network_ports(spec: &At<'_>, is_pod: bool, errs: &mut Errors) {
    if !spec.peek_true("hostNetwork") {
        return;
    }
    for port in spec.get("containers").items().flat_map(|c| c.get("ports").items()) {
        let host = port.get("hostPort");
        let unlike = host.int() != port.get("containerPort").int();
        if unlike && (is_pod || host.int() != 0) {
            errs.bad_int(&host, "must match `containerPort` when `hostNetwork` is true");
        }
    }
}
