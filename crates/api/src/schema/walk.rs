//! Walking along a schema, as merging and applying patches need it.

use super::Registry;
use super::facts::{Definition, Emit, Field, Type};
use crate::kinds::Text;

/// A place in a schema: the type there and the facts of the field that it is the value of.
#[derive(Clone, Copy)]
pub struct Schema<'a> {
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
        Schema { registry, ty: &Type::Any, root: Some(&registry.definitions[index]), field: None }
    }

    fn definition(&self) -> Option<&'a Definition> {
        match self.ty {
            _ if self.root.is_some() => self.root,
            Type::Struct(i) | Type::SchemaOr(i) => Some(&self.registry.definitions[*i]),
            _ => None,
        }
    }

    pub fn form(&self) -> Form {
        match self.ty {
            _ if self.root.is_some() => Form::Struct,
            Type::Struct(_) => Form::Struct,
            Type::List(_) => Form::List,
            Type::Map(_) => Form::Map,
            Type::Any | Type::SchemaOr(_) => Form::Any,
            _ => Form::Scalar,
        }
    }

    /// The field of a struct, or the value under a key of a map.
    pub fn field(&self, name: &str) -> Option<Schema<'a>> {
        if let Some(definition) = self.definition() {
            let field = definition.field(name)?;
            return Some(Schema { ty: &field.ty, root: None, field: Some(field), ..*self });
        }
        self.values()
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Schema<'a>> {
        match self.ty {
            Type::List(ty) => Some(Schema { ty, root: None, field: None, ..*self }),
            _ => None,
        }
    }

    /// The values of a map.
    pub fn values(&self) -> Option<Schema<'a>> {
        match self.ty {
            Type::Map(ty) => Some(Schema { ty, root: None, field: None, ..*self }),
            _ => None,
        }
    }

    /// The fields of a struct, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Schema<'a>)> + use<'a> {
        let here = *self;
        let fields = self.definition().map_or(&[][..], |d| d.fields.as_slice());
        fields.iter().map(move |f| (&*f.name, Schema { ty: &f.ty, root: None, field: Some(f), ..here }))
    }

    pub fn list_kind(&self) -> ListKind<'a> {
        self.field.map_or(ListKind::Atomic, Field::list_kind)
    }

    /// Whether an applied struct or map replaces the whole of the old one.
    pub fn is_atomic(&self) -> bool {
        self.field.is_some_and(|f| f.is_atomic_map) || self.definition().is_some_and(|d| d.is_atomic)
    }

    /// The field by which a strategic merge patch tells a list's items apart.
    pub fn merge_key(&self) -> Option<&'a str> {
        self.field.map(|f| &*f.patch_merge_key).filter(|k| !k.is_empty())
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
        self.field.is_some_and(|f| f.patch_strategy.split(',').any(|s| s == strategy))
    }

    /// How the field is written; none at the root and inside of a list or map.
    pub fn emit(&self) -> Option<Emit> {
        self.field.map(|f| f.emit)
    }

    pub fn ty(&self) -> &'a Type {
        self.ty
    }
}

impl std::fmt::Debug for Schema<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schema({:?}, {:?})", self.form(), self.field.map(|f| &f.name))
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
