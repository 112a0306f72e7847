//! Objects of every kind on their way to the store: shaping and defaulting are final, no rule fails on what has its
//! type, an object may replace itself, and what the store reads back selects what was stored.

#![no_main]

use coracle_api::catalog::Catalog;
use coracle_api::codec::{encode, json, yaml};
use coracle_api::field::Errors;
use coracle_api::print::{Now, duration};
use coracle_api::rules::{Cx, Write};
use coracle_api::schema::Schemas;
use coracle_api::{Kind, User, meta, table};
use coracle_apiserver::meta_of;
use coracle_fuzz::stretched;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: i64 = 1_800_000_000;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let read = json::parse(&data).map(|parsed| parsed.value);
    let Some(object) = read.ok().or_else(|| Some(yaml::parse(&data).ok()?.value)) else { return };
    let said = |key: &str| object[key].as_str().unwrap_or_default();
    let catalog = Catalog::builtin();
    let Some(kind) = catalog.by_api_version(said("apiVersion"), said("kind")) else { return };
    let Ok(shaped) = Schemas::builtin().shape(&kind, object) else { return };
    assert_eq!(shape(&kind, shaped.value.clone()), shaped.value);
    let object = defaulted(&kind, shaped.value);
    assert_eq!(defaulted(&kind, object.clone()), object, "defaulting is final");
    let cx = Cx { now: "2027-01-15T08:00:00Z".to_owned(), user: User::anonymous() };
    let mut born = object.clone();
    kind.rules.prepare_create(&cx, &mut born);
    let born = defaulted(&kind, shape(&kind, born));
    let mut errs = Errors::default();
    meta::validate(&kind, &born, &mut errs);
    kind.rules.validate(&born, &mut errs);
    kind.rules.warnings(&born, None);
    if errs.is_empty() {
        replaces_itself(&kind, &cx, &born);
    }
    for seen in [&object, &born] {
        is_shown(&kind, seen);
    }
    is_selected_as_stored(&catalog, &kind, &born);
});

fn shape(kind: &Kind, object: Value) -> Value {
    let shaped = Schemas::builtin().shape(kind, object).expect("what has its type keeps it");
    assert_eq!(shaped.unknown, Vec::<String>::new());
    shaped.value
}

fn defaulted(kind: &Kind, mut object: Value) -> Value {
    kind.rules.default(&mut object);
    shape(kind, object)
}

fn replaces_itself(kind: &Kind, cx: &Cx, old: &Value) {
    let mut new = old.clone();
    kind.rules.prepare_update(cx, &mut new, old, Write::Main);
    let new = defaulted(kind, shape(kind, new));
    let mut errs = Errors::default();
    kind.rules.validate(&new, &mut errs);
    kind.rules.validate_update(&new, old, Write::Main, &mut errs);
    kind.rules.warnings(&new, Some(old));
    assert!(errs.is_empty(), "{old}: {:?}", errs.0.iter().map(ToString::to_string).collect::<Vec<_>>());
}

/// A row that was written before its time shows what one shows that is written in time.
fn is_shown(kind: &Kind, object: &Value) {
    let in_time = table::row_text(kind, object, Now::At(NOW));
    let open = String::from_utf8(table::row_text(kind, object, Now::Open)).expect("JSON is text");
    // Who writes the mark of an open age into a text may have that text cut up.
    if String::from_utf8_lossy(&in_time).contains(duration::MARK) {
        return;
    }
    let mut closed = Vec::new();
    duration::close(&open, NOW, &mut closed);
    assert_eq!(String::from_utf8(closed), String::from_utf8(in_time));
}

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
