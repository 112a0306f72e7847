//! Patterns.

use regex::Regex;

use super::{Result, Row, no_overload};
use crate::cel::error::EvalError;
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    ("matches", &["string.(string) -> bool", "(string, string) -> bool"], matches),
    ("find", &["string.(string) -> string"], find),
    ("findAll", &["string.(string) -> list(string)", "string.(string, int) -> list(string)"], find_all),
];

/// How large a pattern may become, in bytes: far beyond what is written by hand.
const SIZE_MAX: usize = 4 << 20;

pub(crate) fn compile(pattern: &str) -> std::result::Result<Regex, EvalError> {
    let built = regex::RegexBuilder::new(pattern).size_limit(SIZE_MAX).build();
    built.map_err(|_| EvalError::new(format!("Illegal regex: error parsing regexp: `{pattern}`")))
}

/// What Go has against a pattern, as far as it can be told from what our reader has.
pub(crate) fn complaint(pattern: &str) -> Option<String> {
    const WORDS: [(&str, &str); 6] = [
        ("unclosed group", "missing closing )"),
        ("unopened group", "unexpected )"),
        ("unclosed character class", "missing closing ]"),
        ("repetition operator missing expression", "missing argument to repetition operator"),
        ("unrecognized escape sequence", "invalid escape sequence"),
        ("look-around", "invalid or unsupported Perl syntax"),
    ];
    let said = regex::RegexBuilder::new(pattern).size_limit(SIZE_MAX).build().err()?.to_string();
    let words = WORDS.iter().find(|(ours, _)| said.contains(ours)).map_or("invalid pattern", |(_, go)| go);
    Some(format!("error parsing regexp: {words}: `{pattern}`"))
}

fn matches(args: Vec<Val<'_>>) -> Result<'_> {
    match &args[..] {
        [Val::String(s), Val::String(pattern)] => Ok(Val::Bool(compile(pattern)?.is_match(s))),
        _ => no_overload(),
    }
}

fn find(args: Vec<Val<'_>>) -> Result<'_> {
    match &args[..] {
        [Val::String(s), Val::String(pattern)] => {
            let found = compile(pattern)?;
            Ok(Val::text(found.find(s).map_or("", |m| m.as_str())))
        }
        _ => no_overload(),
    }
}

fn find_all(args: Vec<Val<'_>>) -> Result<'_> {
    let (s, pattern, limit) = match &args[..] {
        [Val::String(s), Val::String(pattern)] => (s, pattern, usize::MAX),
        [Val::String(s), Val::String(pattern), Val::Int(n)] => {
            (s, pattern, usize::try_from(*n).unwrap_or(usize::MAX))
        }
        _ => return no_overload(),
    };
    let pattern = compile(pattern)?;
    Ok(Val::list(pattern.find_iter(s).take(limit).map(|m| Val::text(m.as_str())).collect()))
}
