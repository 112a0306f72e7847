//! How a refused update of a Pod shows what it would have changed: a unified diff of the two specs.

use serde_json::Value;

use super::internal;

/// Lines around a change.
const CONTEXT: usize = 3;

/// Which form of a value a diff shows.
pub use internal::{EPHEMERAL_CONTAINER, POD_SPEC};

/// The difference of two specs.
pub fn diff(old: &Value, new: &Value) -> String {
    diff_of(POD_SPEC, old, new)
}

pub fn diff_of(form: internal::Form, old: &Value, new: &Value) -> String {
    let old = pretty(&internal::value(form, old));
    let new = pretty(&internal::value(form, new));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut out = String::new();
    for hunk in hunks(&edits(&old, &new)) {
        hunk.write(&mut out);
    }
    out
}

/// As Go's `json.MarshalIndent` with an indent of one space: it escapes what HTML would read.
fn pretty(v: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(v, &mut serializer).expect("a JSON value always encodes into memory");
    let text = String::from_utf8(out).expect("serde_json writes UTF-8");
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// One line of the way from the old text to the new, with its line numbers in both.
#[derive(Debug, Clone, Copy)]
struct Edit<'a> {
    sign: char,
    line: &'a str,
    old: usize,
    new: usize,
}

/// A shortest edit by longest common subsequence of what is left between the equal head and tail.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let common = common_lengths(a, b);
    let mut out: Vec<Edit<'a>> =
        (0..head).map(|i| Edit { sign: ' ', line: old[i], old: i, new: i }).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let (sign, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (' ', a[i])
        } else if i < a.len() && (j == b.len() || common[i + 1][j] >= common[i][j + 1]) {
            ('-', a[i])
        } else {
            ('+', b[j])
        };
        out.push(Edit { sign, line, old: head + i, new: head + j });
        i += usize::from(sign != '+');
        j += usize::from(sign != '-');
    }
    let rest = (0..tail).map(|k| {
        let (old_at, new_at) = (old.len() - tail + k, new.len() - tail + k);
        Edit { sign: ' ', line: old[old_at], old: old_at, new: new_at }
    });
    out.extend(rest);
    out
}

/// `out[i][j]`: how many lines `a[i..]` and `b[j..]` have in common, in order.
fn common_lengths(a: &[&str], b: &[&str]) -> Vec<Vec<usize>> {
    let mut out = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            out[i][j] = if a[i] == b[j] { out[i + 1][j + 1] + 1 } else { out[i + 1][j].max(out[i][j + 1]) };
        }
    }
    out
}

struct Hunk<'a>(Vec<Edit<'a>>);

/// The changes with the lines around them; changes that are near share one hunk.
fn hunks<'a>(edits: &[Edit<'a>]) -> Vec<Hunk<'a>> {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for (i, _) in edits.iter().enumerate().filter(|(_, e)| e.sign != ' ') {
        let (from, to) = (i.saturating_sub(CONTEXT), (i + CONTEXT + 1).min(edits.len()));
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = to,
            _ => out.push((from, to)),
        }
    }
    out.into_iter().map(|(from, to)| Hunk(edits[from..to].to_vec())).collect()
}

impl Hunk<'_> {
    fn write(&self, out: &mut String) {
        let count = |skipped: char| self.0.iter().filter(|e| e.sign != skipped).count();
        let (Some(first), old, new) = (self.0.first(), count('+'), count('-')) else { return };
        out.push_str(&format!("@@ -{} +{} @@\n", range(first.old, old), range(first.new, new)));
        for edit in &self.0 {
            out.push(edit.sign);
            out.push_str(edit.line);
            out.push('\n');
        }
    }
}

fn range(start: usize, length: usize) -> String {
    match length {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        _ => format!("{},{length}", start + 1),
    }
}
