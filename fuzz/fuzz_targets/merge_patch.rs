//! Merge patches: the laws of RFC 7386.

#![no_main]

use coracle_api::patch::merge;
use coracle_fuzz::{object, parts, same, stretched};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let [document, patch] = parts(&data);
    let Some(Value::Object(document)) = object(document) else { return };
    let Ok(patch) = merge::decode(patch).map(|decoded| decoded.patch) else { return };
    let mut once = document.clone();
    merge::apply(&mut once, &patch);
    let mut twice = once.clone();
    merge::apply(&mut twice, &patch);
    assert_eq!(twice, once, "a patch that was applied changes nothing");
    let mut untouched = document.clone();
    merge::apply(&mut untouched, &Map::new());
    assert_eq!(untouched, document, "an empty patch changes nothing");
    // The reference takes nulls out of objects in lists, too, where the RFC takes lists as they are.
    if !patch.values().any(|value| has_nulls_in_lists(value, false)) {
        let mut other = Value::Object(document);
        json_patch::merge(&mut other, &Value::Object(patch));
        assert!(same(&Value::Object(once), &other), "{other}");
    }
});

fn has_nulls_in_lists(value: &Value, in_list: bool) -> bool {
    match value {
        Value::Null => in_list,
        Value::Array(items) => items.iter().any(|item| has_nulls_in_lists(item, true)),
        Value::Object(map) => map.values().any(|value| has_nulls_in_lists(value, in_list)),
        _ => false,
    }
}
