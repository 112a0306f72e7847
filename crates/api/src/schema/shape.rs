//! What decoding into Go's structs and encoding again does to an object: types are checked, unknown fields dropped and
//! reported, empty values left out or filled in as the struct's tags say, keys put in order.
//!
//! The reference keeps most objects as protobuf, where an empty list or map is none at all; so it is here.

use serde_json::{Map, Value};

use super::facts::{Definition, Emit, Field, Type};
use super::scalar;
use super::{Registry, Shaped, TypeError};

pub(super) fn shape(registry: &Registry, index: usize, value: Value) -> Result<Shaped, TypeError> {
    let mut shaper = Shaper { registry, unknown: Vec::new() };
    let value = shaper.value(&Type::Struct(index), value, &At::Root)?;
    Ok(Shaped { value, unknown: shaper.unknown })
}

struct Shaper<'a> {
    registry: &'a Registry,
    unknown: Vec<String>,
}

/// Where in the body a value stands; a list on the stack, so that only a complaint costs an allocation.
enum At<'a> {
    Root,
    Field { outer: &'a At<'a>, name: &'a str, field: Option<&'a Field>, owner: &'a Definition },
    Index { outer: &'a At<'a>, index: usize },
    Key { outer: &'a At<'a>, key: &'a str },
}

impl Shaper<'_> {
    fn value(&mut self, ty: &Type, value: Value, at: &At<'_>) -> Result<Value, TypeError> {
        if value.is_null() {
            return Ok(self.zero(ty));
        }
        match (ty, value) {
            (Type::Any, value) => Ok(value),
            (Type::Struct(index), Value::Object(map)) => self.object(*index, map, at),
            (Type::List(of), Value::Array(items)) => self.list(of, items, at),
            (Type::Map(of), Value::Object(map)) => self.map(of, map, at),
            (Type::SchemaOr(index), Value::Object(map)) => self.object(*index, map, at),
            (Type::SchemaOr(_), Value::Array(items)) => self.list(ty, items, at),
            (Type::SchemaOr(_), value @ Value::Bool(_)) => Ok(value),
            (ty, value) => scalar::check(ty, value).map_err(|wrong| match wrong {
                scalar::Wrong::Type(said) => self.wrong_type(&said, ty, at),
                scalar::Wrong::Value(said) => TypeError(said),
            }),
        }
    }

    fn object(&mut self, index: usize, map: Map<String, Value>, at: &At<'_>) -> Result<Value, TypeError> {
        let registry = self.registry;
        let definition = &registry.definitions[index];
        let mut given: Vec<Option<(String, Value)>> = Vec::new();
        given.resize_with(definition.fields.len(), || None);
        for (key, value) in map {
            let Some(i) = definition.position(&key) else {
                self.unknown.push(At::Field { outer: at, name: &key, field: None, owner: definition }.path());
                continue;
            };
            if value.is_null() {
                continue;
            }
            let field = &definition.fields[i];
            let here = At::Field { outer: at, name: &key, field: Some(field), owner: definition };
            let value = self.value(&field.ty, value, &here)?;
            given[i] = Some((key, value));
        }
        Ok(Value::Object(self.write(definition, given)))
    }

    /// The fields in order, each as its tags want it.
    fn write(&self, definition: &Definition, given: Vec<Option<(String, Value)>>) -> Map<String, Value> {
        let mut out = Map::with_capacity(given.iter().flatten().count() + 2);
        for (field, given) in definition.fields.iter().zip(given) {
            match given {
                Some((key, value)) => {
                    if let Some(value) = written(field, value) {
                        out.insert(key, value);
                    }
                }
                None => {
                    if let Some(value) = self.unset(field) {
                        out.insert(field.name.clone().into_owned(), value);
                    }
                }
            }
        }
        out
    }

    /// What stands in the place of a field that is not set.
    fn unset(&self, field: &Field) -> Option<Value> {
        match field.emit {
            Emit::Always => Some(self.zero(&field.ty)),
            Emit::AlwaysOrNull => Some(Value::Null),
            Emit::UnlessEmpty if is_struct(&field.ty) => Some(self.zero(&field.ty)),
            _ => None,
        }
    }

    /// A Go zero value, as JSON.
    fn zero(&self, ty: &Type) -> Value {
        match ty {
            Type::String | Type::Bytes => Value::String(String::new()),
            Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString => Value::from(0),
            Type::Bool => Value::Bool(false),
            Type::Quantity => Value::String("0".to_owned()),
            Type::Struct(index) => {
                let definition = &self.registry.definitions[*index];
                let none = definition.fields.iter().map(|_| None).collect();
                Value::Object(self.write(definition, none))
            }
            Type::Time | Type::MicroTime | Type::Any | Type::SchemaOr(_) | Type::List(_) | Type::Map(_) => {
                Value::Null
            }
        }
    }

    fn list(&mut self, of: &Type, items: Vec<Value>, at: &At<'_>) -> Result<Value, TypeError> {
        let shaped = items.into_iter().enumerate();
        let shaped: Result<Vec<Value>, TypeError> =
            shaped.map(|(index, item)| self.value(of, item, &At::Index { outer: at, index })).collect();
        shaped.map(Value::Array)
    }

    fn map(&mut self, of: &Type, map: Map<String, Value>, at: &At<'_>) -> Result<Value, TypeError> {
        let mut out = Map::with_capacity(map.len());
        for (key, value) in map {
            let value = self.value(of, value, &At::Key { outer: at, key: &key })?;
            out.insert(key, value);
        }
        // Go writes the keys of a map sorted.
        out.sort_keys();
        Ok(Value::Object(out))
    }

    fn wrong_type(&self, said: &str, ty: &Type, at: &At<'_>) -> TypeError {
        let ty = at.go_type().unwrap_or_else(|| self.go_type(ty));
        TypeError(match at.go_field() {
            Some(field) => format!("json: cannot unmarshal {said} into Go struct field {field} of type {ty}"),
            None => format!("json: cannot unmarshal {said} into Go value of type {ty}"),
        })
    }

    /// A type as Go's reflection names it.
    fn go_type(&self, ty: &Type) -> String {
        match ty {
            Type::String => "string".to_owned(),
            Type::Int32 => "int32".to_owned(),
            Type::Int64 => "int64".to_owned(),
            Type::Float => "float64".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Bytes => "[]uint8".to_owned(),
            Type::Struct(i) | Type::SchemaOr(i) => self.registry.definitions[*i].go_name().to_owned(),
            Type::List(of) => format!("[]{}", self.go_type(of)),
            Type::Map(of) => format!("map[string]{}", self.go_type(of)),
            Type::Time | Type::MicroTime | Type::Quantity | Type::IntOrString | Type::Any => {
                "string".to_owned()
            }
        }
    }
}

/// A given value as the field's tags want it; none where it is left out.
fn written(field: &Field, value: Value) -> Option<Value> {
    let is_empty = match &value {
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty() && !is_struct(&field.ty),
        Value::String(s) => s.is_empty() && !is_struct(&field.ty),
        Value::Bool(b) => !b,
        Value::Number(n) => !is_struct(&field.ty) && n.as_f64() == Some(0.0),
        Value::Null => true,
    };
    if !is_empty {
        return Some(value);
    }
    match field.emit {
        Emit::UnlessEmpty | Emit::UnlessZero => None,
        _ if matches!(field.ty, Type::List(_) | Type::Map(_)) => {
            matches!(field.emit, Emit::Always | Emit::AlwaysOrNull).then_some(Value::Null)
        }
        _ => Some(value),
    }
}

/// Whether Go has a struct here, which `omitempty` never leaves out.
fn is_struct(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Struct(_) | Type::Quantity | Type::IntOrString | Type::Time | Type::MicroTime | Type::Any
    )
}

impl At<'_> {
    /// `spec.containers[0].image`
    fn path(&self) -> String {
        let mut out = String::new();
        self.write_path(&mut out);
        out
    }

    fn write_path(&self, out: &mut String) {
        let (outer, name) = match self {
            At::Root => return,
            At::Index { outer, index } => {
                outer.write_path(out);
                out.push_str(&format!("[{index}]"));
                return;
            }
            At::Field { outer, name, .. } => (outer, name),
            At::Key { outer, key } => (outer, key),
        };
        outer.write_path(out);
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(name);
    }

    /// `Container.spec.containers.image`: the innermost struct, then the fields from the root, without indexes and keys.
    fn go_field(&self) -> Option<String> {
        let (mut names, mut owner, mut at) = (Vec::new(), None, self);
        loop {
            at = match at {
                At::Root => break,
                At::Index { outer, .. } | At::Key { outer, .. } => outer,
                At::Field { outer, name, owner: definition, .. } => {
                    owner = owner.or(Some(*definition));
                    names.push(*name);
                    outer
                }
            };
        }
        names.reverse();
        owner.map(|o| format!("{}.{}", o.short_name(), names.join(".")))
    }

    /// The Go type here, where the facts name it: for an item of `[]v1.Capability`, `v1.Capability`.
    fn go_type(&self) -> Option<String> {
        match self {
            At::Root => None,
            At::Field { field, .. } => field.map(|f| f.go_type.to_string()).filter(|t| !t.is_empty()),
            At::Index { outer, .. } => outer.go_type()?.strip_prefix("[]").map(str::to_owned),
            At::Key { outer, .. } => {
                let outer = outer.go_type()?;
                outer
                    .starts_with("map[")
                    .then(|| outer.split_once(']').map(|(_, of)| of.to_owned()))
                    .flatten()
            }
        }
    }
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
