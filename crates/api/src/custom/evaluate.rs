//! Runs the compiled rules of a schema on an object, within what all of them may cost together.
//!
//! A rule about what has not changed is no reason to refuse an update: its complaint becomes a warning.

use std::rc::Rc;

use serde_json::Value;

use super::expressions::{Expression, Expressions, OLD_SELF, SELF};
use crate::cel::{self, Bindings, EvalError, PER_CALL_LIMIT, Program, Val};
use crate::field::{Error, ErrorType, Path, go_quote, go_value};
use crate::schema::Structural;
use crate::schema::structural::check::is_unchanged;
use crate::schema::structural::{At, JsonType, Rule, lists};

/// The longest text that a `messageExpression` may come to, in bytes.
const MESSAGE_MAX: usize = 5 * 1024;

/// What rules have against an object.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub errors: Vec<Error>,
    pub warnings: Vec<String>,
}

/// Runs all rules on `new`, and transition rules where there is an old object.
pub(super) fn evaluate(rules: &Expressions, schema: &Structural, new: &Value, old: Option<&Value>) -> Said {
    let mut run = Run { said: Said::default(), budget: cel::BUDGET };
    let seen = Seen { current: old.map(|old| (schema, new, old)), parent: None };
    // That the budget is used up has been said.
    let _ = run.value(rules, (schema, new, old), seen, &At::Root);
    run.said
}

struct Run {
    said: Said,
    budget: u64,
}

/// No further rules are run.
struct Stop;

type Correlated<'a> = (&'a Structural, &'a Value, &'a Value);

/// What a value, or the nearest one around it that can be told, was before.
#[derive(Clone, Copy)]
struct Seen<'a> {
    current: Option<Correlated<'a>>,
    parent: Option<Correlated<'a>>,
}

impl<'a> Seen<'a> {
    fn inner(self, found: Option<Correlated<'a>>) -> Seen<'a> {
        match self.current {
            None => self,
            current => Seen { current: found, parent: current },
        }
    }

    fn key(self, key: &str) -> Seen<'a> {
        if self.parent.is_none() && matches!(key, "apiVersion" | "kind") {
            return Seen { current: None, parent: None };
        }
        self.inner(
            self.current
                .and_then(|(schema, new, old)| Some((schema.member(key)?, new.get(key)?, old.get(key)?))),
        )
    }

    fn item(self, index: usize) -> Seen<'a> {
        self.inner(self.current.and_then(|(schema, new, old)| {
            let item = new.get(index)?;
            Some((schema.items.as_deref()?, item, lists::counterpart(schema, item, old)?))
        }))
    }

    fn is_unchanged(self) -> bool {
        self.current.or(self.parent).is_some_and(|(schema, new, old)| is_unchanged(schema, new, old))
    }
}

/// What rules are about.
struct Subject<'a> {
    schema: &'a Structural,
    new: &'a Value,
    old: Option<&'a Value>,
    seen: Seen<'a>,
    path: String,
}

impl Run {
    fn value<'a>(
        &mut self,
        rules: &Expressions,
        subject: (&'a Structural, &'a Value, Option<&'a Value>),
        seen: Seen<'a>,
        at: &At<'_>,
    ) -> Result<(), Stop> {
        let (schema, new, old) = subject;
        if new.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        if !rules.rules.is_empty() {
            self.rules(rules, &Subject { schema, new, old, seen, path: at.path() })?;
        }
        for all_of in &rules.all_of {
            let seen = Seen { current: None, parent: seen.parent };
            self.value(all_of, subject, seen, at)?;
        }
        match new {
            Value::Array(items) => {
                let (Some(rules), Some(of)) = (&rules.items, &schema.items) else { return Ok(()) };
                for (i, item) in items.iter().enumerate() {
                    let before = old.and_then(|old| lists::counterpart(schema, item, old));
                    self.value(rules, (of, item, before), seen.item(i), &At::Item(at, i))?;
                }
            }
            Value::Object(map) => {
                let before = |key: &str| old.and_then(|old| old.get(key));
                if let (Some(rules), Some(of)) = (&rules.values, schema.values()) {
                    for (key, value) in map {
                        self.value(rules, (of, value, before(key)), seen.key(key), &At::Key(at, key))?;
                    }
                }
                for (key, rules) in &rules.properties {
                    if let (Some(of), Some(value)) = (schema.properties.get(key), map.get(key)) {
                        self.value(rules, (of, value, before(key)), seen.key(key), &At::Member(at, key))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules(&mut self, rules: &Expressions, subject: &Subject<'_>) -> Result<(), Stop> {
        if self.budget == 0 {
            return Err(self.out_of_budget(subject));
        }
        for rule in &rules.rules {
            let program = match &rule.program {
                None => continue,
                Some(Ok(program)) => program,
                Some(Err(why)) => {
                    self.complain(subject, format!("rule compile error: {why}"));
                    continue;
                }
            };
            let takes_none = rule.text.optional_old_self == Some(true);
            if rule.uses_old_self && subject.old.is_none() && !takes_none {
                continue;
            }
            let bindings = bindings(rules, rule, subject);
            let outcome = program.eval(&bindings, PER_CALL_LIMIT);
            if outcome.cost > self.budget {
                return Err(self.out_of_budget(subject));
            }
            self.budget -= outcome.cost;
            match outcome.value {
                Ok(Val::Bool(true)) => {}
                Ok(_) => self.broken(rule, &bindings, subject)?,
                Err(e) => self.failed(rule, &e, subject)?,
            }
        }
        Ok(())
    }

    fn out_of_budget(&mut self, subject: &Subject<'_>) -> Stop {
        let words =
            "validation failed due to running out of cost budget, no further validation rules will be run";
        self.complain(subject, words.to_owned());
        Stop
    }

    /// A complaint that shows no more than the type of the value.
    fn complain(&mut self, subject: &Subject<'_>, detail: String) {
        let path = Path::new(&subject.path);
        let bad = go_quote(subject.schema.ty.name());
        self.said.errors.push(Error { kind: ErrorType::Invalid, path, bad, detail });
    }

    fn failed(&mut self, rule: &Expression, e: &EvalError, subject: &Subject<'_>) -> Result<(), Stop> {
        let shown = shown(&rule.text);
        match e {
            EvalError::Cost => {
                self.complain(
                    subject,
                    format!("'{e}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"),
                );
                return Err(Stop);
            }
            EvalError::Failed(why) if why.starts_with("no such overload") => self.complain(
                subject,
                format!("'{why}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"),
            ),
            EvalError::Failed(why) => self.complain(subject, format!("{why} evaluating rule: {shown}")),
        }
        Ok(())
    }

    /// The rule does not hold.
    fn broken<'a>(
        &mut self,
        rule: &'a Expression,
        bindings: &Bindings<'a>,
        subject: &Subject<'_>,
    ) -> Result<(), Stop> {
        let message = match &rule.message {
            Some(Ok(program)) => self.message(rule, program, bindings),
            _ => Ok(None),
        };
        let path = match (subject.path.as_str(), rule.field_path.as_str()) {
            (path, "") => Path::new(path),
            ("", inner) => Path::new(inner),
            (path, inner) => Path::new(&format!("{path}.{inner}")),
        };
        let stops = message.is_err();
        let error = match message {
            Ok(message) => reasoned(rule, path, subject, message),
            Err(detail) => {
                let bad = go_quote(subject.schema.ty.name());
                Error { kind: ErrorType::Invalid, path, bad, detail }
            }
        };
        if !rule.uses_old_self && subject.seen.is_unchanged() {
            self.said.warnings.push(error.to_string());
        } else {
            self.said.errors.push(error);
        }
        if stops { Err(Stop) } else { Ok(()) }
    }

    /// What `messageExpression` comes to, if it is good for a message. `Err` where it costs too much.
    fn message<'a>(
        &mut self,
        rule: &'a Expression,
        program: &'a Program,
        bindings: &Bindings<'a>,
    ) -> Result<Option<String>, String> {
        let outcome = program.eval(bindings, PER_CALL_LIMIT);
        if outcome.cost > self.budget {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned());
        }
        self.budget -= outcome.cost;
        match outcome.value {
            Err(EvalError::Cost) => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {}",
                go_quote(&rule.text.message_expression)
            )),
            Ok(Val::String(text)) => {
                let text = text.trim();
                let is_good = !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n');
                Ok(is_good.then(|| text.to_owned()))
            }
            _ => Ok(None),
        }
    }
}

fn bindings<'a>(rules: &'a Expressions, rule: &'a Expression, subject: &Subject<'a>) -> Bindings<'a> {
    if rule.text.optional_old_self == Some(true) {
        let old = subject.old.map(|old| Rc::new(Val::of(old, &rules.decl)));
        let bindings = Bindings::new(&rules.optional_env).json(SELF, subject.new);
        return bindings.value(OLD_SELF, Val::Optional(old));
    }
    let bindings = Bindings::new(&rules.env).json(SELF, subject.new);
    match subject.old.filter(|_| rule.uses_old_self) {
        Some(old) => bindings.json(OLD_SELF, old),
        None => bindings,
    }
}

/// A rule as complaints name it.
fn shown(rule: &Rule) -> &str {
    if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() }
}

fn reasoned(rule: &Expression, path: Path, subject: &Subject<'_>, message: Option<String>) -> Error {
    let detail = message.unwrap_or_else(|| match rule.text.message.as_str() {
        "" => format!("failed rule: {}", shown(&rule.text)),
        message => message.trim().to_owned(),
    });
    let is_shown = !matches!(subject.schema.ty, JsonType::Object | JsonType::Array);
    let value = if is_shown { go_value(subject.new) } else { String::new() };
    let (kind, bad, detail) = match rule.text.reason.as_deref() {
        Some("FieldValueForbidden") => (ErrorType::Forbidden, String::new(), detail),
        Some("FieldValueRequired") => (ErrorType::Required, String::new(), detail),
        Some("FieldValueDuplicate") => {
            (ErrorType::Duplicate, if is_shown { value } else { "{}".to_owned() }, String::new())
        }
        _ => (ErrorType::Invalid, value, detail),
    };
    Error { kind, path, bad, detail }
}
