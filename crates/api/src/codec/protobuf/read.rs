//! Messages to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::wire::{BYTES, FIXED64, Reader, VARINT};
use super::{Error, number_below};
use crate::codec::json;
use crate::schema::{Definition, Field, Schemas, Type};

/// Only the schema of a custom resource recurses; the reference's decoder gives up on deep nesting as well.
const DEPTH: usize = 200;

pub(super) fn message(
    schemas: &Schemas,
    definition: &Definition,
    data: &[u8],
    out: &mut Map<String, Value>,
) -> Result<(), Error> {
    Messages { schemas, depth: 0 }.message(definition, "", data, out)
}

struct Messages<'a> {
    schemas: &'a Schemas,
    depth: usize,
}

impl Messages<'_> {
    /// `prefix` is the way through embedded structs: `2.` while reading what stands in field 2.
    fn message(
        &mut self,
        definition: &Definition,
        prefix: &str,
        data: &[u8],
        out: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Error::Depth);
        }
        let mut reader = Reader::new(data);
        while let Some((number, wire)) = reader.tag()? {
            let field = definition.fields.iter().find(|f| number_below(f, prefix) == Some(number));
            if let Some(field) = field {
                self.field(field, wire, &mut reader, out)?;
                continue;
            }
            let deeper = format!("{prefix}{number}.");
            if definition.fields.iter().any(|f| f.number.starts_with(&deeper)) {
                let embedded = reader.bytes(wire, &deeper)?;
                self.message(definition, &deeper, embedded, out)?;
            } else {
                reader.skip(wire)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        wire: u8,
        reader: &mut Reader<'_>,
        out: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let name = &*field.name;
        match &field.ty {
            Type::List(of) if !field.is_named_list() => {
                let list = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(items) = list else { return Ok(()) };
                if wire == BYTES && is_number(of) {
                    let mut packed = Reader::new(reader.bytes(wire, name)?);
                    while !packed.is_empty() {
                        items.push(self.value(of, VARINT, &mut packed, name)?);
                    }
                } else {
                    items.push(self.value(of, wire, reader, name)?);
                }
            }
            Type::Map(of) => {
                let (key, value) = self.entry(of, reader.bytes(wire, name)?, name)?;
                let map = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            ty => {
                let value = self.value(ty, wire, reader, name)?;
                out.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    fn entry(&mut self, of: &Type, data: &[u8], name: &str) -> Result<(String, Value), Error> {
        let (mut key, mut value) = (String::new(), Value::Null);
        let mut reader = Reader::new(data);
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => key = reader.text(wire, name)?,
                2 => value = self.value(of, wire, &mut reader, name)?,
                _ => reader.skip(wire)?,
            }
        }
        Ok((key, value))
    }

    fn value(&mut self, ty: &Type, wire: u8, reader: &mut Reader<'_>, name: &str) -> Result<Value, Error> {
        let wrong = || Error::WireType { wire, field: name.to_owned() };
        Ok(match ty {
            Type::Int32 | Type::Int64 | Type::Bool if wire != VARINT => return Err(wrong()),
            Type::Int32 => Value::from(reader.varint()? as i32),
            Type::Int64 => Value::from(reader.varint()? as i64),
            Type::Bool => Value::Bool(reader.varint()? != 0),
            Type::Float if wire != FIXED64 => return Err(wrong()),
            Type::Float => Value::from(f64::from_le_bytes(reader.fixed64()?)),
            Type::String => Value::String(reader.text(wire, name)?),
            Type::Bytes => Value::String(STANDARD.encode(reader.bytes(wire, name)?)),
            Type::Struct(index) => {
                let mut out = Map::new();
                let schemas = self.schemas;
                self.message(schemas.at(*index), "", reader.bytes(wire, name)?, &mut out)?;
                Value::Object(out)
            }
            // A list that is no field stands in a message of its own, as its first field.
            Type::List(of) => {
                let mut inner = Reader::new(reader.bytes(wire, name)?);
                let mut items = Vec::new();
                while let Some((number, wire)) = inner.tag()? {
                    match number {
                        1 => items.push(self.value(of, wire, &mut inner, name)?),
                        _ => inner.skip(wire)?,
                    }
                }
                Value::Array(items)
            }
            Type::Time | Type::MicroTime => time(reader.bytes(wire, name)?, *ty == Type::MicroTime)?,
            Type::Quantity => quantity(reader.bytes(wire, name)?)?,
            Type::IntOrString => int_or_string(reader.bytes(wire, name)?)?,
            Type::Any => any(reader.bytes(wire, name)?, name)?,
            Type::SchemaOr(index) => self.schema_or(*index, reader.bytes(wire, name)?, name)?,
            Type::Map(_) => return Err(wrong()),
        })
    }

    /// `items` is a schema or a list of them (1, 2); elsewhere it is a boolean or a schema (1, 2).
    fn schema_or(&mut self, index: usize, data: &[u8], name: &str) -> Result<Value, Error> {
        let schemas = self.schemas;
        let (mut one, mut many, mut allows) = (None, Vec::new(), false);
        let mut reader = Reader::new(data);
        while let Some((number, wire)) = reader.tag()? {
            match (number, wire) {
                (1, VARINT) => allows = reader.varint()? != 0,
                (1 | 2, BYTES) => {
                    let mut out = Map::new();
                    self.message(schemas.at(index), "", reader.bytes(wire, name)?, &mut out)?;
                    if number == 2 && name == "items" {
                        many.push(Value::Object(out));
                    } else {
                        one = Some(Value::Object(out));
                    }
                }
                _ => reader.skip(wire)?,
            }
        }
        Ok(match one {
            Some(schema) => schema,
            None if name == "items" => Value::Array(many),
            None => Value::Bool(allows),
        })
    }
}

fn is_number(ty: &Type) -> bool {
    matches!(ty, Type::Int32 | Type::Int64 | Type::Bool)
}

fn time(data: &[u8], with_micros: bool) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    let mut reader = Reader::new(data);
    while let Some((number, wire)) = reader.tag()? {
        match (number, wire) {
            (1, VARINT) => seconds = reader.varint()? as i64,
            (2, VARINT) => nanos = reader.varint()? as i32,
            _ => reader.skip(wire)?,
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(Value::Null);
    }
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| Error::Text("seconds".to_owned()))?;
    let form = if with_micros { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Value::String(time.strftime(form).to_string()))
}

fn quantity(data: &[u8]) -> Result<Value, Error> {
    let mut text = String::new();
    let mut reader = Reader::new(data);
    while let Some((number, wire)) = reader.tag()? {
        match number {
            1 => text = reader.text(wire, "quantity")?,
            _ => reader.skip(wire)?,
        }
    }
    Ok(Value::String(if text.is_empty() { "0".to_owned() } else { text }))
}

fn int_or_string(data: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number_value, mut text) = (false, 0i32, String::new());
    let mut reader = Reader::new(data);
    while let Some((number, wire)) = reader.tag()? {
        match (number, wire) {
            (1, VARINT) => is_text = reader.varint()? == 1,
            (2, VARINT) => number_value = reader.varint()? as i32,
            (3, _) => text = reader.text(wire, "strVal")?,
            _ => reader.skip(wire)?,
        }
    }
    Ok(if is_text { Value::String(text) } else { Value::from(number_value) })
}

/// JSON carried as raw bytes.
fn any(data: &[u8], name: &str) -> Result<Value, Error> {
    let mut value = Value::Null;
    let mut reader = Reader::new(data);
    while let Some((number, wire)) = reader.tag()? {
        match number {
            1 => {
                let raw = reader.bytes(wire, name)?;
                value = json::parse(raw).map_err(|_| Error::Json(name.to_owned()))?.value;
            }
            _ => reader.skip(wire)?,
        }
    }
    Ok(value)
}
