//! Custom resources in tables: by `additionalPrinterColumns`, or by their age.

use serde_json::{Value, json};

use super::jsonpath::JsonPath;
use crate::codec::encode;
use crate::object::{self, items, text};
use crate::print::{AGE, Column, NAME, Now, Print, cell::ago};

/// The columns of one version.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// Where to find the cells beside the name; none for a path that nobody can read.
    paths: Vec<Option<JsonPath>>,
}

impl Columns {
    pub(super) fn of(version: &Value) -> Columns {
        let mut columns = vec![NAME];
        let mut paths = Vec::new();
        for column in items(version, &["additionalPrinterColumns"]) {
            columns.push(read(column));
            paths.push(JsonPath::parse(text(column, &["jsonPath"])));
        }
        if paths.is_empty() {
            columns.push(Column { kind: "date".into(), ..AGE });
            paths.push(JsonPath::parse(".metadata.creationTimestamp"));
        }
        Columns { columns, paths }
    }
}

fn read(column: &Value) -> Column {
    let own = |key: &str| text(column, &[key]).to_owned();
    let description = match own("description") {
        said if said.is_empty() => {
            format!("Custom resource definition column (in JSONPath format): {}", own("jsonPath"))
        }
        said => said,
    };
    Column {
        name: own("name").into(),
        kind: own("type").into(),
        format: own("format").into(),
        description: description.into(),
        priority: column["priority"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
    }
}

impl Print for Columns {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn cells(&self, obj: &Value, now: Now) -> Vec<Value> {
        let mut cells = vec![json!(object::name(obj))];
        for (column, path) in self.columns[1..].iter().zip(&self.paths) {
            let found = path.as_ref().and_then(|path| path.find(obj).first().copied());
            cells.push(found.map_or(Value::Null, |value| cell(&column.kind, value, now)));
        }
        cells
    }
}

/// A value as a column of a type shows it; null for what is of another type.
fn cell(kind: &str, value: &Value, now: Now) -> Value {
    match (kind, value) {
        ("string", Value::String(s)) => json!(s),
        ("string", Value::Null) => json!("null"),
        ("string", Value::Number(n)) if n.is_f64() => {
            json!(crate::cel::show_double(n.as_f64().unwrap_or_default()))
        }
        ("string", other) => json!(String::from_utf8_lossy(&encode::compact(other))),
        ("integer", Value::Number(n)) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).into(),
        ("number", Value::Number(n)) => n.as_f64().into(),
        ("boolean", Value::Bool(b)) => json!(b),
        ("date", Value::String(time)) => json!(match time.parse::<jiff::Timestamp>() {
            Ok(_) => ago(time, now),
            Err(_) => "<invalid>".to_owned(),
        }),
        _ => Value::Null,
    }
}
