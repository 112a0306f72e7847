//! From a request line to what is asked for: the reference's RequestInfo.
//!
//! The same value is authorised and served, so that no spelling of a path (escapes, `//`, dot segments) can pass the
//! one and mean something else to the other. Nothing is normalised: a segment is taken as it stands, once decoded.

use crate::status::Status;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether the path names an API resource; all else has only `path` and `verb`.
    pub is_resource: bool,
    /// The decoded path.
    pub path: String,
    /// `get list watch create update patch delete deletecollection proxy`, or the method in lower case for paths that
    /// name no resource.
    pub verb: String,
    /// `api` or `apis`.
    pub api_prefix: String,
    pub group: String,
    pub version: String,
    /// Empty for all namespaces and for cluster-scoped resources; the name itself for a Namespace.
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    /// From the path, or from a `metadata.name` field selector of a list or watch.
    pub name: String,
    /// The segments from the resource on.
    pub parts: Vec<String>,
    /// Whether the watch was asked for by the old path `/api/v1/watch/…`.
    pub watch_path: bool,
    /// As given; only of lists, watches and deletions of collections.
    pub field_selector: String,
    pub label_selector: String,
    pub query: Query,
}

/// The decoded pairs of a query string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Reads a request line: `path` is still escaped, `query` is what follows the `?`.
    pub fn parse(method: &str, path: &str, query: &str) -> Result<RequestInfo, Status> {
        let path = decode(path, false)
            .ok_or_else(|| Status::bad_request(format!("invalid URL escape in path {path:?}")))?;
        let mut info = RequestInfo {
            verb: method.to_ascii_lowercase(),
            query: Query::parse(query),
            ..RequestInfo::default()
        };
        let trimmed = path.trim_matches('/');
        let parts: Vec<&str> = if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
        let named = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => Some(("api", "", *version, rest)),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => Some(("apis", *group, *version, rest)),
            _ => None,
        };
        if let Some((prefix, group, version, rest)) = named {
            info.is_resource = true;
            info.api_prefix = prefix.to_owned();
            info.group = group.to_owned();
            info.version = version.to_owned();
            info.read_resource(method, rest, &path)?;
        }
        info.path = path;
        Ok(info)
    }

    fn read_resource(&mut self, method: &str, rest: &[&str], path: &str) -> Result<(), Status> {
        let mut rest = rest;
        if let [special @ ("watch" | "proxy"), after @ ..] = rest {
            if after.is_empty() {
                return Err(Status::internal(format!(
                    "failed to create RequestInfo: unable to determine kind and namespace from url, {path}"
                )));
            }
            self.verb = (*special).to_owned();
            self.watch_path = *special == "watch";
            rest = after;
        } else {
            self.verb = verb_of(method).to_owned();
        }
        if let ["namespaces", namespace, after @ ..] = rest {
            self.namespace = (*namespace).to_owned();
            // `namespaces/x/status` is about the Namespace x, `namespaces/x/pods` about the Pods in it.
            if after.first().is_some_and(|p| !NAMESPACE_SUBRESOURCES.contains(p)) {
                rest = after;
            }
        }
        self.parts = rest.iter().map(|p| (*p).to_owned()).collect();
        let part = |i: usize| rest.get(i).copied().unwrap_or("").to_owned();
        (self.resource, self.name) = (part(0), part(1));
        if self.verb != "proxy" {
            self.subresource = part(2);
        }
        self.read_collection();
        Ok(())
    }

    /// Without a name in the path, a get is a list or a watch and a delete takes the collection.
    fn read_collection(&mut self) {
        if self.name.is_empty() {
            match self.verb.as_str() {
                "get" => {
                    self.verb = if self.query.flag("watch") { "watch" } else { "list" }.to_owned();
                    self.name = self.name_selected().unwrap_or_default();
                }
                "delete" => self.verb = "deletecollection".to_owned(),
                _ => {}
            }
        }
        if matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            self.field_selector = self.query.get("fieldSelector").unwrap_or_default().to_owned();
            self.label_selector = self.query.get("labelSelector").unwrap_or_default().to_owned();
        }
    }

    /// The name that a field selector demands, if all the list options can be read.
    fn name_selected(&self) -> Option<String> {
        let is_int = |name| self.query.get(name).is_none_or(|v| v.is_empty() || v.parse::<i64>().is_ok());
        if !is_int("limit") || !is_int("timeoutSeconds") {
            return None;
        }
        let name = exact_match(self.query.get("fieldSelector")?, "metadata.name")?;
        let is_segment = name != "." && name != ".." && !name.contains(['/', '%']);
        is_segment.then_some(name)
    }
}

fn verb_of(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The value that a field selector demands of `field`; none where it demands none or is malformed.
fn exact_match(selector: &str, field: &str) -> Option<String> {
    let mut found = None;
    for term in split_unescaped(selector) {
        if term.is_empty() {
            continue;
        }
        let at = term.find('=')?;
        if term[..at].ends_with('!') {
            continue;
        }
        let value = &term[at + 1..];
        let value = value.strip_prefix('=').unwrap_or(value);
        if &term[..at] == field && found.is_none() {
            found = Some(unescape(value)?);
        }
    }
    found
}

fn split_unescaped(selector: &str) -> Vec<&str> {
    let (mut out, mut from, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in selector.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == ',' {
            out.push(&selector[from..i]);
            from = i + 1;
        }
    }
    out.push(&selector[from..]);
    out
}

/// `\,`, `\=` and `\\` stand for themselves; any other escape and any bare `,` or `=` is an error.
fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

impl Query {
    pub fn parse(query: &str) -> Query {
        let pair = |p: &str| {
            let (k, v) = p.split_once('=').unwrap_or((p, ""));
            Some((decode(k, true)?, decode(v, true)?))
        };
        // As in Go, a pair with a broken escape or a semicolon is not there at all.
        Query(query.split('&').filter(|p| !p.is_empty() && !p.contains(';')).filter_map(pair).collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// A boolean parameter: present and neither `false` nor `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| !v.eq_ignore_ascii_case("false") && v != "0")
    }
}

/// Takes percent-escapes away; `None` where one is broken or the result is no UTF-8.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let is_plain = |b| b != b'%' && !(plus_is_space && b == b'+');
    if text.bytes().all(is_plain) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                out.push(high << 4 | low);
            }
            b'+' if plus_is_space => out.push(b' '),
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok()
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).map(|d| d as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> RequestInfo {
        let (method, url) = line.split_once(' ').unwrap();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        RequestInfo::parse(method, path, query).unwrap()
    }

    /// verb, group, version, namespace, resource, subresource, name
    fn seven(i: &RequestInfo) -> [&str; 7] {
        [&i.verb, &i.group, &i.version, &i.namespace, &i.resource, &i.subresource, &i.name]
    }

    #[test]
    fn resource_paths() {
        #[rustfmt::skip]
        let cases: &[(&str, [&str; 7])] = &[
            ("GET /api/v1/namespaces", ["list", "", "v1", "", "namespaces", "", ""]),
            ("GET /api/v1/namespaces/other", ["get", "", "v1", "other", "namespaces", "", "other"]),
            ("GET /api/v1/namespaces/other/", ["get", "", "v1", "other", "namespaces", "", "other"]),
            ("PATCH /api/v1/namespaces/other", ["patch", "", "v1", "other", "namespaces", "", "other"]),
            ("PUT /api/v1/namespaces/other/finalize", ["update", "", "v1", "other", "namespaces", "finalize", "other"]),
            ("PUT /api/v1/namespaces/other/status", ["update", "", "v1", "other", "namespaces", "status", "other"]),
            ("GET /api/v1/namespaces/other/pods", ["list", "", "v1", "other", "pods", "", ""]),
            ("GET /api/v1/namespaces/other/pods/foo", ["get", "", "v1", "other", "pods", "", "foo"]),
            ("HEAD /api/v1/namespaces/other/pods/foo", ["get", "", "v1", "other", "pods", "", "foo"]),
            ("HEAD /api/v1/pods", ["list", "", "v1", "", "pods", "", ""]),
            ("OPTIONS /api/v1/pods", ["", "", "v1", "", "pods", "", ""]),
            ("GET /api/v1/proxy/namespaces/other/pods/foo", ["proxy", "", "v1", "other", "pods", "", "foo"]),
            ("GET /api/v1/proxy/namespaces/other/pods/foo/a/b", ["proxy", "", "v1", "other", "pods", "", "foo"]),
            ("GET /api/v1/watch/pods", ["watch", "", "v1", "", "pods", "", ""]),
            ("GET /api/v1/watch/namespaces/other/pods", ["watch", "", "v1", "other", "pods", "", ""]),
            ("GET /api/v1/watch/namespaces/other/pods/foo", ["watch", "", "v1", "other", "pods", "", "foo"]),
            ("GET /api/v1/pods?watch=true", ["watch", "", "v1", "", "pods", "", ""]),
            ("GET /api/v1/pods?watch", ["watch", "", "v1", "", "pods", "", ""]),
            ("GET /api/v1/pods?watch=False", ["list", "", "v1", "", "pods", "", ""]),
            ("GET /api/v1/namespaces/other/pods?watch=1", ["watch", "", "v1", "other", "pods", "", ""]),
            ("GET /api/v1/namespaces/other/pods?watch=0", ["list", "", "v1", "other", "pods", "", ""]),
            ("GET /api/v1/namespaces/other/pods/foo?watch=1", ["get", "", "v1", "other", "pods", "", "foo"]),
            ("GET /api/v1/namespaces/other/pods/foo/proxy/a/b", ["get", "", "v1", "other", "pods", "proxy", "foo"]),
            ("DELETE /api/v1/namespaces/other/pods/foo", ["delete", "", "v1", "other", "pods", "", "foo"]),
            ("DELETE /api/v1/namespaces/other/pods", ["deletecollection", "", "v1", "other", "pods", "", ""]),
            ("DELETE /api/v1/nodes", ["deletecollection", "", "v1", "", "nodes", "", ""]),
            ("POST /apis/batch/v1/namespaces/other/jobs", ["create", "batch", "v1", "other", "jobs", "", ""]),
            ("GET /apis/batch/v1/job/foo/scale", ["get", "batch", "v1", "", "job", "scale", "foo"]),
        ];
        for (line, want) in cases {
            let info = read(line);
            assert!(info.is_resource, "{line}");
            assert_eq!(seven(&info), *want, "{line}");
        }
        assert_eq!(read("GET /api/v1/namespaces/n/pods/p/proxy/a/b").parts, ["pods", "p", "proxy", "a", "b"]);
    }

    #[test]
    fn paths_without_a_resource() {
        for path in [
            "/",
            "",
            "/api",
            "/api/",
            "/api/v1",
            "/api/v1/",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/apis/apps/v1/",
            "/healthz",
            "/not-api/v1/pods",
            "/openapi/v3/api/v1",
        ] {
            let info = read(&format!("GET {path}"));
            assert!(!info.is_resource, "{path}");
            assert_eq!((info.verb.as_str(), info.path.as_str()), ("get", path));
        }
        assert_eq!(read("POST /healthz").verb, "post");
    }

    #[test]
    fn a_name_by_field_selector() {
        let cases = [
            ("fieldSelector=metadata.name=n", "list", "n"),
            ("fieldSelector=metadata.name%3D%3Dn&watch=1", "watch", "n"),
            ("fieldSelector=metadata.name=n,metadata.namespace=x", "list", "n"),
            ("fieldSelector=foo=bar", "list", ""),
            ("fieldSelector=metadata.name!=n", "list", ""),
            ("fieldSelector=metadata.name=n,foo", "list", ""),
            ("fieldSelector=metadata.name=n,foo&watch=true", "watch", ""),
            ("fieldSelector=metadata.name=a%2Fb", "list", ""),
            ("fieldSelector=metadata.name=..", "list", ""),
            ("fieldSelector=metadata.name=n&limit=x", "list", ""),
        ];
        for (query, verb, name) in cases {
            let info = read(&format!("GET /apis/g/v1/things?{query}"));
            assert_eq!((info.verb.as_str(), info.name.as_str()), (verb, name), "{query}");
        }
        assert_eq!(read("DELETE /apis/g/v1/things?fieldSelector=metadata.name=n").name, "");
    }

    #[test]
    fn odd_spellings_mean_what_they_decode_to() {
        // An escaped slash is a slash: to the authoriser and to the server alike.
        assert_eq!(seven(&read("GET /api/v1/namespaces/a%2fb")), ["list", "", "v1", "a", "b", "", ""]);
        assert_eq!(seven(&read("GET /api/v1/namespaces/a/%70ods")), ["list", "", "v1", "a", "pods", "", ""]);
        // Empty and dot segments are names that nothing has.
        assert_eq!(seven(&read("GET /api/v1//pods")), ["get", "", "v1", "", "", "", "pods"]);
        assert_eq!(seven(&read("GET /api/v1/namespaces/../pods")), ["list", "", "v1", "..", "pods", "", ""]);
        assert_eq!(read("GET //api/v1/pods").resource, "pods");
        assert!(!read("GET /./api/v1/pods").is_resource);
        assert!(RequestInfo::parse("GET", "/api/v1/%zz", "").is_err());
        assert_eq!(RequestInfo::parse("GET", "/api/v1/watch", "").unwrap_err().code, 500);
    }

    #[test]
    fn query_pairs_decode_as_in_go() {
        let q = Query::parse("command=sh&command=-c&command=echo+hi%21&bad=%z&a;b=1&flag");
        assert_eq!(q.all("command").collect::<Vec<_>>(), ["sh", "-c", "echo hi!"]);
        assert!(q.get("bad").is_none() && q.flag("flag") && q.0.len() == 4);
    }
}
