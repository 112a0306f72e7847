//! Objects of every built-in kind on their way to the store, and what the store reads back of them.

#![no_main]

use coracle_api::Kind;
use coracle_api::catalog::Catalog;
use coracle_api::codec::{encode, json, yaml};
use coracle_apiserver::meta_of;
use coracle_fuzz::{life, stretched};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let read = json::parse(&data).map(|parsed| parsed.value);
    let Some(object) = read.ok().or_else(|| Some(yaml::parse(&data).ok()?.value)) else { return };
    let said = |key: &str| object[key].as_str().unwrap_or_default();
    let catalog = Catalog::builtin();
    let Some(kind) = catalog.by_api_version(said("apiVersion"), said("kind")) else { return };
    let Some(born) = life::born(&kind, object) else { return };
    if life::complaints(&kind, &born).is_empty() {
        life::replaces_itself(&kind, &born);
    }
    is_selected_as_stored(&catalog, &kind, &born);
});

fn is_selected_as_stored(catalog: &Catalog, kind: &Kind, object: &Value) {
    if kind.is_view {
        let mut served = object.clone();
        kind.rules.to_stored(&mut served);
        kind.rules.to_served(&mut served);
        return;
    }
    let key = format!("/registry/{}/name", kind.storage);
    let meta = meta_of(catalog)(&key, &encode::compact(object));
    for path in kind.rules.selectable() {
        assert_eq!(meta.field(path), Some(kind.rules.field(object, path).as_str()), "{path} of {object}");
    }
    let labels: Vec<(&str, &str)> = coracle_api::object::labels(object).collect();
    assert_eq!(meta.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), labels);
    assert_eq!(meta.uid, coracle_api::object::uid(object));
}
