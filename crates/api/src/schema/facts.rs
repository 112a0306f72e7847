//! Reads the facts file into definitions that refer to each other by index.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{COMMON, ListKind, Registry};
use crate::kinds::Text;

/// A struct of the API.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Without `io.k8s.`: `api.core.v1.Container`.
    pub name: Text,
    /// In the order of the Go struct.
    pub fields: Vec<Field>,
    /// Positions in `fields`, by name.
    sorted: Vec<u16>,
    /// Whether an applied change replaces the whole struct.
    pub is_atomic: bool,
    pub kinds: Vec<GroupVersionKindText>,
}

/// `group/version/Kind`, as `x-kubernetes-group-version-kind` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupVersionKindText {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: Text,
    pub ty: Type,
    pub emit: Emit,
    /// The protobuf field number; a path (`2.1`) where Go embeds a struct; empty where protobuf has none.
    pub number: Text,
    /// The numbers of `number`, the outermost first; none where protobuf has none.
    pub path: Box<[u32]>,
    pub is_required: bool,
    /// How lists merge when applied; none where nothing is said.
    pub list: Option<OwnedListKind>,
    pub is_atomic_map: bool,
    /// `x-kubernetes-patch-strategy`: `merge`, `replace`, `retainKeys`, joined by commas.
    pub patch_strategy: Text,
    pub patch_merge_key: Text,
    /// The Go type as errors name it, where it does not follow from `ty`.
    pub go_type: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedListKind {
    Atomic,
    Set,
    Map(Vec<Text>),
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// Always; as the zero value where it is not set.
    Always,
    /// Always; as null where it is not set.
    AlwaysOrNull,
    /// Unless it is empty; a struct always.
    UnlessEmpty,
    /// Where it is set, even if to an empty value.
    WhereSet,
    /// Unless it is zero, a struct too.
    UnlessZero,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    String,
    Int32,
    Int64,
    Float,
    Bool,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// Any JSON, kept as it is.
    Any,
    /// A schema of a custom resource, a list of them, or a boolean.
    SchemaOr(usize),
    Struct(usize),
    List(Box<Type>),
    Map(Box<Type>),
}

impl Definition {
    pub fn position(&self, name: &str) -> Option<usize> {
        let at = self.sorted.binary_search_by(|&i| (*self.fields[usize::from(i)].name).cmp(name)).ok()?;
        Some(usize::from(self.sorted[at]))
    }

    /// As [`Definition::position`], for names that mostly come in the order of the fields, from `next` on.
    pub(super) fn position_from(&self, next: usize, name: &str) -> Option<usize> {
        let ahead = self.fields.get(next..)?.iter().position(|field| field.name == name);
        ahead.map(|n| next + n).or_else(|| self.position(name))
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|i| &self.fields[i])
    }

    /// As the reference's documents name it: `io.k8s.api.core.v1.Container`.
    pub fn full_name(&self) -> String {
        format!("{COMMON}{}", self.name)
    }

    /// As Go's errors name it: `v1.Container`.
    pub fn go_name(&self) -> &str {
        let mut dots = self.name.rmatch_indices('.');
        dots.nth(1).map_or(&self.name, |(at, _)| &self.name[at + 1..])
    }

    /// `Container`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    fn sort(&mut self) {
        let mut sorted: Vec<u16> = (0..self.fields.len() as u16).collect();
        sorted.sort_by(|&a, &b| self.fields[usize::from(a)].name.cmp(&self.fields[usize::from(b)].name));
        self.sorted = sorted;
    }
}

impl Registry {
    /// The facts file is our own and tested whole, so a line that cannot be read is a bug, not an input error.
    pub(super) fn read(text: &'static str) -> Registry {
        let names = text.lines().filter_map(|l| l.strip_prefix('='));
        let by_name: HashMap<Text, usize> =
            names.map(|l| Cow::Borrowed(first(l))).enumerate().map(|(i, n)| (n, i)).collect();
        let mut registry = Registry { definitions: Vec::with_capacity(by_name.len()), by_name };
        for line in text.lines() {
            match line.strip_prefix('=') {
                Some(rest) => registry.definitions.push(read_definition(rest)),
                None => {
                    let field = read_field(line, &registry.by_name);
                    registry
                        .definitions
                        .last_mut()
                        .expect("a field stands below its definition")
                        .fields
                        .push(field);
                }
            }
        }
        registry.definitions.iter_mut().for_each(Definition::sort);
        registry
    }
}

fn first(line: &'static str) -> &'static str {
    line.split('\t').next().unwrap_or(line)
}

fn read_definition(line: &'static str) -> Definition {
    let mut definition = Definition {
        name: Cow::Borrowed(first(line)),
        fields: Vec::new(),
        sorted: Vec::new(),
        is_atomic: false,
        kinds: Vec::new(),
    };
    for fact in line.split('\t').skip(1) {
        if fact == "Ma" {
            definition.is_atomic = true;
        } else if let Some(gvk) = fact.strip_prefix("V:") {
            let mut parts = gvk.splitn(3, '/').map(Cow::Borrowed);
            let mut next = || parts.next().unwrap_or_default();
            definition.kinds.push(GroupVersionKindText { group: next(), version: next(), kind: next() });
        }
    }
    definition
}

fn read_field(line: &'static str, by_name: &HashMap<Text, usize>) -> Field {
    let mut facts = line.split('\t');
    let mut next = || facts.next().unwrap_or("");
    let (name, ty, written) = (next(), next(), next());
    let (emit, number) = written.split_once('#').unwrap_or((written, ""));
    let mut field = Field {
        name: Cow::Borrowed(name),
        ty: read_type(ty, by_name),
        emit: read_emit(emit),
        number: Cow::Borrowed(number),
        path: number.split('.').filter_map(|n| n.parse().ok()).collect(),
        is_required: false,
        list: None,
        is_atomic_map: false,
        patch_strategy: Cow::Borrowed(""),
        patch_merge_key: Cow::Borrowed(""),
        go_type: Cow::Borrowed(""),
    };
    for fact in facts {
        match fact.split_once(':').unwrap_or((fact, "")) {
            ("!", _) => field.is_required = true,
            ("La", _) => field.list = Some(OwnedListKind::Atomic),
            ("Ls", _) => field.list = Some(OwnedListKind::Set),
            ("Lk", keys) => {
                field.list = Some(OwnedListKind::Map(keys.split(',').map(Cow::Borrowed).collect()))
            }
            ("Ma", _) => field.is_atomic_map = true,
            ("P", strategy) => field.patch_strategy = Cow::Borrowed(strategy),
            ("K", key) => field.patch_merge_key = Cow::Borrowed(key),
            ("G", ty) => field.go_type = Cow::Borrowed(ty),
            _ => {}
        }
    }
    field
}

fn read_emit(letter: &str) -> Emit {
    match letter {
        "a" => Emit::Always,
        "A" => Emit::AlwaysOrNull,
        "p" => Emit::WhereSet,
        "z" => Emit::UnlessZero,
        _ => Emit::UnlessEmpty,
    }
}

fn read_type(text: &str, by_name: &HashMap<Text, usize>) -> Type {
    let Some(letter) = text.chars().next() else { return Type::Any };
    match letter {
        '[' => Type::List(Box::new(read_type(&text[1..], by_name))),
        '{' => Type::Map(Box::new(read_type(&text[1..], by_name))),
        '@' => by_name.get(&text[1..]).map_or(Type::Any, |&i| Type::Struct(i)),
        '?' => by_name.get(JSON_SCHEMA_PROPS).map_or(Type::Any, |&i| Type::SchemaOr(i)),
        's' => Type::String,
        'i' => Type::Int32,
        'l' => Type::Int64,
        'f' => Type::Float,
        'b' => Type::Bool,
        'y' => Type::Bytes,
        't' => Type::Time,
        'u' => Type::MicroTime,
        'q' => Type::Quantity,
        'x' => Type::IntOrString,
        _ => Type::Any,
    }
}

const JSON_SCHEMA_PROPS: &str = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

impl Field {
    /// Whether this is a list of a named Go type (`Verbs`): protobuf gives such a message of its own.
    pub fn is_named_list(&self) -> bool {
        matches!(self.ty, Type::List(_)) && !self.go_type.is_empty() && !self.go_type.starts_with("[]")
    }

    pub fn list_kind(&self) -> ListKind<'_> {
        match &self.list {
            None | Some(OwnedListKind::Atomic) => ListKind::Atomic,
            Some(OwnedListKind::Set) => ListKind::Set,
            Some(OwnedListKind::Map(keys)) => ListKind::Map(keys),
        }
    }
}
