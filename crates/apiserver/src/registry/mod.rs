//! The only create, get, list, watch, update, patch and delete there are: one verb a file, the same for every kind.
//!
//! Every verb takes a [`Call`], and a call can only be made with a [`Permit`].

pub(crate) mod answer;
pub(crate) mod apply;
pub mod continuation;
pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod deletecollection;
pub(crate) mod forms;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod list_body;
pub(crate) mod patch;
pub(crate) mod scale;
pub(crate) mod select;
mod skim;
pub(crate) mod update;
pub(crate) mod versions;
pub(crate) mod watch;
pub(crate) mod write;

use std::sync::{Arc, Mutex, PoisonError};

use coracle_api::path::Query;
use coracle_api::rules::{Cx, Write};
use coracle_api::schema::Schemas;
use coracle_api::{Kind, Status, Subresource, User, codec};
use coracle_auth::Permit;
use coracle_store::Version;
use serde_json::Value;

use crate::negotiate::Format;
use crate::server::Core;

/// One authorised request for one resource.
#[derive(Debug)]
pub(crate) struct Call {
    pub permit: Permit,
    pub kind: Arc<Kind>,
    pub namespace: String,
    pub name: String,
    pub sub: Option<Subresource>,
    pub query: Query,
    pub format: Format,
    pub content_type: String,
    pub user_agent: String,
    /// What the client is told besides the answer.
    pub warnings: Mutex<Vec<String>>,
}

impl Call {
    pub(crate) fn user(&self) -> &Arc<User> {
        self.permit.user()
    }

    pub(crate) fn warn(&self, words: impl Into<String>) {
        let words = words.into();
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&words) {
            warnings.push(words);
        }
    }

    /// The same call for another object.
    pub(crate) fn clone_for(&self, name: &str) -> Call {
        Call {
            permit: self.permit.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            sub: self.sub,
            query: self.query.clone(),
            format: self.format,
            content_type: self.content_type.clone(),
            user_agent: self.user_agent.clone(),
            warnings: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> String {
        key(&self.kind, &self.namespace, &self.name)
    }

    /// Everything of this kind, in the call's namespace or in all of them.
    pub(crate) fn prefix(&self) -> String {
        prefix(&self.kind, &self.namespace)
    }

    pub(crate) fn write(&self) -> Write {
        match self.sub {
            None | Some(Subresource::Scale) => Write::Main,
            Some(Subresource::Status) => Write::Status,
            Some(sub) => Write::Sub(sub),
        }
    }

    pub(crate) fn cx(&self, core: &Core) -> Cx {
        Cx { now: core.clock.now_rfc3339(), user: User::clone(self.user()) }
    }

    pub(crate) fn not_found(&self) -> Status {
        Status::not_found(self.kind.resource(), &self.name)
    }
}

pub(crate) fn prefix(kind: &Kind, namespace: &str) -> String {
    if kind.is_namespaced() && !namespace.is_empty() {
        format!("/registry/{}/{namespace}/", kind.storage)
    } else {
        format!("/registry/{}/", kind.storage)
    }
}

pub(crate) fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    if kind.is_namespaced() {
        format!("/registry/{}/{namespace}/{name}", kind.storage)
    } else {
        format!("/registry/{}/{name}", kind.storage)
    }
}

/// An object as a verb leaves it.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Stored(Arc<Version>),
    /// Of a dry run, or of a kind that is not kept.
    Unstored(Value),
}

impl Outcome {
    /// The object in the version of `kind`.
    pub(crate) fn value(&self, kind: &Kind) -> Result<Value, Status> {
        match self {
            Outcome::Stored(v) => decode_stored(kind, v),
            Outcome::Unstored(v) => Ok(v.clone()),
        }
    }
}

/// A stored object as this row serves it.
pub(crate) fn decode_stored(kind: &Kind, version: &Version) -> Result<Value, Status> {
    decode_json(kind, &version.json)
}

pub(crate) fn decode_json(kind: &Kind, json: &[u8]) -> Result<Value, Status> {
    let mut v = codec::json::reread(json)
        .map_err(|e| Status::internal(format!("a stored {} is no JSON: {e}", kind.kind)))?;
    if kind.is_view {
        v = served(kind, v)?;
    }
    Ok(v)
}

/// From the form in which an object is kept to the one of a row that is another view of it.
pub(crate) fn served(kind: &Kind, mut stored: Value) -> Result<Value, Status> {
    kind.rules.to_served(&mut stored);
    let shaped = Schemas::builtin().shape(kind, stored);
    shaped.map(|s| s.value).map_err(|e| Status::internal(e.to_string()))
}
