//! The form in which the reference shows parts of a Pod in errors: its internal types, with the names and the order of
//! their Go fields and a null for everything that is not set.

use serde_json::{Map, Value};

use super::internal_types::TYPES;

/// What a field holds, and so what it shows where it is not set.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// "" where it is missing.
    Text,
    /// 0 where it is missing.
    Number,
    /// false where it is missing.
    Flag,
    /// Whatever the value is; null where it is missing.
    Raw,
    Struct(&'static str),
    Pointer(&'static str),
    List(&'static str),
    /// The fields of another type, among this type's own.
    Inline(&'static str),
    /// Fields that the internal type keeps in its security context, though the API has them beside it.
    FromParent(&'static str),
}

/// A field by its Go name and its JSON name.
pub type Field = (&'static str, &'static str, Shape);

/// Which value a diff shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form(pub &'static str);

pub const POD_SPEC: Form = Form("PodSpec");
pub const SECURITY_CONTEXT: Form = Form("SecurityContext");
pub const SECCOMP_PROFILE: Form = Form("SeccompProfile");
pub const TAINT: Form = Form("Taint");
pub const EPHEMERAL_CONTAINER: Form = Form("EphemeralContainer");

pub fn value(form: Form, v: &Value) -> Value {
    structure(form.0, v, &Value::Null)
}

fn structure(name: &str, v: &Value, parent: &Value) -> Value {
    let mut out = Map::new();
    fill(name, v, parent, &mut out);
    Value::Object(out)
}

fn fill(name: &str, v: &Value, parent: &Value, out: &mut Map<String, Value>) {
    let fields = TYPES.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, fields)| *fields);
    for (go, json, shape) in fields {
        let given = v.get(*json).unwrap_or(&Value::Null);
        let shown = match shape {
            Shape::Inline(inner) => {
                fill(inner, v, parent, out);
                continue;
            }
            Shape::FromParent(kind) => {
                let given = parent.get(*json).cloned().unwrap_or(Value::Null);
                if *kind == "flag" { or(given, Value::Bool(false)) } else { given }
            }
            Shape::Text => or(given.clone(), Value::from("")),
            Shape::Number => or(given.clone(), Value::from(0)),
            Shape::Flag => or(given.clone(), Value::Bool(false)),
            Shape::Raw => given.clone(),
            Shape::Struct(inner) => structure(inner, given, v),
            Shape::Pointer(_) if given.is_null() => Value::Null,
            Shape::Pointer(inner) => structure(inner, given, v),
            Shape::List(inner) => match given.as_array() {
                None => Value::Null,
                Some(items) => items.iter().map(|item| structure(inner, item, v)).collect(),
            },
        };
        out.insert((*go).to_owned(), shown);
    }
}

fn or(given: Value, zero: Value) -> Value {
    if given.is_null() { zero } else { given }
}
