//! JSON in: strict about doubled keys, bounded in depth, and with the syntax errors of Go's `encoding/json`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep lists and objects may nest. Go's own bound is 10,000; but values are walked, cloned and dropped by recursion
/// on 2 MiB stacks here, and the deepest thing that people send (a schema inside a CustomResourceDefinition) stays below 100.
pub const MAX_DEPTH: usize = 1_000;

/// How many doubled keys are named before the rest goes unsaid: the reference's own bound.
const MAX_DUPLICATES: usize = 100;

/// Why a text is not JSON, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    pub value: Value,
    /// The paths of keys that came twice (`data.a`, `spec.containers[0].name`); the last value won.
    pub duplicates: Vec<String>,
}

impl Parsed {
    /// The doubled keys in the words of a strict decoding error.
    pub fn strict_errors(&self) -> impl Iterator<Item = String> {
        self.duplicates.iter().map(|path| format!("duplicate field {}", crate::field::go_quote(path)))
    }
}

/// Reads exactly one JSON value.
pub fn parse(bytes: &[u8]) -> Result<Parsed, SyntaxError> {
    parse_within(bytes, MAX_DEPTH)
}

fn parse_within(bytes: &[u8], depth_max: usize) -> Result<Parsed, SyntaxError> {
    let mut p = Parser { bytes, at: 0, depth_max, open: Vec::new(), duplicates: Vec::new() };
    let value = p.document()?;
    Ok(Parsed { value, duplicates: p.duplicates })
}

/// Reads what this program wrote: by the faster parser, which gives up on deep nesting that [`parse`] takes. The managed
/// fields of an object nest as deep as the object, and stand in it.
pub fn reread(bytes: &[u8]) -> Result<Value, SyntaxError> {
    let deep = |_| parse_within(bytes, 2 * MAX_DEPTH).map(|parsed| parsed.value);
    serde_json::from_slice(bytes).map(|Reread(value)| value).or_else(deep)
}

/// A value as [`parse`] has it: what no `i64` holds is a float. To serde_json's own value, `u64` is one more kind of integer.
struct Reread(Value);

impl<'de> Deserialize<'de> for Reread {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Rereader).map(Self)
    }
}

struct Rereader;

impl<'de> Visitor<'de> for Rereader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    #[expect(clippy::cast_precision_loss, reason = "as Go reads what is no int64")]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::from(value as f64), Value::from))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Reread(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Reread(value))) = members.next_entry::<String, _>()? {
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// How deep lists and objects nest in a value.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A list or object whose end has not been read yet.
enum Open {
    Array(Vec<Value>),
    Object { map: Map<String, Value>, key: String },
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: usize,
    /// Kept here and not on the stack, so that depth costs heap only.
    open: Vec<Open>,
    duplicates: Vec<String>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Value, SyntaxError> {
        loop {
            let Some(value) = self.begin_value()? else { continue };
            if let Some(done) = self.end_value(value)? {
                self.skip_space();
                return match self.bytes.get(self.at) {
                    None => Ok(done),
                    Some(&c) => Err(invalid(c, "after top-level value")),
                };
            }
        }
    }

    /// A whole scalar or empty container; `None` where a container was opened.
    fn begin_value(&mut self) -> Result<Option<Value>, SyntaxError> {
        let c = self.next_token()?;
        Ok(Some(match c {
            b'{' => {
                self.check_depth()?;
                if self.peek_token()? != b'}' {
                    // Opened before its first key is read: a key is double among its own siblings only.
                    self.open.push(Open::Object { map: Map::new(), key: String::new() });
                    self.name_member()?;
                    return Ok(None);
                }
                self.at += 1;
                Value::Object(Map::new())
            }
            b'[' => {
                self.check_depth()?;
                if self.peek_token()? != b']' {
                    self.open.push(Open::Array(Vec::new()));
                    return Ok(None);
                }
                self.at += 1;
                Value::Array(Vec::new())
            }
            b'"' => Value::String(self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.literal("true", Value::Bool(true))?,
            b'f' => self.literal("false", Value::Bool(false))?,
            b'n' => self.literal("null", Value::Null)?,
            c => return Err(invalid(c, "looking for beginning of value")),
        }))
    }

    /// Puts a finished value into its container and closes what ends after it. The document, when nothing is open.
    fn end_value(&mut self, mut value: Value) -> Result<Option<Value>, SyntaxError> {
        loop {
            match self.open.last_mut() {
                None => return Ok(Some(value)),
                Some(Open::Array(items)) => {
                    items.push(value);
                    match self.next_token()? {
                        b',' => return Ok(None),
                        b']' => {}
                        c => return Err(invalid(c, "after array element")),
                    }
                }
                Some(Open::Object { map, key }) => {
                    map.insert(std::mem::take(key), value);
                    match self.next_token()? {
                        b',' => {
                            self.name_member()?;
                            return Ok(None);
                        }
                        b'}' => {}
                        c => return Err(invalid(c, "after object key:value pair")),
                    }
                }
            }
            value = match self.open.pop() {
                Some(Open::Array(items)) => Value::Array(items),
                Some(Open::Object { map, .. }) => Value::Object(map),
                None => Value::Null,
            };
        }
    }

    /// The key under which the innermost object gets its next value.
    fn name_member(&mut self) -> Result<(), SyntaxError> {
        let next = self.key()?;
        if let Some(Open::Object { key, .. }) = self.open.last_mut() {
            *key = next;
        }
        Ok(())
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<String, SyntaxError> {
        match self.next_token()? {
            b'"' => {}
            c => return Err(invalid(c, "looking for beginning of object key string")),
        }
        let key = self.string()?;
        match self.next_token()? {
            b':' => {}
            c => return Err(invalid(c, "after object key")),
        }
        if let Some(Open::Object { map, .. }) = self.open.last()
            && map.contains_key(&key)
        {
            let path = self.path_of(&key);
            if self.duplicates.len() < MAX_DUPLICATES && !self.duplicates.contains(&path) {
                self.duplicates.push(path);
            }
        }
        Ok(key)
    }

    fn check_depth(&self) -> Result<(), SyntaxError> {
        if self.open.len() >= self.depth_max {
            return Err(SyntaxError("exceeded max depth".to_owned()));
        }
        Ok(())
    }

    fn path_of(&self, key: &str) -> String {
        let mut path = String::new();
        let (_, outer) = self.open.split_last().unwrap_or((&Open::Array(Vec::new()), &[]));
        for open in outer {
            match open {
                Open::Array(items) => path.push_str(&format!("[{}]", items.len())),
                Open::Object { key, .. } => push_key(&mut path, key),
            }
        }
        push_key(&mut path, key);
        path
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn peek_token(&mut self) -> Result<u8, SyntaxError> {
        self.skip_space();
        self.bytes.get(self.at).copied().ok_or_else(unexpected_end)
    }

    fn next_token(&mut self) -> Result<u8, SyntaxError> {
        let c = self.peek_token()?;
        self.at += 1;
        Ok(c)
    }

    fn next_byte(&mut self) -> Result<u8, SyntaxError> {
        let c = self.bytes.get(self.at).copied().ok_or_else(unexpected_end)?;
        self.at += 1;
        Ok(c)
    }

    /// The rest of `word`, whose first letter has been read.
    fn literal(&mut self, word: &str, value: Value) -> Result<Value, SyntaxError> {
        for expected in word.bytes().skip(1) {
            let c = self.next_byte()?;
            if c != expected {
                let context = format!("in literal {word} (expecting {})", quote_char(expected));
                return Err(invalid(c, &context));
            }
        }
        Ok(value)
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn digit(&mut self, context: &str) -> Result<u8, SyntaxError> {
        match self.next_byte()? {
            c @ b'0'..=b'9' => Ok(c),
            c => Err(invalid(c, context)),
        }
    }

    /// A number, whose first byte has been read.
    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at - 1;
        let mut first = self.bytes[start];
        if first == b'-' {
            first = self.digit("in numeric literal")?;
        }
        if first != b'0' {
            self.digits();
        }
        let mut whole = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            whole = false;
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        let text = String::from_utf8_lossy(&self.bytes[start..self.at]);
        if whole && let Ok(n) = text.parse::<i64>() {
            return Ok(Value::Number(n.into()));
        }
        text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number).ok_or_else(|| {
            SyntaxError(format!("json: cannot unmarshal number {text} into Go value of type float64"))
        })
    }

    /// A string, whose opening quote has been read.
    fn string(&mut self) -> Result<String, SyntaxError> {
        let start = self.at;
        while let Some(&c) = self.bytes.get(self.at) {
            match c {
                b'"' => {
                    let text = lossy(&self.bytes[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' => return self.escaped_string(start),
                0..=0x1f => return Err(invalid(c, "in string literal")),
                _ => self.at += 1,
            }
        }
        Err(unexpected_end())
    }

    fn escaped_string(&mut self, start: usize) -> Result<String, SyntaxError> {
        let mut out = self.bytes[start..self.at].to_vec();
        loop {
            match self.next_byte()? {
                b'"' => return Ok(lossy(&out)),
                b'\\' => {
                    let c = self.escape()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                c @ 0..=0x1f => return Err(invalid(c, "in string literal")),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        Ok(match self.next_byte()? {
            c @ (b'"' | b'\\' | b'/') => char::from(c),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode_escape()?,
            c => return Err(invalid(c, "in string escape code")),
        })
    }

    /// Half a surrogate pair becomes U+FFFD, as in Go.
    fn unicode_escape(&mut self) -> Result<char, SyntaxError> {
        let high = self.hex4()?;
        if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let rewind = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let c = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = rewind;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let mut n = 0;
        for _ in 0..4 {
            let c = self.next_byte()?;
            let digit = char::from(c)
                .to_digit(16)
                .ok_or_else(|| invalid(c, "in \\u hexadecimal character escape"))?;
            n = n * 16 + digit;
        }
        Ok(n)
    }
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn unexpected_end() -> SyntaxError {
    SyntaxError("unexpected end of JSON input".to_owned())
}

fn invalid(c: u8, context: &str) -> SyntaxError {
    SyntaxError(format!("invalid character {} {context}", quote_char(c)))
}

/// A byte as Go's scanner quotes it.
fn quote_char(c: u8) -> String {
    match c {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        c => {
            let quoted = crate::field::go_quote(&char::from(c).to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Some features of serde_json take keys of its own for something else.
    #[test]
    fn no_key_is_special_to_who_reads_again() {
        let text =
            br#"{"data":{"$serde_json::private::RawValue":"{\"a\":1}","$serde_json::private::Number":"1"}}"#;
        for text in [
            text.as_slice(),
            br#"{"$serde_json::private::RawValue":"[1]"}"#,
            br#"{"$serde_json::private::Number":"1"}"#,
        ] {
            assert_eq!(reread(text).unwrap(), parse(text).unwrap().value);
        }
    }

    /// Found by the fuzz target `json`.
    #[test]
    fn a_number_is_the_same_to_who_reads_again() {
        let text =
            b"[18446744070973551615,9223372036854775807,9223372036854775808,-9223372036854775809,0,-0.5]";
        let value = parse(text).unwrap().value;
        assert_eq!(reread(text).unwrap(), value);
        assert_eq!(reread(&crate::codec::encode::compact(&value)).unwrap(), value);
        assert!(value[0].is_f64() && value[1].is_i64() && value[2].is_f64());
    }

    fn words(text: &str) -> String {
        parse(text.as_bytes()).map_or_else(|e| e.to_string(), |p| format!("{} {:?}", p.value, p.duplicates))
    }

    #[test]
    fn reads_what_go_reads() {
        let text = r#" {"a":[1,-2,3.5,1e2,true,false,null,"x\u00e9\n\ud83d\ude00\ud800"],"b":{},"c":[]} "#;
        let want = json!({"a": [1, -2, 3.5, 100.0, true, false, null, "xé\n😀\u{fffd}"], "b": {}, "c": []});
        assert_eq!(parse(text.as_bytes()).unwrap().value, want);
        assert_eq!(parse(b"9223372036854775808").unwrap().value, json!(9223372036854775808.0));
        assert_eq!(parse(b"\"\xff\"").unwrap().value, json!("\u{fffd}"));
    }

    #[test]
    fn says_what_go_says_about_broken_text() {
        for (text, want) in [
            ("", "unexpected end of JSON input"),
            ("{\"apiVersion\": ", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("\"abc", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{a", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("1 2", "invalid character '2' after top-level value"),
            ("01", "invalid character '1' after top-level value"),
            ("tru!", "invalid character '!' in literal true (expecting 'e')"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("'", "invalid character '\\'' looking for beginning of value"),
        ] {
            assert_eq!(words(text), want, "{text}");
        }
    }

    #[test]
    fn names_doubled_keys_and_keeps_the_last() {
        let p =
            parse(br#"{"data":{"a":"1","a":"2","a":"3"},"l":[{"x":1},{"x":1,"x":2}],"data2":1}"#).unwrap();
        assert_eq!(p.value["data"]["a"], "3");
        assert_eq!(p.duplicates, ["data.a", "l[1].x"]);
        let nested = parse(br#"{"kind":"A","ref":{"kind":"B"},"l":[{"kind":"C"}]}"#).unwrap();
        assert_eq!(nested.duplicates, [""; 0], "a key of an inner object is nobody else's");
        assert_eq!(p.strict_errors().next().unwrap(), "duplicate field \"data.a\"");
    }

    #[test]
    fn refuses_a_bomb_without_using_stack() {
        assert_eq!(words(&"[".repeat(1_000_000)), "exceeded max depth");
        assert_eq!(words(&"{\"a\":".repeat(1_000_000)), "exceeded max depth");
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(deep.as_bytes()).is_ok());
    }
}
