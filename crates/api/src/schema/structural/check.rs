//! Values against a structural schema, in the order and the words of kube-openapi's `validate`.
//!
//! On an update a value that was there before and has not changed may be wrong: what a stricter schema has against it is
//! no reason to refuse another change.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::{Additional, At, JsonType, ListType, Structural, format, lists};
use crate::cel::show_double;
use crate::codec::encode;
use crate::field::{Error, ErrorType, Path, go_quote, go_value};

/// What a schema has against a value.
#[derive(Debug, Default)]
pub struct Found {
    pub errors: Vec<Error>,
    /// How much was looked at without complaint: of several alternatives the best one is blamed.
    matches: usize,
}

/// Checks a whole object, or a default. `old` is what stood in its place before, if that is known.
pub fn check(schema: &Structural, value: &Value, old: Option<&Value>) -> Vec<Error> {
    Checker.value(schema, value, old, &At::Root).errors
}

struct Checker;

impl Found {
    fn one(error: Error) -> Found {
        Found { errors: vec![error], matches: 0 }
    }

    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// As the reference merges results: after a complaint that is known already it takes no other.
    fn merge(&mut self, other: Found) {
        self.matches += other.matches;
        let mut is_known = false;
        for error in other.errors {
            is_known |= self.errors.contains(&error);
            if !is_known {
                self.errors.push(error);
            }
        }
    }
}

fn error(kind: ErrorType, at: &At<'_>, bad: String, detail: String) -> Error {
    Error { kind, path: Path::new(&at.path()), bad, detail }
}

/// `spec.x in body should …`
fn body(at: &At<'_>, said: std::fmt::Arguments<'_>) -> String {
    format!("{} in body {said}", at.path())
}

fn invalid(at: &At<'_>, bad: String, said: std::fmt::Arguments<'_>) -> Found {
    Found::one(error(ErrorType::Invalid, at, bad, body(at, said)))
}

/// The value is of the wrong type or format; `shown` is what it is instead.
fn wrong_type(at: &At<'_>, wanted: &str, shown: &str) -> Found {
    let shown = go_quote(shown);
    let said = body(at, format_args!("must be of type {wanted}: {shown}"));
    Found::one(error(ErrorType::TypeInvalid, at, shown, said))
}

/// A complaint without a path of its own.
fn unplaced(said: String) -> Found {
    Found::one(Error { kind: ErrorType::Invalid, path: Path::root(), bad: "\"\"".to_owned(), detail: said })
}

impl Checker {
    fn value(&self, schema: &Structural, value: &Value, old: Option<&Value>, at: &At<'_>) -> Found {
        let found = self.fresh(schema, value, old, at);
        if !found.is_valid() && old.is_some_and(|old| is_unchanged(schema, value, old)) {
            return Found { errors: Vec::new(), matches: found.matches };
        }
        found
    }

    fn fresh(&self, schema: &Structural, value: &Value, old: Option<&Value>, at: &At<'_>) -> Found {
        let mut found = Found::default();
        if value.is_null() {
            found.merge(null(schema, at));
            found.merge(options(schema, value, at));
            return found;
        }
        let mut add = |part: Found| {
            found.merge(part);
            found.matches += 1;
        };
        if schema.ty != JsonType::Any || schema.is_int_or_string || !schema.format.is_empty() {
            add(type_of(schema, value, at));
        }
        add(self.junctors(schema, value, at));
        match value {
            Value::String(text) => {
                add(self::text(schema, text, at));
                if format::is_known(&schema.format) {
                    add(formatted(schema, text, at));
                }
            }
            Value::Number(n) => add(number(schema, n, at)),
            Value::Array(items) => add(self.list(schema, items, old, at)),
            _ => {}
        }
        add(options(schema, value, at));
        if let Value::Object(map) = value {
            add(self.object(schema, map, old, at));
        }
        found.matches += 1;
        found
    }

    /// `anyOf`, `oneOf`, `allOf`, `not`
    fn junctors(&self, schema: &Structural, value: &Value, at: &At<'_>) -> Found {
        let mut found = Found::default();
        let path = || at.path();
        if !schema.any_of.is_empty() {
            let (best, valid) = self.best(&schema.any_of, value, at, true);
            if valid == 0 {
                found.merge(unplaced(format!("\"{}\" must validate at least one schema (anyOf)", path())));
            }
            found.merge(best);
        }
        if !schema.one_of.is_empty() {
            let (best, valid) = self.best(&schema.one_of, value, at, false);
            if valid != 1 {
                let why = match valid {
                    0 => "Found none valid".to_owned(),
                    n => format!("Found {n} valid alternatives"),
                };
                let said = format!("\"{}\" must validate one and only one schema (oneOf). {why}", path());
                found.merge(unplaced(said));
            }
            if valid < 2 {
                found.merge(best);
            }
        }
        self.all_of(schema, value, at, &mut found);
        if let Some(not) = &schema.not
            && self.value(not, value, None, at).is_valid()
        {
            found.merge(unplaced(format!("\"{}\" must not validate the schema (not)", path())));
        }
        found.matches += 1;
        found
    }

    fn all_of(&self, schema: &Structural, value: &Value, at: &At<'_>, found: &mut Found) {
        let mut valid = 0;
        for one in &schema.all_of {
            let result = self.value(one, value, None, at);
            valid += usize::from(result.is_valid());
            found.merge(result);
        }
        if valid != schema.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            found.merge(unplaced(format!("\"{}\" must validate all the schemas (allOf){none}", at.path())));
        }
    }

    /// The first alternative that is valid, or else the one with most in its favour; and how many are valid.
    fn best(&self, of: &[Structural], value: &Value, at: &At<'_>, one_is_enough: bool) -> (Found, usize) {
        let (mut best, mut valid): (Option<Found>, usize) = (None, 0);
        for schema in of {
            let result = self.value(schema, value, None, at);
            if result.is_valid() {
                if valid == 0 {
                    best = Some(result);
                }
                valid += 1;
                if one_is_enough {
                    break;
                }
            } else if valid == 0 && best.as_ref().is_none_or(|b| result.matches > b.matches) {
                best = Some(result);
            }
        }
        (best.unwrap_or_default(), valid)
    }

    fn list(&self, schema: &Structural, items: &[Value], old: Option<&Value>, at: &At<'_>) -> Found {
        let mut found = Found::default();
        if let Some(of) = &schema.items {
            for (i, item) in items.iter().enumerate() {
                let before = old.and_then(|old| lists::counterpart(schema, item, old));
                found.merge(self.value(of, item, before, &At::Item(at, i)));
            }
        }
        let (limits, size) = (&schema.limits, items.len() as i64);
        if let Some(min) = limits.min_items.filter(|min| size < *min) {
            found.merge(invalid(at, size.to_string(), format_args!("should have at least {min} items")));
        }
        if let Some(max) = limits.max_items.filter(|max| size > *max) {
            found.merge(too_many(at, size, max));
        }
        if limits.has_unique_items && items.iter().enumerate().any(|(i, v)| items[..i].contains(v)) {
            found.merge(invalid(at, "\"\"".to_owned(), format_args!("shouldn't contain duplicates")));
        }
        found.matches += 1;
        found
    }

    fn object(
        &self,
        schema: &Structural,
        map: &Map<String, Value>,
        old: Option<&Value>,
        at: &At<'_>,
    ) -> Found {
        let (limits, size) = (&schema.limits, map.len() as i64);
        if let Some(min) = limits.min_properties.filter(|min| size < *min) {
            return invalid(at, size.to_string(), format_args!("should have at least {min} properties"));
        }
        if let Some(max) = limits.max_properties.filter(|max| size > *max) {
            return too_many(at, size, max);
        }
        let mut found = Found::default();
        let mut member = |of: &Structural, key: &str, value: &Value| {
            let before = old.and_then(|old| old.get(key));
            found.merge(self.value(of, value, before, &At::Member(at, key)));
        };
        if let Some(Additional::Schema(of)) = &schema.additional {
            map.iter()
                .filter(|(k, _)| !schema.properties.contains_key(*k))
                .for_each(|(k, v)| member(of, k, v));
        }
        if !schema.properties.is_empty() {
            in_order(&schema.properties, map).for_each(|(of, key, value)| member(of, key, value));
        }
        if matches!(schema.additional, Some(Additional::Allowed(false))) {
            for key in map.keys().filter(|k| !schema.properties.contains_key(*k)) {
                let said = format!("{}.{key} in body is a forbidden property", at.path());
                found.merge(Found::one(error(ErrorType::Invalid, at, go_quote(key), said)));
            }
        }
        for key in schema.required.iter().filter(|k| !map.contains_key(*k)) {
            let here = At::Member(at, key);
            found.merge(Found::one(error(ErrorType::Required, &here, String::new(), String::new())));
        }
        found
    }
}

/// The members that have a schema, by name.
fn in_order<'a>(
    properties: &'a BTreeMap<String, Structural>,
    map: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a Structural, &'a str, &'a Value)> {
    properties.iter().filter_map(|(key, schema)| Some((schema, key.as_str(), map.get(key)?)))
}

fn too_many(at: &At<'_>, size: i64, max: i64) -> Found {
    let said = format!("must have at most {max} items");
    Found::one(error(ErrorType::TooMany, at, size.to_string(), said))
}

/// The types that a schema takes, as messages name them.
fn types(schema: &Structural) -> &'static str {
    if schema.is_int_or_string { "integer,string" } else { schema.ty.name() }
}

fn null(schema: &Structural, at: &At<'_>) -> Found {
    let types = types(schema);
    if types.is_empty() || schema.is_nullable { Found::default() } else { wrong_type(at, types, "null") }
}

/// What a value is, as JSON and as a format.
fn kind_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
        Value::Number(n) if n.is_f64() => ("number", "float64"),
        Value::Number(_) => ("integer", "int64"),
    }
}

fn type_of(schema: &Structural, value: &Value, at: &At<'_>) -> Found {
    let good = Found { errors: Vec::new(), matches: 1 };
    let takes = |ty: &str| types(schema).split(',').any(|t| t == ty);
    let format = format::known(&schema.format);
    let (is, is_format) = kind_of(value);
    let is_whole = value.as_f64().is_some_and(|f| value.is_f64() && f.fract() == 0.0 && f.abs() < 9e15);
    let fits = takes(is) || is_whole && takes("integer") || is == "integer" && takes("number");
    let is_texts = matches!(value, Value::String(_) | Value::Array(_));
    if !is_texts && !format.is_empty() && !fits && format != is_format {
        return wrong_type(at, format, is_format);
    }
    if is_texts && !format.is_empty() && !takes("number") && !takes("integer") {
        return good;
    }
    if fits || types(schema).is_empty() { good } else { wrong_type(at, types(schema), is) }
}

fn text(schema: &Structural, text: &str, at: &At<'_>) -> Found {
    let limits = &schema.limits;
    let length = || text.chars().count() as i64;
    if let Some(max) = limits.max_length.filter(|max| text.len() as i64 > *max && length() > *max) {
        let said = format!("may not be more than {max} bytes");
        return Found::one(error(ErrorType::TooLong, at, String::new(), said));
    }
    if let Some(min) = limits.min_length.filter(|min| length() < *min) {
        return invalid(at, go_quote(text), format_args!("should be at least {min} chars long"));
    }
    match &limits.pattern {
        Some(pattern) if !pattern.compiled.as_ref().is_some_and(|p| p.is_match(text)) => {
            invalid(at, go_quote(text), format_args!("should match '{}'", pattern.text))
        }
        _ => Found::default(),
    }
}

fn formatted(schema: &Structural, text: &str, at: &At<'_>) -> Found {
    if format::check(&schema.format, text) { Found::default() } else { wrong_type(at, &schema.format, text) }
}

/// A number as Go prints it.
fn shown(n: &Number) -> String {
    match n.as_f64().filter(|_| n.is_f64()) {
        Some(f) => show_double(f),
        None => n.to_string(),
    }
}

fn number(schema: &Structural, n: &Number, at: &At<'_>) -> Found {
    let limits = &schema.limits;
    let mut found = Found::default();
    let value = n.as_f64().unwrap_or_default();
    // A whole number is compared with a whole one: what the limit has behind the point falls off.
    let limit = |f: f64| if n.is_f64() { f } else { f.trunc() };
    let bound = |f: f64| if n.is_f64() { show_double(f) } else { (f as i64).to_string() };
    if let Some(factor) = limits.multiple_of.filter(|f| !is_multiple(n, *f)) {
        found.merge(invalid(at, shown(n), format_args!("should be a multiple of {}", bound(factor))));
    }
    if let Some(min) = limits.minimum {
        let is_below = if limits.is_above_minimum { value <= limit(min) } else { value < limit(min) };
        if is_below {
            let or_equal = if limits.is_above_minimum { "" } else { " or equal to" };
            let said = format_args!("should be greater than{or_equal} {}", bound(min)).to_string();
            found.merge(invalid(at, shown(n), format_args!("{said}")));
        }
    }
    if let Some(max) = limits.maximum {
        let is_above = if limits.is_below_maximum { value >= limit(max) } else { value > limit(max) };
        if is_above {
            let or_equal = if limits.is_below_maximum { "" } else { " or equal to" };
            let said = format_args!("should be less than{or_equal} {}", bound(max)).to_string();
            found.merge(invalid(at, shown(n), format_args!("{said}")));
        }
    }
    found
}

fn is_multiple(n: &Number, factor: f64) -> bool {
    match n.as_i64() {
        Some(n) if factor.trunc() != 0.0 => n % (factor as i64) == 0,
        _ => {
            let value = n.as_f64().unwrap_or_default();
            let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
            (times - times.round()).abs() < f64::EPSILON * times.abs().max(1.0)
        }
    }
}

/// `enum`
fn options(schema: &Structural, value: &Value, at: &At<'_>) -> Found {
    let options = &schema.limits.options;
    let is_same = |option: &Value| match (option, value) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    };
    if options.is_empty() || options.iter().any(is_same) {
        return Found::default();
    }
    let mut said = "supported values: ".to_owned();
    for (i, option) in options.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let text = match option {
            Value::String(text) => text.clone(),
            other => String::from_utf8_lossy(&encode::compact(other)).into_owned(),
        };
        // Writing to a String cannot fail.
        let _ = write!(said, "{comma}{}", go_quote(&text));
    }
    let bad = match value {
        Value::Number(n) => shown(n),
        other => go_value(other),
    };
    Found::one(error(ErrorType::NotSupported, at, bad, said))
}

/// Whether nothing has changed, whatever the order of a list that is a map.
pub fn is_unchanged(schema: &Structural, new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Array(a), Value::Array(b)) if schema.list == Some(ListType::Map) => {
            let of = schema.items.as_deref();
            let same = |item: &Value| {
                lists::counterpart(schema, item, old)
                    .is_some_and(|before| of.map_or(item == before, |s| is_unchanged(s, item, before)))
            };
            a.len() == b.len() && a.iter().all(same)
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |(key, value): (&String, &Value)| {
                b.get(key).is_some_and(|before| match schema.member(key) {
                    Some(of) => is_unchanged(of, value, before),
                    None => value == before,
                })
            };
            a.len() == b.len() && a.iter().all(same)
        }
        _ => new == old,
    }
}
