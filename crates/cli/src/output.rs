//! `-o`: tables from the server, JSON, YAML, names, JSONPath, custom columns.

use serde_json::Value;

use crate::Error;
use crate::jsonpath::Template;

#[derive(Debug)]
pub(crate) enum Format {
    Table { wide: bool },
    Json,
    Yaml,
    Name,
    JsonPath(Template),
    CustomColumns(Vec<(String, Template)>),
}

impl Format {
    pub(crate) fn parse(text: Option<&str>) -> Result<Format, Error> {
        let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(Format::Table { wide: false }) };
        let (name, argument) = text.split_once('=').map_or((text, None), |(n, a)| (n, Some(a)));
        match (name, argument) {
            ("wide", None) => Ok(Format::Table { wide: true }),
            ("json", None) => Ok(Format::Json),
            ("yaml", None) => Ok(Format::Yaml),
            ("name", None) => Ok(Format::Name),
            ("jsonpath", Some(template)) => Ok(Format::JsonPath(Template::parse(template)?)),
            ("jsonpath-file", Some(path)) => {
                Ok(Format::JsonPath(Template::parse(&std::fs::read_to_string(path)?)?))
            }
            ("custom-columns", Some(columns)) => custom_columns(columns),
            _ => Err(Error::local(format!(
                "unable to match a printer suitable for the output format \"{text}\", allowed formats are: \
                 custom-columns,json,jsonpath,jsonpath-file,name,wide,yaml"
            ))),
        }
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Format::Table { .. })
    }
}

fn custom_columns(text: &str) -> Result<Format, Error> {
    let columns = text.split(',').map(|column| {
        let bad = || {
            Error::local(format!(
                "unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>"
            ))
        };
        let (header, path) = column.split_once(':').ok_or_else(bad)?;
        Ok((header.to_owned(), Template::parse(path)?))
    });
    columns.collect::<Result<_, Error>>().map(Format::CustomColumns)
}

/// An object (or a list) in any format but a table.
pub(crate) fn print(
    format: &Format,
    object: &Value,
    shown: impl Fn(&Value) -> String,
) -> Result<String, Error> {
    match format {
        Format::Json => Ok(format!("{}\n", pretty(object))),
        Format::Yaml => yaml(object),
        Format::Name => Ok(items(object).iter().map(|o| format!("{}\n", shown(o))).collect()),
        Format::JsonPath(template) => template.render(object),
        Format::CustomColumns(columns) => {
            let mut rows = vec![columns.iter().map(|(header, _)| header.clone()).collect::<Vec<_>>()];
            for object in items(object) {
                let cells = columns.iter().map(|(_, path)| path.render(object).map(none_if_empty));
                rows.push(cells.collect::<Result<_, Error>>()?);
            }
            Ok(align(&rows))
        }
        Format::Table { .. } => Err(Error::local("a table comes from the server")),
    }
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// The items of a list; an object is its own only item.
pub(crate) fn items(object: &Value) -> Vec<&Value> {
    match object["items"].as_array() {
        Some(items) if object["kind"].as_str().is_some_and(|k| k.ends_with("List")) => items.iter().collect(),
        _ => vec![object],
    }
}

/// Four spaces, as kubectl indents.
pub(crate) fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing a Value into memory cannot fail.
    let _ = serde::Serialize::serialize(&sorted(value), &mut serializer);
    String::from_utf8_lossy(&out).into_owned()
}

pub(crate) fn yaml(value: &Value) -> Result<String, Error> {
    serde_yaml_ng::to_string(&sorted(value)).map_err(|e| Error::local(e.to_string()))
}

/// kubectl prints keys in alphabetical order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(k, _)| *k);
            Value::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Columns three spaces apart, each as wide as its widest cell.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    aligned_to(rows, &widths)
}

fn aligned_to(rows: &[Vec<String>], widths: &[usize]) -> String {
    let mut out = String::new();
    for row in rows {
        let last = row.len().saturating_sub(1);
        for (i, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if i < last {
                let pad = widths.get(i).copied().unwrap_or(0).saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', pad + 3));
            }
        }
        out.push('\n');
    }
    out
}

/// A printer of server tables that keeps its columns in place from one batch to the next, as a watch needs.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub columns: Vec<Column>,
    pub widths: Vec<usize>,
    pub wide: bool,
    pub namespaces: bool,
    pub labels: bool,
    pub headers: bool,
    /// `kind/` before each name, where several kinds are listed.
    pub prefix: Option<String>,
    pub began: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Column {
    name: String,
    priority: i64,
}

impl Table {
    pub(crate) fn render(&mut self, table: &Value) -> String {
        if let Some(columns) = table["columnDefinitions"].as_array().filter(|c| !c.is_empty()) {
            self.columns = columns
                .iter()
                .map(|c| Column {
                    name: c["name"].as_str().unwrap_or("").to_uppercase(),
                    priority: c["priority"].as_i64().unwrap_or(0),
                })
                .collect();
        }
        let mut rows = Vec::new();
        if self.headers && !self.began {
            rows.push(self.header());
        }
        self.began = true;
        rows.extend(table["rows"].as_array().into_iter().flatten().map(|row| self.row(row)));
        for row in &rows {
            for (i, cell) in row.iter().enumerate() {
                let width = cell.chars().count();
                match self.widths.get_mut(i) {
                    Some(w) => *w = (*w).max(width),
                    None => self.widths.push(width),
                }
            }
        }
        aligned_to(&rows, &self.widths)
    }

    fn shows(&self, column: &Column) -> bool {
        self.wide || column.priority == 0
    }

    fn header(&self) -> Vec<String> {
        let mut row: Vec<String> = Vec::new();
        if self.namespaces {
            row.push("NAMESPACE".to_owned());
        }
        row.extend(self.columns.iter().filter(|c| self.shows(c)).map(|c| c.name.clone()));
        if self.labels {
            row.push("LABELS".to_owned());
        }
        row
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let mut out = Vec::new();
        let metadata = &row["object"]["metadata"];
        if self.namespaces {
            out.push(metadata["namespace"].as_str().unwrap_or("").to_owned());
        }
        let cells = row["cells"].as_array().map_or(&[][..], Vec::as_slice);
        for (i, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if self.shows(column) {
                let text = cell_text(cell);
                out.push(match &self.prefix {
                    Some(prefix) if i == 0 => format!("{prefix}/{text}"),
                    _ => text,
                });
            }
        }
        if self.labels {
            out.push(labels(&metadata["labels"]));
        }
        out
    }
}

fn cell_text(cell: &Value) -> String {
    match cell {
        Value::String(s) => s.lines().next().unwrap_or("").to_owned(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn labels(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("")))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn a_watch_keeps_its_columns() {
        let columns = json!([{"name": "Name", "priority": 0}, {"name": "Status", "priority": 0}, {"name": "IP", "priority": 1}]);
        let mut table = Table { headers: true, ..Table::default() };
        let first = table.render(
            &json!({"columnDefinitions": columns, "rows": [{"cells": ["nginx", "ContainerCreating", "x"]}]}),
        );
        let second = table.render(&json!({"rows": [{"cells": ["nginx", "Running", null]}]}));
        expect![[r#"
            NAME    STATUS
            nginx   ContainerCreating
            nginx   Running
        "#]]
        .assert_eq(&(first + &second));
    }

    #[test]
    fn formats_are_read_or_refused() {
        assert!(Format::parse(Some("frob")).unwrap_err().to_string().contains("\"frob\""));
        let Format::CustomColumns(columns) =
            Format::parse(Some("custom-columns=N:.metadata.name,X:.x")).unwrap()
        else {
            panic!("no columns")
        };
        assert_eq!(columns.len(), 2);
    }
}
