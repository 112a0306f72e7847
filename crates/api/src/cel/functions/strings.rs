//! Text: CEL's own functions and those of its extension `strings`, whose positions count characters.

use super::{Result, Row, fail, no_overload};
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    ("contains", &["string.(string) -> bool"], |a| test(&a, |s, part| s.contains(part))),
    ("startsWith", &["string.(string) -> bool"], |a| test(&a, |s, part| s.starts_with(part))),
    ("endsWith", &["string.(string) -> bool"], |a| test(&a, |s, part| s.ends_with(part))),
    ("charAt", &["string.(int) -> string"], char_at),
    ("lowerAscii", &["string.() -> string"], |a| change(&a, |s| s.to_ascii_lowercase())),
    ("upperAscii", &["string.() -> string"], |a| change(&a, |s| s.to_ascii_uppercase())),
    ("trim", &["string.() -> string"], |a| change(&a, |s| s.trim().to_owned())),
    ("replace", &["string.(string, string) -> string", "string.(string, string, int) -> string"], replace),
    ("split", &["string.(string) -> list(string)", "string.(string, int) -> list(string)"], split),
    ("substring", &["string.(int) -> string", "string.(int, int) -> string"], substring),
    ("join", &["list(string).() -> string", "list(string).(string) -> string"], join),
    ("strings.quote", &["(string) -> string"], |a| change(&a, quote)),
    ("jsonpatch.escapeKey", &["(string) -> string"], |a| {
        change(&a, |s| s.replace('~', "~0").replace('/', "~1"))
    }),
];

fn test<'a>(args: &[Val<'_>], holds: fn(&str, &str) -> bool) -> Result<'a> {
    match args {
        [Val::String(s), Val::String(part)] => Ok(Val::Bool(holds(s, part))),
        _ => no_overload(),
    }
}

fn change<'a>(args: &[Val<'_>], to: fn(&str) -> String) -> Result<'a> {
    match args {
        [Val::String(s)] => Ok(Val::text(to(s))),
        _ => no_overload(),
    }
}

/// The first of `all` at least, whatever their number.
fn limited(n: i64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn char_at(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::String(s), Val::Int(at)] = &args[..] else { return no_overload() };
    let found = usize::try_from(*at).ok().and_then(|n| s.chars().nth(n));
    match found {
        Some(c) => Ok(Val::text(c.to_string())),
        None if usize::try_from(*at).is_ok_and(|n| n == s.chars().count()) => Ok(Val::text("")),
        None => fail(format!("index out of range: {at}")),
    }
}

fn replace(args: Vec<Val<'_>>) -> Result<'_> {
    match &args[..] {
        [Val::String(s), Val::String(from), Val::String(to)] => Ok(Val::text(s.replace(&**from, to))),
        [Val::String(s), Val::String(from), Val::String(to), Val::Int(n)] => {
            Ok(Val::text(s.replacen(&**from, to, limited(*n))))
        }
        _ => no_overload(),
    }
}

fn split(args: Vec<Val<'_>>) -> Result<'_> {
    let (s, by, n) = match &args[..] {
        [Val::String(s), Val::String(by)] => (s, by, usize::MAX),
        [Val::String(s), Val::String(by), Val::Int(n)] => (s, by, limited(*n)),
        _ => return no_overload(),
    };
    let part = |t: &str| Val::text(t);
    Ok(Val::list(if n == 0 {
        Vec::new()
    } else if by.is_empty() {
        // Each character on its own; the last one takes the rest.
        let ends: Vec<usize> = s.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
        let mut start = 0;
        let mut parts = Vec::new();
        for (i, end) in ends.iter().enumerate() {
            let end = if i + 1 == n { s.len() } else { *end };
            parts.push(part(&s[start..end]));
            start = end;
            if start == s.len() {
                break;
            }
        }
        parts
    } else {
        s.splitn(n, &**by).map(part).collect()
    }))
}

fn substring(args: Vec<Val<'_>>) -> Result<'_> {
    let (s, start, end) = match &args[..] {
        [Val::String(s), Val::Int(start)] => (s, *start, s.chars().count() as i64),
        [Val::String(s), Val::Int(start), Val::Int(end)] => (s, *start, *end),
        _ => return no_overload(),
    };
    let length = s.chars().count() as i64;
    if start > end {
        return fail(format!("invalid substring range. start: {start}, end: {end}"));
    }
    for at in [start, end] {
        if !(0..=length).contains(&at) {
            return fail(format!("index out of range: {at}"));
        }
    }
    let (start, end) = (start as usize, end as usize);
    Ok(Val::text(s.chars().skip(start).take(end - start).collect::<String>()))
}

fn join(args: Vec<Val<'_>>) -> Result<'_> {
    let (list, by) = match &args[..] {
        [Val::List(list)] => (list, ""),
        [Val::List(list), Val::String(by)] => (list, &**by),
        _ => return no_overload(),
    };
    let mut out = String::new();
    for (i, item) in list.iter().enumerate() {
        let Val::String(text) = item else { return no_overload() };
        if i > 0 {
            out.push_str(by);
        }
        out.push_str(&text);
    }
    Ok(Val::text(out))
}

/// As a literal of CEL.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `indexOf` and `lastIndexOf` of a text; `from` is where to look first.
pub(super) fn position<'a>(s: &str, part: &str, from: Option<i64>, last: bool) -> Result<'a> {
    let length = s.chars().count() as i64;
    if let Some(at) = from.filter(|at| !(0..=length).contains(at)) {
        return fail(format!("index out of range: {at}"));
    }
    let bytes = |characters: i64| s.char_indices().nth(characters as usize).map_or(s.len(), |(byte, _)| byte);
    let found = if last {
        // The match may begin at `from` but no later.
        let end = from.map_or(s.len(), |at| (bytes(at) + part.len()).min(s.len()));
        s.get(..end).unwrap_or(s).rfind(part)
    } else {
        let start = from.map_or(0, bytes);
        s[start..].find(part).map(|at| start + at)
    };
    Ok(Val::Int(found.map_or(-1, |byte| s[..byte].chars().count() as i64)))
}
