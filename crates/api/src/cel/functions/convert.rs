//! Conversions between types.

use super::{Result, Row, fail, no_overload, time};
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    ("dyn", &["(A) -> dyn"], |a| Ok(a.into_iter().next().unwrap_or(Val::Null))),
    ("bool", &["(bool) -> bool", "(string) -> bool"], |a| to_bool(&a[0])),
    ("bytes", &["(bytes) -> bytes", "(string) -> bytes"], |a| match &a[0] {
        Val::Bytes(b) => Ok(Val::Bytes(b.clone())),
        Val::String(s) => Ok(Val::Bytes(s.as_bytes().into())),
        _ => no_overload(),
    }),
    ("double", &["(double) -> double", "(int) -> double", "(string) -> double", "(uint) -> double"], |a| {
        to_double(&a[0])
    }),
    (
        "int",
        &[
            "(int) -> int",
            "(double) -> int",
            "(duration) -> int",
            "(string) -> int",
            "(timestamp) -> int",
            "(uint) -> int",
        ],
        |a| to_int(&a[0]),
    ),
    ("uint", &["(uint) -> uint", "(double) -> uint", "(int) -> uint", "(string) -> uint"], |a| {
        to_uint(&a[0])
    }),
    (
        "string",
        &[
            "(string) -> string",
            "(bool) -> string",
            "(bytes) -> string",
            "(double) -> string",
            "(duration) -> string",
            "(int) -> string",
            "(timestamp) -> string",
            "(uint) -> string",
            "(net.IP) -> string",
            "(net.CIDR) -> string",
        ],
        |a| to_string(a.into_iter().next().unwrap_or(Val::Null)),
    ),
    ("timestamp", &["(timestamp) -> timestamp", "(int) -> timestamp", "(string) -> timestamp"], |a| {
        to_timestamp(&a[0])
    }),
    ("duration", &["(duration) -> duration", "(int) -> duration", "(string) -> duration"], |a| {
        to_duration(&a[0])
    }),
];

const RANGE: &str = "range error converting";

fn wrong<'a>(from: &str, to: &str) -> Result<'a> {
    fail(format!("type conversion error from '{from}' to '{to}'"))
}

fn to_bool<'a>(of: &Val<'_>) -> Result<'a> {
    match of {
        Val::Bool(b) => Ok(Val::Bool(*b)),
        Val::String(s) => match &**s {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            other => wrong(other, "bool"),
        },
        _ => no_overload(),
    }
}

fn to_double<'a>(of: &Val<'_>) -> Result<'a> {
    match of {
        Val::Double(d) => Ok(Val::Double(*d)),
        Val::Int(n) => Ok(Val::Double(*n as f64)),
        Val::Uint(n) => Ok(Val::Double(*n as f64)),
        Val::String(s) => match s.parse() {
            Ok(d) => Ok(Val::Double(d)),
            Err(_) => {
                fail(format!("strconv.ParseFloat: parsing {}: invalid syntax", crate::field::go_quote(s)))
            }
        },
        _ => no_overload(),
    }
}

fn to_int<'a>(of: &Val<'_>) -> Result<'a> {
    match of {
        Val::Int(n) => Ok(Val::Int(*n)),
        Val::Uint(n) => i64::try_from(*n).map_or_else(|_| fail("integer overflow"), |n| Ok(Val::Int(n))),
        // The ends themselves are left out, since a double cannot tell them from what is past them.
        Val::Double(d) if *d > i64::MIN as f64 && *d < i64::MAX as f64 => Ok(Val::Int(*d as i64)),
        Val::Double(_) => fail("integer overflow"),
        Val::Duration(nanos) => Ok(Val::Int(*nanos)),
        Val::Timestamp(t) => Ok(Val::Int(t.as_second())),
        Val::String(s) => match s.parse() {
            Ok(n) => Ok(Val::Int(n)),
            Err(e) => fail(go_integer("ParseInt", s, &e)),
        },
        _ => no_overload(),
    }
}

fn to_uint<'a>(of: &Val<'_>) -> Result<'a> {
    match of {
        Val::Uint(n) => Ok(Val::Uint(*n)),
        Val::Int(n) => {
            u64::try_from(*n).map_or_else(|_| fail("unsigned integer overflow"), |n| Ok(Val::Uint(n)))
        }
        Val::Double(d) if *d >= 0.0 && *d < u64::MAX as f64 => Ok(Val::Uint(*d as u64)),
        Val::Double(_) => fail("unsigned integer overflow"),
        Val::String(s) => match s.parse() {
            Ok(n) => Ok(Val::Uint(n)),
            Err(e) => fail(go_integer("ParseUint", s, &e)),
        },
        _ => no_overload(),
    }
}

/// Go's words for a text that is no integer.
fn go_integer(function: &str, text: &str, why: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match why.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {}: {why}", crate::field::go_quote(text))
}

fn to_string(of: Val<'_>) -> Result<'_> {
    Ok(Val::text(match of {
        Val::String(s) => return Ok(Val::String(s)),
        Val::Bool(b) => b.to_string(),
        Val::Int(n) => n.to_string(),
        Val::Uint(n) => n.to_string(),
        Val::Double(d) => show_double(d),
        Val::Bytes(b) => match std::str::from_utf8(&b) {
            Ok(text) => text.to_owned(),
            Err(_) => return fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Val::Timestamp(t) => time::show_timestamp(t),
        Val::Duration(d) => time::show_duration(d),
        Val::Ip(ip) => ip.to_string(),
        Val::Cidr(cidr) => cidr.to_string(),
        _ => return no_overload(),
    }))
}

/// As Go's `%g` with the fewest digits.
pub(crate) fn show_double(d: f64) -> String {
    if d.is_nan() {
        return "NaN".to_owned();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let exponent = if d == 0.0 { 0 } else { d.abs().log10().floor() as i32 };
    if (-4..6).contains(&exponent) {
        return d.to_string();
    }
    let shown = format!("{d:e}");
    match shown.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => shown,
    }
}

fn to_timestamp<'a>(of: &Val<'_>) -> Result<'a> {
    match of {
        Val::Timestamp(t) => Ok(Val::Timestamp(*t)),
        Val::Int(seconds) => match jiff::Timestamp::from_second(*seconds) {
            Ok(t) => Ok(Val::Timestamp(t)),
            Err(_) => fail("timestamp overflow"),
        },
        Val::String(s) => match time::read_timestamp(s) {
            Some(t) => Ok(Val::Timestamp(t)),
            None => fail(format!("{RANGE} {} to timestamp", &**s)),
        },
        _ => no_overload(),
    }
}

fn to_duration<'a>(of: &Val<'_>) -> Result<'a> {
    match of {
        Val::Duration(d) => Ok(Val::Duration(*d)),
        Val::Int(nanos) => Ok(Val::Duration(*nanos)),
        Val::String(s) => match time::read_duration(s) {
            Some(d) => Ok(Val::Duration(d)),
            None => fail(format!("time: invalid duration {}", crate::field::go_quote(s))),
        },
        _ => no_overload(),
    }
}
