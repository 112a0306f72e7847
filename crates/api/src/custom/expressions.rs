//! The rules of a schema (`x-kubernetes-validations`), compiled once and kept in the schema's own shape.

use std::collections::BTreeMap;

use super::field_path;
use crate::cel::{Decl, Env, Program, Type};
use crate::schema::Structural;
use crate::schema::structural::Rule;

pub(super) const SELF: &str = "self";
pub(super) const OLD_SELF: &str = "oldSelf";

/// The rules of a schema and of what is inside of it; there are only those parts that lead to rules.
#[derive(Debug)]
pub struct Expressions {
    pub rules: Vec<Expression>,
    /// What the rules may name; with an old value that is optional, too.
    pub(super) env: Env,
    pub(super) optional_env: Env,
    /// What is known of the value here.
    pub(super) decl: Decl,
    pub(super) items: Option<Box<Expressions>>,
    pub(super) properties: BTreeMap<String, Expressions>,
    pub(super) values: Option<Box<Expressions>>,
    pub(super) all_of: Vec<Expressions>,
}

/// A rule and what became of it.
#[derive(Debug)]
pub struct Expression {
    pub text: Rule,
    /// None of a rule that says nothing.
    pub program: Option<Result<Program, String>>,
    pub message: Option<Result<Program, String>>,
    pub uses_old_self: bool,
    /// `fieldPath`, as errors write it.
    pub field_path: String,
}

impl Expressions {
    /// Compiles the rules of a whole object. None where there are none.
    pub fn of(schema: &Structural) -> Option<Expressions> {
        if !schema.has_rules() {
            return None;
        }
        Expressions::compile(schema, schema, Decl::from_schema(schema, SELF, true)?)
    }

    /// `rules` is where the rules stand: in the schema itself, or in one of its `allOf`.
    fn compile(rules: &Structural, schema: &Structural, decl: Decl) -> Option<Expressions> {
        let (env, optional_env) = environments(&decl);
        let compiled = rules.rules.iter().map(|rule| compile(rule, schema, &env, &optional_env)).collect();
        let items = match (&rules.items, &schema.items) {
            (Some(rules), Some(schema)) => inner(rules, schema).map(Box::new),
            _ => None,
        };
        let values = match (rules.values(), schema.values()) {
            (Some(rules), Some(schema)) => inner(rules, schema).map(Box::new),
            _ => None,
        };
        let property = |(key, rules): (&String, &Structural)| {
            Some((key.clone(), inner(rules, schema.properties.get(key)?)?))
        };
        let all_of = rules
            .all_of
            .iter()
            .filter(|rules| rules.has_rules())
            .filter_map(|rules| Expressions::compile(rules, schema, decl.clone()));
        let here = Expressions {
            rules: compiled,
            items,
            values,
            properties: rules.properties.iter().filter_map(property).collect(),
            all_of: all_of.collect(),
            env,
            optional_env,
            decl,
        };
        let is_empty = here.rules.is_empty()
            && here.items.is_none()
            && here.values.is_none()
            && here.properties.is_empty()
            && here.all_of.is_empty();
        (!is_empty).then_some(here)
    }
}

fn inner(rules: &Structural, schema: &Structural) -> Option<Expressions> {
    if !rules.has_rules() {
        return None;
    }
    let decl = Decl::from_schema(schema, SELF, schema.is_embedded)?;
    Expressions::compile(rules, schema, decl)
}

/// The environments of rules about a value.
pub fn environments(decl: &Decl) -> (Env, Env) {
    let env = || Env::new().with(SELF, decl.clone());
    (env().with(OLD_SELF, decl.clone()), env().with_value(OLD_SELF, Type::optional(decl.ty())))
}

/// Compiles one rule about values of a schema.
pub fn compile(rule: &Rule, schema: &Structural, env: &Env, optional_env: &Env) -> Expression {
    let env = if rule.optional_old_self == Some(true) { optional_env } else { env };
    let program = (!rule.rule.trim().is_empty()).then(|| {
        let program = env.compile(&rule.rule).map_err(|e| format!("compilation failed: {e}"))?;
        match program.ty() {
            Type::Bool => Ok(program),
            _ => Err("cel expression must evaluate to a bool".to_owned()),
        }
    });
    let message = (!rule.message_expression.is_empty() && program.is_some()).then(|| {
        let program = env.compile(&rule.message_expression);
        let program = program.map_err(|e| format!("messageExpression compilation failed: {e}"))?;
        match program.ty() {
            Type::String => Ok(program),
            _ => Err("messageExpression must evaluate to a string".to_owned()),
        }
    });
    let uses = |p: &Option<Result<Program, String>>| matches!(p, Some(Ok(p)) if p.uses(OLD_SELF));
    let found = field_path::parse(&rule.field_path, schema, true);
    Expression {
        uses_old_self: uses(&program),
        program,
        message,
        field_path: found.map(|(path, _)| path).unwrap_or_default(),
        text: rule.clone(),
    }
}
