//! `Time` and `MicroTime`: RFC 3339 as Go's `time.Parse` reads it, written in UTC.

use jiff::civil::Date;

/// A `Time`: whole seconds, whatever fraction was given.
pub(super) fn seconds(text: String) -> Result<String, String> {
    if is_canonical(text.as_bytes()) {
        return Ok(text);
    }
    Parser::new(&text, "2006-01-02T15:04:05Z07:00").read(Fraction::Optional).map(|t| t.seconds())
}

/// A `MicroTime`: six digits of fraction, which must have been given.
pub(super) fn micros(text: String) -> Result<String, String> {
    Parser::new(&text, "2006-01-02T15:04:05.000000Z07:00").read(Fraction::Micros).map(|t| t.micros())
}

/// `2006-01-02T15:04:05Z`, with a day that every month has.
fn is_canonical(text: &[u8]) -> bool {
    const PATTERN: &[u8; 20] = b"dddd-dd-ddTdd:dd:ddZ";
    let two = |at: usize| (text[at] - b'0') * 10 + (text[at + 1] - b'0');
    text.len() == PATTERN.len()
        && text.iter().zip(PATTERN).all(|(b, p)| if *p == b'd' { b.is_ascii_digit() } else { b == p })
        && (1..=12).contains(&two(5))
        && (1..=28).contains(&two(8))
        && two(11) < 24
        && two(14) < 60
        && two(17) < 60
}

#[derive(Clone, Copy, PartialEq)]
enum Fraction {
    Optional,
    Micros,
}

struct Instant {
    timestamp: jiff::Timestamp,
    micros: u32,
}

impl Instant {
    fn seconds(&self) -> String {
        self.timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn micros(&self) -> String {
        format!("{}.{:06}Z", self.timestamp.strftime("%Y-%m-%dT%H:%M:%S"), self.micros)
    }
}

struct Parser<'a> {
    whole: &'a str,
    layout: &'static str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, layout: &'static str) -> Parser<'a> {
        Parser { whole: text, layout, rest: text }
    }

    fn read(&mut self, fraction: Fraction) -> Result<Instant, String> {
        let year = self.digits(4, "2006")?;
        self.literal("-")?;
        let month = self.ranged("01", 1..=12, "month")?;
        self.literal("-")?;
        let day = self.digits(2, "02")?;
        self.literal("T")?;
        let hour = self.ranged("15", 0..=23, "hour")?;
        self.literal(":")?;
        let minute = self.ranged("04", 0..=59, "minute")?;
        self.literal(":")?;
        let second = self.ranged("05", 0..=59, "second")?;
        let micros = self.fraction(fraction)?;
        let offset = self.offset()?;
        if !self.rest.is_empty() {
            return Err(self.fail_with(format!("extra text: {}", crate::field::go_quote(self.rest))));
        }
        let date = Date::new(year as i16, month as i8, day as i8)
            .map_err(|_| self.fail_with("day out of range".to_owned()))?;
        let civil = date.at(hour as i8, minute as i8, second as i8, 0);
        let utc = civil.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp());
        let timestamp = utc
            .ok()
            .and_then(|t| t.checked_sub(jiff::SignedDuration::from_secs(offset)).ok())
            .ok_or_else(|| self.fail_with("year is not in the range [1, 9999]".to_owned()))?;
        Ok(Instant { timestamp, micros })
    }

    fn ranged(
        &mut self,
        element: &str,
        range: std::ops::RangeInclusive<u32>,
        name: &str,
    ) -> Result<u32, String> {
        let value = self.digits(2, element)?;
        if range.contains(&value) { Ok(value) } else { Err(self.fail_with(format!("{name} out of range"))) }
    }

    fn digits(&mut self, count: usize, element: &str) -> Result<u32, String> {
        let found = self.rest.get(..count).filter(|s| s.bytes().all(|b| b.is_ascii_digit()));
        let Some(value) = found.and_then(|s| s.parse().ok()) else { return Err(self.fail(element)) };
        self.rest = &self.rest[count..];
        Ok(value)
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(text).ok_or_else(|| self.fail(text))?;
        Ok(())
    }

    fn fraction(&mut self, fraction: Fraction) -> Result<u32, String> {
        let digits = self
            .rest
            .strip_prefix(['.', ','])
            .map_or(0, |after| after.bytes().take_while(u8::is_ascii_digit).count());
        if fraction == Fraction::Micros && digits != 6 {
            return Err(self.fail(".000000"));
        }
        if digits == 0 {
            return Ok(0);
        }
        let (text, rest) = self.rest[1..].split_at(digits);
        self.rest = rest;
        Ok(format!("{text:0<6}")[..6].parse().unwrap_or(0))
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let is_offset = bytes.len() >= 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|&i| bytes[i].is_ascii_digit());
        if !is_offset {
            return Err(self.fail("Z07:00"));
        }
        let two = |at: usize| i64::from(bytes[at] - b'0') * 10 + i64::from(bytes[at + 1] - b'0');
        let (hours, minutes) = (two(1), two(4));
        if hours > 24 || minutes > 59 {
            return Err(self.fail_with("time zone offset hour out of range".to_owned()));
        }
        let seconds = hours * 3600 + minutes * 60;
        self.rest = &self.rest[6..];
        Ok(if bytes[0] == b'-' { -seconds } else { seconds })
    }

    fn fail(&self, element: &str) -> String {
        format!(
            "parsing time {} as {:?}: cannot parse {} as {element:?}",
            crate::field::go_quote(self.whole),
            self.layout,
            crate::field::go_quote(self.rest)
        )
    }

    fn fail_with(&self, why: String) -> String {
        format!("parsing time {}: {why}", crate::field::go_quote(self.whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let cases = [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-31T03:04:05Z", "2026-01-31T03:04:05Z"),
            ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
            ("2026-01-01T00:30:00-01:00", "2026-01-01T01:30:00Z"),
        ];
        for (given, want) in cases {
            assert_eq!(seconds(given.to_owned()).as_deref(), Ok(want));
        }
        assert_eq!(micros("2026-01-02T03:04:05.120000+01:00".into()).unwrap(), "2026-01-02T02:04:05.120000Z");
    }

    #[test]
    fn refusals_use_gos_words() {
        let said = |t: &str| seconds(t.to_owned()).unwrap_err();
        assert_eq!(
            said("tomorrow"),
            r#"parsing time "tomorrow" as "2006-01-02T15:04:05Z07:00": cannot parse "tomorrow" as "2006""#
        );
        assert_eq!(
            said("2026-13-01T00:00:00Z"),
            r#"parsing time "2026-13-01T00:00:00Z": month out of range"#
        );
        assert_eq!(said("2026-02-30T00:00:00Z"), r#"parsing time "2026-02-30T00:00:00Z": day out of range"#);
        assert_eq!(said("2026-02-03T00:00:00Zx"), r#"parsing time "2026-02-03T00:00:00Zx": extra text: "x""#);
        assert!(said("2026-02-03T00:00:00").ends_with(r#"cannot parse "" as "Z07:00""#));
        assert!(
            micros("2026-01-02T03:04:05Z".into()).unwrap_err().ends_with(r#"cannot parse "Z" as ".000000""#)
        );
    }
}
