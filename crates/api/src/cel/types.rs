//! CEL's types, how they are written, and which of them fit where another is wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of an expression.
#[derive(Debug, Clone)]
pub enum Type {
    /// Anything: what is done with it is checked when it is done.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    Type(Arc<Type>),
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    /// A type of a library, known by its name alone: `kubernetes.URL`.
    Opaque(&'static str),
    Object(Arc<ObjectType>),
    /// A parameter of a signature: `A`.
    Param(char),
    /// A parameter of one call, to be found out.
    Free(usize),
    /// Of an expression that was complained about already.
    Error,
}

/// Something with declared fields.
#[derive(Debug)]
pub struct ObjectType {
    pub name: String,
    pub fields: BTreeMap<String, Type>,
    /// Whether it has fields that are not declared, of any type.
    pub is_open: bool,
}

impl PartialEq for Type {
    fn eq(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Type(a), Type::Type(b))
            | (Type::List(a), Type::List(b))
            | (Type::Optional(a), Type::Optional(b)) => a == b,
            (Type::Map(k, v), Type::Map(l, w)) => k == l && v == w,
            (Type::Opaque(a), Type::Opaque(b)) => a == b,
            (Type::Object(a), Type::Object(b)) => a.name == b.name,
            (Type::Param(a), Type::Param(b)) => a == b,
            (Type::Free(a), Type::Free(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Dyn | Type::Free(_) => "dyn",
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Timestamp => "timestamp",
            Type::Duration => "duration",
            Type::Error => "!error!",
            Type::Opaque(name) => name,
            Type::Object(object) => &object.name,
            Type::Param(letter) => return write!(f, "{letter}"),
            Type::Type(of) if **of == Type::Dyn => "type",
            Type::Type(of) => return write!(f, "type({of})"),
            Type::List(of) => return write!(f, "list({of})"),
            Type::Optional(of) => return write!(f, "optional_type({of})"),
            Type::Map(key, value) => return write!(f, "map({key}, {value})"),
        })
    }
}

impl Type {
    pub fn list(of: Type) -> Type {
        Type::List(Arc::new(of))
    }

    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    pub fn optional(of: Type) -> Type {
        Type::Optional(Arc::new(of))
    }

    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Type)>) -> Type {
        let fields = fields.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
        Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields, is_open: false }))
    }

    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// What `type(x)` is called where it is shown as a value, and what a conversion's error calls it.
    pub(super) fn value_name(&self) -> &str {
        match self {
            Type::Null => "null_type",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::Duration => "google.protobuf.Duration",
            Type::List(_) => "list",
            Type::Map(..) => "map",
            Type::Type(_) => "type",
            Type::Optional(_) => "optional_type",
            Type::Object(object) => &object.name,
            Type::Opaque(name) => name,
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Dyn | Type::Param(_) | Type::Free(_) | Type::Error => "dyn",
        }
    }

    /// A type as signatures write it: `map(A, list(string))`.
    pub(super) fn parse(text: &'static str) -> Type {
        let text = text.trim();
        let Some((name, inner)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) else {
            return Type::named(text);
        };
        let of = split(inner).into_iter().map(|t| Arc::new(Type::parse(t))).collect::<Vec<_>>();
        match (name, &of[..]) {
            ("list", [of]) => Type::List(of.clone()),
            ("optional_type", [of]) => Type::Optional(of.clone()),
            ("type", [of]) => Type::Type(of.clone()),
            ("map", [key, value]) => Type::Map(key.clone(), value.clone()),
            _ => Type::Error,
        }
    }

    fn named(name: &'static str) -> Type {
        match name {
            "dyn" => Type::Dyn,
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "type" => Type::Type(Arc::new(Type::Dyn)),
            _ => match name.as_bytes() {
                [letter] => Type::Param(char::from(*letter)),
                _ => Type::Opaque(name),
            },
        }
    }
}

/// The parts of a list of types, whose commas may be inside of brackets.
pub(super) fn split(text: &'static str) -> Vec<&'static str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

/// What has been found out about the parameters of calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Found(Vec<Option<Type>>);

impl Found {
    pub(super) fn fresh(&mut self) -> Type {
        self.0.push(None);
        Type::Free(self.0.len() - 1)
    }

    /// A signature's type with the parameters of one call in the place of its letters.
    pub(super) fn instance(&mut self, of: &Type, letters: &mut Vec<(char, Type)>) -> Type {
        let mut inner = |t: &Arc<Type>| Arc::new(self.instance(t, letters));
        match of {
            Type::Type(t) => Type::Type(inner(t)),
            Type::List(t) => Type::List(inner(t)),
            Type::Optional(t) => Type::Optional(inner(t)),
            Type::Map(k, v) => Type::Map(inner(k), inner(v)),
            Type::Param(letter) => match letters.iter().find(|(l, _)| l == letter) {
                Some((_, known)) => known.clone(),
                None => {
                    let fresh = self.fresh();
                    letters.push((*letter, fresh.clone()));
                    fresh
                }
            },
            _ => of.clone(),
        }
    }

    /// The type with what is known put in. What is not known becomes `dyn` if this is the `last` word.
    pub(super) fn resolve(&self, of: &Type, last: bool) -> Type {
        let inner = |t: &Arc<Type>| Arc::new(self.resolve(t, last));
        match of {
            Type::Type(t) => Type::Type(inner(t)),
            Type::List(t) => Type::List(inner(t)),
            Type::Optional(t) => Type::Optional(inner(t)),
            Type::Map(k, v) => Type::Map(inner(k), inner(v)),
            Type::Free(i) => match &self.0[*i] {
                Some(known) => self.resolve(known, last),
                None if last => Type::Dyn,
                None => of.clone(),
            },
            _ => of.clone(),
        }
    }

    /// Whether a value of `from` may stand where `to` is wanted; what that says about parameters is kept if so.
    pub(super) fn assign(&mut self, from: &Type, to: &Type) -> bool {
        let (from, to) = (self.resolve(from, false), self.resolve(to, false));
        match (&from, &to) {
            (Type::Free(a), Type::Free(b)) if a == b => true,
            (_, Type::Free(i)) => self.bind(*i, &from),
            (Type::Free(i), _) => self.bind(*i, &to),
            (a, b) if a.is_dyn() || b.is_dyn() => true,
            (Type::Null, Type::Object(_) | Type::Opaque(_) | Type::Timestamp | Type::Duration) => true,
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.assign(a, b),
            (Type::Map(k, v), Type::Map(l, w)) => self.assign(k, l) && self.assign(v, w),
            (a, b) => a == b,
        }
    }

    fn bind(&mut self, free: usize, to: &Type) -> bool {
        if self.occurs(free, to) {
            return false;
        }
        self.0[free] = Some(to.clone());
        true
    }

    fn occurs(&self, free: usize, within: &Type) -> bool {
        match within {
            Type::Free(i) => *i == free,
            Type::Type(t) | Type::List(t) | Type::Optional(t) => self.occurs(free, t),
            Type::Map(k, v) => self.occurs(free, k) || self.occurs(free, v),
            _ => false,
        }
    }

    /// Of two types that fit each other the one that says less.
    pub(super) fn more_general(&self, a: &Type, b: &Type) -> Type {
        if self.says_less(a, b) { a.clone() } else { b.clone() }
    }

    fn says_less(&self, a: &Type, b: &Type) -> bool {
        match (a, b) {
            (a, _) if a.is_dyn() || matches!(a, Type::Free(_)) => true,
            (_, b) if b.is_dyn() || matches!(b, Type::Free(_)) => false,
            (Type::Type(a), Type::Type(b))
            | (Type::List(a), Type::List(b))
            | (Type::Optional(a), Type::Optional(b)) => self.says_less(a, b),
            (Type::Map(k, v), Type::Map(l, w)) => self.says_less(k, l) && self.says_less(v, w),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_written() {
        for text in
            ["map(string, list(dyn))", "optional_type(A)", "kubernetes.URL", "type", "list(map(A, B))"]
        {
            assert_eq!(Type::parse(text).to_string(), text);
        }
    }

    #[test]
    fn parameters_are_found_out() {
        let mut found = Found::default();
        let mut letters = Vec::new();
        let wanted = found.instance(&Type::parse("map(A, list(B))"), &mut letters);
        assert!(found.assign(&Type::parse("map(string, list(int))"), &wanted));
        assert_eq!(found.resolve(&wanted, true), Type::parse("map(string, list(int))"));
        assert!(!found.assign(&Type::parse("map(int, list(int))"), &wanted));
    }
}
