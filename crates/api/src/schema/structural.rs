//! The structural schema of a custom resource, read from `openAPIV3Schema`: one node a value, with all that is said of it.

pub mod check;
pub mod embedded;
mod fill;
pub mod format;
pub mod lists;
pub mod prune;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::kinds::Text;

/// What is said of one value and what is inside of it. The schemas below `allOf`, `anyOf`, `oneOf` and `not` have the same
/// form, though they may only restrict.
#[derive(Debug, Clone, Default)]
pub struct Structural {
    pub ty: JsonType,
    pub format: String,
    pub is_nullable: bool,
    pub default: Option<Value>,
    pub properties: BTreeMap<String, Structural>,
    pub additional: Option<Additional>,
    pub items: Option<Box<Structural>>,
    pub required: Vec<String>,
    /// `x-kubernetes-preserve-unknown-fields`
    pub keeps_unknown: bool,
    /// `x-kubernetes-embedded-resource`
    pub is_embedded: bool,
    pub is_int_or_string: bool,
    pub list: Option<ListType>,
    pub list_keys: Vec<Text>,
    /// `x-kubernetes-map-type: atomic`
    pub is_atomic_map: bool,
    pub rules: Vec<Rule>,
    pub limits: Limits,
    pub all_of: Vec<Structural>,
    pub any_of: Vec<Structural>,
    pub one_of: Vec<Structural>,
    pub not: Option<Box<Structural>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JsonType {
    #[default]
    Any,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl JsonType {
    /// As a schema writes it; "" where nothing is said.
    pub fn name(self) -> &'static str {
        match self {
            JsonType::Any => "",
            JsonType::Boolean => "boolean",
            JsonType::Integer => "integer",
            JsonType::Number => "number",
            JsonType::String => "string",
            JsonType::Array => "array",
            JsonType::Object => "object",
        }
    }

    pub fn parse(name: &str) -> Option<JsonType> {
        const ALL: [JsonType; 7] = [
            JsonType::Any,
            JsonType::Boolean,
            JsonType::Integer,
            JsonType::Number,
            JsonType::String,
            JsonType::Array,
            JsonType::Object,
        ];
        ALL.into_iter().find(|t| t.name() == name)
    }
}

/// `additionalProperties`
#[derive(Debug, Clone)]
pub enum Additional {
    Allowed(bool),
    Schema(Box<Structural>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// What a value may be beyond its type.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub maximum: Option<f64>,
    pub is_below_maximum: bool,
    pub minimum: Option<f64>,
    pub is_above_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub has_unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub options: Vec<Value>,
}

#[derive(Debug, Clone)]
pub struct Pattern {
    pub text: String,
    /// None of a text that is no pattern, which no value fits.
    pub compiled: Option<Regex>,
}

/// One of `x-kubernetes-validations`, not yet compiled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: Option<String>,
    pub field_path: String,
    pub optional_old_self: Option<bool>,
}

impl Structural {
    /// A schema as a CustomResourceDefinition writes it. What it has that no structural schema may have is left out.
    pub fn read(schema: &Value) -> Result<Structural, String> {
        let flag = |key: &str| schema[key] == Value::Bool(true);
        let text = |key: &str| schema[key].as_str().unwrap_or_default();
        let ty = JsonType::parse(text("type")).ok_or_else(|| format!("unknown type {}", text("type")))?;
        Ok(Structural {
            ty,
            format: text("format").to_owned(),
            is_nullable: flag("nullable"),
            default: schema.get("default").filter(|v| !v.is_null()).cloned(),
            properties: read_properties(&schema["properties"])?,
            additional: read_additional(&schema["additionalProperties"])?,
            items: read_boxed(&schema["items"])?,
            required: texts(&schema["required"]).map(str::to_owned).collect(),
            keeps_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            is_embedded: flag("x-kubernetes-embedded-resource"),
            is_int_or_string: flag("x-kubernetes-int-or-string"),
            list: match text("x-kubernetes-list-type") {
                "atomic" => Some(ListType::Atomic),
                "set" => Some(ListType::Set),
                "map" => Some(ListType::Map),
                _ => None,
            },
            list_keys: texts(&schema["x-kubernetes-list-map-keys"]).map(|k| k.to_owned().into()).collect(),
            is_atomic_map: text("x-kubernetes-map-type") == "atomic",
            rules: items(&schema["x-kubernetes-validations"]).map(Rule::read).collect(),
            limits: Limits::read(schema),
            all_of: read_list(&schema["allOf"])?,
            any_of: read_list(&schema["anyOf"])?,
            one_of: read_list(&schema["oneOf"])?,
            not: read_boxed(&schema["not"])?,
        })
    }

    /// The schema of a member's value: of a property, or of what a map holds.
    pub fn member(&self, key: &str) -> Option<&Structural> {
        self.properties.get(key).or_else(|| self.values())
    }

    /// The schema of the values of a map.
    pub fn values(&self) -> Option<&Structural> {
        match &self.additional {
            Some(Additional::Schema(schema)) => Some(schema),
            _ => None,
        }
    }

    /// Whether rules are written here or further inside.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
            || self.items.as_ref().is_some_and(|s| s.has_rules())
            || self.values().is_some_and(Structural::has_rules)
            || self.properties.values().any(Structural::has_rules)
            || self.all_of.iter().any(Structural::has_rules)
    }
}

/// Where in an object a value stands; a list on the stack, so that only a complaint costs an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    Root,
    Member(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
    /// A value of a map, in the way in which rules show it.
    Key(&'a At<'a>, &'a str),
}

impl At<'_> {
    /// `spec.ports[0].name`; empty at the root.
    pub(crate) fn path(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            At::Root => {}
            At::Member(outer, key) => {
                outer.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            At::Item(outer, index) => {
                outer.write(out);
                out.push_str(&format!("[{index}]"));
            }
            At::Key(outer, key) => {
                outer.write(out);
                out.push_str(&format!("[{key}]"));
            }
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    items(list).filter_map(Value::as_str)
}

fn read_boxed(schema: &Value) -> Result<Option<Box<Structural>>, String> {
    if schema.is_object() { Ok(Some(Box::new(Structural::read(schema)?))) } else { Ok(None) }
}

fn read_list(schemas: &Value) -> Result<Vec<Structural>, String> {
    items(schemas).map(Structural::read).collect()
}

fn read_properties(properties: &Value) -> Result<BTreeMap<String, Structural>, String> {
    let entries = properties.as_object().into_iter().flatten();
    entries.map(|(name, schema)| Ok((name.clone(), Structural::read(schema)?))).collect()
}

fn read_additional(additional: &Value) -> Result<Option<Additional>, String> {
    Ok(match additional {
        Value::Bool(allowed) => Some(Additional::Allowed(*allowed)),
        schema => read_boxed(schema)?.map(Additional::Schema),
    })
}

impl Limits {
    fn read(schema: &Value) -> Limits {
        let flag = |key: &str| schema[key] == Value::Bool(true);
        let pattern = schema["pattern"].as_str().filter(|text| !text.is_empty());
        let pattern =
            pattern.map(|text| Pattern { text: text.to_owned(), compiled: crate::cel::pattern(text).ok() });
        Limits {
            maximum: schema["maximum"].as_f64(),
            is_below_maximum: flag("exclusiveMaximum"),
            minimum: schema["minimum"].as_f64(),
            is_above_minimum: flag("exclusiveMinimum"),
            multiple_of: schema["multipleOf"].as_f64(),
            max_length: schema["maxLength"].as_i64(),
            min_length: schema["minLength"].as_i64(),
            pattern,
            max_items: schema["maxItems"].as_i64(),
            min_items: schema["minItems"].as_i64(),
            has_unique_items: flag("uniqueItems"),
            max_properties: schema["maxProperties"].as_i64(),
            min_properties: schema["minProperties"].as_i64(),
            options: items(&schema["enum"]).cloned().collect(),
        }
    }
}

impl Rule {
    fn read(rule: &Value) -> Rule {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        Rule {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: rule["reason"].as_str().map(str::to_owned),
            field_path: text("fieldPath"),
            optional_old_self: rule["optionalOldSelf"].as_bool(),
        }
    }
}
