//! Versions as semver.org has them, and the comparisons that versions and amounts have in common.

use std::cmp::Ordering;
use std::rc::Rc;

use super::{Result, Row, fail, no_overload};
use crate::cel::value::Val;

const ORDER: &[&str] =
    &["kubernetes.Semver.(kubernetes.Semver) -> bool", "kubernetes.Quantity.(kubernetes.Quantity) -> bool"];

pub(super) const ROWS: &[Row] = &[
    ("semver", &["(string) -> kubernetes.Semver", "(string, bool) -> kubernetes.Semver"], |a| {
        match parsed(&a) {
            Some(Ok(version)) => Ok(Val::Semver(Rc::new(version))),
            Some(Err(why)) => fail(why),
            None => no_overload(),
        }
    }),
    ("isSemver", &["(string) -> bool", "(string, bool) -> bool"], |a| match parsed(&a) {
        Some(version) => Ok(Val::Bool(version.is_ok())),
        None => no_overload(),
    }),
    ("major", &["kubernetes.Semver.() -> int"], |a| number(&a, 0)),
    ("minor", &["kubernetes.Semver.() -> int"], |a| number(&a, 1)),
    ("patch", &["kubernetes.Semver.() -> int"], |a| number(&a, 2)),
    ("isGreaterThan", ORDER, |a| Ok(Val::Bool(compare(&a)?.is_gt()))),
    ("isLessThan", ORDER, |a| Ok(Val::Bool(compare(&a)?.is_lt()))),
    (
        "compareTo",
        &["kubernetes.Semver.(kubernetes.Semver) -> int", "kubernetes.Quantity.(kubernetes.Quantity) -> int"],
        |a| Ok(Val::Int(compare(&a)? as i64)),
    ),
];

#[derive(Debug, PartialEq)]
pub struct Semver {
    numbers: [u64; 3],
    /// What comes before the release: each a number or a word.
    before: Vec<String>,
}

fn compare(args: &[Val<'_>]) -> std::result::Result<Ordering, crate::cel::EvalError> {
    match args {
        [Val::Semver(a), Val::Semver(b)] => Ok(a.compare(b)),
        [Val::Quantity(a), Val::Quantity(b)] => Ok(a.nano().cmp(&b.nano())),
        _ => Err(crate::cel::EvalError::no_overload()),
    }
}

fn number<'a>(args: &[Val<'_>], at: usize) -> Result<'a> {
    match args {
        [Val::Semver(version)] => Ok(Val::Int(version.numbers[at] as i64)),
        _ => no_overload(),
    }
}

fn parsed(args: &[Val<'_>]) -> Option<std::result::Result<Semver, String>> {
    match args {
        [Val::String(text)] => Some(Semver::parse(text)),
        [Val::String(text), Val::Bool(true)] => Some(Semver::parse(&normal(text))),
        [Val::String(text), Val::Bool(false)] => Some(Semver::parse(text)),
        _ => None,
    }
}

/// `v1.2` as `1.2.0`: without a `v`, with all three numbers, none of which begins with zeros.
fn normal(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut numbers: Vec<&str> = core.split('.').collect();
    for number in &mut numbers {
        let bare = number.trim_start_matches('0');
        *number = if bare.is_empty() && !number.is_empty() { "0" } else { bare };
    }
    while numbers.len() < 3 {
        numbers.push("0");
    }
    format!("{}{rest}", numbers.join("."))
}

impl Semver {
    fn parse(text: &str) -> std::result::Result<Semver, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let (text, build) = text.split_once('+').map_or((text, None), |(t, b)| (t, Some(b)));
        let (core, before) = text.split_once('-').map_or((text, None), |(c, b)| (c, Some(b)));
        let mut numbers = [0; 3];
        let mut parts = core.splitn(3, '.');
        for (i, number) in numbers.iter_mut().enumerate() {
            let Some(part) = parts.next() else {
                return Err("No Major.Minor.Patch elements found".to_owned());
            };
            let name = ["major", "minor", "patch"][i];
            if let Some(bad) = part.chars().find(|c| !c.is_ascii_digit()) {
                return Err(format!("Invalid character(s) found in {name} number {part:?}: {bad}"));
            }
            if part.len() > 1 && part.starts_with('0') {
                let capital = ["Major", "Minor", "Patch"][i];
                return Err(format!("{capital} number must not contain leading zeroes {part:?}"));
            }
            *number = part.parse().map_err(|_| format!("Invalid {name} number {part:?}"))?;
        }
        let identifier = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let before: Vec<String> = before.map_or(Vec::new(), |b| b.split('.').map(str::to_owned).collect());
        let build = build.into_iter().flat_map(|b| b.split('.'));
        if let Some(bad) = before.iter().map(String::as_str).chain(build).find(|s| !identifier(s)) {
            return Err(format!("Invalid character(s) found in prerelease {bad:?}"));
        }
        let zeros = |s: &&String| s.len() > 1 && s.starts_with('0') && s.bytes().all(|b| b.is_ascii_digit());
        if let Some(bad) = before.iter().find(zeros) {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {bad:?}"));
        }
        Ok(Semver { numbers, before })
    }

    fn compare(&self, other: &Semver) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => {
                    let pairs = self.before.iter().zip(&other.before).map(|(a, b)| identifiers(a, b));
                    pairs
                        .fold(Ordering::Equal, Ordering::then)
                        .then(self.before.len().cmp(&other.before.len()))
                }
            }
        })
    }
}

/// A number comes before a word.
fn identifiers(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}
