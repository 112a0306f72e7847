//! The values of expressions: made by them, or views of JSON that is there already.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

use indexmap::IndexMap;
use serde_json::Value;

use super::declare::{Decl, ListKind, ObjectDecl};
use super::functions::authz::Authz;
use super::functions::network::{Ip, cidr_size};
use super::functions::semver::Semver;
use super::functions::url::Url;
use super::types::Type;
use crate::cidr::Cidr;
use crate::quantity::Quantity;

/// What an expression has come to. It may borrow from the values that the expression was given.
#[derive(Debug, Clone)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Rc<[u8]>),
    Timestamp(jiff::Timestamp),
    /// In nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Type(Rc<Type>),
    Optional(Option<Rc<Val<'a>>>),
    /// A made object: `Object{spec: Object.spec{…}}`.
    Struct(Rc<Struct<'a>>),
    Quantity(Quantity),
    Url(Rc<Url>),
    Ip(Ip),
    Cidr(Cidr),
    Semver(Rc<Semver>),
    /// A named format of text.
    Format(&'static str),
    Authz(Rc<Authz<'a>>),
}

/// Text that is borrowed or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

#[derive(Debug, Clone)]
pub enum List<'a> {
    Made(Rc<Vec<Val<'a>>>),
    Json(&'a [Value], &'a Decl, &'a ListKind),
}

#[derive(Debug, Clone)]
pub enum Map<'a> {
    Made(Rc<Entries<'a>>),
    /// With one declaration for all values.
    Json(&'a serde_json::Map<String, Value>, &'a Decl),
    /// With declared properties.
    Object(&'a serde_json::Map<String, Value>, &'a ObjectDecl),
}

/// Entries by key, with each key as it was given.
pub type Entries<'a> = IndexMap<Key, (Val<'a>, Val<'a>)>;

#[derive(Debug)]
pub struct Struct<'a> {
    pub name: String,
    pub fields: Vec<(String, Val<'a>)>,
}

/// A map's key. Numbers are one key when they are equal, whatever their type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(String),
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::Bool(b) => b.hash(state),
            Key::Int(n) => n.hash(state),
            Key::Uint(n) => n.hash(state),
            Key::String(s) => s.hash(state),
        }
    }
}

impl Key {
    pub(super) fn of(value: &Val<'_>) -> Option<Key> {
        Some(match value {
            Val::Bool(b) => Key::Bool(*b),
            Val::Int(n) => Key::Int(*n),
            Val::Uint(n) => i64::try_from(*n).map_or(Key::Uint(*n), Key::Int),
            Val::Double(d) if d.fract() == 0.0 && d.abs() < 9e15 => Key::Int(*d as i64),
            Val::String(s) => Key::String(s.to_string()),
            _ => return None,
        })
    }
}

/// What is not declared.
pub(super) static UNDECLARED: Decl = Decl::Dyn;
static ATOMIC: ListKind = ListKind::Atomic;

impl<'a> Val<'a> {
    pub(super) fn text(text: impl Into<Rc<str>>) -> Val<'a> {
        Val::String(Text::Shared(text.into()))
    }

    pub(super) fn list(items: Vec<Val<'a>>) -> Val<'a> {
        Val::List(List::Made(Rc::new(items)))
    }

    pub fn some(value: Val<'a>) -> Val<'a> {
        Val::Optional(Some(Rc::new(value)))
    }

    /// A JSON value as its declaration says it is to be seen. What is not as declared is seen as it is.
    pub fn of(json: &'a Value, decl: &'a Decl) -> Val<'a> {
        match (json, decl) {
            (Value::Null, _) => Val::Null,
            (Value::Bool(b), _) => Val::Bool(*b),
            (Value::Number(n), Decl::Double) => Val::Double(n.as_f64().unwrap_or(f64::NAN)),
            (Value::Number(n), _) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => Val::Int(n),
                (None, Some(n)) => Val::Uint(n),
                (None, None) => Val::Double(n.as_f64().unwrap_or(f64::NAN)),
            },
            (Value::String(s), _) => Val::of_text(s, decl),
            (Value::Array(items), Decl::List(of, kind)) => Val::List(List::Json(items, of, kind)),
            (Value::Array(items), _) => Val::List(List::Json(items, &UNDECLARED, &ATOMIC)),
            (Value::Object(members), Decl::Object(object)) => Val::Map(Map::Object(members, object)),
            (Value::Object(members), Decl::Map(of)) => Val::Map(Map::Json(members, of)),
            (Value::Object(members), _) => Val::Map(Map::Json(members, &UNDECLARED)),
        }
    }

    fn of_text(text: &'a str, decl: &Decl) -> Val<'a> {
        use base64::Engine as _;
        let as_it_is = Val::String(Text::Borrowed(text));
        match decl {
            Decl::Bytes => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_or(as_it_is, |bytes| Val::Bytes(bytes.into())),
            Decl::Timestamp => super::functions::time::read_timestamp(text)
                .or_else(|| super::functions::time::read_timestamp(&format!("{text}T00:00:00Z")))
                .map_or(as_it_is, Val::Timestamp),
            Decl::Duration => super::functions::time::read_duration(text).map_or(as_it_is, Val::Duration),
            _ => as_it_is,
        }
    }

    pub(super) fn ty(&self) -> Type {
        match self {
            Val::Null => Type::Null,
            Val::Bool(_) => Type::Bool,
            Val::Int(_) => Type::Int,
            Val::Uint(_) => Type::Uint,
            Val::Double(_) => Type::Double,
            Val::String(_) => Type::String,
            Val::Bytes(_) => Type::Bytes,
            Val::Timestamp(_) => Type::Timestamp,
            Val::Duration(_) => Type::Duration,
            Val::List(_) => Type::list(Type::Dyn),
            Val::Map(Map::Object(_, object)) => Type::Object(object.ty.clone()),
            Val::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Val::Type(_) => Type::Type(Type::Dyn.into()),
            Val::Optional(_) => Type::optional(Type::Dyn),
            Val::Struct(made) => Type::object(&made.name, []),
            Val::Quantity(_) => Type::Opaque("kubernetes.Quantity"),
            Val::Url(_) => Type::Opaque("kubernetes.URL"),
            Val::Ip(_) => Type::Opaque("net.IP"),
            Val::Cidr(_) => Type::Opaque("net.CIDR"),
            Val::Semver(_) => Type::Opaque("kubernetes.Semver"),
            Val::Format(_) => Type::Opaque("kubernetes.NamedFormat"),
            Val::Authz(authz) => Type::Opaque(authz.type_name()),
        }
    }

    /// How much there is of it, as costs count it.
    pub(super) fn size(&self) -> u64 {
        match self {
            Val::String(s) => s.chars().count() as u64,
            Val::Bytes(b) => b.len() as u64,
            Val::List(list) => list.len() as u64,
            Val::Map(map) => map.len() as u64,
            Val::Ip(ip) => ip.size(),
            Val::Cidr(cidr) => cidr_size(*cidr),
            _ => 1,
        }
    }

    /// As JSON; `None` for what JSON has no form for.
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Val::Null => Value::Null,
            Val::Bool(b) => Value::from(*b),
            Val::Int(n) => Value::from(*n),
            Val::Uint(n) => Value::from(*n),
            Val::Double(d) => Value::from(*d),
            Val::String(s) => Value::from(&**s),
            Val::Bytes(b) => {
                use base64::Engine as _;
                Value::from(base64::engine::general_purpose::STANDARD.encode(b))
            }
            Val::Timestamp(t) => Value::from(super::functions::time::show_timestamp(*t)),
            Val::Duration(d) => Value::from(super::functions::time::show_duration(*d)),
            Val::List(List::Json(items, ..)) => Value::Array(items.to_vec()),
            Val::Map(Map::Json(members, _) | Map::Object(members, _)) => Value::Object((*members).clone()),
            Val::List(list) => Value::Array(list.iter().map(|v| v.to_json()).collect::<Option<_>>()?),
            Val::Map(map) => {
                let mut out = serde_json::Map::new();
                for (key, value) in map.entries() {
                    let Val::String(key) = key else { return None };
                    out.insert(key.to_string(), value.to_json()?);
                }
                Value::Object(out)
            }
            Val::Optional(Some(value)) => value.to_json()?,
            Val::Optional(None) => Value::Null,
            Val::Quantity(q) => Value::from(q.to_string()),
            Val::Struct(made) => {
                let mut out = serde_json::Map::new();
                for (key, value) in &made.fields {
                    out.insert(key.clone(), value.to_json()?);
                }
                Value::Object(out)
            }
            _ => return None,
        })
    }

    /// Whether two values are equal; numbers by what they are worth, whatever their types.
    pub(super) fn equals(&self, other: &Val<'_>) -> bool {
        match (self, other) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::String(a), Val::String(b)) => **a == **b,
            (Val::Bytes(a), Val::Bytes(b)) => a == b,
            (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
            (Val::Duration(a), Val::Duration(b)) => a == b,
            (Val::List(a), Val::List(b)) => a.equals(b),
            (Val::Map(a), Val::Map(b)) => a.equals(b),
            (Val::Type(a), Val::Type(b)) => a.value_name() == b.value_name(),
            (Val::Optional(a), Val::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals(b),
                (a, b) => a.is_none() && b.is_none(),
            },
            (Val::Struct(a), Val::Struct(b)) => {
                let same = |(k, v): &(String, Val<'_>)| b.fields.iter().any(|(l, w)| k == l && v.equals(w));
                a.name == b.name && a.fields.len() == b.fields.len() && a.fields.iter().all(same)
            }
            (Val::Quantity(a), Val::Quantity(b)) => a == b,
            (Val::Url(a), Val::Url(b)) => a == b,
            (Val::Ip(a), Val::Ip(b)) => a == b,
            (Val::Cidr(a), Val::Cidr(b)) => a == b,
            (Val::Semver(a), Val::Semver(b)) => a == b,
            (Val::Format(a), Val::Format(b)) => a == b,
            _ => self.is_number() && self.compare(other) == Some(Ordering::Equal),
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Val::Int(_) | Val::Uint(_) | Val::Double(_))
    }

    /// The order of two values; `None` where there is none.
    pub(super) fn compare(&self, other: &Val<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Val::Int(a), Val::Int(b)) => a.cmp(b),
            (Val::Uint(a), Val::Uint(b)) => a.cmp(b),
            (Val::Int(a), Val::Uint(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Val::Uint(a), Val::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Val::Double(a), Val::Double(b)) => return a.partial_cmp(b),
            (Val::Double(a), Val::Int(b)) => return a.partial_cmp(&(*b as f64)),
            (Val::Double(a), Val::Uint(b)) => return a.partial_cmp(&(*b as f64)),
            (Val::Int(_) | Val::Uint(_), Val::Double(_)) => {
                return other.compare(self).map(Ordering::reverse);
            }
            (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
            (Val::String(a), Val::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Val::Bytes(a), Val::Bytes(b)) => a.cmp(b),
            (Val::Timestamp(a), Val::Timestamp(b)) => a.cmp(b),
            (Val::Duration(a), Val::Duration(b)) => a.cmp(b),
            _ => return None,
        })
    }

    /// Whether it is its type's empty value.
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Val::Null | Val::Optional(None) => true,
            Val::Bool(b) => !b,
            Val::Int(n) => *n == 0,
            Val::Uint(n) => *n == 0,
            Val::Double(d) => *d == 0.0,
            Val::Duration(n) => *n == 0,
            Val::Timestamp(t) => *t == jiff::Timestamp::UNIX_EPOCH,
            Val::String(_) | Val::Bytes(_) | Val::List(_) | Val::Map(_) => self.size() == 0,
            Val::Struct(made) => made.fields.is_empty(),
            _ => false,
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            List::Made(items) => items.len(),
            List::Json(items, ..) => items.len(),
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<Val<'a>> {
        match self {
            List::Made(items) => items.get(at).cloned(),
            List::Json(items, decl, _) => items.get(at).map(|v| Val::of(v, decl)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Val<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(super) fn contains(&self, wanted: &Val<'_>) -> bool {
        self.iter().any(|v| v.equals(wanted))
    }

    fn kind(&self) -> &ListKind {
        match self {
            List::Made(_) => &ATOMIC,
            List::Json(_, _, kind) => kind,
        }
    }

    fn equals(&self, other: &List<'_>) -> bool {
        let kind = if *self.kind() == ListKind::Atomic { other.kind() } else { self.kind() };
        self.len() == other.len()
            && match kind {
                ListKind::Atomic => self.iter().zip(other.iter()).all(|(a, b)| a.equals(&b)),
                _ => self.iter().all(|a| other.contains(&a)) && other.iter().all(|b| self.contains(&b)),
            }
    }

    /// Both lists in one: as their kind says where they have one.
    pub(super) fn plus(self, other: &List<'a>) -> List<'a> {
        let kind = self.kind().clone();
        let mut items = match self {
            List::Made(items) => items,
            json => Rc::new(json.iter().collect()),
        };
        let out = Rc::make_mut(&mut items);
        for item in other.iter() {
            let same = match &kind {
                ListKind::Atomic => None,
                ListKind::Set => out.iter().position(|old| old.equals(&item)),
                ListKind::Map(keys) => out.iter().position(|old| same_keys(old, &item, keys)),
            };
            match same {
                Some(at) => out[at] = item,
                None => out.push(item),
            }
        }
        List::Made(items)
    }
}

fn same_keys(a: &Val<'_>, b: &Val<'_>, keys: &[String]) -> bool {
    let (Val::Map(a), Val::Map(b)) = (a, b) else { return false };
    keys.iter().all(|key| match (a.property(key), b.property(key)) {
        (Some(a), Some(b)) => a.equals(&b),
        (a, b) => a.is_none() && b.is_none(),
    })
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Map::Made(entries) => entries.len(),
            Map::Json(members, _) => members.len(),
            Map::Object(members, object) => {
                object.fields.values().filter(|(n, _)| members.contains_key(n)).count()
            }
        }
    }

    /// The value under a property's name, escaped where it is a declared one.
    pub(super) fn property(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Map::Made(entries) => entries.get(&Key::String(name.to_owned())).map(|(_, v)| v.clone()),
            Map::Json(members, decl) => members.get(name).map(|v| Val::of(v, decl)),
            Map::Object(members, object) => {
                let (json, decl) = object.fields.get(name)?;
                members.get(json).map(|v| Val::of(v, decl))
            }
        }
    }

    pub(super) fn get(&self, key: &Val<'_>) -> Option<Val<'a>> {
        match (self, key) {
            (Map::Made(entries), _) => entries.get(&Key::of(key)?).map(|(_, v)| v.clone()),
            (_, Val::String(name)) => self.property(name),
            _ => None,
        }
    }

    pub(super) fn keys(&self) -> Vec<Val<'a>> {
        self.entries().into_iter().map(|(key, _)| key).collect()
    }

    pub(super) fn entries(&self) -> Vec<(Val<'a>, Val<'a>)> {
        match self {
            Map::Made(entries) => entries.values().cloned().collect(),
            Map::Json(members, decl) => {
                members.iter().map(|(k, v)| (Val::String(Text::Borrowed(k)), Val::of(v, decl))).collect()
            }
            Map::Object(members, object) => object
                .fields
                .iter()
                .filter_map(|(name, (json, decl))| {
                    Some((Val::String(Text::Borrowed(name)), Val::of(members.get(json)?, decl)))
                })
                .collect(),
        }
    }

    fn equals(&self, other: &Map<'_>) -> bool {
        self.len() == other.len()
            && self.entries().iter().all(|(k, v)| other.get(k).is_some_and(|w| v.equals(&w)))
    }
}
