//! YAML bodies: what is written is read as the same, be it from YAML or from JSON.

#![no_main]

use coracle_api::codec::{json, yaml};
use coracle_fuzz::{depth, same, stretched};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    if let Ok(document) = yaml::parse(&data) {
        check(&document.value);
        if let Ok(all) = yaml::parse_all(&data) {
            assert_eq!(all.first().map_or(&Value::Null, |first| &first.value), &document.value);
        }
    }
    if let Ok(parsed) = json::parse(&data) {
        check(&parsed.value);
    }
});

fn check(value: &Value) {
    assert!(depth(value) <= json::MAX_DEPTH);
    let written = yaml::encode(value);
    let again = yaml::parse(written.as_bytes()).unwrap_or_else(|e| panic!("{e} in {written}"));
    assert!(same(&again.value, value), "{value} is read as {} from {written}", again.value);
    assert!(again.strict_errors.is_empty(), "{:?} in {written}", again.strict_errors);
    // Once what is a number has found its type, nothing changes any more.
    let last = yaml::encode(&again.value);
    assert_eq!(yaml::parse(last.as_bytes()).map(|document| document.value).as_ref(), Ok(&again.value));
}
