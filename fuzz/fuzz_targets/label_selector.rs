//! Label selectors: what is printed is read as the same, and selects what its terms say.

#![no_main]

use coracle_api::selector::{LabelSelector, Operator, Requirement};
use coracle_fuzz::{parts, stretched, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let [selector, labels] = parts(&data);
    let (Some(selector), Some(labels)) = (text(selector), text(labels)) else { return };
    let Ok(selector) = LabelSelector::parse(selector) else { return };
    let labels: Vec<(String, String)> = labels
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let holds = selector.requirements().iter().all(|r| agrees(r, &labels));
    assert_eq!(selector.matches(&labels), holds);
    // A set of nothing but the empty value prints as an empty set, which is none, in the reference, too.
    let is_blank = |r: &Requirement| matches!(r.operator, Operator::In | Operator::NotIn) && r.values == [""];
    if selector.requirements().iter().any(is_blank) {
        return;
    }
    let printed = selector.to_string();
    let again = LabelSelector::parse(&printed).unwrap_or_else(|e| panic!("{e:?}: {printed}"));
    assert_eq!(again, selector, "{printed}");
    assert_eq!(again.to_string(), printed);
});

/// Whether a term holds, by its definition.
fn agrees(r: &Requirement, labels: &[(String, String)]) -> bool {
    let value = labels.iter().find(|(key, _)| *key == r.key).map(|(_, value)| value);
    let listed = value.is_some_and(|value| r.values.contains(value));
    let number = value.and_then(|value| value.parse::<i64>().ok());
    let bound = r.values.first().and_then(|value| value.parse::<i64>().ok());
    match r.operator {
        Operator::Equals | Operator::DoubleEquals | Operator::In => listed,
        Operator::NotEquals | Operator::NotIn => !listed,
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::GreaterThan => number.is_some() && number > bound,
        Operator::LessThan => number.is_some() && number < bound,
    }
}
