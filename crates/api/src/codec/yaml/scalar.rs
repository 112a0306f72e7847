//! What an unquoted word means: YAML 1.1, as far as Go's parser has it.

use serde_json::{Number, Value};

/// A word's meaning. Strings that could be taken for a time are strings, but are written in quotes.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    Value(Value),
    Merge,
    /// Not a finite number, which JSON has no word for.
    NotFinite(f64),
    Time,
    Text,
}

pub(super) fn resolve(word: &str) -> Meaning {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Value(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Meaning::Value(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Meaning::Value(Value::Bool(false));
        }
        "<<" => return Meaning::Merge,
        ".nan" | ".NaN" | ".NAN" => return Meaning::NotFinite(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Meaning::NotFinite(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Meaning::NotFinite(f64::NEG_INFINITY),
        _ => {}
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Meaning::Text;
    }
    if is_time(word) {
        return Meaning::Time;
    }
    let digits = word.replace('_', "");
    if let Some(n) = integer(&digits) {
        return Meaning::Value(n);
    }
    if is_float(&digits)
        && let Some(n) = digits.parse().ok().and_then(Number::from_f64)
    {
        return Meaning::Value(Value::Number(n));
    }
    Meaning::Text
}

/// An integer as Go reads one with the base in its prefix: `12`, `0x1f`, `0b11`, `0o17`, `017`.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let size = u64::from_str_radix(digits, base).ok()?;
    if negative {
        let n = i64::try_from(-i128::from(size)).ok()?;
        return Some(Value::from(n));
    }
    Some(match i64::try_from(size) {
        Ok(n) => Value::from(n),
        Err(_) => Value::from(size),
    })
}

/// `[-+]? (. digits | digits [. digits]) [e [-+] digits]`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e.strip_prefix(['+', '-']).unwrap_or(e))),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|c| c.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty());
    mantissa_fits && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

/// Whether a word has the form of a date or time: `2006-01-02`, `2006-1-2T15:4:5Z`, `2006-01-02 15:04:05 +1`.
fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let (date, rest) = match word.find(['T', 't', ' ']) {
        Some(at) => (&word[..at], Some(word[at + 1..].trim_start())),
        None => (word, None),
    };
    let number = |s: &str| matches!(s.len(), 1 | 2) && s.bytes().all(|c| c.is_ascii_digit());
    let mut parts = date.splitn(3, '-').skip(1);
    let (month, day) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let in_range = |s: &str, max: u32| s.parse::<u32>().is_ok_and(|n| (1..=max).contains(&n));
    if !number(month) || !number(day) || !in_range(month, 12) || !in_range(day, 31) {
        return false;
    }
    let Some(rest) = rest else { return month.len() == 2 && day.len() == 2 };
    let mut clock = rest.splitn(3, ':');
    let (hour, minute) = (clock.next().unwrap_or(""), clock.next().unwrap_or(""));
    let second = clock.next().unwrap_or("");
    let second = second.split(['.', 'Z', '+', '-', ' ']).next().unwrap_or("");
    number(hour) && number(minute) && number(second)
}

/// Whether a word looks like a number of base 60 (`1:20`), which older parsers take it for.
pub(super) fn is_base_sixty(word: &str) -> bool {
    if !word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) || !word.contains(':') {
        return false;
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut groups = whole.split(':');
    let digits = |s: &str| s.bytes().all(|c| c.is_ascii_digit() || c == b'_');
    let sixty = |s: &str| matches!(s.len(), 1 | 2) && digits(s) && s.parse::<u8>().is_ok_and(|n| n < 60);
    let first = groups.next().unwrap_or("");
    first.starts_with(|c: char| c.is_ascii_digit()) && digits(first) && groups.all(sixty) && digits(part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_mean_what_they_mean_to_go() {
        for (word, want) in [
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("0644", json!(420)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("08", json!(8.0)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("~", json!(null)),
            ("0", json!(0)),
            ("0b11", json!(3)),
            ("18446744073709551615", json!(18446744073709551615u64)),
        ] {
            assert_eq!(resolve(word), Meaning::Value(want), "{word}");
        }
        for word in ["a", "1.2.3", "10.0.0.1", "1Gi", "100m", "-", "+", "1e", "e1", "v1", "0x", "."] {
            assert_eq!(resolve(word), Meaning::Text, "{word}");
        }
        for word in ["2006-01-02", "2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000000Z", "2006-1-2 15:04:05"]
        {
            assert_eq!(resolve(word), Meaning::Time, "{word}");
        }
        assert!(
            is_base_sixty("1:20")
                && is_base_sixty("190:20:30.15")
                && !is_base_sixty("1:70")
                && !is_base_sixty("a:1")
        );
    }
}
