//! The expressions of webhooks and policies must compile before they are kept.

use crate::at::At;
use crate::cel::admission::{compile, env, patch_type};
use crate::cel::{Decl, Env, Type};
use crate::field::Errors;
use crate::names;

/// How many match conditions there may be.
const CONDITIONS_MAX: usize = 64;

pub(super) fn webhook(hook: &At<'_>, errs: &mut Errors) {
    conditions(&hook.get("matchConditions"), || env(Decl::Dyn, None, true), errs);
}

/// What both kinds of policies have in common; gives the environment of their other expressions.
fn shared(spec: &At<'_>, mutates: bool, errs: &mut Errors) -> Env {
    let params = spec.get("paramKind").is_set().then_some(Decl::Dyn);
    let env = env(Decl::Dyn, params, true);
    let env = if mutates { env.with_patches() } else { env };
    conditions(&spec.get("matchConditions"), || env.clone(), errs);
    variables(spec, env, errs)
}

pub(super) fn mutating_policy(spec: &At<'_>, errs: &mut Errors) {
    let env = shared(spec, true, errs);
    for mutation in spec.get("mutations").items() {
        let applies = mutation.peek_text("patchType") == "ApplyConfiguration";
        let (own, other) =
            if applies { ("applyConfiguration", "jsonPatch") } else { ("jsonPatch", "applyConfiguration") };
        if mutation.has(other) {
            let words = format!("may not be specified when patchType is {}", mutation.peek_text("patchType"));
            errs.forbidden(&mutation.get(other).path, words);
        }
        let expression = mutation.get(own).get("expression");
        if expression.text().trim().is_empty() {
            errs.required(&expression.path, "expression is not specified");
        } else {
            check(&env, &expression, &[patch_type(applies)], errs);
        }
    }
}

pub(super) fn policy(spec: &At<'_>, errs: &mut Errors) {
    let env = shared(spec, false, errs);
    for validation in spec.get("validations").items() {
        let expression = validation.get("expression");
        if expression.text().trim().is_empty() {
            errs.required(&expression.path, "expression is not specified");
        } else {
            check(&env, &expression, &[Type::Bool], errs);
        }
        let message = validation.get("messageExpression");
        if !message.text().is_empty() {
            check(&env, &message, &[Type::String], errs);
        }
        message_lines(&validation.get("message"), errs);
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        errs.one_of_if_set(&validation.get("reason"), &reasons);
    }
    for annotation in spec.get("auditAnnotations").items() {
        let value = annotation.get("valueExpression");
        if value.text().trim().is_empty() {
            errs.required(&value.path, "valueExpression is required");
        } else {
            check(&env, &value, &[Type::String, Type::Null], errs);
        }
    }
}

fn message_lines(message: &At<'_>, errs: &mut Errors) {
    if message.text().contains('\n') {
        errs.bad_text(message, "message must not contain line breaks");
    }
}

fn check(env: &Env, expression: &At<'_>, wanted: &[Type], errs: &mut Errors) {
    if let Err(why) = compile(env, expression.text(), wanted) {
        errs.bad_text(expression, why);
    }
}

/// The environment with what the policy's variables come to; each may use those before it.
fn variables(spec: &At<'_>, env: Env, errs: &mut Errors) -> Env {
    let mut env = env.with_variables();
    let mut seen: Vec<&str> = Vec::new();
    for variable in spec.get("variables").items() {
        let (name, expression) = (variable.get("name"), variable.get("expression"));
        let is_identifier = |s: &str| {
            !s.starts_with(|c: char| c.is_ascii_digit())
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if name.is_empty() {
            errs.required(&name.path, "name is not specified");
        } else if !is_identifier(name.text()) {
            errs.bad_text(&name, "name is not a valid CEL identifier");
        } else if seen.contains(&name.text()) {
            errs.duplicate(&name.path, name.value);
        }
        seen.push(name.text());
        if expression.text().trim().is_empty() {
            errs.required(&expression.path, "expression is not specified");
            continue;
        }
        match env.compile(expression.text()) {
            Ok(program) => env.declare_variable(name.text(), program.ty().clone()),
            Err(why) => errs.bad_text(&expression, format!("compilation failed: {why}")),
        }
    }
    env
}

fn conditions(at: &At<'_>, env: impl FnOnce() -> Env, errs: &mut Errors) {
    if at.is_empty() {
        return;
    }
    if at.len() > CONDITIONS_MAX {
        errs.too_many(&at.path, at.len(), CONDITIONS_MAX);
    }
    let env = env();
    let mut seen: Vec<&str> = Vec::new();
    for condition in at.items() {
        let (name, expression) = (condition.get("name"), condition.get("expression"));
        if expression.text().trim().is_empty() {
            errs.required(&expression.path, "");
        } else {
            check(&env, &expression, &[Type::Bool], errs);
        }
        if name.is_empty() {
            errs.required(&name.path, "");
        } else {
            errs.bad_texts(&name, names::qualified(name.text()));
            if seen.contains(&name.text()) {
                errs.duplicate(&name.path, name.value);
            }
        }
        seen.push(name.text());
    }
}
