//! How a kind prints as a table: its columns and the cells of one object.

use serde_json::Value;

use crate::object;

/// A column of `kubectl get`, as the Table API announces it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the first column, else mostly empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

pub trait Print: Send + Sync {
    /// The default is NAME and AGE, as for any object.
    fn columns(&self) -> &'static [Column] {
        &NAME_AND_AGE
    }

    /// A row's cells, one a column. `now` is seconds since the epoch, for ages.
    fn cells(&self, obj: &Value, _now: i64) -> Vec<Value> {
        let created = object::text(obj, &["metadata", "creationTimestamp"]);
        vec![Value::String(object::name(obj).to_owned()), Value::String(created.to_owned())]
    }
}

/// A kind that prints as any object does.
#[derive(Debug)]
pub struct Plain;

impl Print for Plain {}

/// As `meta/v1`'s default table convertor prints any object.
pub const NAME_AND_AGE: [Column; 2] = [
    Column { name: "Name", kind: "string", format: "name", description: "", priority: 0 },
    Column { name: "Created At", kind: "date", format: "", description: "", priority: 0 },
];
