//! deletecollection: every object that a selector takes, one after the other.

use bytes::Bytes;
use coracle_api::Status;
use serde_json::{Map, Value, json};

use super::{Call, answer, decode_stored, delete, list};
use crate::options::ListOptions;
use crate::respond::{self, Answer};
use crate::server::Core;

pub(crate) async fn run(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = delete::read_options(call, &body)?;
    let selection = ListOptions::parse(&call.query)?;
    let page = list::page(core, call, &selection).await?;
    let mut items: Vec<Value> = Vec::with_capacity(page.items.len());
    for version in &page.items {
        let one = one(call, &version.key);
        match delete::object(core, &one, &options).await {
            Ok(_) => items.push(decode_stored(&call.kind, version)?),
            // Somebody else deleted it first.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let mut meta = Map::new();
    meta.insert("resourceVersion".into(), json!(page.revision.to_string()));
    Ok(respond::value(200, &answer::list_value(&call.kind, meta, items), call.format))
}

/// The same call for one object of the collection.
fn one(call: &Call, key: &str) -> Call {
    let mut parts = key.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let namespace = if call.kind.is_namespaced() { parts.next().unwrap_or_default() } else { "" };
    Call { namespace: namespace.to_owned(), ..call.clone_for(name) }
}
