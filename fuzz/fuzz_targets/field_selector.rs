//! Field selectors: what is printed is read as the same.

#![no_main]

use coracle_api::selector::FieldSelector;
use coracle_fuzz::{stretched, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let Some(Ok(selector)) = text(&data).map(FieldSelector::parse) else { return };
    let printed = selector.to_string();
    let again = FieldSelector::parse(&printed).unwrap_or_else(|e| panic!("{e:?}: {printed}"));
    let sorted = |selector: &FieldSelector| {
        let mut terms = selector.terms.clone();
        terms.sort();
        terms
    };
    assert_eq!(sorted(&again), sorted(&selector), "{printed}");
    // What every term demands, an object has that the selector takes.
    let demanded = |path: &str| selector.required(path).unwrap_or_default().to_owned();
    let agrees = selector.terms.iter().all(|t| (demanded(&t.path) == t.value) == t.equal);
    assert_eq!(selector.matches(demanded), agrees);
});
