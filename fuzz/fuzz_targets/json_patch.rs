//! JSON patches: what comes of one passes a test for it, stays within the limits, and is what another library makes of it.

#![no_main]

use coracle_api::codec::json::MAX_DEPTH;
use coracle_api::patch::json;
use coracle_fuzz::{depth, object, parts, same, stretched};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let [document, patch] = parts(&data);
    let Some(document) = object(document) else { return };
    let Ok(decoded) = json::decode(patch) else { return };
    let mut ours = document.clone();
    let applied = json::apply(&mut ours, &decoded.patch);
    if applied.is_ok() {
        assert!(depth(&ours) <= MAX_DEPTH, "{}", depth(&ours));
        let most = data.len() + json::MAX_COPIED_BYTES;
        // Of what was read, a byte may become six, as it is escaped.
        assert!(ours.to_string().len() <= 6 * most);
        let test = json!([{"op": "test", "path": "", "value": ours}]).to_string();
        let test = json::decode(test.as_bytes()).expect("a patch");
        json::apply(&mut ours.clone(), &test.patch).expect("it is what it is");
    }
    let Some(mut other) = object(document_of(&data)) else { return };
    if is_plain(patch) && other_library(&mut other, patch) && depth(&other) <= MAX_DEPTH {
        applied.unwrap_or_else(|e| panic!("{e}, but the other library made {other}"));
        assert!(same(&ours, &other), "{ours} is {other}");
    }
});

fn document_of(data: &[u8]) -> &[u8] {
    let [document] = parts::<2>(data).first_chunk().copied().unwrap_or_default();
    document
}

/// Whether a patch says nothing that the reference has a reading of its own for: the root as a target, indexes that are
/// no plain numbers, tests of what is not there, copies.
fn is_plain(patch: &[u8]) -> bool {
    let Ok(Value::Array(operations)) = serde_json::from_slice::<Value>(patch) else { return false };
    operations.iter().all(|operation| {
        let text = |key: &str| operation[key].as_str().unwrap_or_default();
        let is_root = |key: &str| operation.get(key).is_some() && text(key).is_empty();
        text("op") != "copy" && !is_root("path") && !is_root("from")
    })
}

fn other_library(document: &mut Value, patch: &[u8]) -> bool {
    serde_json::from_slice::<json_patch::Patch>(patch)
        .is_ok_and(|patch| json_patch::patch(document, &patch).is_ok())
}
