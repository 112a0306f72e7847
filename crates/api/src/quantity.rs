//! Amounts such as `100m`, `1.5Gi` or `2e3`: parsed, compared, and written in canonical form as the reference does.

use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::ops::{Add, Sub};
use std::str::FromStr;

/// An amount, exact to a billionth. Comparison looks at the amount alone, not at how it is written.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// How an amount was written, and is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `k M G …`, and `m u n` for parts
    DecimalSi,
    /// `Ki Mi Gi …`
    BinarySi,
    /// `e3`
    DecimalExponent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// Billionths in one unit: the finest step.
const NANO: i128 = 1_000_000_000;
/// Greater amounts are taken for this one, as the reference does.
const MOST: i128 = i64::MAX as i128 * NANO;
/// So many zeros make every number either too small to count or greater than [`MOST`].
const FAR: i64 = 60;
const LETTERS: &str = "eEinumkKMGTP";
const DECIMAL: [(&str, i64); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    pub const ZERO: Quantity = Quantity { nano: 0, format: Format::DecimalSi };

    pub fn parse(text: &str) -> Result<Quantity, Error> {
        let (number, suffix) = split(text)?;
        let (factor, exponent, format) = read_suffix(suffix)?;
        let nano = scale(number, factor, exponent)?;
        // Less than one of a binary unit is written in decimal parts.
        let is_part = format == Format::BinarySi && (1..NANO).contains(&nano);
        Ok(Quantity { nano, format: if is_part { Format::DecimalSi } else { format } })
    }

    pub fn from_int(value: i64) -> Quantity {
        Quantity { nano: i128::from(value) * NANO, format: Format::DecimalSi }
    }

    pub fn from_milli(milli: i64) -> Quantity {
        Quantity { nano: i128::from(milli) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// The amount in billionths.
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// The amount in whole units, rounded up.
    pub fn value(self) -> i64 {
        round_up(self.nano, NANO)
    }

    /// The next whole amount.
    #[must_use]
    pub fn rounded_up(self) -> Quantity {
        let whole = self.nano.div_euclid(NANO) + i128::from(self.nano.rem_euclid(NANO) != 0);
        Quantity { nano: whole.saturating_mul(NANO), ..self }
    }

    /// The amount in thousandths, rounded up.
    pub fn milli_value(self) -> i64 {
        round_up(self.nano, NANO / 1000)
    }

    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    fn write_binary(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut steps) = (self.nano / NANO, 0);
        while number % 1024 == 0 && steps < BINARY.len() {
            number /= 1024;
            steps += 1;
        }
        let suffix = steps.checked_sub(1).map_or("", |at| BINARY[at].0);
        write!(f, "{number}{suffix}")
    }

    fn write_decimal(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut exponent) = (self.nano, -9);
        while number % 1000 == 0 && exponent < 18 {
            number /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(suffix, _)| suffix);
        write!(f, "{number}{suffix}")
    }
}

fn round_up(nano: i128, unit: i128) -> i64 {
    let up = nano.div_euclid(unit) + i128::from(nano.rem_euclid(unit) != 0);
    i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
}

/// The signed number, and what follows it: letters, a sign, digits.
fn split(text: &str) -> Result<(&str, &str), Error> {
    let signed = usize::from(text.starts_with(['+', '-']));
    let rest = &text[signed..];
    let whole = digits(rest);
    let fraction = rest[whole..].strip_prefix('.').map_or(0, |after| 1 + digits(after));
    let (number, suffix) = text.split_at(signed + whole + fraction);
    let after_letters = suffix.trim_start_matches(|c| LETTERS.contains(c));
    let after_sign = after_letters.strip_prefix(['+', '-']).unwrap_or(after_letters);
    if text.is_empty() || digits(after_sign) != after_sign.len() {
        return Err(Error::Format);
    }
    Ok((number, suffix))
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// What a suffix multiplies by: a factor, times a power of ten.
fn read_suffix(suffix: &str) -> Result<(i128, i64, Format), Error> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((1, *exponent, Format::DecimalSi));
    }
    if let Some((_, power)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((1 << power, 0, Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(Error::Suffix)?;
    let exponent: i64 = exponent.parse().map_err(|_| Error::Suffix)?;
    Ok((1, exponent, Format::DecimalExponent))
}

/// The number times its suffix, in billionths; smaller parts count as a whole one.
fn scale(number: &str, factor: i128, exponent: i64) -> Result<i128, Error> {
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() {
        return Err(Error::Number);
    }
    let digit = |b: &u8| i128::from(b - b'0');
    let unit = factor * NANO;
    // Where the point is once the exponent has moved it: before, within or behind the digits.
    let point = exponent.saturating_add(whole.len() as i64);
    let (before, behind) = digits.as_bytes().split_at(point.clamp(0, digits.len() as i64) as usize);
    let zeros = (point.saturating_sub(digits.len() as i64)).clamp(0, FAR) as u32;
    let ones = before.iter().fold(0i128, |n, b| n.saturating_mul(10).saturating_add(digit(b)));
    let ones = ones.saturating_mul(10i128.saturating_pow(zeros)).saturating_mul(unit);
    // From the last digit on, so that what is cut off on the way changes nothing but whether the part is inexact.
    let (mut part, mut is_inexact) = (0, false);
    let leading = std::iter::repeat_n(0, point.saturating_neg().clamp(0, FAR) as usize);
    for digit in behind.iter().rev().map(digit).chain(leading) {
        let sum = digit * unit + part;
        (part, is_inexact) = (sum / 10, is_inexact || sum % 10 != 0);
    }
    Ok(sign * ones.saturating_add(part + i128::from(is_inexact)).min(MOST))
}

impl Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let is_binary = self.format == Format::BinarySi
            && self.nano % NANO == 0
            && self.nano.unsigned_abs() >= 1024 * NANO.unsigned_abs();
        if is_binary { self.write_binary(f) } else { self.write_decimal(f) }
    }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Quantity, Error> {
        Quantity::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Add for Quantity {
    type Output = Quantity;

    /// A sum is written as its first part was; a zero takes over the form of the other.
    fn add(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nano: self.nano.saturating_add(other.nano), format }
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nano: self.nano.saturating_sub(other.nano), format }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_forms() {
        let cases = [
            ("0", "0"),
            ("0Mi", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("100000", "100k"),
            ("1200", "1200"),
            ("1000k", "1M"),
            ("+3", "3"),
            ("-2", "-2"),
            ("-1024", "-1024"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1Ki", "1Ki"),
            ("0.5Gi", "512Mi"),
            ("1.5Ki", "1536"),
            ("0.5Ki", "512"),
            ("128Mi", "128Mi"),
            ("1e3", "1e3"),
            ("1000e-3", "1"),
            ("5e-3", "5e-3"),
            ("12E", "9223372036854775807"),
            ("1E2", "100"),
            ("0.1n", "1n"),
            ("1.0000000001", "1000000001n"),
            ("0.0001Ki", "102400u"),
            ("007", "7"),
            ("9E99", "9223372036854775807"),
            ("1.0000000000000000000000000000000000000000000000000", "1"),
            ("0.5000000000000000000000000000000000000000000000000Ki", "512"),
            ("1.0000000000000000000000000000000000000000000000001", "1000000001n"),
            ("0.00000000000000000000000000000000000000000000000000000000000000001e65", "1"),
            ("100000000000000000000000000000000000000000000000000000000000000000e-65", "1"),
            ("-8.123456789Ei", "-9223372036854775807"),
        ];
        for (given, want) in cases {
            assert_eq!(Quantity::parse(given).unwrap().to_string(), want, "{given}");
        }
    }

    #[test]
    fn what_is_no_quantity() {
        let cases = [
            ("", Error::Format),
            ("lots", Error::Format),
            ("1 Gi", Error::Format),
            ("1Zi", Error::Format),
            ("1.2.3", Error::Format),
            ("1KM", Error::Suffix),
            ("1e", Error::Suffix),
            ("1K", Error::Suffix),
            (".", Error::Number),
            ("k", Error::Number),
            ("-", Error::Number),
        ];
        for (given, want) in cases {
            assert_eq!(Quantity::parse(given).unwrap_err(), want, "{given}");
        }
    }

    #[test]
    fn amounts_round_up_and_add() {
        let q = |t: &str| Quantity::parse(t).unwrap();
        assert_eq!((q("1500m").value(), q("1.5m").milli_value(), q("-1500m").value()), (2, 2, -1));
        assert_eq!((q("1Gi") + q("512Mi")).to_string(), "1536Mi");
        assert_eq!((Quantity::ZERO + q("1Gi")).to_string(), "1Gi");
        assert_eq!((q("1") - q("250m")).to_string(), "750m");
        assert!(q("1Ki") > q("1k") && q("1") == q("1000m"));
    }

    proptest! {
        #[test]
        fn canonical_is_final(text in "[+-]?[0-9]{1,6}(\\.[0-9]{1,4})?(n|u|m||k|M|G|Ki|Mi|Gi|e3|e-3)") {
            let once = Quantity::parse(&text).unwrap();
            let twice = Quantity::parse(&once.to_string()).unwrap();
            prop_assert_eq!(once, twice);
            prop_assert_eq!(once.to_string(), twice.to_string());
        }
    }
}
