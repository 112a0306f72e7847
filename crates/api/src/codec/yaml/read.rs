//! YAML in: the first document of a text as a JSON value, with bounds on depth and on what aliases may grow to.

use std::collections::HashMap;

use base64::Engine as _;
use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};

use super::YamlError;
use super::scalar::{Meaning, resolve};
use crate::codec::encode::go_float;
use crate::codec::json::{self, MAX_DEPTH, depth};

/// How many values aliases may stand for in one text, so that a few lines cannot become gigabytes. A manifest that
/// repeats itself by anchors has dozens.
const MAX_ALIASED: usize = 100_000;
/// How many values anchors may keep for their aliases. Anchors within anchors keep each value as often as they nest.
const MAX_ANCHORED: usize = 300_000;
/// A long text counts as one value for each so many bytes of it: about what a value takes in memory.
const TEXT_WEIGHT: usize = 32;

/// A document, and what a strict reading has against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    /// One text that names all doubled keys, as the reference puts it, or nothing.
    pub strict_errors: Vec<String>,
}

/// Reads the first document; an empty text is null.
pub fn parse(text: &[u8]) -> Result<Document, YamlError> {
    if let Some(value) = plain_json(text) {
        return Ok(Document { value, strict_errors: Vec::new() });
    }
    let documents = read(text, 1)?;
    Ok(documents.into_iter().next().unwrap_or(Document { value: Value::Null, strict_errors: Vec::new() }))
}

/// Reads all documents.
pub fn parse_all(text: &[u8]) -> Result<Vec<Document>, YamlError> {
    read(text, usize::MAX)
}

/// What is JSON and means the same as YAML, by the parser that takes a fifth of the time: what clients apply is JSON. Nothing
/// where the two might read it otherwise: doubled keys, floats, escaped code points, bytes that are not ASCII.
fn plain_json(text: &[u8]) -> Option<Value> {
    let is_plain = |byte: &u8| matches!(byte, b'\n' | b' '..=b'~');
    if text.first() != Some(&b'{') || !text.iter().all(is_plain) || text.windows(2).any(|two| two == b"\\u") {
        return None;
    }
    let parsed = json::parse(text).ok()?;
    (parsed.duplicates.is_empty() && !has_float(&parsed.value)).then_some(parsed.value)
}

fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(map) => map.values().any(has_float),
        _ => false,
    }
}

fn read(bytes: &[u8], most: usize) -> Result<Vec<Document>, YamlError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| YamlError("invalid leading UTF-8 octet".to_owned()))?
        .trim_start_matches('\u{feff}');
    let mut options = Options::default();
    options.emit_comments = false;
    let mut events = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    while let Some(event) = events.next_event() {
        let (event, span) = event.map_err(|e| scan_error(&e, text))?;
        if matches!(event, Event::DocumentEnd) {
            documents.push(std::mem::take(&mut builder).finish());
            if documents.len() == most {
                break;
            }
            continue;
        }
        builder.take(event, span)?;
    }
    Ok(documents)
}

/// The parser's error in the words and with the line of the reference's.
fn scan_error(e: &ScanError, text: &str) -> YamlError {
    let info = e.info();
    let at_end = info.starts_with("unexpected EOF") || info.starts_with("unclosed bracket");
    let in_list = info.ends_with("a flow sequence") || info.ends_with("'['");
    let words = match () {
        () if !at_end => info.rsplit(", ").next().unwrap_or(&info),
        // What is missing at the end depends on what stands there.
        () if text.trim_end().ends_with(['{', '[', ',', ':']) => "did not find expected node content",
        () if in_list => "did not find expected ',' or ']'",
        () => "did not find expected ',' or '}'",
    };
    let scanning = info.starts_with("while scanning")
        || info.contains("quoted scalar")
        || info.starts_with("mapping values are not allowed")
        || info.contains("cannot start any token");
    let line = match () {
        () if at_end => text.lines().count(),
        // The reference counts a line less where its parser, and not its scanner, complains; and no line at all on
        // the first.
        () if e.marker().line() <= 1 => 0,
        () if scanning => e.marker().line(),
        () => e.marker().line() - 1,
    };
    YamlError(if line == 0 { words.to_owned() } else { format!("line {line}: {words}") })
}

fn excessive() -> YamlError {
    YamlError("document contains excessive aliasing".to_owned())
}

fn too_deep() -> YamlError {
    YamlError(format!("exceeded max depth of {MAX_DEPTH}"))
}

/// A list or map whose end has not come yet.
struct Open {
    anchor: usize,
    /// How many values are in it, long texts weighed, for the bounds on anchors and aliases.
    size: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Value>),
    /// The key is there while its value is awaited.
    Map {
        map: Map<String, Value>,
        key: Option<Key>,
    },
}

enum Key {
    Name(String),
    Merge,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Value,
    anchors: HashMap<usize, (Value, usize)>,
    anchored: usize,
    aliased: usize,
    doubled: Vec<String>,
}

impl Builder {
    fn finish(self) -> Document {
        let strict_errors = if self.doubled.is_empty() {
            Vec::new()
        } else {
            vec![format!("yaml: unmarshal errors:\n  {}", self.doubled.join("\n  "))]
        };
        Document { value: self.root, strict_errors }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let word = scalar(&text, style, tag.as_deref());
                self.word(word, anchor, line)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(anchor, OpenKind::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.begin(anchor, OpenKind::Map { map: Map::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(line),
            Event::Alias(id) => {
                let Some((value, size)) = self.anchors.get(&id) else {
                    return Err(YamlError("anchor value contains itself".to_owned()));
                };
                self.aliased += size;
                if self.aliased > MAX_ALIASED {
                    return Err(excessive());
                }
                // What is deep itself may stand deep in the text.
                if self.open.len() + depth(value) > MAX_DEPTH {
                    return Err(too_deep());
                }
                let (value, size) = (value.clone(), *size);
                self.put(value, size, line)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, kind: OpenKind) -> Result<(), YamlError> {
        if self.awaits_key() {
            return Err(YamlError("invalid map key: a list or a map".to_owned()));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.open.push(Open { anchor, size: 1, kind });
        Ok(())
    }

    fn end(&mut self, line: usize) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.kind {
            OpenKind::List(items) => Value::Array(items),
            OpenKind::Map { map, .. } => Value::Object(map),
        };
        self.remember(open.anchor, &value, open.size)?;
        self.put(value, open.size, line)
    }

    fn remember(&mut self, anchor: usize, value: &Value, size: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchored += size;
            if self.anchored > MAX_ANCHORED {
                return Err(excessive());
            }
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: OpenKind::Map { key: None, .. }, .. }))
    }

    fn word(&mut self, word: Meaning, anchor: usize, line: usize) -> Result<(), YamlError> {
        let value = match word {
            Meaning::Merge if self.awaits_key() => return self.set_key(Key::Merge, line),
            Meaning::Merge => Value::String("<<".to_owned()),
            Meaning::Value(v) => v,
            Meaning::NotFinite(f) => {
                let name = if f.is_nan() {
                    "NaN"
                } else if f > 0.0 {
                    "+Inf"
                } else {
                    "-Inf"
                };
                return Err(YamlError(format!("json: unsupported value: {name}")));
            }
            // The caller has turned these into strings.
            Meaning::Time | Meaning::Text => return Ok(()),
        };
        let size = 1 + value.as_str().map_or(0, |text| text.len() / TEXT_WEIGHT);
        self.remember(anchor, &value, size)?;
        self.put(value, size, line)
    }

    /// Puts a finished value where it belongs: as a key, as a member, as an item, or as the document.
    fn put(&mut self, value: Value, size: usize, line: usize) -> Result<(), YamlError> {
        if self.awaits_key() {
            return self.set_key(Key::Name(key_text(value)?), line);
        }
        let Some(open) = self.open.last_mut() else {
            self.root = value;
            return Ok(());
        };
        open.size += size;
        match &mut open.kind {
            OpenKind::List(items) => items.push(value),
            OpenKind::Map { map, key } => match key.take() {
                Some(Key::Name(name)) => {
                    map.insert(name, value);
                }
                Some(Key::Merge) => merge(map, value)?,
                None => {}
            },
        }
        Ok(())
    }

    fn set_key(&mut self, new: Key, line: usize) -> Result<(), YamlError> {
        if let Some(Open { kind: OpenKind::Map { map, key }, .. }) = self.open.last_mut() {
            if let Key::Name(name) = &new
                && map.contains_key(name)
            {
                let quoted = crate::field::go_quote(name);
                self.doubled.push(format!("line {line}: key {quoted} already set in map"));
            }
            *key = Some(new);
        }
        Ok(())
    }
}

/// A scalar by its tag, its quotes or its look. Text comes back as a string value.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Meaning {
    let as_text = || Meaning::Value(Value::String(text.to_owned()));
    let resolved = || match resolve(text) {
        Meaning::Text | Meaning::Time => as_text(),
        found => found,
    };
    match tag.and_then(Tag::core_suffix) {
        Some("int" | "float" | "bool" | "null") => resolved(),
        Some("binary") => {
            let packed: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(packed).unwrap_or_default();
            Meaning::Value(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some(_) => as_text(),
        None if tag.is_some() || style != ScalarStyle::Plain => as_text(),
        None => resolved(),
    }
}

/// `<<`: takes over what the map does not have yet.
fn merge(map: &mut Map<String, Value>, from: Value) -> Result<(), YamlError> {
    let sources = match from {
        Value::Array(items) => items,
        one => vec![one],
    };
    for source in sources {
        let Value::Object(source) = source else {
            return Err(YamlError("map merge requires map or sequence of maps as the value".to_owned()));
        };
        for (key, value) in source {
            map.entry(key).or_insert(value);
        }
    }
    Ok(())
}

/// A key as JSON has it: a string.
fn key_text(key: Value) -> Result<String, YamlError> {
    Ok(match key {
        Value::String(s) => s,
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() => go_float(f),
            _ => n.to_string(),
        },
        other => return Err(YamlError(format!("invalid map key: {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        parse(text.as_bytes()).map_or_else(|e| json!(e.to_string()), |d| d.value)
    }

    #[test]
    fn reads_manifests() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml # a comment\ndata:\n  k: v\n  l: |\n    a\n    b\n  m: >-\n    c\n    d\n";
        let want = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "yaml"}, "data": {"k": "v", "l": "a\nb\n", "m": "c d"}});
        assert_eq!(value(text), want);
        assert_eq!(
            value("a: [1, 0644, 'x', \"y\\n\", yes, 'yes', ~]"),
            json!({"a": [1, 420, "x", "y\n", true, "yes", null]})
        );
        assert_eq!(value("{\"a\": {\"b\": [1]}}"), json!({"a": {"b": [1]}}));
        assert_eq!(value("1: a\ntrue: b\n1.5: c"), json!({"1": "a", "true": "b", "1.5": "c"}));
        assert_eq!(
            value("a: 2006-01-02T15:04:05Z\nb: !!str 5"),
            json!({"a": "2006-01-02T15:04:05Z", "b": "5"})
        );
        assert_eq!(value(""), Value::Null);
        assert_eq!(value("a: 1\n---\nb: 2\n"), json!({"a": 1}));
        assert_eq!(parse_all(b"a: 1\n---\nb: 2\n").unwrap().len(), 2);
    }

    #[test]
    fn follows_aliases_and_stops_bombs() {
        assert_eq!(
            value("a: &x {k: v}\nb: *x\nc:\n  <<: *x\n  l: w"),
            json!({"a": {"k": "v"}, "b": {"k": "v"}, "c": {"k": "v", "l": "w"}})
        );
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let before = format!("*a{}", i - 1);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![before; 10].join(", ")));
        }
        assert_eq!(value(&bomb), "yaml: document contains excessive aliasing");
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse("- ".repeat(20_000).as_bytes()).is_err());
    }

    #[test]
    fn complains_as_the_reference_does() {
        assert_eq!(value("{"), "yaml: line 1: did not find expected node content");
        assert_eq!(value("a: b: c"), "yaml: mapping values are not allowed in this context");
        assert_eq!(value("x: 1\na: b: c"), "yaml: line 2: mapping values are not allowed in this context");
        let d = parse(b"data:\n  a: 1\n  a: 2\n").unwrap();
        assert_eq!(d.value, json!({"data": {"a": 2}}));
        assert_eq!(d.strict_errors, ["yaml: unmarshal errors:\n  line 3: key \"a\" already set in map"]);
    }

    /// What `parse` reads as JSON, `parse_all` reads as YAML.
    #[test]
    fn json_is_read_as_yaml_reads_it() {
        for text in [
            r#"{"a": [1, -2, 0, true, null, "x", {}], "<<": {"b": 1}, "on": "1e3"}"#,
            r#"{"a": "\"\\\n\t", "1": 18446744073709551615, "b": 1.0, "c": 1e2}"#,
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": "\u00e9"}"#,
            "{\"a\":\n[1]}\n---\n{}",
            "{a: b}",
        ] {
            let whole = parse_all(text.as_bytes()).map(|documents| documents.into_iter().next());
            assert_eq!(parse(text.as_bytes()).map(Some), whole, "{text}");
        }
    }
}
