//! Nothing is lost: every kind's objects through JSON, protobuf, YAML and the store, there and back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use coracle_api::Kind;
use coracle_api::catalog::Catalog;
use coracle_api::codec::{encode, json, protobuf, yaml};
use coracle_api::schema::{Schemas, Type};
use coracle_apiserver::meta_of;
use coracle_store::{Draft, Store, Txn};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use super::counted;
use super::objects::Maker;

/// Objects a kind, and in full.
const OBJECTS: (usize, usize) = (20, 1_000);
/// The most fields and items of one object.
const SIZE_MAX: usize = 150;

fn text(v: &Value) -> String {
    String::from_utf8(encode::compact(v)).unwrap()
}

/// YAML's keys are sorted.
fn sorted(v: &Value) -> String {
    let mut v = v.clone();
    v.sort_all_objects();
    text(&v)
}

/// Whether all that `made` says is said by `kept`; zero values may stand for nothing.
fn lost(made: &Value, kept: &Value, path: &str) -> Option<String> {
    match (made, kept) {
        (Value::Object(made), kept) => made
            .iter()
            .find_map(|(k, v)| lost(v, kept.get(k).unwrap_or(&Value::Null), &format!("{path}.{k}"))),
        (Value::Array(made), kept) => made
            .iter()
            .enumerate()
            .find_map(|(i, v)| lost(v, kept.get(i).unwrap_or(&Value::Null), &format!("{path}[{i}]"))),
        (Value::Null | Value::Bool(false), Value::Null) => None,
        (Value::String(s), Value::Null) if s.is_empty() => None,
        (Value::Number(n), Value::Null) if n.as_f64() == Some(0.0) => None,
        (made, kept) => (text(made) != text(kept)).then(|| format!("{path}: {made} became {kept}")),
    }
}

/// The object through every form there is, held against itself.
fn round_trip(schemas: &Schemas, kind: &Kind, made: &Value) -> Result<Value, TestCaseError> {
    let shape =
        |v: Value| schemas.shape(kind, v).map(|s| s.value).map_err(|e| TestCaseError::fail(e.to_string()));
    let shaped = schemas.shape(kind, made.clone()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(&shaped.unknown, &Vec::<String>::new());
    let object = shaped.value;
    prop_assert_eq!(lost(made, &object, ""), None);
    prop_assert_eq!(text(&shape(object.clone())?), text(&object), "shaping is idempotent");

    for written in [encode::compact(&object), encode::pretty(&object)] {
        let read = json::parse(&written).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(read.duplicates.is_empty());
        prop_assert_eq!(text(&shape(read.value)?), text(&object), "JSON");
    }

    let body = protobuf::encode(schemas, &object).expect("a built-in kind has messages");
    let read = protobuf::decode(schemas, &body, "").map_err(|e| TestCaseError::fail(e.to_string()))?;
    let read = shape(read)?;
    prop_assert_eq!(text(&read), text(&object), "protobuf");
    prop_assert!(protobuf::encode(schemas, &read) == Some(body), "a message is written in one way");

    let written = yaml::encode(&object);
    let read =
        yaml::parse(written.as_bytes()).map_err(|e| TestCaseError::fail(format!("{e} in {written}")))?;
    prop_assert_eq!(read.strict_errors, Vec::<String>::new());
    prop_assert_eq!(sorted(&shape(read.value)?), sorted(&object), "YAML {}", written);
    Ok(object)
}

/// What a store gives back of the objects that it was given, after it has been opened anew.
async fn through_the_store(kind: &Kind, objects: &[Value]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path().join("data"), meta_of(&Catalog::builtin()));
    let key = |n: usize| format!("/registry/{}/{n:06}", kind.storage);
    let store = open().await.unwrap();
    // All at once, so that they share their way to the disk.
    let commits = objects.iter().enumerate().map(|(n, object)| {
        let (head, tail) = encode::around_version(object);
        store.commit(Txn::create(key(n), Draft { head, tail, meta: Arc::default() }))
    });
    futures::future::try_join_all(commits).await.unwrap();
    store.close().await;
    let store = open().await.unwrap();
    let snapshot = store.snapshot();
    let read = (0..objects.len()).map(|n| {
        let version = snapshot.get(&key(n)).unwrap();
        let value = json::parse(&version.json).unwrap().value;
        assert_eq!(value["metadata"]["resourceVersion"], version.revision.to_string());
        value
    });
    let read = read.collect();
    store.close().await;
    read
}

/// The store says its own version, for which it gives metadata to an object that has none.
fn without_version(mut object: Value) -> String {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("resourceVersion");
        if metadata.is_empty() {
            object.as_object_mut().unwrap().shift_remove("metadata");
        }
    }
    text(&object)
}

/// Every field that a definition leads to.
fn reachable(schemas: &Schemas, definition: &str, seen: &mut BTreeSet<(String, String)>) {
    fn structs(ty: &Type) -> Option<usize> {
        match ty {
            Type::List(of) | Type::Map(of) => structs(of),
            Type::Struct(at) | Type::SchemaOr(at) => Some(*at),
            _ => None,
        }
    }
    let definition = schemas.definition(definition).unwrap();
    for field in definition.fields.iter().filter(|f| !f.path.is_empty()) {
        let is_new = seen.insert((definition.name.to_string(), field.name.to_string()));
        if let Some(at) = structs(&field.ty).filter(|_| is_new) {
            reachable(schemas, &schemas.at(at).full_name(), seen);
        }
    }
}

#[test]
fn every_kind_survives_json_protobuf_yaml_and_the_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let schemas = Schemas::builtin();
    let cases = counted(OBJECTS) as u32;
    let (mut seen, mut all, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    for kind in Catalog::builtin().kinds() {
        reachable(&schemas, &kind.schema, &mut all);
        let (kept, fields) = (RefCell::new(Vec::new()), RefCell::new(BTreeSet::new()));
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let done = TestRunner::new(config).run(&(any::<u64>(), 1..SIZE_MAX), |(seed, size)| {
            let mut maker = Maker::new(&schemas, seed, size);
            let made = maker.object(kind);
            kept.borrow_mut().push(round_trip(&schemas, kind, &made)?);
            fields.borrow_mut().append(&mut maker.seen);
            Ok(())
        });
        done.unwrap_or_else(|e| panic!("{kind:?}: {e}"));
        let kept = kept.into_inner();
        let read = runtime.block_on(through_the_store(kind, &kept));
        for (read, kept) in read.into_iter().zip(kept) {
            assert_eq!(without_version(read), without_version(kept), "{kind:?} in the store");
            count += 1;
        }
        seen.append(&mut fields.into_inner());
    }
    println!("{count} objects, {} of {} fields", seen.len(), all.len());
    if cases as usize == OBJECTS.1 {
        let missed: Vec<_> = all.difference(&seen).collect();
        assert!(missed.is_empty(), "fields that were never set: {missed:?}");
    }
}

/// Random objects may miss a field; this does not: each alone in an object of its definition.
#[test]
fn every_field_of_every_definition_has_a_place_in_its_message() {
    let schemas = Schemas::builtin();
    let (mut homeless, mut wrong, mut count) = (BTreeSet::new(), Vec::new(), 0);
    for definition in schemas.definitions() {
        let name = definition.full_name();
        for field in &definition.fields {
            let is_type_meta = matches!(&*field.name, "kind" | "apiVersion");
            if field.path.is_empty() {
                if !is_type_meta {
                    homeless.insert(definition.name.to_string());
                }
                continue;
            }
            for seed in 0..8 {
                let value = Maker::new(&schemas, seed, 3).field(field);
                let object = serde_json::json!({ &*field.name: value });
                let object = schemas.shape_as(&name, object).unwrap().value;
                let message = protobuf::message(&schemas, &name, &object).unwrap();
                let read = protobuf::decode(&schemas, &protobuf::body("", "", &message), &name).unwrap();
                let read = schemas.shape_as(&name, read).unwrap().value;
                if text(&read) != text(&object) {
                    wrong.push(format!("{name}.{}: {object} became {read}", field.name));
                }
                count += 1;
            }
        }
    }
    println!("{count} messages");
    assert!(wrong.is_empty(), "{} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    // The answer of /version has no message in the reference, either.
    assert_eq!(homeless.into_iter().collect::<Vec<_>>(), ["apimachinery.pkg.version.Info"]);
}
