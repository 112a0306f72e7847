//! Random objects of any kind, made from the schema's facts alone: all values of all types, in the form that Go writes.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_api::Kind;
use coracle_api::quantity::Quantity;
use coracle_api::schema::{Definition, Field, Schemas, Type};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

/// Texts that some encoding would like to be something else.
const ODD_TEXTS: [&str; 33] = [
    "",
    " ",
    "a",
    "null",
    "~",
    "true",
    "No",
    "y",
    "0",
    "-1",
    "0x1f",
    "0o17",
    "1e3",
    "1_000",
    ".inf",
    ".NaN",
    "12:30:45",
    "2026-01-02",
    "2026-01-02T03:04:05Z",
    "- a",
    "a: b",
    "{a}",
    "#",
    "'\"",
    "a\nb",
    "a\n\nb\n",
    " a ",
    "\t",
    "\u{0}\u{1f}\u{7f}\u{85}",
    "<&>\u{2028}\u{2029}",
    "\u{fdd0}\u{feff}",
    "żółć 漢字 🦀",
    "%YAML 1.1",
];

/// 0001-01-01T00:00:01Z and 9999-12-31T23:59:59Z: the second before the first is Go's "not set".
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_799..=253_402_300_799;

/// How deep JSON of no known type nests.
const ANY_DEPTH: u32 = 3;

/// Makes objects of at most so many fields and items. The same seed makes the same object.
pub(crate) struct Maker<'a> {
    schemas: &'a Schemas,
    random: StdRng,
    /// How many values may still be made.
    left: usize,
    /// Every field that was set: its definition's name and its own.
    pub(crate) seen: BTreeSet<(String, String)>,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(schemas: &'a Schemas, seed: u64, size: usize) -> Maker<'a> {
        Maker { schemas, random: StdRng::seed_from_u64(seed), left: size, seen: BTreeSet::new() }
    }

    pub(crate) fn object(&mut self, kind: &Kind) -> Value {
        let schemas = self.schemas;
        let definition = schemas.definition(&kind.schema).expect("a built-in kind has a definition");
        let mut whole = Map::new();
        whole.insert("kind".into(), json!(kind.kind));
        whole.insert("apiVersion".into(), json!(kind.api_version()));
        whole.append(&mut self.fields(definition));
        Value::Object(whole)
    }

    /// Some of the fields, from a random one on, so that the last ones get their share of what may be made.
    fn fields(&mut self, definition: &Definition) -> Map<String, Value> {
        let mut out = Map::new();
        let count = definition.fields.len();
        let first = if count == 0 { 0 } else { self.random.random_range(0..count) };
        for at in 0..count {
            let field = &definition.fields[(first + at) % count];
            // What has no number is the kind's own name and version, which stand in the envelope.
            if self.left == 0 || field.path.is_empty() || self.random.random_ratio(1, 3) {
                continue;
            }
            let value = self.field(field);
            self.seen.insert((definition.name.to_string(), field.name.to_string()));
            out.insert(field.name.to_string(), value);
        }
        out
    }

    pub(crate) fn field(&mut self, field: &Field) -> Value {
        self.value(&field.ty, &field.name)
    }

    fn value(&mut self, ty: &Type, name: &str) -> Value {
        self.left = self.left.saturating_sub(1);
        match ty {
            Type::String => json!(self.text()),
            Type::Int32 => json!(self.integer() as i32),
            Type::Int64 => json!(self.integer()),
            Type::Float => json!(self.float()),
            Type::Bool => json!(self.random.random::<bool>()),
            Type::Bytes => {
                let length = self.random.random_range(0..20);
                json!(STANDARD.encode((0..length).map(|_| self.random.random()).collect::<Vec<u8>>()))
            }
            Type::Time => json!(self.time().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            Type::MicroTime => {
                let micros = self.random.random_range(0..1_000_000_u32);
                json!(format!("{}.{micros:06}Z", self.time().strftime("%Y-%m-%dT%H:%M:%S")))
            }
            Type::Quantity => json!(self.quantity()),
            Type::IntOrString if self.random.random() => json!(self.integer() as i32),
            Type::IntOrString => json!(self.text()),
            Type::Any => self.any(ANY_DEPTH),
            Type::Struct(at) => Value::Object(self.fields(self.schemas.at(*at))),
            Type::SchemaOr(at) => self.schema_or(*at, name),
            Type::List(of) => {
                let length = if self.left == 0 { 0 } else { self.random.random_range(0..4) };
                (0..length).map(|_| self.value(of, name)).collect()
            }
            Type::Map(of) => {
                let length = if self.left == 0 { 0 } else { self.random.random_range(0..4) };
                Value::Object((0..length).map(|_| (self.text(), self.value(of, name))).collect())
            }
        }
    }

    /// `items` is a schema or a list of them; elsewhere it is a schema or a boolean.
    fn schema_or(&mut self, at: usize, name: &str) -> Value {
        let schemas = self.schemas;
        match (self.random.random::<bool>(), name) {
            (true, "items") => {
                let length = self.random.random_range(1..3);
                (0..length).map(|_| Value::Object(self.fields(schemas.at(at)))).collect()
            }
            (true, _) => json!(self.random.random::<bool>()),
            (false, _) => Value::Object(self.fields(schemas.at(at))),
        }
    }

    fn text(&mut self) -> String {
        if self.random.random() {
            return ODD_TEXTS[self.random.random_range(0..ODD_TEXTS.len())].to_owned();
        }
        let length = self.random.random_range(1..100);
        let plain = self.random.random::<bool>();
        let mut one = || match plain {
            true => char::from(self.random.random_range(b' '..=b'~')),
            false => self.random.random::<char>(),
        };
        (0..length).map(|_| one()).collect()
    }

    fn integer(&mut self) -> i64 {
        const ODD: [i64; 7] = [0, 1, -1, i32::MIN as i64, i32::MAX as i64, i64::MIN, i64::MAX];
        match self.random.random_range(0..2 * ODD.len()) {
            at if at < ODD.len() => ODD[at],
            _ => self.random.random(),
        }
    }

    fn float(&mut self) -> f64 {
        const ODD: [f64; 9] = [0.0, 1.0, -1.5, 0.1, 1e21, 1e-7, 123_456_789.125, f64::MAX, f64::MIN_POSITIVE];
        match self.random.random_range(0..2 * ODD.len()) {
            at if at < ODD.len() => ODD[at],
            _ => self.random.random::<f64>() * 1e6,
        }
    }

    /// Never 1970-01-01T00:00:00Z, which a message cannot tell from a time that is not set.
    fn time(&mut self) -> jiff::Timestamp {
        let seconds = match self.random.random_range(SECONDS) {
            0 => 1,
            seconds => seconds,
        };
        jiff::Timestamp::from_second(seconds).expect("the years 1 to 9999")
    }

    /// As the reference writes it.
    fn quantity(&mut self) -> String {
        const SUFFIXES: [&str; 9] = ["", "m", "k", "M", "Ki", "Mi", "Gi", "n", "e3"];
        let suffix = SUFFIXES[self.random.random_range(0..SUFFIXES.len())];
        let given = format!("{}{suffix}", self.random.random_range(-5000..1_000_000));
        given.parse::<Quantity>().expect("a number and a suffix").to_string()
    }

    fn any(&mut self, depth: u32) -> Value {
        let most = if depth == 0 { 4 } else { 6 };
        let length = self.random.random_range(0..3);
        match self.random.random_range(0..most) {
            0 => json!(self.random.random::<bool>()),
            1 => json!(self.integer()),
            2 => json!(self.float()),
            3 => json!(self.text()),
            4 => (0..length).map(|_| self.any(depth - 1)).collect(),
            _ => Value::Object((0..length).map(|_| (self.text(), self.any(depth - 1))).collect()),
        }
    }
}
