//! Defaults of custom resources, and nulls where nothing may be null.

use serde_json::{Map, Value};

use super::Structural;

impl Structural {
    /// Drops nulls that may not be there and have no default, and fills in what has one.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                self.drop_nulls(map);
                self.fill_members(map);
            }
            Value::Array(items) => {
                let Some(of) = &self.items else { return };
                for item in items {
                    of.fill_null(item);
                    of.fill(item);
                }
            }
            _ => {}
        }
    }

    fn drop_nulls(&self, map: &mut Map<String, Value>) {
        let is_void = |key: &String, value: &Value| {
            value.is_null() && self.member(key).is_some_and(|s| !s.is_nullable && s.default.is_none())
        };
        if map.iter().any(|(key, value)| is_void(key, value)) {
            map.retain(|key, value| !is_void(key, value));
        }
    }

    fn fill_members(&self, map: &mut Map<String, Value>) {
        let mut added = false;
        for (key, schema) in &self.properties {
            let Some(default) = &schema.default else { continue };
            let is_wanted = map.get(key).is_none_or(|v| v.is_null() && !schema.is_nullable);
            if is_wanted {
                map.insert(key.clone(), default.clone());
                added = true;
            }
        }
        if added && !map.keys().is_sorted() {
            map.sort_keys();
        }
        for (key, value) in map.iter_mut() {
            if let Some(schema) = self.member(key) {
                schema.fill_null(value);
                schema.fill(value);
            }
        }
    }

    fn fill_null(&self, value: &mut Value) {
        if value.is_null()
            && !self.is_nullable
            && let Some(default) = &self.default
        {
            *value = default.clone();
        }
    }
}
