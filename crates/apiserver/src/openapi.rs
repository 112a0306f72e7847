//! /openapi: the schemas as documents, made when somebody first asks and kept until the catalog changes.

mod prose;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coracle_api::catalog::Catalog;
use coracle_api::openapi::{self, OpenApi};
use coracle_api::schema::Schemas;
use coracle_api::{Status, codec};
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::paths::VERSION;
use crate::respond::{self, Answer};
use crate::server::Core;

/// Under which the v2 document is kept as protobuf; no path has a space.
const V2_PROTOBUF: &str = "v2 protobuf";

/// The documents that have been made, by path below `/openapi/`.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<HashMap<String, Arc<Document>>>);

impl Documents {
    /// The documents that stay as they are when what is served of `group` changes: those of other groups' versions.
    pub(crate) fn without(&self, group: &str) -> Documents {
        let stays = |path: &str| {
            let of = path.strip_prefix("v3/apis/").and_then(|rest| rest.split_once('/'));
            path.starts_with("v3/api/") || of.is_some_and(|(of, _)| of != group)
        };
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = made.iter().filter(|(path, _)| stays(path)).map(|(p, d)| (p.clone(), d.clone()));
        Documents(Mutex::new(kept.collect()))
    }
}

#[derive(Debug)]
struct Document {
    bytes: Bytes,
    media_type: &'static str,
    tag: HeaderValue,
}

pub(crate) async fn answer(core: &Arc<Core>, request: &Parts, rest: &[&str]) -> Result<Answer, Status> {
    let mut path = rest.join("/");
    if path == "v2" && wants_protobuf(request) {
        path = V2_PROTOBUF.to_owned();
    }
    let Some(document) = document(core, path).await? else { return Ok(respond::page_not_found()) };
    let known = request.headers.get(IF_NONE_MATCH).is_some_and(|tag| *tag == document.tag);
    let mut answer = respond::whole(200, document.media_type, Body::Whole(document.bytes.clone()));
    if known {
        *answer.body_mut() = Body::empty();
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    answer.headers_mut().insert(ETAG, document.tag.clone());
    answer.headers_mut().insert(VARY, HeaderValue::from(ACCEPT));
    // A client that asks by hash gets the same bytes for ever.
    let cache = if request.uri.query().is_some_and(|q| q.contains("hash=")) {
        "public, immutable"
    } else {
        "no-cache, private"
    };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(answer)
}

/// kubectl asks for nothing else; who names JSON, too, gets that.
fn wants_protobuf(request: &Parts) -> bool {
    let accepted = request.headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let mut media =
        accepted.flat_map(|v| v.split(',')).map(|m| m.split(';').next().unwrap_or_default().trim());
    media.next().is_some_and(|first| [openapi::PROTOBUF, openapi::OLD_PROTOBUF].contains(&first))
}

async fn document(core: &Arc<Core>, path: String) -> Result<Option<Arc<Document>>, Status> {
    // Both of one moment: what is written of a catalog is kept with it.
    let (catalog, documents) = core.definitions.served();
    let made = documents.0.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
    if made.is_some() {
        return Ok(made);
    }
    // A document is megabytes of JSON: it is made where it holds up no other request.
    let schemas = core.schemas.clone();
    let made = tokio::task::spawn_blocking(move || {
        let made = Arc::new(write(&catalog, &schemas, &path)?);
        documents.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path, made.clone());
        Some(made)
    });
    made.await.map_err(|e| Status::internal(e.to_string()))
}

fn write(catalog: &Catalog, schemas: &Schemas, path: &str) -> Option<Document> {
    let documents = OpenApi { catalog, schemas, prose: &prose::Comments::read(), version: VERSION };
    let value = match path.split_once('/') {
        None if path == "v2" || path == V2_PROTOBUF => documents.swagger(),
        None if path == "v3" => documents.index(),
        Some(("v3", rest)) => documents.document(rest)?,
        _ => return None,
    };
    let (bytes, media_type): (Bytes, _) = if path == V2_PROTOBUF {
        (openapi::to_protobuf(&value).into(), openapi::PROTOBUF)
    } else {
        (codec::encode::compact(&value).into(), "application/json")
    };
    let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02X}")).collect();
    let tag = HeaderValue::from_str(&format!("\"{digest}\"")).ok()?;
    Some(Document { bytes, media_type, tag })
}
