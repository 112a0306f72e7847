//! Protobuf bodies: an object that was read is written as a message that is read as the same object.

#![no_main]

use coracle_api::catalog::Catalog;
use coracle_api::codec::{encode, protobuf};
use coracle_api::schema::Schemas;
use coracle_fuzz::stretched;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MAGIC: &[u8] = b"k8s\0";

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let body = if data.starts_with(MAGIC) { data.to_vec() } else { [MAGIC, &data].concat() };
    let schemas = Schemas::builtin();
    let Ok(object) = protobuf::decode(&schemas, &body, "") else { return };
    let said = |key: &str| object[key].as_str().unwrap_or_default();
    let Some(kind) = Catalog::builtin().by_api_version(said("apiVersion"), said("kind")) else { return };
    let shape = |object: Value| schemas.shape(&kind, object);
    // A message holds times and numbers that the object's type refuses.
    let Ok(shaped) = shape(object) else { return };
    assert_eq!(shaped.unknown, Vec::<String>::new());
    let written = protobuf::encode(&schemas, &shaped.value).expect("a built-in kind has messages");
    let read = protobuf::decode(&schemas, &written, "").expect("what is written can be read");
    let again = shape(read).expect("and is of its type").value;
    assert_eq!(text(&again), text(&shaped.value));
    assert_eq!(protobuf::encode(&schemas, &again), Some(written));
});

fn text(object: &Value) -> String {
    String::from_utf8(encode::compact(object)).expect("JSON is text")
}
