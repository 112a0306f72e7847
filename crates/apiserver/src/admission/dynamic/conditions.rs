//! The expressions of hooks: what their names stand for, and `matchConditions`.

use std::sync::Arc;

use coracle_api::cel::admission::{Compiled, compile};
use coracle_api::cel::{self, Bindings, Decision, Env, EvalError, PER_CALL_LIMIT, Request, Type, Val};
use coracle_api::{Kind, User, object};
use coracle_auth::attributes::{Attributes, ResourceTarget};
use coracle_auth::authorizer;
use serde_json::Value;

use super::request::{self, Versioned};
use crate::admission::Admit;

/// What was said where a policy has spent what it may.
pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// As the reference says that an expression failed.
pub(super) fn failed(source: &str, why: &EvalError) -> String {
    format!("expression '{source}' resulted in error: {why}")
}

/// Named expressions, all of which must hold for a hook to be asked.
#[derive(Debug)]
pub(super) struct Conditions(Vec<(String, String, Compiled)>);

impl Conditions {
    pub(super) fn compile(env: &Env, of: &Value) -> Conditions {
        let conditions = object::items(of, &["matchConditions"]).iter().map(|c| {
            let source = object::text(c, &["expression"]).to_owned();
            let compiled = compile(env, &source, &[Type::Bool]);
            (object::text(c, &["name"]).to_owned(), source, compiled)
        });
        Conditions(conditions.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not outweighs those that fail.
    pub(super) fn hold<'a>(&'a self, bindings: &Bindings<'a>) -> Result<bool, String> {
        let (mut budget, mut errors) = (cel::BUDGET, Vec::new());
        for (_, source, compiled) in &self.0 {
            let program = match compiled {
                Ok(program) => program,
                Err(why) => {
                    errors.push(why.clone());
                    continue;
                }
            };
            let outcome = program.eval(bindings, PER_CALL_LIMIT);
            let Some(left) = budget.checked_sub(outcome.cost) else { return Err(OUT_OF_BUDGET.to_owned()) };
            budget = left;
            match outcome.value {
                Ok(Val::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(why) => errors.push(failed(source, &why)),
            }
        }
        match &errors[..] {
            [] => Ok(true),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}

/// Answers what expressions ask of `authorizer`, as the authorisers of this server do.
#[derive(Debug)]
struct Ask<'a> {
    authorizer: &'a authorizer::Authorizer,
    user: Arc<User>,
}

impl<'a> Ask<'a> {
    fn new(admit: &Admit<'a>) -> Ask<'a> {
        Ask { authorizer: &admit.core.authorizer, user: admit.user.clone() }
    }

    /// What `authorizer.requestResource` asks about.
    fn resource(admit: &Admit<'_>) -> Request {
        Request {
            group: admit.resource.group.to_string(),
            resource: admit.resource.plural.to_string(),
            subresource: admit.sub.map_or("", |s| s.name()).to_owned(),
            namespace: admit.namespace.to_owned(),
            name: admit.name.to_owned(),
            ..Request::default()
        }
    }
}

/// What every expression about one write may name, beside the objects.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    request: Value,
    namespace: Value,
    ask: Ask<'a>,
    resource: Request,
}

impl<'a> Facts<'a> {
    pub(super) fn new(admit: &Admit<'a>, row: &Kind, namespace: Value) -> Facts<'a> {
        let request = request::attributes(admit, row);
        Facts { request, namespace, ask: Ask::new(admit), resource: Ask::resource(admit) }
    }

    pub(super) fn bind<'b>(&'b self, env: &'b Env, objects: &'b Versioned) -> Bindings<'b> {
        Bindings::new(env)
            .json("object", &objects.object)
            .json("oldObject", &objects.old)
            .json("request", &self.request)
            .json("namespaceObject", &self.namespace)
            .authorizer(&self.ask, Some(self.resource.clone()))
    }
}

impl cel::Authorizer for Ask<'_> {
    fn decide(&self, request: &Request, verb: &str) -> Decision {
        let user = match &request.service_account {
            Some((namespace, name)) => Arc::new(User::service_account(namespace, name)),
            None => self.user.clone(),
        };
        let attributes = if request.path.is_empty() {
            let target = ResourceTarget {
                version: "*".to_owned(),
                fields: fields(&request.field_selector),
                ..ResourceTarget::new(&request.group, &request.resource)
                    .subresource(&request.subresource)
                    .within(&request.namespace)
                    .named(&request.name)
            };
            Attributes::resource(user, verb, target)
        } else {
            Attributes::path(user, verb, &request.path)
        };
        match self.authorizer.decide(attributes) {
            authorizer::Decision::Allowed(permit) => {
                Decision { is_allowed: true, reason: permit.reason(), error: None }
            }
            authorizer::Decision::NoOpinion(_, reason) => Decision { is_allowed: false, reason, error: None },
        }
    }
}

/// The terms of a field selector that narrow a permission; one that cannot be read narrows nothing.
fn fields(selector: &str) -> Vec<(String, String)> {
    let term = |t: &str| {
        let (key, value) = t.split_once("==").or_else(|| t.split_once('='))?;
        (!key.ends_with('!')).then(|| (key.to_owned(), value.to_owned()))
    };
    selector.split(',').filter_map(term).collect()
}
