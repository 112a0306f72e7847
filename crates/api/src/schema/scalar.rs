//! Values without parts: what Go's decoder takes for each type, and how it writes it again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use super::facts::Type;
use super::time;
use crate::quantity::Quantity;

/// Why a value is not taken.
pub(super) enum Wrong {
    /// It has another type: `number`, `number 1.5`, `string` …; the caller knows the field to blame.
    Type(String),
    /// The type's own decoder refuses it, in these words.
    Value(String),
}

pub(super) fn check(ty: &Type, value: Value) -> Result<Value, Wrong> {
    match (ty, value) {
        (Type::String, value @ Value::String(_)) => Ok(value),
        (Type::Bool, value @ Value::Bool(_)) => Ok(value),
        (Type::Int64, Value::Number(n)) => integer(n, i64::MIN, i64::MAX).map_err(Wrong::Type),
        (Type::Int32, Value::Number(n)) => int32(n).map_err(Wrong::Type),
        (Type::Float, value @ Value::Number(_)) => Ok(value),
        (Type::Bytes, Value::String(s)) => bytes(s),
        (Type::Time, Value::String(s)) => time::seconds(s).map(Value::String).map_err(Wrong::Value),
        (Type::MicroTime, Value::String(s)) => time::micros(s).map(Value::String).map_err(Wrong::Value),
        (Type::Quantity, value) => quantity(&value),
        (Type::IntOrString, value @ Value::String(_)) => Ok(value),
        (Type::IntOrString, Value::Number(n)) => int32(n).map_err(|said| own_decoder(&said, "int32")),
        (Type::IntOrString, value) => Err(own_decoder(word(&value), "int32")),
        (Type::Time | Type::MicroTime, value) => Err(own_decoder(word(&value), "string")),
        (_, value) => Err(Wrong::Type(word(&value).to_owned())),
    }
}

/// A type with a decoder of its own decodes without knowing in which field it is.
fn own_decoder(said: &str, ty: &str) -> Wrong {
    Wrong::Value(format!("json: cannot unmarshal {said} into Go value of type {ty}"))
}

/// What Go's decoder calls a value.
pub(super) fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn int32(n: Number) -> Result<Value, String> {
    integer(n, i32::MIN.into(), i32::MAX.into())
}

fn integer(n: Number, min: i64, max: i64) -> Result<Value, String> {
    match n.as_i64() {
        Some(i) if (min..=max).contains(&i) => Ok(Value::Number(n)),
        _ => Err(format!("number {n}")),
    }
}

fn bytes(text: String) -> Result<Value, Wrong> {
    if !text.contains(['\n', '\r']) && STANDARD.decode(&text).is_ok() {
        return Ok(Value::String(text));
    }
    // Go's decoder skips line breaks, and counts them when it says where the damage is.
    let bare: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    match STANDARD.decode(&bare) {
        Ok(_) => Ok(Value::String(bare)),
        Err(_) => Err(Wrong::Value(format!("illegal base64 data at input byte {}", damage(&text)))),
    }
}

/// Where Go's base64 decoder stops.
fn damage(text: &str) -> usize {
    let is_break = |b: u8| b == b'\n' || b == b'\r';
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let mut digits = 0;
    for (i, b) in text.bytes().enumerate() {
        if is_break(b) {
            continue;
        }
        if is_digit(b) {
            digits += 1;
            continue;
        }
        if b != b'=' || digits % 4 < 2 {
            return i;
        }
        return padding_damage(text, i, digits % 4);
    }
    // Input that ends inside of a group of four is blamed on the group's start.
    text.len() - digits % 4
}

/// `first` is the first `=`; `have` digits of its group stand before it.
fn padding_damage(text: &str, first: usize, have: usize) -> usize {
    let mut rest = text.bytes().enumerate().skip(first + 1).filter(|(_, b)| !matches!(b, b'\n' | b'\r'));
    if have == 2 {
        match rest.next() {
            Some((_, b'=')) => {}
            Some((i, _)) => return i,
            None => return text.len(),
        }
    }
    rest.next().map_or(first, |(i, _)| i)
}

fn quantity(value: &Value) -> Result<Value, Wrong> {
    let parsed = match value {
        Value::String(s) => Quantity::parse(s.trim()),
        other => Quantity::parse(&other.to_string()),
    };
    parsed.map(|q| Value::String(q.to_string())).map_err(|e| Wrong::Value(e.to_string()))
}
