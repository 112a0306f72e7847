//! What is served, as OpenAPI: the v3 index and one v3 document a group and version, and the v2 document of all.
//!
//! Everything is made from the catalog and the schemas; prose comes from whoever has some ([`Prose`]).

mod custom;
mod definitions;
mod gnostic;
mod operations;
mod parameters;
mod paths;

pub use self::gnostic::{MEDIA_TYPE as PROTOBUF, OLD_MEDIA_TYPE as OLD_PROTOBUF, encode as to_protobuf};

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::catalog::Catalog;
use crate::discovery::version_path;
use crate::schema::Schemas;

/// Descriptions of definitions and their fields, for `kubectl explain`.
pub trait Prose: Send + Sync {
    /// The description of `io.k8s.api.core.v1.Pod`.
    fn definition(&self, name: &str) -> Option<&str>;

    /// The description of a field of it.
    fn field(&self, definition: &str, field: &str) -> Option<&str>;
}

/// A line about each kind, in our own words, and nothing about fields.
#[derive(Debug)]
pub struct Brief(HashMap<&'static str, &'static str>);

impl Brief {
    pub fn new() -> Brief {
        Brief(include_str!("../data/descriptions.txt").lines().filter_map(|l| l.split_once('\t')).collect())
    }
}

impl Default for Brief {
    fn default() -> Brief {
        Brief::new()
    }
}

impl Prose for Brief {
    fn definition(&self, name: &str) -> Option<&str> {
        self.0.get(name.rsplit('.').next()?).copied()
    }

    fn field(&self, _definition: &str, _field: &str) -> Option<&str> {
        None
    }
}

/// What the documents are made of.
#[derive(Clone, Copy)]
pub struct OpenApi<'a> {
    pub catalog: &'a Catalog,
    pub schemas: &'a Schemas,
    pub prose: &'a dyn Prose,
    /// The server's version: `v1.36.0`.
    pub version: &'a str,
}

/// The two forms in which OpenAPI says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edition {
    V2,
    V3,
}

impl Edition {
    fn reference(self, definition: &str) -> Value {
        match self {
            Edition::V2 => json!({"$ref": format!("#/definitions/{definition}")}),
            Edition::V3 => json!({"$ref": format!("#/components/schemas/{definition}")}),
        }
    }
}

impl OpenApi<'_> {
    /// `/openapi/v3`: the documents, each with a hash by which clients cache it.
    pub fn index(&self) -> Value {
        let paths: Map<String, Value> = self
            .document_paths()
            .into_iter()
            .map(|path| {
                let url = format!("/openapi/v3/{path}?hash={}", self.hash(&path));
                (path, json!({"serverRelativeURL": url}))
            })
            .collect();
        json!({"paths": paths})
    }

    /// `/openapi/v3/<path>`; none where there is no such document.
    pub fn document(&self, path: &str) -> Option<Value> {
        if !self.document_paths().iter().any(|p| p == path) {
            return None;
        }
        let mut needed = definitions::Needed::new(self.schemas);
        let paths = match self.version_at(path) {
            Some((group, version)) => {
                let kinds = self.catalog.in_version(group, version);
                kinds.iter().for_each(|k| needed.add_kind(k));
                paths::of_version(self, Edition::V3, group, version)
            }
            None => paths::of_discovery(Edition::V3, path),
        };
        paths.values().for_each(|v| needed.add_references(v));
        Some(json!({
            "openapi": "3.0.0",
            "info": self.info(),
            "paths": paths,
            "components": {
                "schemas": needed.write(self, Edition::V3),
                "securitySchemes": {"BearerToken": security_scheme()},
            },
        }))
    }

    /// `/openapi/v2`
    pub fn swagger(&self) -> Value {
        let mut needed = definitions::Needed::new(self.schemas);
        let mut paths = Map::new();
        for path in self.document_paths() {
            paths.extend(match self.version_at(&path) {
                Some((group, version)) => paths::of_version(self, Edition::V2, group, version),
                None => paths::of_discovery(Edition::V2, &path),
            });
        }
        self.catalog.kinds().for_each(|k| needed.add_kind(k));
        paths.values().for_each(|v| needed.add_references(v));
        paths.sort_keys();
        json!({
            "swagger": "2.0",
            "info": self.info(),
            "paths": paths,
            "definitions": needed.write(self, Edition::V2),
            "securityDefinitions": {"BearerToken": security_scheme()},
            "security": [{"BearerToken": []}],
        })
    }

    fn info(&self) -> Value {
        json!({"title": "Kubernetes", "version": self.version})
    }

    /// Every document's path, sorted: `api`, `api/v1`, `apis`, `apis/apps`, `apis/apps/v1`, …
    fn document_paths(&self) -> Vec<String> {
        let paths = crate::discovery::paths(self.catalog);
        let is_documented = |path: &&String| {
            let group = path.strip_prefix("/apis/").filter(|group| !group.contains('/'));
            !group.is_some_and(|group| self.is_custom(group, None))
        };
        let mut out: Vec<String> = paths.iter().filter(is_documented).map(|p| p[1..].to_owned()).collect();
        out.extend(paths::LONE_DOCUMENTS.iter().map(|(path, ..)| (*path).to_owned()));
        out.sort();
        out
    }

    /// Whether all there is in a group, or in one version of it, are custom resources: of these groups only the versions
    /// have documents.
    fn is_custom(&self, group: &str, version: Option<&str>) -> bool {
        let mut kinds = self.catalog.kinds();
        kinds.all(|k| k.is_custom() || k.group != group || version.is_some_and(|v| k.version != v))
    }

    /// The group and version whose document is at `path`.
    fn version_at(&self, path: &str) -> Option<(&str, &str)> {
        let groups = self.catalog.groups().iter();
        let mut versions = groups.flat_map(|g| g.versions.iter().map(|v| (&*g.name, &**v)));
        versions.find(|(group, version)| version_path(group, version)[1..] == *path)
    }

    /// Changes whenever the document may have: with the program, the prose, and the kinds of the version.
    fn hash(&self, path: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.version);
        hasher.update(env!("CARGO_PKG_VERSION"));
        static FACTS: LazyLock<[u8; 32]> = LazyLock::new(|| Sha256::digest(crate::schema::FACTS).into());
        hasher.update(*FACTS);
        hasher.update(self.prose.definition("io.k8s.api.core.v1.Pod").unwrap_or_default());
        hasher.update(path);
        let (group, version) = self.version_at(path).unwrap_or_default();
        for kind in self.catalog.in_version(group, version) {
            hasher.update(format!("{}/{}/{:?}\n", kind.kind, kind.plural, kind.subresources));
            if kind.is_custom() {
                hasher.update(format!("{}{:?}\n", custom::object(Edition::V3, &kind), kind.scope));
            }
        }
        hasher.finalize().iter().map(|b| format!("{b:02X}")).collect()
    }
}

impl std::fmt::Debug for OpenApi<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenApi({})", self.version)
    }
}

fn security_scheme() -> Value {
    json!({"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"})
}

#[cfg(test)]
#[path = "openapi/tests.rs"]
mod tests;
