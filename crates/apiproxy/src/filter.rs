//! Which requests may pass: host, origin, method and path, each by the flags that kubectl has for it.

use http::request::Parts;
use http::{HeaderMap, header};
use regex::Regex;

use crate::Error;

/// The flags as typed: regular expressions separated by commas.
#[derive(Debug, Clone)]
pub struct Rules {
    pub accept_hosts: String,
    pub accept_paths: String,
    pub reject_paths: String,
    pub reject_methods: String,
}

/// Every way from the API into something that is not the API: into containers, into their networks, behind the
/// API server's back, or to a credential that outlives the Pod. kubectl rejects only exec and attach.
const REJECT_PATHS: &str = "^/api/[^/]+/namespaces/[^/]+/pods/[^/]+/(exec|attach|portforward|ephemeralcontainers)(/|$),\
    ^/api/[^/]+/(namespaces/[^/]+/)?(pods|services|nodes)/[^/]+/proxy(/|$),\
    ^/api/[^/]+/proxy(/|$),\
    ^/api/[^/]+/namespaces/[^/]+/serviceaccounts/[^/]+/token(/|$)";

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            accept_hosts: r"^localhost$,^127\.0\.0\.1$,^\[::1\]$".to_owned(),
            accept_paths: "^.*".to_owned(),
            reject_paths: REJECT_PATHS.to_owned(),
            reject_methods: "^$".to_owned(),
        }
    }
}

#[derive(Debug)]
pub struct Filter(Option<Patterns>);

#[derive(Debug)]
struct Patterns {
    accept_hosts: Vec<Regex>,
    accept_paths: Vec<Regex>,
    reject_paths: Vec<Regex>,
    reject_methods: Vec<Regex>,
}

impl Filter {
    pub fn new(rules: &Rules) -> Result<Filter, Error> {
        Ok(Filter(Some(Patterns {
            accept_hosts: patterns("accept-hosts", &rules.accept_hosts)?,
            accept_paths: patterns("accept-paths", &rules.accept_paths)?,
            reject_paths: patterns("reject-paths", &rules.reject_paths)?,
            reject_methods: patterns("reject-methods", &rules.reject_methods)?,
        })))
    }

    /// `--disable-filter`: everything passes.
    pub fn off() -> Filter {
        Filter(None)
    }

    /// Whether a request for this path, in its normal form, may pass.
    pub(crate) fn lets_pass(&self, request: &Parts, path: &str) -> bool {
        let Some(p) = &self.0 else { return true };
        !any(&p.reject_paths, path)
            && !any(&p.reject_methods, request.method.as_str())
            && any(&p.accept_paths, path)
            && host(request).is_some_and(|host| any(&p.accept_hosts, host))
            && origin_is_ours(&request.headers, &p.accept_hosts)
    }
}

fn patterns(flag: &'static str, text: &str) -> Result<Vec<Regex>, Error> {
    let compile = |p: &str| Regex::new(p).map_err(|source| Error::Pattern { flag, source: Box::new(source) });
    text.split(',').filter(|p| !p.is_empty()).map(compile).collect()
}

fn any(patterns: &[Regex], text: &str) -> bool {
    patterns.iter().any(|p| p.is_match(text))
}

/// The one host that the request names. Two of them, or a request line that says another than the header, name none.
fn host(request: &Parts) -> Option<&str> {
    let mut named = request.headers.get_all(header::HOST).iter();
    let host = named.next()?.to_str().ok()?;
    let in_line = request.uri.authority();
    if named.next().is_some() || in_line.is_some_and(|a| a.as_str() != host) {
        return None;
    }
    Some(without_port(host))
}

/// `localhost:8001` → `localhost`, `[::1]:8001` → `[::1]`.
fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

/// A browser says where a script came from; only pages of this very host may ask.
fn origin_is_ours(headers: &HeaderMap, accept_hosts: &[Regex]) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let host = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, rest)| without_port(rest));
        host.is_some_and(|host| any(accept_hosts, host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, headers: &[(&str, &str)], passes: bool) {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let normal = crate::path::normal(parts.uri.path());
        let filter = Filter::new(&Rules::default()).unwrap();
        assert_eq!(
            normal.is_some_and(|path| filter.lets_pass(&parts, &path)),
            passes,
            "{method} {path} {headers:?}"
        );
    }

    const LOCAL: &[(&str, &str)] = &[("host", "localhost:8001")];

    #[test]
    fn the_api_passes_and_ways_out_of_it_do_not() {
        check("GET", "/api/v1/namespaces/default/pods", LOCAL, true);
        check("GET", "/api/v1/namespaces/default/pods/exec", LOCAL, true);
        check("GET", "/api/v1/namespaces/default/pods/p/log", LOCAL, true);
        for sub in ["exec", "attach", "portforward", "proxy", "proxy/x/y", "ephemeralcontainers"] {
            check("GET", &format!("/api/v1/namespaces/default/pods/p/{sub}"), LOCAL, false);
            check("GET", &format!("//api/v1/namespaces/default/pods/p/{sub}"), LOCAL, false);
            check("GET", &format!("/./api/v1/namespaces/default/pods/p/{sub}"), LOCAL, false);
            check("GET", &format!("/%61pi/v1/namespaces/default/pods/p/{sub}"), LOCAL, false);
            check("GET", &format!("/api/v1/namespaces/default/pods/x/../p/{sub}"), LOCAL, false);
        }
        check("GET", "/api/v1/nodes/n/proxy/exec", LOCAL, false);
        check("GET", "/api/v1/namespaces/default/services/s:80/proxy", LOCAL, false);
        check("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", LOCAL, false);
    }

    #[test]
    fn only_this_host_may_ask() {
        for host in ["localhost", "localhost:8001", "127.0.0.1:1", "[::1]:8001", "[::1]"] {
            check("GET", "/api", &[("host", host)], true);
        }
        for host in ["example.com", "localhost.example.com", "127.0.0.1.example.com:8001", "::1", ""] {
            check("GET", "/api", &[("host", host)], false);
        }
        check("GET", "/api", &[("host", "localhost"), ("host", "example.com")], false);
        check("GET", "/api", &[], false);
        check("GET", "/api", &[("host", "localhost"), ("origin", "http://localhost:8001")], true);
        check("GET", "/api", &[("host", "localhost"), ("origin", "http://example.com")], false);
        check("GET", "/api", &[("host", "localhost"), ("origin", "null")], false);
    }

    #[test]
    fn a_broken_pattern_is_named_with_its_flag() {
        let rules = Rules { accept_hosts: "(".into(), ..Rules::default() };
        assert!(Filter::new(&rules).unwrap_err().to_string().contains("--accept-hosts"));
    }
}
