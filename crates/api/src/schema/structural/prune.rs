//! Custom resources in the form in which the reference writes them: metadata typed, what is not in the schema dropped
//! and named, keys in order.

use serde_json::{Map, Number, Value};

use super::{Additional, At, Structural};
use crate::schema::{OBJECT_META, Schemas, Shaped, TypeError};

/// The fields that every object of the API has; a schema need not name them.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Brings an object into form; the schema is that of a whole object.
pub fn shape(schema: &Structural, mut value: Value) -> Result<Shaped, TypeError> {
    let mut pruner = Pruner { unknown: Vec::new() };
    if let Value::Object(map) = &mut value {
        pruner.resource(schema, map, &At::Root)?;
    }
    pruner.unknown.sort();
    Ok(Shaped { value, unknown: pruner.unknown })
}

/// A default without what its own schema does not know.
pub fn pruned_default(schema: &Structural, default: &Value) -> Result<Value, TypeError> {
    let mut value = default.clone();
    Pruner { unknown: Vec::new() }.value(Some(schema), &mut value, &At::Root)?;
    Ok(value)
}

struct Pruner {
    unknown: Vec<String>,
}

impl Pruner {
    /// An object with metadata of its own: the whole, or one embedded in it.
    fn resource(
        &mut self,
        schema: &Structural,
        map: &mut Map<String, Value>,
        at: &At<'_>,
    ) -> Result<(), TypeError> {
        if let Some(metadata) = map.get_mut("metadata")
            && !metadata.is_null()
        {
            let shaped = Schemas::builtin_ref().shape_as(OBJECT_META, metadata.take())?;
            *metadata = shaped.value;
            metadata.sort_all_objects();
            for path in shaped.unknown {
                self.complain(at, &format!("metadata.{path}"));
            }
        }
        self.members(schema, map, at, true)
    }

    fn value(
        &mut self,
        schema: Option<&Structural>,
        value: &mut Value,
        at: &At<'_>,
    ) -> Result<(), TypeError> {
        match (schema, value) {
            (Some(schema), Value::Object(map)) if schema.is_embedded => self.resource(schema, map, at),
            (Some(schema), Value::Object(map)) => self.members(schema, map, at, false),
            (None, Value::Object(map)) => {
                map.keys().for_each(|key| self.complain(at, key));
                map.clear();
                Ok(())
            }
            (schema, Value::Array(items)) => self.list(schema, items, at),
            (_, Value::Number(n)) => {
                as_go_keeps_it(n);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn list(
        &mut self,
        schema: Option<&Structural>,
        items: &mut [Value],
        at: &At<'_>,
    ) -> Result<(), TypeError> {
        let keeps_unknown = schema.is_some_and(|s| s.keeps_unknown);
        let of = schema.and_then(|s| s.items.as_deref());
        for (i, item) in items.iter_mut().enumerate() {
            if of.is_none() && keeps_unknown {
                item.sort_all_objects();
            } else {
                self.value(of, item, &At::Item(at, i))?;
            }
        }
        Ok(())
    }

    fn members(
        &mut self,
        schema: &Structural,
        map: &mut Map<String, Value>,
        at: &At<'_>,
        is_resource: bool,
    ) -> Result<(), TypeError> {
        let mut unknown = Vec::new();
        for (key, value) in map.iter_mut() {
            if is_resource && META_FIELDS.contains(&key.as_str()) {
                continue;
            }
            let here = At::Member(at, key);
            match (schema.properties.get(key), &schema.additional) {
                (Some(of), _) => self.value(Some(of), value, &here)?,
                (None, Some(Additional::Schema(of))) => self.value(Some(of), value, &here)?,
                _ if schema.keeps_unknown => value.sort_all_objects(),
                (None, Some(Additional::Allowed(_))) => self.value(None, value, &here)?,
                (None, None) => unknown.push(key.clone()),
            }
        }
        for key in unknown {
            self.complain(at, &key);
            map.shift_remove(&key);
        }
        if !map.keys().is_sorted() {
            map.sort_keys();
        }
        Ok(())
    }

    fn complain(&mut self, at: &At<'_>, key: &str) {
        self.unknown.push(At::Member(at, key).path());
    }
}

/// Go keeps a whole number that no int64 holds as a float64.
fn as_go_keeps_it(n: &mut Number) {
    if n.as_i64().is_none()
        && let Some(float) = n.as_u64().and_then(|large| Number::from_f64(large as f64))
    {
        *n = float;
    }
}
