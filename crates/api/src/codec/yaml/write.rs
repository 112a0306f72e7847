//! YAML out: sorted keys, lists at their key's depth, long lines folded at 80 columns.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::text::{Style, is_break, is_printable, style};
use crate::codec::encode::go_float;

/// Beyond this column a line is broken at the next space.
const BEST_WIDTH: usize = 80;

/// A longer key is written after a question mark, as the reference does from here on. YAML itself knows a key by the colon
/// behind it up to 1,024 characters.
const SIMPLE_KEY_BYTES: usize = 128;

/// An object as YAML text, ending with a line break.
pub fn encode(v: &Value) -> String {
    let mut out = Writer { text: String::new(), column: 0 };
    match v {
        Value::Object(map) if !map.is_empty() => out.map(map, 0, false),
        Value::Array(items) if !items.is_empty() => out.list(items, 0, false),
        scalar => {
            out.scalar(scalar, 0);
            out.end_line();
        }
    }
    out.text
}

struct Writer {
    text: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, s: &str) {
        self.text.push_str(s);
        self.column += s.chars().count();
    }

    fn end_line(&mut self) {
        if !self.text.ends_with('\n') || self.column > 0 {
            self.text.push('\n');
        }
        self.column = 0;
    }

    fn indent(&mut self, depth: usize) {
        for _ in 0..depth {
            self.text.push(' ');
        }
        self.column = depth;
    }

    /// The members, at `depth`; the first where the line stands already if it is `inline`, as after a dash.
    fn map(&mut self, map: &Map<String, Value>, depth: usize, inline: bool) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_by(|a, b| natural(a.0, b.0));
        for (i, (key, value)) in entries.into_iter().enumerate() {
            if i > 0 || !inline {
                self.indent(depth);
            }
            if key.len() > SIMPLE_KEY_BYTES || key.contains(is_break) {
                self.put("? ");
                self.string(key, depth, false);
                self.end_line();
                self.indent(depth);
                self.put(": ");
                self.inline(value, depth);
            } else {
                self.string(key, depth, true);
                self.put(":");
                self.member(value, depth);
            }
        }
    }

    /// The value behind a simple key, of which containers begin on the next line.
    fn member(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.end_line();
                self.map(map, depth + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                self.end_line();
                self.list(items, depth, false);
            }
            scalar => {
                self.put(" ");
                self.scalar(scalar, depth);
                self.end_line();
            }
        }
    }

    fn list(&mut self, items: &[Value], depth: usize, inline: bool) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 || !inline {
                self.indent(depth);
            }
            self.put("- ");
            self.inline(item, depth);
        }
    }

    /// A value that begins where the line stands, behind a dash or a colon of its own.
    fn inline(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => self.map(map, depth + 2, true),
            Value::Array(items) if !items.is_empty() => self.list(items, depth + 2, true),
            scalar => {
                self.scalar(scalar, depth);
                self.end_line();
            }
        }
    }

    /// A scalar or an empty container inside of a block at `depth`.
    fn scalar(&mut self, v: &Value, depth: usize) {
        match v {
            Value::Null => self.put("null"),
            Value::Bool(b) => self.put(if *b { "true" } else { "false" }),
            Value::Number(n) => match n.as_f64() {
                Some(f) if n.is_f64() => self.put(&go_float(f)),
                _ => self.put(&n.to_string()),
            },
            Value::String(s) => self.string(s, depth, false),
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
        }
    }

    fn string(&mut self, s: &str, depth: usize, is_key: bool) {
        match style(s, is_key) {
            Style::Plain => self.folded(s, depth, !is_key, str::to_owned),
            Style::SingleQuoted => {
                self.put("'");
                self.folded(s, depth, !is_key, |part| part.replace('\'', "''"));
                self.put("'");
            }
            Style::DoubleQuoted => self.double_quoted(s, depth, !is_key),
            Style::Literal => self.literal(s, depth),
        }
    }

    /// Text on one line, or broken at single spaces where it gets too long.
    fn folded(&mut self, s: &str, depth: usize, may_break: bool, escape: impl Fn(&str) -> String) {
        let bytes = s.as_bytes();
        let mut start = 0;
        let mut after_space = false;
        for (i, c) in s.char_indices() {
            let is_space = c == ' ';
            let inner = i > 0 && i + 1 < s.len() && bytes[i + 1] != b' ';
            let column = self.column + s[start..i].chars().count();
            if is_space && may_break && !after_space && inner && column > BEST_WIDTH {
                self.put(&escape(&s[start..i]));
                self.end_line();
                self.indent(depth + 2);
                start = i + 1;
            }
            after_space = is_space;
        }
        self.put(&escape(&s[start..]));
    }

    fn double_quoted(&mut self, s: &str, depth: usize, may_break: bool) {
        self.put("\"");
        let mut after_space = false;
        for (i, c) in s.char_indices() {
            let inner = i > 0 && i + 1 < s.len();
            if c == ' ' && may_break && !after_space && inner && self.column > BEST_WIDTH {
                self.end_line();
                self.indent(depth + 2);
                if s[i + 1..].starts_with(' ') {
                    self.put("\\");
                }
                after_space = true;
                continue;
            }
            after_space = c == ' ';
            if !is_printable(c) || is_break(c) || matches!(c, '"' | '\\') {
                self.put(&escape(c));
            } else {
                self.put(c.encode_utf8(&mut [0; 4]));
            }
        }
        self.put("\"");
    }

    fn literal(&mut self, s: &str, depth: usize) {
        self.put("|");
        if s.starts_with([' ', '\n']) {
            self.put("2");
        }
        if !s.ends_with('\n') {
            self.put("-");
        } else if s == "\n" || s.ends_with("\n\n") {
            self.put("+");
        }
        let body = s.strip_suffix('\n').unwrap_or(s);
        for line in body.split('\n') {
            self.end_line();
            if line.is_empty() {
                // An empty line keeps no indentation; the break after it comes with the next one.
                self.column = 1;
            } else {
                self.indent(depth + 2);
                self.put(line);
            }
        }
    }
}

fn escape(c: char) -> String {
    let short = match c {
        '\0' => "0",
        '\u{7}' => "a",
        '\u{8}' => "b",
        '\t' => "t",
        '\n' => "n",
        '\u{b}' => "v",
        '\u{c}' => "f",
        '\r' => "r",
        '\u{1b}' => "e",
        '"' => "\"",
        '\\' => "\\",
        '\u{85}' => "N",
        '\u{a0}' => "_",
        '\u{2028}' => "L",
        '\u{2029}' => "P",
        c => {
            return match u32::from(c) {
                n @ 0..=0xff => format!("\\x{n:02X}"),
                n @ 0..=0xffff => format!("\\u{n:04X}"),
                n => format!("\\U{n:08X}"),
            };
        }
    };
    format!("\\{short}")
}

/// The order of keys: letters after other signs, and numbers by their size.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            digits = a[i].is_numeric();
            continue;
        }
        let (letter_a, letter_b) = (a[i].is_alphabetic(), b[i].is_alphabetic());
        if letter_a && letter_b {
            return a[i].cmp(&b[i]);
        }
        if letter_a || letter_b {
            // After digits a letter comes first, so that `a1b` stands before `a10`.
            return if letter_a == digits { Ordering::Less } else { Ordering::Greater };
        }
        return numbers(&a, &b, i);
    }
    a.len().cmp(&b.len())
}

/// Compares the numbers that begin, or go on, at `i`.
fn numbers(a: &[char], b: &[char], i: usize) -> Ordering {
    let mut lead = 0_i64;
    if a[i] == '0' || b[i] == '0' {
        let before = a[..i].iter().rev().take_while(|c| c.is_ascii_digit());
        lead = i64::from(before.into_iter().any(|c| *c != '0'));
    }
    let number = |s: &[char]| {
        let digits = s[i..].iter().map_while(|c| c.to_digit(10));
        digits
            .fold((lead, 0_usize), |(n, count), d| (n.wrapping_mul(10).wrapping_add(i64::from(d)), count + 1))
    };
    number(a).cmp(&number(b)).then(a[i].cmp(&b[i]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(v: Value, want: &str) {
        let text = encode(&v);
        assert_eq!(text, want);
        assert_eq!(super::super::parse(text.as_bytes()).unwrap().value, v);
    }

    #[test]
    fn writes_an_object_as_recorded() {
        let v = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "yaml", "uid": "<uid>", "resourceVersion": "12",
            "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "contract", "fieldsV1": {"f:data": {"f:k": {}, ".": {}}}}]}, "data": {"k": "v"}});
        check(
            v,
            "apiVersion: v1\ndata:\n  k: v\nkind: ConfigMap\nmetadata:\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  managedFields:\n  - fieldsV1:\n      f:data:\n        .: {}\n        f:k: {}\n    manager: contract\n  name: yaml\n  resourceVersion: \"12\"\n  uid: <uid>\n",
        );
    }

    #[test]
    fn quotes_what_would_be_misread() {
        check(
            json!({"a": ["", "yes", "null", "1", "1.5", "a: b", "a #b", " x", "-", "- x", "*", "it's", "'q'", "a\tb", "1:20", "é", "😀", "{}"]}),
            "a:\n- \"\"\n- \"yes\"\n- \"null\"\n- \"1\"\n- \"1.5\"\n- 'a: b'\n- 'a #b'\n- ' x'\n- '-'\n- '- x'\n- '*'\n- it's\n- '''q'''\n- \"a\\tb\"\n- \"1:20\"\n- é\n- \"\\U0001F600\"\n- '{}'\n",
        );
    }

    #[test]
    fn writes_blocks_and_nested_lists() {
        check(
            json!({"a": "x\ny\n", "b": "x\n\ny", "c": "x\n\n", "d": " x\ny\n", "e": [["a", "b"], [], {}], "f": [{"k": [1]}]}),
            "a: |\n  x\n  y\nb: |-\n  x\n\n  y\nc: |+\n  x\n\nd: |2\n   x\n  y\ne:\n- - a\n  - b\n- []\n- {}\nf:\n- k:\n  - 1\n",
        );
    }

    #[test]
    fn writes_long_keys_after_a_question_mark() {
        let long = |c: &str| c.repeat(SIMPLE_KEY_BYTES + 1);
        let (a, b, c, d) = (long("a"), long("b"), long("c"), long("d"));
        check(
            json!({&a: 1, &b: {"x": 1, "y": [2]}, &c: [1, {"z": 2}], &d: {}, "e": {&a: null}, "f\ng": 3}),
            &format!(
                "? {a}\n: 1\n? {b}\n: x: 1\n  \"y\":\n  - 2\n? {c}\n: - 1\n  - z: 2\n? {d}\n: {{}}\ne:\n  ? {a}\n  : null\n? |-\n  f\n  g\n: 3\n"
            ),
        );
        let words = vec!["word"; 300].join(" ");
        let map = json!({&words: {&words: "x"}});
        assert_eq!(super::super::parse(encode(&map).as_bytes()).unwrap().value, map);
        let simple = "k".repeat(SIMPLE_KEY_BYTES);
        check(json!({&simple: 1}), &format!("{simple}: 1\n"));
    }

    #[test]
    fn folds_long_lines_and_sorts_naturally() {
        let long = vec!["word"; 30].join(" ");
        let folded = format!("m: {}\n  {}\n", vec!["word"; 16].join(" "), vec!["word"; 14].join(" "));
        check(json!({"m": long}), &folded);
        let keys = json!({"a10": 1, "a2": 1, "b": 1, "B": 1, ".": 1, "a": 1, "a1b": 1});
        check(keys, ".: 1\nB: 1\na: 1\na1b: 1\na2: 1\na10: 1\nb: 1\n");
    }
}
