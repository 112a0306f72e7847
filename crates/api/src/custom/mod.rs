//! Custom resources: from a CustomResourceDefinition to rows like those of the table.
//!
//! [`rows`] makes a row of each version. A row carries its own schema, compiled rules and columns, so that shape, apply,
//! defaults, validation, tables and documents work on it through the same engines as on a built-in kind.

mod evaluate;
pub mod expressions;
pub mod field_path;
mod jsonpath;
mod print;
pub mod rules;
pub mod sizes;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::Value;

use crate::kinds::{ALL_VERBS, Kind, Part, Scope, Subresource, Text};
use crate::object::{at, items, text};
use crate::schema::Structural;

/// What a row has that a CustomResourceDefinition made.
#[derive(Debug)]
pub struct Custom {
    /// The schema of this version.
    pub schema: Arc<Structural>,
    /// The schema as the definition writes it, which is published.
    pub published: Value,
    pub is_served: bool,
    /// The version in which objects are stored.
    pub storage_version: Text,
    pub conversion: Conversion,
    /// What a `Warning` header says to those who use this version.
    pub deprecation: Option<String>,
    /// The definition's name and uid: `crontabs.stable.example.com`.
    pub definition: String,
    pub definition_uid: String,
}

/// How objects come from one version to another.
#[derive(Debug, Clone, PartialEq)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    None,
    /// `spec.conversion.webhook`, as the definition has it.
    Webhook(Value),
}

/// The rows of a stored CustomResourceDefinition, one of each version, in the order in which discovery prefers them: in
/// one that is not served, too, objects may be stored. Names are those that were accepted.
pub fn rows(definition: &Value) -> Result<Vec<Kind>, String> {
    let spec = at(definition, &["spec"]);
    let storage = items(spec, &["versions"]).iter().find(|v| v["storage"] == Value::Bool(true));
    let storage = storage.ok_or("no version is marked as the storage version")?;
    let storage_version = text(storage, &["name"]);
    let mut versions: Vec<&Value> = items(spec, &["versions"]).iter().collect();
    versions.sort_by_key(|v| Reverse(version_rank(text(v, &["name"]))));
    versions.into_iter().map(|version| row(definition, version, storage_version)).collect()
}

fn row(definition: &Value, version: &Value, storage_version: &str) -> Result<Kind, String> {
    let spec = at(definition, &["spec"]);
    let names = at(definition, &["status", "acceptedNames"]);
    let group = text(spec, &["group"]);
    let (kind, name) = (text(names, &["kind"]), text(version, &["name"]));
    let (plural, singular) = (text(names, &["plural"]), text(names, &["singular"]));
    if plural.is_empty() || kind.is_empty() {
        return Err("no names are accepted yet".to_owned());
    }
    let published = at(version, &["schema", "openAPIV3Schema"]).clone();
    let schema = Arc::new(Structural::read(&published)?);
    let custom = Arc::new(Custom {
        schema: schema.clone(),
        published,
        is_served: version["served"] == Value::Bool(true),
        storage_version: owned(storage_version),
        conversion: conversion(spec),
        deprecation: deprecation(spec, kind, version),
        definition: crate::object::name(definition).to_owned(),
        definition_uid: crate::object::uid(definition).to_owned(),
    });
    let rules = rules::CustomRules::new(schema, version);
    Ok(Kind {
        group: owned(group),
        version: owned(name),
        kind: owned(kind),
        plural: owned(plural),
        singular: owned(if singular.is_empty() { kind } else { singular }.to_lowercase().as_str()),
        short_names: texts(names, "shortNames"),
        list_kind: owned(text(names, &["listKind"])),
        categories: texts(names, "categories"),
        scope: if text(spec, &["scope"]) == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
        verbs: Cow::Borrowed(ALL_VERBS),
        subresources: subresources(version),
        storage: owned(&format!("{group}/{plural}")),
        // Not even of another version: an object is read and written in the one that is asked for.
        is_view: false,
        schema: owned(&definition_name(group, name, kind)),
        rules: Part::Own(Arc::new(rules)),
        print: Part::Own(Arc::new(print::Columns::of(version))),
        custom: Some(custom),
    })
}

fn owned(text: &str) -> Text {
    Cow::Owned(text.to_owned())
}

fn texts(names: &Value, key: &str) -> Cow<'static, [Text]> {
    items(names, &[key]).iter().filter_map(Value::as_str).map(owned).collect()
}

fn subresources(version: &Value) -> Cow<'static, [Subresource]> {
    let has = |name: &str| at(version, &["subresources", name]).is_object();
    [("status", Subresource::Status), ("scale", Subresource::Scale)]
        .into_iter()
        .filter_map(|(name, sub)| has(name).then_some(sub))
        .collect()
}

fn conversion(spec: &Value) -> Conversion {
    match text(spec, &["conversion", "strategy"]) {
        "Webhook" => Conversion::Webhook(at(spec, &["conversion", "webhook"]).clone()),
        _ => Conversion::None,
    }
}

fn deprecation(spec: &Value, kind: &str, version: &Value) -> Option<String> {
    let is = |v: &Value, key: &str| v[key] == Value::Bool(true);
    if !is(version, "deprecated") {
        return None;
    }
    let own = text(version, &["deprecationWarning"]);
    if !own.is_empty() {
        return Some(own.to_owned());
    }
    let (group, name) = (text(spec, &["group"]), text(version, &["name"]));
    let better = items(spec, &["versions"]).iter().filter(|v| is(v, "served") && !is(v, "deprecated"));
    let better = better.map(|v| text(v, &["name"])).max_by_key(|v| version_rank(v));
    let better = better.filter(|v| version_rank(v) > version_rank(name));
    let instead = better.map_or(String::new(), |v| format!("; use {group}/{v} {kind}"));
    Some(format!("{group}/{name} {kind} is deprecated{instead}"))
}

/// `com.example.stable.v1.CronTab`, as documents name the definition.
pub fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// The order of versions: general availability before beta before alpha, each newest first; others by name.
pub fn version_rank(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let parsed = || {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let rest = version.strip_prefix('v')?;
        let (major, rest) = rest.split_at(digits(rest));
        let major = major.parse().ok()?;
        let (stage, minor) = match rest {
            "" => (3, "0"),
            _ => rest
                .strip_prefix("beta")
                .map(|n| (2, n))
                .or_else(|| rest.strip_prefix("alpha").map(|n| (1, n)))?,
        };
        Some((stage, major, minor.parse().ok()?))
    };
    let (stage, major, minor) = parsed().unwrap_or((0, 0, 0));
    let name = if stage == 0 { version.to_owned() } else { String::new() };
    (stage, major, minor, Reverse(name))
}

#[cfg(test)]
mod tests;
