//! URLs, as Go's `url.ParseRequestURI` takes them apart.

use std::rc::Rc;

use super::{Result, Row, fail, no_overload};
use crate::cel::value::{Entries, Key, Map, Val};

const TEXT: &[&str] = &["kubernetes.URL.() -> string"];

pub(super) const ROWS: &[Row] = &[
    ("url", &["(string) -> kubernetes.URL"], |a| match &a[0] {
        Val::String(s) => match Url::parse(s) {
            Ok(url) => Ok(Val::Url(Rc::new(url))),
            Err(why) => fail(format!("URL parse error during conversion from string: {why}")),
        },
        _ => no_overload(),
    }),
    ("isURL", &["(string) -> bool"], |a| match &a[0] {
        Val::String(s) => Ok(Val::Bool(Url::parse(s).is_ok())),
        _ => no_overload(),
    }),
    ("getScheme", TEXT, |a| part(&a, |u| u.scheme.clone())),
    ("getHost", TEXT, |a| part(&a, |u| u.host.clone())),
    ("getHostname", TEXT, |a| part(&a, |u| u.split_host().0.to_owned())),
    ("getPort", TEXT, |a| part(&a, |u| u.split_host().1.to_owned())),
    ("getEscapedPath", TEXT, |a| part(&a, |u| u.path.clone())),
    ("getQuery", &["kubernetes.URL.() -> map(string, list(string))"], query),
];

#[derive(Debug, PartialEq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

fn part<'a>(args: &[Val<'_>], of: fn(&Url) -> String) -> Result<'a> {
    match args {
        [Val::Url(url)] => Ok(Val::text(of(url))),
        _ => no_overload(),
    }
}

impl Url {
    pub(crate) fn parse(text: &str) -> std::result::Result<Url, String> {
        let why = |words: &str| format!("parse {}: {words}", crate::field::go_quote(text));
        if text.is_empty() {
            return Err(why("empty url"));
        }
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(why("net/url: invalid control character in URL"));
        }
        let (scheme, rest) = split_scheme(text).map_err(why)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') {
            return Err(why("invalid URI for request"));
        }
        let (host, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
            Some(after) => after.split_at(after.find('/').unwrap_or(after.len())),
            None => ("", rest),
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        check_host(host).map_err(|words| why(&words))?;
        check_escapes(path).map_err(|words| why(&words))?;
        Ok(Url {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_owned(),
            path: escaped(path),
            query: query.to_owned(),
        })
    }

    /// The host without brackets, and its port.
    fn split_host(&self) -> (&str, &str) {
        let (name, port) = match self.host.rfind(']') {
            Some(end) => (&self.host[..=end], self.host[end + 1..].strip_prefix(':').unwrap_or("")),
            None => self.host.rsplit_once(':').unwrap_or((&self.host, "")),
        };
        (name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name), port)
    }
}

fn split_scheme(text: &str) -> std::result::Result<(&str, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> std::result::Result<(), String> {
    let after = match (host.starts_with('['), host.rfind(']')) {
        (true, None) => return Err("missing ']' in host".to_owned()),
        (true, Some(end)) => &host[end + 1..],
        (false, _) => host.rfind(':').map_or("", |at| &host[at..]),
    };
    if !after.is_empty() && !after.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {after:?} after host"));
    }
    if let Some(bad) = host
        .chars()
        .find(|c| c.is_ascii() && matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'))
    {
        return Err(format!("invalid character {:?} in host name", bad.to_string()));
    }
    Ok(())
}

fn check_escapes(path: &str) -> std::result::Result<(), String> {
    let bytes = path.as_bytes();
    for at in path.match_indices('%').map(|(at, _)| at) {
        let hex = bytes.get(at + 1..at + 3).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
        if !hex {
            let shown = path.get(at..(at + 3).min(path.len())).unwrap_or("%");
            return Err(format!("invalid URL escape {shown:?}"));
        }
    }
    Ok(())
}

/// A path with what may not stand there as it is written with `%`.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@%!'()*[]".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn query(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::Url(url)] = &args[..] else { return no_overload() };
    let mut found: Vec<(String, Vec<Val<'_>>)> = Vec::new();
    for pair in url.query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (unescaped(key), unescaped(value)) else { continue };
        match found.iter_mut().find(|(k, _)| *k == key) {
            Some((_, values)) => values.push(Val::text(value)),
            None => found.push((key, vec![Val::text(value)])),
        }
    }
    let entries = found
        .into_iter()
        .map(|(key, values)| (Key::String(key.clone()), (Val::text(key), Val::list(values))));
    Ok(Val::Map(Map::Made(Rc::new(entries.collect::<Entries<'_>>()))))
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let (high, low) =
                    (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
                (high * 16 + low) as u8
            }
            b => b,
        });
    }
    String::from_utf8(out).ok()
}
