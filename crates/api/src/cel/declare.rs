//! What is known of a JSON value beforehand: from a schema to the types that expressions are checked against, and to how
//! the value is seen when they run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::types::{ObjectType, Type};
use crate::schema::structural::ListType;
use crate::schema::{self, JsonType, Schemas, Structural};

/// A declared JSON value. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Decl {
    /// Nothing is known: it is what it is.
    Dyn,
    Bool,
    Int,
    Double,
    String,
    /// Text that stands for something else: base64, a time, a length of time.
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Decl>, ListKind),
    Map(Arc<Decl>),
    Object(Arc<ObjectDecl>),
}

/// Which lists are equal, and what their sum is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    /// In any order; a sum has each item once.
    Set,
    /// In any order; in a sum the right side's item with the same keys is the one that stays.
    Map(Arc<[String]>),
}

#[derive(Debug)]
pub struct ObjectDecl {
    pub ty: Arc<ObjectType>,
    /// By the name in expressions, with the one in JSON.
    pub fields: BTreeMap<String, (String, Decl)>,
}

/// Words that a property's name may not be as it is.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
const ESCAPES: [(&str, char, &str); 3] =
    [("__dot__", '.', "dot"), ("__dash__", '-', "dash"), ("__slash__", '/', "slash")];

/// A property's name as expressions write it; none where they cannot.
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut characters = name.chars();
    if !characters.next()?.is_ascii_alphabetic() && !name.starts_with('_') {
        return None;
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')) {
        return None;
    }
    let mut escaped = name.replace("__", "__underscores__");
    for (to, from, _) in ESCAPES {
        escaped = escaped.replace(from, to);
    }
    Some(escaped)
}

/// What [`escape`] made, as it was.
pub fn unescape(escaped: &str) -> String {
    let inner = escaped.strip_prefix("__").and_then(|e| e.strip_suffix("__"));
    if let Some(word) = inner.filter(|w| RESERVED.contains(w)) {
        return word.to_owned();
    }
    let mut name = escaped.to_owned();
    for (from, to, _) in ESCAPES {
        name = name.replace(from, &to.to_string());
    }
    name.replace("__underscores__", "__")
}

impl Decl {
    pub fn ty(&self) -> Type {
        match self {
            Decl::Dyn => Type::Dyn,
            Decl::Bool => Type::Bool,
            Decl::Int => Type::Int,
            Decl::Double => Type::Double,
            Decl::String => Type::String,
            Decl::Bytes => Type::Bytes,
            Decl::Timestamp => Type::Timestamp,
            Decl::Duration => Type::Duration,
            Decl::List(items, _) => Type::list(items.ty()),
            Decl::Map(values) => Type::map(Type::String, values.ty()),
            Decl::Object(object) => Type::Object(object.ty.clone()),
        }
    }

    /// A list without order of its own.
    pub fn list(items: Decl) -> Decl {
        Decl::List(Arc::new(items), ListKind::Atomic)
    }

    pub fn map(values: Decl) -> Decl {
        Decl::Map(Arc::new(values))
    }

    /// An object of these properties, by their names in JSON. Those that expressions cannot name are left out.
    pub fn object(name: &str, properties: impl IntoIterator<Item = (String, Decl)>) -> Decl {
        let fields: BTreeMap<_, _> =
            properties.into_iter().filter_map(|(json, decl)| Some((escape(&json)?, (json, decl)))).collect();
        let types = fields.iter().map(|(name, (_, decl))| (name.clone(), decl.ty())).collect();
        let ty = ObjectType { name: name.to_owned(), fields: types, is_open: false };
        Decl::Object(Arc::new(ObjectDecl { ty: Arc::new(ty), fields }))
    }

    /// What a structural schema says. `is_root` adds what every object of the API has. None where the schema says nothing
    /// that expressions may rely on.
    pub fn from_schema(schema: &Structural, name: &str, is_root: bool) -> Option<Decl> {
        if schema.is_int_or_string {
            return Some(Decl::Dyn);
        }
        match schema.ty {
            JsonType::Boolean => Some(Decl::Bool),
            JsonType::Integer => Some(Decl::Int),
            JsonType::Number => Some(Decl::Double),
            JsonType::String => Some(match schema.format.as_str() {
                "byte" => Decl::Bytes,
                "duration" => Decl::Duration,
                "date" | "date-time" => Decl::Timestamp,
                _ => Decl::String,
            }),
            JsonType::Array => {
                let of = schema.items.as_ref()?;
                let items = Decl::from_schema(of, &format!("{name}.@idx"), of.is_embedded)?;
                Some(Decl::List(Arc::new(items), list_kind(schema)))
            }
            JsonType::Object => Decl::object_from_schema(schema, name, is_root),
            JsonType::Any => None,
        }
    }

    fn object_from_schema(schema: &Structural, name: &str, is_whole: bool) -> Option<Decl> {
        if let Some(of) = schema.values() {
            let values = Decl::from_schema(of, &format!("{name}.@elem"), of.is_embedded)?;
            return Some(Decl::map(values));
        }
        let declare = |(key, of): (&String, &Structural)| {
            Some((key.clone(), Decl::from_schema(of, &format!("{name}.{key}"), of.is_embedded)?))
        };
        let mut properties: BTreeMap<String, Decl> = schema.properties.iter().filter_map(declare).collect();
        if is_whole {
            properties.insert("apiVersion".into(), Decl::String);
            properties.insert("kind".into(), Decl::String);
            let metadata = ["name", "generateName"].map(|key| (key.to_owned(), Decl::String));
            properties.insert("metadata".into(), Decl::object(&format!("{name}.metadata"), metadata));
        }
        Some(Decl::object(name, properties))
    }

    /// What the definition of a built-in kind says.
    pub fn builtin(schemas: &Schemas, definition: &str) -> Option<Decl> {
        let found = schemas.definition(definition)?;
        Some(Builtin { schemas, known: HashMap::new(), open: Vec::new() }.object(found))
    }
}

fn list_kind(schema: &Structural) -> ListKind {
    match schema.list {
        Some(ListType::Set) => ListKind::Set,
        Some(ListType::Map) => ListKind::Map(schema.list_keys.iter().map(|k| k.to_string()).collect()),
        _ => ListKind::Atomic,
    }
}

/// A walk over built-in definitions, each of which is declared once.
struct Builtin<'a> {
    schemas: &'a Schemas,
    known: HashMap<String, Decl>,
    /// What is being declared: a definition inside of itself is not known further.
    open: Vec<String>,
}

impl Builtin<'_> {
    fn object(&mut self, definition: &schema::Definition) -> Decl {
        let name = definition.full_name();
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        if self.open.contains(&name) {
            return Decl::Dyn;
        }
        self.open.push(name.clone());
        let fields: Vec<_> =
            definition.fields.iter().map(|f| (f.name.to_string(), self.field(&f.ty, f))).collect();
        self.open.pop();
        let object = Decl::object(&name, fields);
        self.known.insert(name, object.clone());
        object
    }

    fn field(&mut self, ty: &schema::Type, field: &schema::Field) -> Decl {
        use schema::Type;
        match ty {
            Type::String | Type::Quantity => Decl::String,
            Type::Int32 | Type::Int64 => Decl::Int,
            Type::Float => Decl::Double,
            Type::Bool => Decl::Bool,
            Type::Bytes => Decl::Bytes,
            Type::Time | Type::MicroTime => Decl::Timestamp,
            Type::IntOrString | Type::Any | Type::SchemaOr(_) => Decl::Dyn,
            Type::Struct(index) => {
                let schemas = self.schemas;
                self.object(schemas.at(*index))
            }
            Type::Map(values) => Decl::map(self.field(values, field)),
            Type::List(items) => {
                let kind = match &field.list {
                    Some(schema::OwnedListKind::Set) => ListKind::Set,
                    Some(schema::OwnedListKind::Map(keys)) => {
                        ListKind::Map(keys.iter().map(ToString::to_string).collect())
                    }
                    _ => ListKind::Atomic,
                };
                Decl::List(Arc::new(self.field(items, field)), kind)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn names_are_escaped() {
        for (name, escaped) in [
            ("namespace", Some("__namespace__")),
            ("int", Some("int")),
            ("a.b", Some("a__dot__b")),
            ("x-prop", Some("x__dash__prop")),
            ("redact__d", Some("redact__underscores__d")),
            ("a/b", Some("a__slash__b")),
            ("1a", None),
            ("a$", None),
            ("", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
            if let Some(escaped) = escaped {
                assert_eq!(unescape(escaped), name);
            }
        }
    }

    #[test]
    fn schemas_become_types() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer"}, "f": {"type": "number"}, "when": {"type": "string", "format": "date-time"},
            "port": {"x-kubernetes-int-or-string": true}, "free": {"x-kubernetes-preserve-unknown-fields": true},
            "m": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}}});
        let schema = Structural::read(&schema).unwrap();
        let Some(Decl::Object(object)) = Decl::from_schema(&schema, "self", true) else {
            panic!("no object")
        };
        let shown: Vec<_> = object.ty.fields.iter().map(|(n, t)| format!("{n}: {t}")).collect();
        assert_eq!(
            shown.join(", "),
            "apiVersion: string, f: double, kind: string, m: map(string, list(string)), metadata: self.metadata, n: int, port: dyn, when: timestamp"
        );
    }

    #[test]
    fn every_kind_is_declared() {
        for kind in KINDS {
            let decl = Decl::builtin(&Schemas::builtin(), &kind.schema);
            assert!(matches!(decl, Some(Decl::Object(_))), "{}", kind.kind);
        }
    }
}
