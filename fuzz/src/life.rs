//! An object's way to the store, as far as it needs no server: shaping and defaulting are final, no rule fails on what
//! has its type, and what is valid may replace itself.

use coracle_api::field::Errors;
use coracle_api::print::{Now, duration};
use coracle_api::rules::{Cx, Write};
use coracle_api::schema::Schemas;
use coracle_api::{Kind, User, meta, table};
use serde_json::Value;

const NOW: i64 = 1_800_000_000;

/// The object as it is born, if it has its type.
pub fn born(kind: &Kind, object: Value) -> Option<Value> {
    let shaped = Schemas::builtin().shape(kind, object).ok()?;
    assert_eq!(shape(kind, shaped.value.clone()), shaped.value);
    let object = defaulted(kind, shaped.value);
    assert_eq!(defaulted(kind, object.clone()), object, "defaulting is final");
    is_shown(kind, &object);
    let mut born = object;
    kind.rules.prepare_create(&cx(), &mut born);
    let born = defaulted(kind, shape(kind, born));
    is_shown(kind, &born);
    Some(born)
}

/// What is wrong with an object that was born.
pub fn complaints(kind: &Kind, born: &Value) -> Errors {
    let mut errs = Errors::default();
    meta::validate(kind, born, &mut errs);
    kind.rules.validate(born, &mut errs);
    kind.rules.warnings(born, None);
    errs
}

fn cx() -> Cx {
    Cx { now: "2027-01-15T08:00:00Z".to_owned(), user: User::anonymous() }
}

fn shape(kind: &Kind, object: Value) -> Value {
    let shaped = Schemas::builtin().shape(kind, object).expect("what has its type keeps it");
    assert_eq!(shaped.unknown, Vec::<String>::new());
    shaped.value
}

fn defaulted(kind: &Kind, mut object: Value) -> Value {
    kind.rules.default(&mut object);
    shape(kind, object)
}

/// A valid object replaces itself.
pub fn replaces_itself(kind: &Kind, old: &Value) {
    let mut new = old.clone();
    kind.rules.prepare_update(&cx(), &mut new, old, Write::Main);
    let new = defaulted(kind, shape(kind, new));
    let mut errs = Errors::default();
    kind.rules.validate_change(&new, old, Write::Main, &mut errs);
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
