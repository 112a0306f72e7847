//! What decoding into Go's structs and encoding again does to an object: types are checked, unknown fields dropped and
//! reported, empty values left out or filled in as the struct's tags say, keys put in order.
//!
//! The reference keeps most objects as protobuf, where an empty list or map is none at all; so it is here.

use serde_json::{Map, Value};

use super::facts::{Definition, Emit, Field, Type};
use super::scalar;
use super::{Registry, Shaped, TypeError};

pub(super) fn shape(registry: &Registry, index: usize, mut value: Value) -> Result<Shaped, TypeError> {
    let mut shaper = Shaper { registry, unknown: Vec::new() };
    shaper.value(&Type::Struct(index), &mut value, &At::Root)?;
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
    fn value(&mut self, ty: &Type, value: &mut Value, at: &At<'_>) -> Result<(), TypeError> {
        if value.is_null() {
            *value = self.zero(ty);
            return Ok(());
        }
        match (ty, value) {
            (Type::Any, _) | (Type::SchemaOr(_), Value::Bool(_)) => Ok(()),
            (Type::Struct(index) | Type::SchemaOr(index), Value::Object(map)) => self.object(*index, map, at),
            (Type::List(of), Value::Array(items)) => self.list(of, items, at),
            (Type::Map(of), Value::Object(map)) => self.map(of, map, at),
            (Type::SchemaOr(_), Value::Array(items)) => self.list(ty, items, at),
            (ty, scalar) => {
                *scalar = scalar::check(ty, scalar.take()).map_err(|wrong| match wrong {
                    scalar::Wrong::Type(said) => self.wrong_type(&said, ty, at),
                    scalar::Wrong::Value(said) => TypeError(said),
                })?;
                Ok(())
            }
        }
    }

    /// Most objects have the form already: they come from Go, or are shaped again after admission has added to them.
    /// Those are checked where they stand; only others are put together anew.
    fn object(&mut self, index: usize, map: &mut Map<String, Value>, at: &At<'_>) -> Result<(), TypeError> {
        let definition = &self.registry.definitions[index];
        let mut has_form = true;
        // The fields before this one have been passed.
        let mut next = 0;
        for (key, value) in map.iter_mut() {
            let Some(i) = definition.position_from(next, key) else {
                self.unknown.push(At::Field { outer: at, name: key, field: None, owner: definition }.path());
                has_form = false;
                continue;
            };
            let field = &definition.fields[i];
            let as_given = if value.is_null() {
                field.emit == Emit::AlwaysOrNull
            } else {
                let here = At::Field { outer: at, name: key, field: Some(field), owner: definition };
                self.value(&field.ty, value, &here)?;
                written(field, value) == Written::AsGiven
            };
            let is_next = i >= next && !definition.fields[next..i].iter().any(is_written_unset);
            has_form = has_form && as_given && is_next;
            next = i + 1;
        }
        if !has_form || definition.fields[next..].iter().any(is_written_unset) {
            *map = self.assemble(definition, std::mem::take(map));
        }
        Ok(())
    }

    /// An object's known fields, their values shaped already, in the form that the reference writes.
    fn assemble(&self, definition: &Definition, map: Map<String, Value>) -> Map<String, Value> {
        let mut given: Vec<Option<(String, Value)>> = Vec::new();
        given.resize_with(definition.fields.len(), || None);
        for (key, value) in map {
            if let Some(i) = definition.position(&key).filter(|_| !value.is_null()) {
                given[i] = Some((key, value));
            }
        }
        self.write(definition, given)
    }

    /// The fields in order, each as its tags want it.
    fn write(&self, definition: &Definition, given: Vec<Option<(String, Value)>>) -> Map<String, Value> {
        let mut out = Map::with_capacity(given.iter().flatten().count() + 2);
        for (field, given) in definition.fields.iter().zip(given) {
            match given {
                Some((key, value)) => match written(field, &value) {
                    Written::AsGiven => drop(out.insert(key, value)),
                    Written::AsNull => drop(out.insert(key, Value::Null)),
                    Written::Not => {}
                },
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

    fn list(&mut self, of: &Type, items: &mut [Value], at: &At<'_>) -> Result<(), TypeError> {
        let mut items = items.iter_mut().enumerate();
        items.try_for_each(|(index, item)| self.value(of, item, &At::Index { outer: at, index }))
    }

    fn map(&mut self, of: &Type, map: &mut Map<String, Value>, at: &At<'_>) -> Result<(), TypeError> {
        for (key, value) in map.iter_mut() {
            self.value(of, value, &At::Key { outer: at, key })?;
        }
        // Go writes the keys of a map sorted.
        if !map.keys().is_sorted() {
            map.sort_keys();
        }
        Ok(())
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

/// How the field's tags want a given value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    AsGiven,
    AsNull,
    Not,
}

fn written(field: &Field, value: &Value) -> Written {
    let is_empty = match value {
        Value::Array(a) => a.is_empty() && !is_struct(&field.ty),
        Value::Object(o) => o.is_empty() && !is_struct(&field.ty),
        Value::String(s) => s.is_empty() && !is_struct(&field.ty),
        Value::Bool(b) => !b && !is_struct(&field.ty),
        Value::Number(n) => !is_struct(&field.ty) && n.as_f64() == Some(0.0),
        Value::Null => true,
    };
    if !is_empty {
        return Written::AsGiven;
    }
    match field.emit {
        Emit::UnlessEmpty | Emit::UnlessZero => Written::Not,
        Emit::Always | Emit::AlwaysOrNull if is_collection(&field.ty) => Written::AsNull,
        _ if is_collection(&field.ty) => Written::Not,
        _ => Written::AsGiven,
    }
}

fn is_collection(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Map(_))
}

/// Whether something is written for a field that is not set; see [`Shaper::unset`].
fn is_written_unset(field: &Field) -> bool {
    match field.emit {
        Emit::Always | Emit::AlwaysOrNull => true,
        Emit::UnlessEmpty => is_struct(&field.ty),
        Emit::WhereSet | Emit::UnlessZero => false,
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
