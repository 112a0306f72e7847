//! Formats of text that the reference checks; any other is no more than a hint.

use std::net::IpAddr;
use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;

use super::Structural;
use crate::names;

type Check = fn(&str) -> bool;

/// The formats without dashes, by which they are known, too.
const FORMATS: [(&str, Check); 26] = [
    ("bsonobjectid", |s| s.len() == 24 && s.bytes().all(|b| b.is_ascii_hexdigit())),
    ("uri", crate::cel::is_uri),
    ("email", is_email),
    ("hostname", is_host_name),
    ("ipv4", |s| matches!(address(s), Some(IpAddr::V4(_)))),
    ("ipv6", |s| matches!(address(s), Some(IpAddr::V6(_)))),
    ("cidr", is_cidr),
    ("mac", is_mac),
    ("uuid", |s| is_uuid(s, None, "")),
    ("uuid3", |s| is_uuid(s, Some('3'), "")),
    ("uuid4", |s| is_uuid(s, Some('4'), "89ab")),
    ("uuid5", |s| is_uuid(s, Some('5'), "89ab")),
    ("isbn", |s| is_isbn10(s) || is_isbn13(s)),
    ("isbn10", is_isbn10),
    ("isbn13", is_isbn13),
    ("creditcard", is_credit_card),
    ("ssn", |s| matches(&SSN, s)),
    ("hexcolor", |s| matches(&HEX_COLOR, s)),
    ("rgbcolor", |s| matches(&RGB_COLOR, s)),
    ("byte", |s| matches(&BASE64, s)),
    ("password", |_| true),
    ("date", |s| s.len() == 10 && s.parse::<Date>().is_ok()),
    ("duration", is_duration),
    ("datetime", is_date_time),
    ("k8sshortname", |s| names::dns1123_label(s).is_empty()),
    ("k8slongname", |s| names::dns1123_subdomain(s).is_empty()),
];

fn find(format: &str) -> Option<Check> {
    if format.is_empty() {
        return None;
    }
    let name = format.replace('-', "");
    FORMATS.iter().find(|(known, _)| *known == name).map(|(_, check)| *check)
}

pub(super) fn is_known(format: &str) -> bool {
    find(format).is_some()
}

/// Formats of numbers, which every client knows, though values are not held to them.
const NUMBERS: [&str; 4] = ["int32", "int64", "float", "double"];

/// Every format in a schema that means nothing to the server.
pub fn unrecognized(schema: &Structural) -> Vec<&str> {
    let mut out = Vec::new();
    collect(schema, &mut out);
    out
}

fn collect<'a>(schema: &'a Structural, out: &mut Vec<&'a str>) {
    let format = schema.format.as_str();
    if !format.is_empty() && !is_known(format) && !NUMBERS.contains(&format) {
        out.push(format);
    }
    let boxed = schema.items.iter().chain(&schema.not).map(|s| &**s);
    let junctors = schema.all_of.iter().chain(&schema.any_of).chain(&schema.one_of);
    let inner = boxed.chain(junctors).chain(schema.properties.values()).chain(schema.values());
    inner.for_each(|schema| collect(schema, out));
}

/// The format, or "" for one that nobody checks.
pub(super) fn known(format: &str) -> &str {
    if is_known(format) { format } else { "" }
}

pub(super) fn check(format: &str, text: &str) -> bool {
    find(format).is_none_or(|check| check(text))
}

type Lazy = LazyLock<Regex>;

fn matches(pattern: &Lazy, text: &str) -> bool {
    pattern.is_match(text)
}

macro_rules! patterns {
    ($($name:ident = $pattern:expr;)*) => {
        $(static $name: Lazy = LazyLock::new(|| Regex::new($pattern).expect("a tested pattern"));)*
    };
}

patterns! {
    SSN = r"^\d{3}[- ]?\d{2}[- ]?\d{4}$";
    HEX_COLOR = "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$";
    RGB_COLOR = concat!(
        r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,",
        r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
    );
    BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$";
    HOST = concat!(
        r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|",
        r"([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9\-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}",
        r"([a-zA-Z\p{L}]){2,63})$"
    );
    EMAIL = r#"^(?:[^<>@]*<)?[^\s<>@,;:\\"]+@[^\s<>@,;:\\"]+>?$"#;
    CARD = concat!(
        "^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|",
        r"3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
    );
    TIME = r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$";
    SPAN = r"^((\d+)\s*([A-Za-zµ]+)\s*)+$";
}

fn is_email(s: &str) -> bool {
    matches(&EMAIL, s)
}

/// Labels of 63 and 255 characters in all.
fn is_host_name(s: &str) -> bool {
    let total: usize = s.split('.').map(|label| label.len() + 1).sum();
    matches(&HOST, s) && total <= 255 && s.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Go's older reader of addresses takes leading zeros.
fn address(s: &str) -> Option<IpAddr> {
    s.parse().ok().or_else(|| {
        let parts: Vec<u8> = s.split('.').map(|p| p.parse().ok()).collect::<Option<_>>()?;
        <[u8; 4]>::try_from(parts).ok().map(IpAddr::from)
    })
}

fn is_cidr(s: &str) -> bool {
    s.split_once('/').is_some_and(|(ip, bits)| {
        let max = address(ip).map(|ip| if ip.is_ipv4() { 32 } else { 128 });
        let bits = bits.bytes().all(|b| b.is_ascii_digit()).then(|| bits.parse::<u8>().ok()).flatten();
        max.zip(bits).is_some_and(|(max, bits)| bits <= max)
    })
}

/// 6, 8 or 20 bytes, in pairs of digits or, with dots, in fours.
fn is_mac(s: &str) -> bool {
    let (by, width, counts): (_, _, &[usize]) = match s.as_bytes().get(2) {
        Some(b':') => (':', 2, &[6, 8, 20]),
        Some(b'-') => ('-', 2, &[6, 8, 20]),
        _ => ('.', 4, &[3, 4, 10]),
    };
    let parts: Vec<&str> = s.split(by).collect();
    let is_hex = |p: &&str| p.len() == width && p.bytes().all(|b| b.is_ascii_hexdigit());
    counts.contains(&parts.len()) && parts.iter().all(is_hex)
}

/// Thirty-two digits, with or without each of its dashes; `version` and `variant` stand at fixed places.
fn is_uuid(s: &str, version: Option<char>, variant: &str) -> bool {
    let mut digits = String::with_capacity(32);
    let mut rest = s;
    for (i, width) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((head, tail)) = rest.split_at_checked(width) else { return false };
        digits.push_str(head);
        rest = tail;
    }
    let digits = digits.to_lowercase();
    rest.is_empty()
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && version.is_none_or(|v| digits[12..].starts_with(v))
        && (variant.is_empty() || digits[16..].starts_with(|c| variant.contains(c)))
}

fn digits(s: &str) -> String {
    s.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(s: &str) -> bool {
    let s = digits(s);
    let worth = |(i, c): (usize, char)| match c {
        'X' if i == 9 => Some(100),
        c => c.to_digit(10).map(|d| (i as u32 + 1) * d),
    };
    s.len() == 10 && s.chars().enumerate().map(worth).sum::<Option<u32>>().is_some_and(|sum| sum % 11 == 0)
}

fn is_isbn13(s: &str) -> bool {
    let s = digits(s);
    let worth = |(i, c): (usize, char)| c.to_digit(10).map(|d| if i % 2 == 0 { d } else { 3 * d });
    s.len() == 13 && s.chars().enumerate().map(worth).sum::<Option<u32>>().is_some_and(|sum| sum % 10 == 0)
}

fn is_credit_card(s: &str) -> bool {
    let s: String = s.chars().filter(char::is_ascii_digit).collect();
    let luhn = |(i, c): (usize, char)| {
        let d = c.to_digit(10).unwrap_or_default() * if i % 2 == 0 { 1 } else { 2 };
        d / 10 + d % 10
    };
    matches(&CARD, &s) && s.chars().rev().enumerate().map(luhn).sum::<u32>() % 10 == 0
}

/// As Go writes it, or whole units by name: `3 days`.
fn is_duration(s: &str) -> bool {
    const UNITS: [&str; 32] = [
        "ns",
        "nano",
        "nanos",
        "nanosecond",
        "nanoseconds",
        "us",
        "µs",
        "micro",
        "micros",
        "microsecond",
        "microseconds",
        "ms",
        "milli",
        "millis",
        "millisecond",
        "milliseconds",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "m",
        "min",
        "mins",
        "minute",
        "minutes",
        "h",
        "hr",
        "hrs",
        "hour",
        "hours",
        "d",
    ];
    const LONG: [&str; 6] = ["day", "days", "w", "wk", "week", "weeks"];
    let is_unit = |unit: &str| UNITS.contains(&unit) || LONG.contains(&unit);
    let names = s.split(|c: char| c.is_ascii_digit() || c.is_whitespace()).filter(|w| !w.is_empty());
    crate::cel::is_duration(s) || matches(&SPAN, s) && names.map(str::to_lowercase).all(|unit| is_unit(&unit))
}

fn is_date_time(s: &str) -> bool {
    let lower = s.to_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    let Some(found) = TIME.captures(time) else { return false };
    check("date", date) && &found[1] <= "23" && &found[2] <= "59" && &found[3] <= "59"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_the_reference_takes() {
        for (format, good, bad) in [
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
            ("uri", "http://a.b/c", "a b"),
            ("email", "a@b.com", "a.b"),
            ("hostname", "a.example.com", "a..com"),
            ("ipv4", "10.0.0.01", "10.0.0"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "01:23:45:67:89:ab", "01:23"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("uuid4", "123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
            ("isbn10", "0-306-40615-2", "0-306-40615-3"),
            ("isbn13", "978-0-306-40615-7", "978-0-306-40615-8"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "123-45-6789", "12-345"),
            ("hexcolor", "#fff", "#ffff"),
            ("rgbcolor", "rgb(1, 2, 255)", "rgb(1, 2, 256)"),
            ("byte", "aGk=", "aGk"),
            ("date", "2026-01-31", "2026-13-01"),
            ("duration", "1h3m", "soon"),
            ("duration", "3 days", "3 lives"),
            ("date-time", "2026-01-31T10:00:00Z", "2026-01-31"),
            ("k8s-short-name", "a-b", "a.b"),
        ] {
            assert!(check(format, good), "{format} {good}");
            assert!(!check(format, bad), "{format} {bad}");
        }
        assert!(check("int32", "anything") && !is_known("int32") && is_known("date-time"));
    }
}
