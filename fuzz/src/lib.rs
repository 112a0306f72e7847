//! What the fuzz targets share: long inputs out of short ones, inputs of several parts, and what it means that two JSON
//! values are the same.

pub mod life;

use std::borrow::Cow;

use serde_json::Value;

/// The longest input. What takes quadratic time shows at this length, against the limit of seconds that `./dev fuzz` sets.
pub const INPUT_MAX: usize = 64 * 1024;

/// Begins an input that is longer than it looks, and stands between its parts. No UTF-8 text has this byte.
const STRETCH: u8 = 0xff;
/// Stands between the parts of an input that has several: ASCII's own record separator.
const SEPARATOR: u8 = 0x1e;

/// `FF head FF unit FF tail` means the unit again and again, as often as [`INPUT_MAX`] takes it; anything else means
/// itself. A fuzzer that changes a few bytes at a time does not find what a long repetition costs.
pub fn stretched(data: &[u8]) -> Cow<'_, [u8]> {
    let mut parts = data.split(|b| *b == STRETCH);
    let (Some([]), Some(head), Some(unit), tail) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Cow::Borrowed(data);
    };
    let tail = tail.unwrap_or_default();
    let room = INPUT_MAX.saturating_sub(head.len() + tail.len());
    let mut long = head.to_vec();
    long.extend(std::iter::repeat_n(unit, room.checked_div(unit.len()).unwrap_or(0)).flatten());
    long.extend_from_slice(tail);
    Cow::Owned(long)
}

/// The first `N` parts of an input; those that are not there are empty.
pub fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |b| *b == SEPARATOR);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// All parts of an input.
pub fn records(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|b| *b == SEPARATOR)
}

/// As text, if it is any.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Whether two values say the same. Numbers are compared as JSON has them, which knows no types: 1 is 1.0.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// How deep lists and objects are in each other.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The object that a part of an input says as JSON.
pub fn object(part: &[u8]) -> Option<Value> {
    coracle_api::codec::json::parse(part).ok().map(|parsed| parsed.value).filter(Value::is_object)
}
