//! Times and lengths of time: read, written and taken apart as Go does.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::{Result, Row, fail, no_overload};
use crate::cel::value::Val;

const PART: &[&str] = &["timestamp.() -> int", "timestamp.(string) -> int"];
const PART_OR_LENGTH: &[&str] = &["timestamp.() -> int", "timestamp.(string) -> int", "duration.() -> int"];

pub(super) const ROWS: &[Row] = &[
    ("getFullYear", PART, |a| part(&a, |t| i64::from(t.year()))),
    ("getMonth", PART, |a| part(&a, |t| i64::from(t.month()) - 1)),
    ("getDayOfYear", PART, |a| part(&a, |t| i64::from(t.day_of_year()) - 1)),
    ("getDayOfMonth", PART, |a| part(&a, |t| i64::from(t.day()) - 1)),
    ("getDate", PART, |a| part(&a, |t| i64::from(t.day()))),
    ("getDayOfWeek", PART, |a| part(&a, |t| i64::from(t.weekday().to_sunday_zero_offset()))),
    ("getHours", PART_OR_LENGTH, |a| part_or_length(&a, |t| i64::from(t.hour()), |d| d / (3600 * SECOND))),
    ("getMinutes", PART_OR_LENGTH, |a| part_or_length(&a, |t| i64::from(t.minute()), |d| d / (60 * SECOND))),
    ("getSeconds", PART_OR_LENGTH, |a| part_or_length(&a, |t| i64::from(t.second()), |d| d / SECOND)),
    ("getMilliseconds", PART_OR_LENGTH, |a| {
        part_or_length(&a, |t| i64::from(t.millisecond()), |d| d / 1_000_000)
    }),
];

const SECOND: i64 = 1_000_000_000;

fn part<'a>(args: &[Val<'_>], of: fn(&jiff::Zoned) -> i64) -> Result<'a> {
    match args {
        [Val::Timestamp(t)] => Ok(Val::Int(of(&t.to_zoned(TimeZone::UTC)))),
        [Val::Timestamp(t), Val::String(zone)] => match read_zone(zone) {
            Some(zone) => Ok(Val::Int(of(&t.to_zoned(zone)))),
            None => fail(format!("unknown time zone {}", &**zone)),
        },
        _ => no_overload(),
    }
}

fn part_or_length<'a>(args: &[Val<'_>], of: fn(&jiff::Zoned) -> i64, whole: fn(i64) -> i64) -> Result<'a> {
    match args {
        [Val::Duration(d)] => Ok(Val::Int(whole(*d))),
        _ => part(args, of),
    }
}

/// `UTC`, `+02:00`, `-8:30`: zones by name are a matter of the machine, which nothing here may ask.
fn read_zone(text: &str) -> Option<TimeZone> {
    if matches!(text, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
    Some(TimeZone::fixed(offset))
}

pub(super) fn moved<'a>(t: Timestamp, nanos: i64) -> Result<'a> {
    match t.checked_add(jiff::SignedDuration::from_nanos(nanos)) {
        Ok(t) => Ok(Val::Timestamp(t)),
        Err(_) => fail("timestamp overflow"),
    }
}

/// RFC 3339.
pub(crate) fn read_timestamp(text: &str) -> Option<Timestamp> {
    let looks = text.len() >= 20 && text.as_bytes()[10].eq_ignore_ascii_case(&b't') && text.is_ascii();
    if looks { text.parse().ok() } else { None }
}

pub(crate) fn show_timestamp(t: Timestamp) -> String {
    t.to_string()
}

/// `1h30m`, `-1.5s`, `0`: as Go's `time.ParseDuration`.
pub(crate) fn read_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        total = total.checked_add(length(number, unit)?)?;
        rest = next;
    }
    i64::try_from(if is_negative { -total } else { total }).ok()
}

fn length(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // No unit has more than thirteen digits below its point.
    let fraction = &fraction[..fraction.len().min(15)];
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<i128>().ok()? * unit / 10_i128.pow(fraction.len() as u32)
    };
    whole.checked_mul(unit)?.checked_add(part)
}

/// `1.5s`: whole and parts of seconds, as CEL writes a duration.
pub(crate) fn show_duration(nanos: i64) -> String {
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (whole, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if part == 0 {
        return format!("{sign}{whole}s");
    }
    let part = format!("{part:09}");
    format!("{sign}{whole}.{}s", part.trim_end_matches('0'))
}
