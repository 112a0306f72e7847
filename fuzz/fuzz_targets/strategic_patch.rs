//! Strategic merge patches of Pods: without directives, one that was applied changes nothing more.

#![no_main]

use coracle_api::patch::{PatchError, strategic};
use coracle_api::schema::Schemas;
use coracle_fuzz::{object, parts, stretched};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const POD: &str = "io.k8s.api.core.v1.Pod";

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let [document, patch] = parts(&data);
    let Some(document) = object(document) else { return };
    let Ok(patch) = strategic::decode(patch).map(|decoded| decoded.patch) else { return };
    let mut untouched = document.clone();
    apply(&mut untouched, Map::new()).expect("an empty patch fits anything");
    assert_eq!(untouched, document);
    let mut once = document;
    if apply(&mut once, patch.clone()).is_err() {
        return;
    }
    if !patch.iter().any(|(key, value)| has_directive(key, value)) {
        let mut twice = once.clone();
        match apply(&mut twice, patch) {
            Ok(()) => assert_eq!(twice, once),
            // A list that was not there is taken as it stands; one that is there is merged, and then its items need their keys.
            Err(PatchError::Internal(_)) => {}
            Err(why) => panic!("{why}: {once}"),
        }
    }
});

fn apply(document: &mut Value, patch: Map<String, Value>) -> Result<(), PatchError> {
    let schemas = Schemas::builtin();
    let facts = schemas.named(POD).expect("Pods have a definition");
    strategic::apply(facts, document, patch)
}

fn has_directive(key: &str, value: &Value) -> bool {
    key.starts_with('$')
        || match value {
            Value::Array(items) => items.iter().any(|item| has_directive("", item)),
            Value::Object(map) => map.iter().any(|(key, value)| has_directive(key, value)),
            _ => false,
        }
}
