//! The expressions of a schema: that they compile, and what they may cost.

use std::cmp::Reverse;
use std::fmt::Write as _;

use super::dump;
use super::walk::{State, Walk};
use crate::at::At;
use crate::cel::Decl;
use crate::custom::expressions::{self, Expression};
use crate::custom::{field_path, sizes};
use crate::field::{Errors, Path};
use crate::schema::Structural;
use crate::schema::structural::Rule;

/// What one expression may cost at most, and all of a schema together.
const EXPRESSION_MAX: u64 = 10_000_000;
const SCHEMA_MAX: u64 = 100_000_000;
/// How many of the dearest expressions are blamed for a total.
const BLAMED: usize = 4;
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// A node of the schema with how often its values may be in an object; none is as often as fits into a request.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub schema: &'a Structural,
    is_whole: bool,
    count: Option<u64>,
}

impl<'a> Context<'a> {
    pub(super) fn root(schema: &'a Structural) -> Context<'a> {
        Context { schema, is_whole: true, count: Some(1) }
    }

    fn inside(self, schema: &'a Structural, count: Option<u64>) -> Context<'a> {
        Context { schema, is_whole: schema.is_embedded, count }
    }

    pub(super) fn property(self, name: &str) -> Option<Context<'a>> {
        Some(self.inside(self.schema.properties.get(name)?, self.count))
    }

    fn times(self, most: Option<i64>) -> Option<u64> {
        let most = u64::try_from(most?).ok()?;
        Some(self.count?.saturating_mul(most))
    }

    pub(super) fn items(self) -> Option<Context<'a>> {
        let count = self.times(self.schema.limits.max_items);
        Some(self.inside(self.schema.items.as_deref()?, count))
    }

    pub(super) fn values(self) -> Option<Context<'a>> {
        let count = self.times(self.schema.limits.max_properties);
        Some(self.inside(self.schema.values()?, count))
    }

    /// What an expression costs that is run for every value of the schema.
    fn cost(self, once: u64) -> u64 {
        once.saturating_mul(self.count.unwrap_or_else(|| sizes::max_count(self.schema)))
    }
}

/// What all expressions of a schema may cost.
#[derive(Default)]
pub(super) struct Budget {
    total: u64,
    dearest: Vec<(Path, u64)>,
}

impl Budget {
    fn add(&mut self, path: Path, cost: u64) {
        self.total = self.total.saturating_add(cost);
        self.dearest.push((path, cost));
        self.dearest.sort_by_key(|(_, cost)| Reverse(*cost));
        self.dearest.truncate(BLAMED);
    }

    pub(super) fn check(&self, path: &Path, errs: &mut Errors) {
        if self.total <= SCHEMA_MAX {
            return;
        }
        let words =
            "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        self.dearest.iter().for_each(|(path, _)| errs.forbidden(path, words));
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errs.forbidden(path, too_dear(name, self.total, SCHEMA_MAX));
    }
}

fn too_dear(name: &str, cost: u64, limit: u64) -> String {
    let times = cost as f64 / limit as f64;
    let mut factor = String::new();
    // Writing to a String cannot fail.
    let _ = if times > 100.0 {
        write!(factor, "more than 100x")
    } else if times < 1.5 {
        write!(factor, "{times:.6}x")
    } else {
        write!(factor, "{times:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// The texts of rules: what is said of them beside the expressions.
pub(super) fn texts(rules: &At<'_>, schema: Option<&Structural>, errs: &mut Errors) {
    let has_break = |text: &str| text.contains(['\n', '\r']);
    for rule in rules.items() {
        let (source, message) = (rule.get("rule"), rule.get("message"));
        let trimmed = message.text().trim();
        if source.text().trim().is_empty() {
            errs.required(&source.path, "rule is not specified");
        } else if !message.is_empty() && trimmed.is_empty() {
            errs.bad_text(&message, "message must be non-empty if specified");
        } else if has_break(trimmed) {
            errs.bad_text(&message, "message must not contain line breaks");
        } else if has_break(source.text().trim()) && trimmed.is_empty() {
            errs.required(&message.path, "message must be specified if rule contains line breaks");
        }
        let expression = rule.get("messageExpression");
        if !expression.is_empty() && expression.text().trim().is_empty() {
            errs.required(&expression.path, "messageExpression must be non-empty if specified");
        }
        errs.one_of_if_set(&rule.get("reason"), &REASONS);
        let path = rule.get("fieldPath");
        if path.is_empty() {
            continue;
        }
        if path.text().trim().is_empty() {
            errs.bad_text(&path, "fieldPath must be non-empty if specified");
        }
        if has_break(path.text()) {
            errs.bad_text(&path, "fieldPath must not contain line breaks");
        }
        if schema.is_some_and(|s| field_path::parse(path.text(), s, true).is_err()) {
            errs.bad_text(&path, "fieldPath must be a valid path");
        }
    }
}

impl Walk {
    /// Compiles the rules of one node.
    pub(super) fn compile(&mut self, rules: &At<'_>, context: Context<'_>, state: &State) {
        let schema = context.schema;
        let Some(decl) = Decl::from_schema(schema, "self", context.is_whole) else {
            let words = "internal error: failed to retrieve type information for x-kubernetes-validations";
            self.cel.internal(&rules.path, words);
            return;
        };
        let (env, optional_env) = expressions::environments(&decl);
        for (rule, at) in schema.rules.iter().zip(rules.items()) {
            let compiled = expressions::compile(rule, schema, &env, &optional_env);
            let most = |source: &str| {
                let size = |path: &[String]| sizes::max_elements(schema, context.is_whole, path);
                let env = if rule.optional_old_self == Some(true) { &optional_env } else { &env };
                env.max_cost(source, &size)
            };
            self.rule(&at, rule, &compiled, context, &most);
            self.transition(&at, &compiled, state);
        }
    }

    fn rule(
        &mut self,
        at: &At<'_>,
        rule: &Rule,
        compiled: &Expression,
        context: Context<'_>,
        most: &dyn Fn(&str) -> u64,
    ) {
        let (path, message_path) = (at.path.child("rule"), at.path.child("messageExpression"));
        match &compiled.program {
            Some(Ok(_)) => {
                let cost = context.cost(most(&rule.rule));
                self.charge("estimated rule cost", &path, cost);
            }
            Some(Err(why)) => self.cel.invalid_shown(&path, dump::rule(at.value), why.as_str()),
            None => {}
        }
        match &compiled.message {
            Some(Ok(_)) if matches!(compiled.program, Some(Ok(_))) => {
                let cost = most(&rule.message_expression);
                self.charge("estimated messageExpression cost", &message_path, cost);
            }
            Some(Err(why)) if matches!(compiled.program, Some(Ok(_))) => {
                self.cel.invalid_shown(&message_path, dump::rule(at.value), why.as_str());
            }
            _ => {}
        }
    }

    fn charge(&mut self, name: &str, path: &Path, cost: u64) {
        if cost > EXPRESSION_MAX && !self.there {
            self.cel.forbidden(path, too_dear(name, cost, EXPRESSION_MAX));
        }
        self.budget.add(path.clone(), cost);
    }

    /// What a rule may say of the value before.
    fn transition(&mut self, at: &At<'_>, compiled: &Expression, state: &State) {
        if compiled.uses_old_self {
            if let Some(within) = &state.uncorrelatable {
                let words = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
                );
                self.cel.bad_text(&at.get("rule"), words);
            }
        } else if compiled.text.optional_old_self.is_some() {
            let optional = at.get("optionalOldSelf");
            self.cel.bad(&optional, "may not be set if oldSelf is not used in rule");
        }
    }
}
