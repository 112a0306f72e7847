//! Walking along a schema, as merging and applying patches need it.

use std::sync::LazyLock;

use serde_json::Value;

use super::facts::{Definition, Emit, Field, Type};
use super::structural::prune::META_FIELDS;
use super::structural::{JsonType, ListType, Structural};
use super::{OBJECT_META, Registry, Schemas};
use crate::kinds::Text;

/// A place in a schema, of a built-in kind or of a custom resource.
#[derive(Clone, Copy)]
pub struct Schema<'a>(Place<'a>);

#[derive(Clone, Copy)]
enum Place<'a> {
    Fact(Fact<'a>),
    /// Whether a whole object stands here, whose metadata the schema need not name.
    Structural(&'a Structural, bool),
}

/// A type of the facts file and the facts of the field that it is the value of.
#[derive(Clone, Copy)]
struct Fact<'a> {
    registry: &'a Registry,
    ty: &'a Type,
    /// The definition itself at the root, where there is no type to point to.
    root: Option<&'a Definition>,
    /// The field whose value this is; none inside of a list or map.
    field: Option<&'a Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Struct,
    List,
    Map,
    Scalar,
    /// Any JSON: nothing is known about what is inside.
    Any,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind<'a> {
    Atomic,
    Set,
    /// By the values of these fields.
    Map(&'a [Text]),
}

impl<'a> Schema<'a> {
    pub(super) fn root(registry: &'a Registry, index: usize) -> Schema<'a> {
        let root = Some(&registry.definitions[index]);
        Schema(Place::Fact(Fact { registry, ty: &Type::Any, root, field: None }))
    }

    /// The schema of a custom resource's objects.
    pub(super) fn structural(schema: &'a Structural) -> Schema<'a> {
        Schema(Place::Structural(schema, true))
    }

    fn inside(schema: &'a Structural) -> Schema<'a> {
        Schema(Place::Structural(schema, schema.is_embedded))
    }

    pub fn form(&self) -> Form {
        match self.0 {
            Place::Fact(fact) => fact.form(),
            Place::Structural(schema, is_whole) => structural_form(schema, is_whole),
        }
    }

    /// The field of a struct, or the value under a key of a map.
    pub fn field(&self, name: &str) -> Option<Schema<'a>> {
        match self.0 {
            Place::Fact(fact) => match fact.definition() {
                Some(definition) => {
                    let field = definition.field(name)?;
                    Some(fact.at(&field.ty, Some(field)))
                }
                None => self.values(),
            },
            Place::Structural(_, true) if name == "metadata" => Schemas::builtin_ref().named(OBJECT_META),
            Place::Structural(_, true) if META_FIELDS.contains(&name) => Some(Schema::inside(&TEXT)),
            Place::Structural(schema, _) => match schema.member(name) {
                Some(of) => Some(Schema::inside(of)),
                None => schema.keeps_unknown.then(|| Schema::inside(&ANYTHING)),
            },
        }
    }

    /// Whether a struct has a field of this name.
    pub fn declares(&self, name: &str) -> bool {
        match self.0 {
            Place::Fact(_) => self.form() == Form::Struct && self.field(name).is_some(),
            Place::Structural(schema, is_whole) => {
                schema.properties.contains_key(name) || is_whole && META_FIELDS.contains(&name)
            }
        }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Schema<'a>> {
        match self.0 {
            Place::Fact(fact) => match fact.ty {
                Type::List(ty) => Some(fact.at(ty, None)),
                _ => None,
            },
            Place::Structural(schema, _) => schema.items.as_deref().map(Schema::inside),
        }
    }

    /// The values of a map.
    pub fn values(&self) -> Option<Schema<'a>> {
        match self.0 {
            Place::Fact(fact) => match fact.ty {
                Type::Map(ty) => Some(fact.at(ty, None)),
                _ => None,
            },
            Place::Structural(schema, _) => schema.values().map(Schema::inside),
        }
    }

    pub fn list_kind(&self) -> ListKind<'a> {
        match self.0 {
            Place::Fact(fact) => fact.field.map_or(ListKind::Atomic, Field::list_kind),
            Place::Structural(schema, _) => match schema.list {
                Some(ListType::Set) => ListKind::Set,
                Some(ListType::Map) => ListKind::Map(&schema.list_keys),
                Some(ListType::Atomic) | None => ListKind::Atomic,
            },
        }
    }

    /// The default of a list item's key, which stands in for a missing one.
    pub fn key_default(&self, key: &str) -> Option<Value> {
        match self.0 {
            // The one key with a default in the whole API: a port's protocol, of containers and of Services.
            Place::Fact(_) => (key == "protocol").then(|| Value::from("TCP")),
            Place::Structural(schema, _) => schema.items.as_ref()?.properties.get(key)?.default.clone(),
        }
    }

    /// Whether an applied struct or map replaces the whole of the old one.
    pub fn is_atomic(&self) -> bool {
        match self.0 {
            Place::Fact(fact) => {
                fact.field.is_some_and(|f| f.is_atomic_map) || fact.definition().is_some_and(|d| d.is_atomic)
            }
            Place::Structural(schema, _) => schema.is_atomic_map,
        }
    }

    /// The field by which a strategic merge patch tells a list's items apart.
    pub fn merge_key(&self) -> Option<&'a str> {
        self.fact_field().map(|f| &*f.patch_merge_key).filter(|k| !k.is_empty())
    }

    /// Whether a strategic merge patch merges the items of a list.
    pub fn merges_items(&self) -> bool {
        self.has_strategy("merge")
    }

    /// Whether a strategic merge patch replaces the whole value.
    pub fn is_replaced(&self) -> bool {
        self.has_strategy("replace")
    }

    /// Whether a strategic merge patch says which keys stay (unions such as a Deployment's strategy).
    pub fn retains_keys(&self) -> bool {
        self.has_strategy("retainKeys")
    }

    fn has_strategy(&self, strategy: &str) -> bool {
        self.fact_field().is_some_and(|f| f.patch_strategy.split(',').any(|s| s == strategy))
    }

    fn fact_field(&self) -> Option<&'a Field> {
        match self.0 {
            Place::Fact(fact) => fact.field,
            Place::Structural(..) => None,
        }
    }

    /// How the field is written; none at the root and inside of a list or map, and of custom resources.
    pub fn emit(&self) -> Option<Emit> {
        self.fact_field().map(|f| f.emit)
    }

    pub fn is_struct(&self) -> bool {
        matches!(self.0, Place::Fact(Fact { ty: Type::Struct(_), .. }))
    }
}

impl<'a> Fact<'a> {
    fn at(self, ty: &'a Type, field: Option<&'a Field>) -> Schema<'a> {
        Schema(Place::Fact(Fact { ty, root: None, field, ..self }))
    }

    fn definition(&self) -> Option<&'a Definition> {
        match self.ty {
            _ if self.root.is_some() => self.root,
            Type::Struct(i) | Type::SchemaOr(i) => Some(&self.registry.definitions[*i]),
            _ => None,
        }
    }

    fn form(&self) -> Form {
        match self.ty {
            _ if self.root.is_some() => Form::Struct,
            Type::Struct(_) => Form::Struct,
            Type::List(_) => Form::List,
            Type::Map(_) => Form::Map,
            Type::Any | Type::SchemaOr(_) => Form::Any,
            _ => Form::Scalar,
        }
    }
}

fn structural_form(schema: &Structural, is_whole: bool) -> Form {
    match schema.ty {
        _ if is_whole => Form::Struct,
        JsonType::Object if !schema.properties.is_empty() => Form::Struct,
        JsonType::Object if schema.values().is_some() => Form::Map,
        JsonType::Array => Form::List,
        JsonType::Object | JsonType::Any if schema.keeps_unknown || schema.additional.is_some() => Form::Any,
        JsonType::Object => Form::Struct,
        _ => Form::Scalar,
    }
}

/// `apiVersion` and `kind`
static TEXT: LazyLock<Structural> =
    LazyLock::new(|| Structural { ty: JsonType::String, ..Structural::default() });

/// What nothing is known of.
static ANYTHING: LazyLock<Structural> =
    LazyLock::new(|| Structural { keeps_unknown: true, ..Structural::default() });

impl std::fmt::Debug for Schema<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schema({:?}, {:?})", self.form(), self.fact_field().map(|f| &f.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schemas;

    #[test]
    fn merge_facts_along_a_path() {
        let schemas = Schemas::builtin();
        let pod = schemas.named("io.k8s.api.core.v1.Pod").unwrap();
        let spec = pod.field("spec").unwrap();
        let containers = spec.field("containers").unwrap();
        assert_eq!(containers.form(), Form::List);
        assert!(containers.merges_items());
        assert_eq!(containers.merge_key(), Some("name"));
        assert!(matches!(containers.list_kind(), ListKind::Map([key]) if key == "name"));
        let container = containers.items().unwrap();
        let ports = container.field("ports").unwrap();
        assert!(
            matches!(ports.list_kind(), ListKind::Map([a, b]) if a == "containerPort" && b == "protocol")
        );
        assert_eq!(container.field("args").unwrap().list_kind(), ListKind::Atomic);
        assert!(spec.field("nodeSelector").unwrap().is_atomic());
        assert!(spec.field("volumes").unwrap().retains_keys());
        assert!(spec.field("frob").is_none());
        let meta = pod.field("metadata").unwrap();
        assert_eq!(meta.field("finalizers").unwrap().list_kind(), ListKind::Set);
        let label = meta.field("labels").unwrap().field("app").unwrap();
        assert_eq!(label.form(), Form::Scalar);
        assert!(
            container
                .field("env")
                .unwrap()
                .items()
                .unwrap()
                .field("valueFrom")
                .unwrap()
                .field("secretKeyRef")
                .unwrap()
                .is_atomic()
        );
    }
}
