//! Quantities: the canonical form is final, and zeros that say nothing change nothing.

#![no_main]

use coracle_api::quantity::Quantity;
use coracle_fuzz::{stretched, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let Some(text) = text(&data) else { return };
    let Ok(quantity) = Quantity::parse(text) else { return };
    let printed = quantity.to_string();
    let again = Quantity::parse(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    assert_eq!((again.nano(), again.to_string()), (quantity.nano(), printed), "{text}");
    for padded in padded(text) {
        let same = Quantity::parse(&padded).map(Quantity::nano);
        assert_eq!(same, Ok(quantity.nano()), "{text} is {padded}");
    }
    let (value, milli) = (i128::from(quantity.value()), i128::from(quantity.milli_value()));
    let fits = milli < i128::from(i64::MAX) && milli > i128::from(i64::MIN);
    assert!(value * 1_000_000_000 >= quantity.nano());
    assert!(!fits || milli * 1_000_000 >= quantity.nano() && (milli - 1) * 1_000_000 < quantity.nano());
    let zero = quantity - again;
    assert!(zero.is_zero() && (zero + quantity) == quantity);
});

/// The same amount with zeros in front, and behind its fraction.
fn padded(text: &str) -> Vec<String> {
    const ZEROS: &str = "0000000000000000000000000000000000000000000000";
    let sign = usize::from(text.starts_with(['+', '-']));
    let (sign, rest) = text.split_at(sign);
    let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(number);
    let mut padded = vec![format!("{sign}{ZEROS}{number}{suffix}")];
    if number.contains('.') {
        padded.push(format!("{sign}{number}{ZEROS}{suffix}"));
    }
    padded
}
