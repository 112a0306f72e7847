//! JSON out, byte for byte as Go's encoder writes it: HTML-safe strings, Go's number layout, two-space pretty print.

use std::io::Write as _;

use serde_json::{Map, Number, Value};

/// Compact, without the line break that ends an HTTP answer.
pub fn compact(v: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write_value(&mut out, v);
    out
}

/// Compact into a buffer that the caller has.
pub fn write_value(out: &mut Vec<u8>, v: &Value) {
    match v {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(n) => write_number(out, n),
        Value::String(s) => write_string(out, s),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            write_entries(out, map);
            out.push(b'}');
        }
    }
}

fn write_entries(out: &mut Vec<u8>, map: &Map<String, Value>) {
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_key(out, key);
        write_value(out, value);
    }
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    write_string(out, key);
    out.push(b':');
}

/// A JSON string with `<`, `>`, `&` and the line separators escaped.
pub fn write_string(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    let bytes = s.as_bytes();
    let mut plain = 0;
    let mut i = 0;
    while i < bytes.len() {
        let c = bytes[i];
        let wide =
            c == 0xe2 && bytes.get(i + 1) == Some(&0x80) && matches!(bytes.get(i + 2), Some(0xa8 | 0xa9));
        if c >= 0x20 && !matches!(c, b'"' | b'\\' | b'<' | b'>' | b'&') && !wide {
            i += 1;
            continue;
        }
        out.extend_from_slice(&bytes[plain..i]);
        if wide {
            out.extend_from_slice(if bytes[i + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
            i += 3;
        } else {
            write_escape(out, c);
            i += 1;
        }
        plain = i;
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, c: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match c {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        c => {
            let digits = [HEX[usize::from(c >> 4)], HEX[usize::from(c & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
    }
}

fn write_number(out: &mut Vec<u8>, n: &Number) {
    match n.as_f64() {
        Some(f) if n.is_f64() => out.extend_from_slice(go_float(f).as_bytes()),
        _ => write!(out, "{n}").expect("a Vec takes every write"),
    }
}

/// The shortest decimal that reads back, with an exponent only where Go writes one.
pub fn go_float(f: f64) -> String {
    let size = f.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{f}");
    }
    let text = format!("{f:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// As `json.MarshalIndent(v, "", "  ")`.
pub fn pretty(v: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_pretty(&mut out, v, 0);
    out
}

fn write_pretty(out: &mut Vec<u8>, v: &Value, depth: usize) {
    match v {
        Value::Array(items) if !items.is_empty() => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                break_line(out, depth + 1, i > 0);
                write_pretty(out, item, depth + 1);
            }
            break_line(out, depth, false);
            out.push(b']');
        }
        Value::Object(map) if !map.is_empty() => {
            out.push(b'{');
            for (i, (key, value)) in map.iter().enumerate() {
                break_line(out, depth + 1, i > 0);
                write_key(out, key);
                out.push(b' ');
                write_pretty(out, value, depth + 1);
            }
            break_line(out, depth, false);
            out.push(b'}');
        }
        scalar_or_empty => write_value(out, scalar_or_empty),
    }
}

fn break_line(out: &mut Vec<u8>, depth: usize, comma: bool) {
    if comma {
        out.push(b',');
    }
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

/// The members of `metadata` that Go writes before `resourceVersion`.
const BEFORE_VERSION: [&str; 5] = ["name", "generateName", "namespace", "selfLink", "uid"];

/// The object in two halves, between which the digits of `metadata.resourceVersion` go at commit. A version that the
/// object carries is left out; an object without metadata gets some.
pub fn around_version(obj: &Value) -> (Vec<u8>, Vec<u8>) {
    let mut head = Vec::with_capacity(256);
    let mut tail = Vec::with_capacity(1024);
    head.push(b'{');
    let mut split = false;
    for (key, value) in obj.as_object().into_iter().flatten() {
        let out = if split { &mut tail } else { &mut head };
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        write_key(out, key);
        match value {
            Value::Object(metadata) if key == "metadata" => {
                split_metadata(&mut head, &mut tail, metadata);
                split = true;
            }
            other => write_value(out, other),
        }
    }
    if !split {
        if head.last() != Some(&b'{') {
            head.push(b',');
        }
        write_key(&mut head, "metadata");
        split_metadata(&mut head, &mut tail, &Map::new());
    }
    tail.push(b'}');
    (head, tail)
}

fn split_metadata(head: &mut Vec<u8>, tail: &mut Vec<u8>, metadata: &Map<String, Value>) {
    head.push(b'{');
    for (key, value) in metadata.iter().filter(|(k, _)| BEFORE_VERSION.contains(&k.as_str())) {
        write_key(head, key);
        write_value(head, value);
        head.push(b',');
    }
    head.extend_from_slice(b"\"resourceVersion\":\"");
    tail.push(b'"');
    for (key, value) in metadata {
        if key != "resourceVersion" && !BEFORE_VERSION.contains(&key.as_str()) {
            tail.push(b',');
            write_key(tail, key);
            write_value(tail, value);
        }
    }
    tail.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(v: &Value) -> String {
        String::from_utf8(compact(v)).unwrap()
    }

    #[test]
    fn writes_strings_and_numbers_as_go_does() {
        let v = json!({"s": "<b>&\"\\\n\u{1}\u{8}\u{2028}é\u{7f}", "n": [1, -2, 1.0, 1.5, 1e21, 1e-7, 123456789.25]});
        assert_eq!(
            text(&v),
            "{\"s\":\"\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\\b\\u2028é\u{7f}\",\"n\":[1,-2,1,1.5,1e+21,1e-7,123456789.25]}"
        );
    }

    #[test]
    fn pretty_prints_as_marshal_indent() {
        let v = json!({"a": {}, "b": [], "c": [1, {"d": "x"}]});
        let want =
            "{\n  \"a\": {},\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"x\"\n    }\n  ]\n}";
        assert_eq!(String::from_utf8(pretty(&v)).unwrap(), want);
    }

    #[test]
    fn leaves_a_gap_for_the_version() {
        for (obj, want) in [
            (
                json!({"kind": "A", "metadata": {"name": "n", "uid": "u", "generation": 1}, "data": {"k": "v"}}),
                r#"{"kind":"A","metadata":{"name":"n","uid":"u","resourceVersion":"7","generation":1},"data":{"k":"v"}}"#,
            ),
            (
                json!({"metadata": {"resourceVersion": "3", "labels": {}, "name": "n"}}),
                r#"{"metadata":{"name":"n","resourceVersion":"7","labels":{}}}"#,
            ),
            (json!({"metadata": {}}), r#"{"metadata":{"resourceVersion":"7"}}"#),
            (json!({"data": {}}), r#"{"data":{},"metadata":{"resourceVersion":"7"}}"#),
            (json!({}), r#"{"metadata":{"resourceVersion":"7"}}"#),
        ] {
            let (head, tail) = around_version(&obj);
            assert_eq!(format!("{}7{}", str(&head), str(&tail)), want);
        }
    }

    fn str(b: &[u8]) -> &str {
        std::str::from_utf8(b).unwrap()
    }
}
