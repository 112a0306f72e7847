//! Writes the facts file: a line for each definition, a line for each field, tabs between facts.
//!
//! `=NAME` opens a definition (without `io.k8s.`); then come `Ma` (atomic as a whole) and `V:group/version/Kind`.
//! A field is `name`, its type, how Go writes it and its protobuf number (`o#3`), then what is so: `!` required,
//! `La Ls Lk:keys` list types, `Ma` an atomic map, `P:strategy` and `K:key` for strategic merges, `G:type` the Go
//! type where it does not follow. Types: `s`tring, `i`nt32, `l`ong (int64), `f`loat, `b`ool,
//! b`y`tes, `t`ime, `u` micro time, `q`uantity, `x` int or string, `*` anything, `?` a CRD schema or a list of them or a
//! bool, `[T` list of T, `{T` map of T, `@NAME` a definition.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde_json::Value;

use super::definitions::{Definitions, reference, type_of};
use super::go::Notes;
use super::messages::{Messages, squash};

pub(crate) fn write(
    all: &Definitions,
    mut messages: Messages,
    go: &Notes,
    roots: &[String],
) -> Result<String> {
    let mut out = String::new();
    let closure = all.closure(roots);
    go.check(|d, f| closure.contains(d) && all.get(d)["properties"].get(f).is_some())?;
    for name in closure {
        let def = all.get(name);
        if scalar(name).is_some() {
            continue;
        }
        write!(out, "={}", short(name))?;
        if def["x-kubernetes-map-type"] == "atomic" {
            out.push_str("\tMa");
        }
        for gvk in def["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let part = |k: &str| gvk[k].as_str().unwrap_or("").to_owned();
            write!(out, "\tV:{}/{}/{}", part("group"), part("version"), part("kind"))?;
        }
        out.push('\n');
        for (field, number) in ordered(name, def, &mut messages)? {
            let property = &def["properties"][&field];
            let is_required = contains(&def["required"], &field);
            write_field(&mut out, name, &field, property, is_required, &number, go)?;
        }
    }
    messages.check()?;
    Ok(out)
}

/// The JSON fields in the order of the Go struct, each with its number ("" where protobuf has none).
fn ordered(name: &str, def: &Value, messages: &mut Messages) -> Result<Vec<(String, String)>> {
    let Some(properties) = def["properties"].as_object() else { return Ok(Vec::new()) };
    let known: BTreeSet<String> = properties.keys().map(|k| squash(k)).collect();
    let mut left: Vec<&String> = properties.keys().collect();
    let mut out = Vec::new();
    let take = |left: &mut Vec<&String>, fits: &dyn Fn(&str) -> bool| {
        left.iter().position(|k| fits(k)).map(|at| left.remove(at).clone())
    };
    let fields = messages.fields(name, |f| known.contains(f))?;
    // Type metadata is no part of the messages, unless the struct has fields of that name of its own.
    for meta in ["kind", "apiVersion", "metadata"] {
        if !fields.iter().any(|f| f.name == squash(meta)) {
            out.extend(take(&mut left, &|k| k == meta).map(|f| (f, String::new())));
        }
    }
    for field in fields {
        out.extend(take(&mut left, &|k| squash(k) == field.name).map(|f| (f, field.number.clone())));
    }
    out.extend(left.into_iter().map(|f| (f.clone(), String::new())));
    Ok(out)
}

fn write_field(
    out: &mut String,
    definition: &str,
    field: &str,
    property: &Value,
    is_required: bool,
    number: &str,
    go: &Notes,
) -> Result<()> {
    let note = go.of(definition, field);
    let emit = note.and_then(|n| n.emit).unwrap_or_else(|| by_rule(property, is_required));
    write!(out, "{field}\t{}\t{emit}#{number}", type_text(property, definition)?)?;
    if is_required {
        out.push_str("\t!");
    }
    match property["x-kubernetes-list-type"].as_str() {
        Some("atomic") => out.push_str("\tLa"),
        Some("set") => out.push_str("\tLs"),
        Some("map") => write!(out, "\tLk:{}", words(&property["x-kubernetes-list-map-keys"]))?,
        _ => {}
    }
    if property["x-kubernetes-map-type"] == "atomic" {
        out.push_str("\tMa");
    }
    if let Some(strategy) = property["x-kubernetes-patch-strategy"].as_str() {
        write!(out, "\tP:{strategy}")?;
    }
    if let Some(key) = property["x-kubernetes-patch-merge-key"].as_str() {
        write!(out, "\tK:{key}")?;
    }
    if let Some(type_name) = note.and_then(|n| n.type_name.as_ref()) {
        write!(out, "\tG:{type_name}")?;
    }
    out.push('\n');
    Ok(())
}

/// How Go writes a field, as far as OpenAPI tells.
fn by_rule(property: &Value, is_required: bool) -> char {
    match type_of(property) {
        _ if is_required => 'a',
        "string" | "array" | "object" => 'o',
        "integer" | "number" | "boolean" => 'p',
        _ if reference(property).is_some() => 'p',
        _ => 'o',
    }
}

fn type_text(property: &Value, definition: &str) -> Result<String> {
    if let Some(name) = reference(property) {
        return Ok(scalar(name).map_or_else(|| format!("@{}", short(name)), str::to_owned));
    }
    let format = property["format"].as_str().unwrap_or("");
    Ok(match (type_of(property), format) {
        ("string", "byte") => "y".to_owned(),
        ("string", _) => "s".to_owned(),
        ("integer", "int64") => "l".to_owned(),
        ("integer", _) => "i".to_owned(),
        ("number", _) => "f".to_owned(),
        ("boolean", _) => "b".to_owned(),
        ("array", _) => format!("[{}", type_text(&property["items"], definition)?),
        ("object", _) if property["additionalProperties"].is_object() => {
            format!("{{{}", type_text(&property["additionalProperties"], definition)?)
        }
        ("object" | "", _) => "*".to_owned(),
        (other, _) => bail!("{definition}: a property of type {other:?}"),
    })
}

/// Definitions that are no structs in JSON.
fn scalar(name: &str) -> Option<&'static str> {
    Some(match name.rsplit('.').next()? {
        "Quantity" => "q",
        "IntOrString" => "x",
        "Time" => "t",
        "MicroTime" => "u",
        "FieldsV1" | "RawExtension" | "JSON" | "Patch" | "JSONSchemaPropsOrStringArray" => "*",
        "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" => "?",
        _ => return None,
    })
}

fn short(name: &str) -> &str {
    name.trim_start_matches("io.k8s.")
}

fn contains(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|l| l.iter().any(|w| w == word))
}

fn words(list: &Value) -> String {
    let words: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(",")
}
