//! Reads Kubernetes quantities as exact thousandths, for requests, limits and capacities.

/// A quantity in thousandths of its unit, rounded up; `None` when the text is no quantity.
pub(crate) fn milli(text: &str) -> Option<i128> {
    let split = text
        .char_indices()
        .find(|(index, c)| c.is_alphabetic() && !is_exponent(text, *index))
        .map_or(text.len(), |(index, _)| index);
    let (number, suffix) = text.split_at(split);
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], number[at + 1..].parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (digits, decimals) = parse_digits(mantissa)?;
    let (numerator, ten_power) = scale(suffix)?;
    // digits * 10^(-decimals) * numerator * 10^(ten_power + exponent) * 1000
    let power = ten_power + exponent + 3 - decimals;
    let value = digits.checked_mul(numerator)?;
    if power >= 0 {
        value.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)
    } else {
        let divisor = 10_i128.checked_pow(power.unsigned_abs())?;
        Some(value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0))
    }
}

/// A quantity in whole units, rounded up.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let milli = milli(text)?;
    i64::try_from(milli.div_euclid(1000) + i128::from(milli.rem_euclid(1000) != 0)).ok()
}

fn is_exponent(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes[at], b'e' | b'E')
        && bytes.get(at + 1).is_some_and(|c| c.is_ascii_digit() || matches!(c, b'+' | b'-'))
}

fn parse_digits(mantissa: &str) -> Option<(i128, i32)> {
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, i32::try_from(fraction.len()).ok()?))
}

fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        for (text, want) in [
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("1.5", Some(1500)),
            (".5", Some(500)),
            ("1u", Some(1)),
            ("64Mi", Some((64 << 20) * 1000)),
            ("1e3", Some(1_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("12E2", Some(1_200_000)),
            ("", None),
            ("1x", None),
        ] {
            assert_eq!(milli(text), want, "{text}");
        }
        assert_eq!(whole("1500m"), Some(2));
    }
}
