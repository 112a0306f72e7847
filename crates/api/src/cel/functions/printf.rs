//! `"%s is %d".format([…])`.

use super::convert::show_double;
use super::{Result, Row, no_overload, time};
use crate::cel::error::EvalError;
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[("format", &["string.(list(dyn)) -> string"], format)];

/// Digits after the point where a clause does not say.
const PRECISION: usize = 6;

fn format(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::String(pattern), Val::List(values)] = &args[..] else { return no_overload() };
    let values: Vec<_> = values.iter().collect();
    written(pattern, &values).map(Val::text).map_err(EvalError::new)
}

fn written(pattern: &str, values: &[Val<'_>]) -> std::result::Result<String, String> {
    let (mut out, mut next) = (String::new(), 0);
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if characters.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut precision = None;
        if characters.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let parsed = digits.parse().map_err(|_| {
                "could not parse formatting clause: unable to parse precision: error while converting precision to integer"
                    .to_owned()
            });
            precision = Some(parsed?);
        }
        let clause = characters.next().ok_or("unexpected end of format string")?;
        let value = values.get(next).ok_or_else(|| format!("index {next} out of range"))?;
        next += 1;
        out.push_str(&one(clause, precision, value)?);
    }
    Ok(out)
}

fn one(clause: char, precision: Option<usize>, value: &Val<'_>) -> std::result::Result<String, String> {
    let digits = precision.unwrap_or(PRECISION);
    let only = |what: &str| {
        let given = value.ty();
        Err(format!("error during formatting: {what}, was given {}", given.value_name()))
    };
    match (clause, value) {
        ('s', value) => Ok(shown(value)),
        ('d', Val::Int(n)) => Ok(n.to_string()),
        ('d', Val::Uint(n)) => Ok(n.to_string()),
        ('d', Val::Double(d)) => Ok(show_double(*d)),
        ('d', _) => only("decimal clause can only be used on integers"),
        ('f', Val::Double(d)) => Ok(format!("{d:.digits$}")),
        ('f', Val::Int(n)) => Ok(format!("{:.digits$}", *n as f64)),
        ('f', Val::Uint(n)) => Ok(format!("{:.digits$}", *n as f64)),
        ('f', _) => only("fixed-point clause can only be used on doubles"),
        ('e', Val::Double(d)) => Ok(scientific(*d, digits)),
        ('e', Val::Int(n)) => Ok(scientific(*n as f64, digits)),
        ('e', Val::Uint(n)) => Ok(scientific(*n as f64, digits)),
        ('e', _) => only("scientific clause can only be used on doubles"),
        ('b', Val::Int(n)) => Ok(signed(*n, format!("{:b}", n.unsigned_abs()))),
        ('b', Val::Uint(n)) => Ok(format!("{n:b}")),
        ('b', Val::Bool(b)) => Ok(u8::from(*b).to_string()),
        ('b', _) => only("only integers and bools can be formatted as binary"),
        ('o', Val::Int(n)) => Ok(signed(*n, format!("{:o}", n.unsigned_abs()))),
        ('o', Val::Uint(n)) => Ok(format!("{n:o}")),
        ('o', _) => only("octal clause can only be used on integers"),
        ('x' | 'X', value) => {
            let hex = match value {
                Val::Int(n) => signed(*n, format!("{:x}", n.unsigned_abs())),
                Val::Uint(n) => format!("{n:x}"),
                Val::String(s) => s.bytes().map(|b| format!("{b:02x}")).collect(),
                Val::Bytes(b) => b.iter().map(|b| format!("{b:02x}")).collect(),
                _ => return only("only integers, byte buffers, and strings can be formatted as hex"),
            };
            Ok(if clause == 'X' { hex.to_uppercase() } else { hex })
        }
        (other, _) => {
            Err(format!("could not parse formatting clause: unrecognized formatting clause \"{other}\""))
        }
    }
}

fn signed(n: i64, digits: String) -> String {
    if n < 0 { format!("-{digits}") } else { digits }
}

fn scientific(d: f64, digits: usize) -> String {
    let shown = format!("{d:.digits$e}");
    match shown.split_once('e') {
        Some((number, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{number}e{sign}{exponent:0>2}")
        }
        None => shown,
    }
}

/// A value as `%s` shows it.
pub(super) fn shown(value: &Val<'_>) -> String {
    match value {
        Val::Null => "null".to_owned(),
        Val::Bool(b) => b.to_string(),
        Val::Int(n) => n.to_string(),
        Val::Uint(n) => n.to_string(),
        Val::Double(d) => show_double(*d),
        Val::String(s) => s.to_string(),
        Val::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        Val::Timestamp(t) => time::show_timestamp(*t),
        Val::Duration(d) => time::show_duration(*d),
        Val::Type(ty) => ty.value_name().to_owned(),
        Val::List(list) => {
            let items: Vec<_> = list.iter().map(|v| shown(&v)).collect();
            format!("[{}]", items.join(", "))
        }
        Val::Map(map) => {
            let mut entries: Vec<_> = map
                .entries()
                .iter()
                .map(|(k, v)| (shown(k), format!("{}: {}", shown(k), shown(v))))
                .collect();
            entries.sort();
            let entries: Vec<_> = entries.into_iter().map(|(_, shown)| shown).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.ty().value_name().to_owned(),
    }
}
