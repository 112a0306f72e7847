//! Structural schemas: what fields an object has, of what types, in what order, and how they merge.
//!
//! Everything comes from the facts file; see the head of `xtask/src/schema/facts.rs` for its form. [`Schemas::shape`]
//! does to an object what decoding into the reference's Go structs and encoding them again does to it.

mod facts;
mod scalar;
mod shape;
pub mod structural;
mod time;
mod walk;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

pub use facts::{Definition, Emit, Field, GroupVersionKindText, OwnedListKind, Type};
pub use structural::{JsonType, Structural};
pub use walk::{Form, ListKind, Schema};

use crate::kinds::{Kind, Text};

/// The definitions of all kinds. Cheap to clone.
#[derive(Clone)]
pub struct Schemas(Arc<Registry>);

#[derive(Default)]
struct Registry {
    definitions: Vec<Definition>,
    /// By name without `io.k8s.`.
    by_name: HashMap<Text, usize>,
}

/// An object after its types were checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    /// In canonical order, without unknown fields and without what Go does not write.
    pub value: Value,
    /// The paths of unknown fields, as the body had them: `spec.containers[0].imagePulPolicy`.
    pub unknown: Vec<String>,
}

/// A value of the wrong type, in the words of Go's decoder. The server puts
/// `Pod in version "v1" cannot be handled as a Pod: ` before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

/// The facts file.
pub(crate) const FACTS: &str = include_str!("../data/facts.txt");

/// The part of a definition's name that all share.
const COMMON: &str = "io.k8s.";

/// `meta/v1 ObjectMeta`, whose fields every kind has.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub const EVICTION: &str = "io.k8s.api.policy.v1.Eviction";
pub const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
pub const TOKEN_REQUEST: &str = "io.k8s.api.authentication.v1.TokenRequest";
pub const BINDING: &str = "io.k8s.api.core.v1.Binding";

impl Schemas {
    /// The definitions of the built-in kinds.
    pub fn builtin() -> Schemas {
        Schemas::builtin_ref().clone()
    }

    pub(crate) fn builtin_ref() -> &'static Schemas {
        static BUILTIN: LazyLock<Schemas> = LazyLock::new(|| Schemas(Arc::new(Registry::read(FACTS))));
        &BUILTIN
    }

    /// Checks the types of an object of `kind` and brings it into the form in which the reference would write it. A custom
    /// row brings its own schema along. A kind without a definition is taken as it is, but for its metadata.
    pub fn shape(&self, kind: &Kind, value: Value) -> Result<Shaped, TypeError> {
        match &kind.custom {
            Some(custom) => structural::prune::shape(&custom.schema, value),
            None => self.shape_as(&kind.schema, value),
        }
    }

    /// As [`Schemas::shape`], for any definition: `io.k8s.api.policy.v1.Eviction`.
    pub fn shape_as(&self, definition: &str, value: Value) -> Result<Shaped, TypeError> {
        match self.0.position(definition) {
            Some(index) => shape::shape(&self.0, index, value),
            None => self.shape_metadata(value),
        }
    }

    fn shape_metadata(&self, mut value: Value) -> Result<Shaped, TypeError> {
        let mut unknown = Vec::new();
        if let (Some(metadata), Some(index)) = (value.get_mut("metadata"), self.0.position(OBJECT_META)) {
            let shaped = shape::shape(&self.0, index, metadata.take())?;
            *metadata = shaped.value;
            unknown = shaped.unknown.into_iter().map(|path| format!("metadata.{path}")).collect();
        }
        Ok(Shaped { value, unknown })
    }

    /// The schema of a kind's objects, for walking along a path.
    pub fn of<'a>(&'a self, kind: &'a Kind) -> Option<Schema<'a>> {
        match &kind.custom {
            Some(custom) => Some(Schema::structural(&custom.schema)),
            None => self.named(&kind.schema),
        }
    }

    pub fn named(&self, definition: &str) -> Option<Schema<'_>> {
        self.0.position(definition).map(|index| Schema::root(&self.0, index))
    }

    /// A definition by its full name.
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        self.0.position(name).map(|i| &self.0.definitions[i])
    }

    /// The definition that a [`Type::Struct`] or [`Type::SchemaOr`] refers to.
    pub fn at(&self, index: usize) -> &Definition {
        &self.0.definitions[index]
    }

    /// Every definition, by name.
    pub fn definitions(&self) -> &[Definition] {
        &self.0.definitions
    }
}

impl std::fmt::Debug for Schemas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schemas({} definitions)", self.0.definitions.len())
    }
}

impl Registry {
    fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name.strip_prefix(COMMON).unwrap_or(name)).copied()
    }
}
