//! JSON bodies: what is read is written so that it is read as the same, and another reader reads the same.

#![no_main]

use coracle_api::codec::{encode, json};
use coracle_fuzz::{depth, same, stretched, text};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// How deep the other reader goes.
const OTHER_DEPTH: usize = 127;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let ours = json::parse(&data);
    if let Ok(parsed) = &ours {
        check(&parsed.value);
    }
    let other = serde_json::from_slice::<Value>(&data);
    match (&ours, &other) {
        (Ok(ours), Ok(other)) => assert!(same(&ours.value, other), "{} is {other}", ours.value),
        (Err(why), Ok(other)) => panic!("{why}: {other}"),
        (Ok(ours), Err(why)) => {
            // Go takes half a surrogate pair and bytes that are no UTF-8 for U+FFFD.
            let is_lenient = text(&data).is_none_or(|text| text.contains("\\u"));
            assert!(is_lenient || depth(&ours.value) > OTHER_DEPTH, "{why}: {}", ours.value);
        }
        (Err(_), Err(_)) => {}
    }
});

fn check(value: &Value) {
    assert!(depth(value) <= json::MAX_DEPTH);
    let again = json::parse(&encode::pretty(value)).expect("what is written can be read");
    assert!(again.duplicates.is_empty());
    // A negative zero is read as an integer, which has none, in the reference, too. From then on nothing changes.
    assert!(same(&again.value, value), "{} was {value}", again.value);
    let compact = encode::compact(&again.value);
    assert_eq!(json::parse(&compact).map(|last| last.value).as_ref(), Ok(&again.value));
    assert_eq!(json::reread(&compact).as_ref(), Ok(&again.value));
}
