//! Admission policies and their bindings, and what validating ones do: refuse, warn about or note a write.

use std::sync::{Arc, OnceLock};

use coracle_api::cel::admission::{self, Compiled};
use coracle_api::cel::{self, Bindings, Decl, Env, EvalError, PER_CALL_LIMIT, Program, Type, Val};
use coracle_api::selector::LabelSelector;
use coracle_api::status::{Cause, Details};
use coracle_api::{Kind, Status, object};
use serde_json::Value;

use super::State;
use super::conditions::{self, Conditions, Facts, OUT_OF_BUDGET};
use super::matching::Criteria;
use super::mutation::{self, Mutation};
use super::request::Versioned;
use crate::admission::Admit;
use crate::crd;

/// The longest message that an expression may make, in bytes.
const MESSAGE_MAX: usize = 5 * 1024;

/// A policy as it was written. Its expressions are compiled when the first write comes that it is for.
#[derive(Debug)]
pub(super) struct Policy {
    pub name: String,
    spec: Value,
    pub criteria: Criteria,
    pub ignores_failure: bool,
    /// Whether it wants to see again what others change after it.
    pub sees_again: bool,
    /// `(apiVersion, kind)`
    param_kind: Option<(String, String)>,
    compiled: OnceLock<Rules>,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub name: String,
    pub policy: String,
    pub criteria: Criteria,
    param: Option<Value>,
    actions: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Rules {
    pub env: Env,
    pub conditions: Conditions,
    pub variables: Vec<(String, Program)>,
    pub mutations: Vec<Mutation>,
    validations: Vec<Validation>,
    annotations: Vec<(String, Compiled)>,
}

#[derive(Debug)]
struct Validation {
    source: String,
    expression: Compiled,
    message: String,
    message_expression: Option<Compiled>,
    reason: &'static str,
}

/// Why a policy does not let a write pass.
struct Denial {
    message: String,
    reason: &'static str,
}

impl Denial {
    fn failure(message: impl Into<String>) -> Denial {
        Denial { message: message.into(), reason: "Invalid" }
    }
}

fn reason_of(validation: &Value) -> &'static str {
    match object::text(validation, &["reason"]) {
        "Unauthorized" => "Unauthorized",
        "Forbidden" => "Forbidden",
        "RequestEntityTooLarge" => "RequestEntityTooLarge",
        _ => "Invalid",
    }
}

fn code_of(reason: &str) -> u16 {
    match reason {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    }
}

impl Policy {
    pub(super) fn read(of: &Value) -> Policy {
        let spec = of.get("spec").cloned().unwrap_or_default();
        let param = object::at(&spec, &["paramKind"]);
        let param_kind = param.is_object().then(|| {
            (object::text(param, &["apiVersion"]).to_owned(), object::text(param, &["kind"]).to_owned())
        });
        Policy {
            name: object::name(of).to_owned(),
            criteria: Criteria::read(object::at(&spec, &["matchConstraints"]), "resourceRules"),
            ignores_failure: object::text(&spec, &["failurePolicy"]) == "Ignore",
            sees_again: object::text(&spec, &["reinvocationPolicy"]) == "IfNeeded",
            param_kind,
            spec,
            compiled: OnceLock::new(),
        }
    }

    pub(super) fn rules(&self) -> &Rules {
        self.compiled.get_or_init(|| {
            let params = self.param_kind.is_some().then_some(Decl::Dyn);
            let env = admission::env(Decl::Dyn, params, true);
            let mutates = self.spec.get("mutations").is_some();
            Rules::compile(&self.spec, if mutates { env.with_patches() } else { env })
        })
    }

    /// The row of the objects that are its parameters.
    pub(super) fn param_row(&self, admit: &Admit<'_>) -> Result<Option<Arc<Kind>>, String> {
        let Some((api_version, kind)) = &self.param_kind else { return Ok(None) };
        let found = admit.core.catalog().by_api_version(api_version, kind);
        let named =
            || format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'");
        found.map(Some).ok_or_else(named)
    }
}

impl Rules {
    pub(super) fn compile(spec: &Value, env: Env) -> Rules {
        let conditions = Conditions::compile(&env, spec);
        let mut env = env.with_variables();
        let mut variables = Vec::new();
        for variable in object::items(spec, &["variables"]) {
            let name = object::text(variable, &["name"]);
            // One that does not compile is not declared: what uses it says so.
            if let Ok(program) = env.compile(object::text(variable, &["expression"])) {
                env.declare_variable(name, program.ty().clone());
                variables.push((name.to_owned(), program));
            }
        }
        let text = |v: &Value, key: &str| object::text(v, &[key]).to_owned();
        let validations = object::items(spec, &["validations"]).iter().map(|v| Validation {
            source: text(v, "expression").trim().to_owned(),
            expression: admission::compile(&env, &text(v, "expression"), &[Type::Bool]),
            message: text(v, "message").trim().to_owned(),
            message_expression: Some(text(v, "messageExpression"))
                .filter(|m| !m.is_empty())
                .map(|m| admission::compile(&env, &m, &[Type::String])),
            reason: reason_of(v),
        });
        let validations = validations.collect();
        let annotations = object::items(spec, &["auditAnnotations"]).iter().map(|a| {
            let source = text(a, "valueExpression");
            let compiled = admission::compile(&env, &source, &[Type::String, Type::Null]);
            (source, compiled)
        });
        let annotations = annotations.collect();
        let mutations = object::items(spec, &["mutations"]).iter().map(|m| {
            let (source, applies) = mutation::expression_of(m);
            let expression = admission::compile(&env, source, &[admission::patch_type(applies)]);
            Mutation { source: source.trim().to_owned(), expression, applies }
        });
        let mutations = mutations.collect();
        Rules { env, conditions, variables, mutations, validations, annotations }
    }

    /// Everything that speaks against the write.
    fn denials<'a>(&'a self, bindings: Bindings<'a>, ignores_failure: bool) -> Vec<Denial> {
        let failures = |why: String| if ignores_failure { Vec::new() } else { vec![Denial::failure(why)] };
        match self.conditions.hold(&bindings) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return failures(why),
        }
        let bindings = bindings.variables(&self.variables);
        let (mut budget, mut denials) = (cel::BUDGET, Vec::new());
        for validation in &self.validations {
            match validation.deny(&bindings, &mut budget) {
                Ok(None) => {}
                Ok(Some(denial)) => denials.push(denial),
                Err(Stop::Budget) => return failures(OUT_OF_BUDGET.to_owned()),
                Err(Stop::Failed(why)) => denials.extend(failures(why)),
            }
        }
        for (source, compiled) in &self.annotations {
            let value = run(compiled, source, &bindings, &mut budget);
            match value {
                Ok(Val::String(_) | Val::Null) => {}
                Ok(_) => denials.extend(failures(format!(
                    "valueExpression '{source}' resulted in unsupported return type. Return type must be either \
                     string or null."
                ))),
                Err(Stop::Budget) => return failures(OUT_OF_BUDGET.to_owned()),
                Err(Stop::Failed(why)) => denials.extend(failures(why)),
            }
        }
        denials
    }
}

/// Why there is no answer.
enum Stop {
    Budget,
    Failed(String),
}

fn run<'a>(
    compiled: &'a Compiled,
    source: &str,
    bindings: &Bindings<'a>,
    budget: &mut u64,
) -> Result<Val<'a>, Stop> {
    let program = compiled.as_ref().map_err(|why| Stop::Failed(why.clone()))?;
    let outcome = program.eval(bindings, PER_CALL_LIMIT);
    *budget = budget.checked_sub(outcome.cost).ok_or(Stop::Budget)?;
    outcome.value.map_err(|why: EvalError| Stop::Failed(conditions::failed(source, &why)))
}

impl Validation {
    fn deny<'a>(&'a self, bindings: &Bindings<'a>, budget: &mut u64) -> Result<Option<Denial>, Stop> {
        if let Val::Bool(true) = run(&self.expression, &self.source, bindings, budget)? {
            return Ok(None);
        }
        let made = match &self.message_expression {
            None => None,
            Some(expression) => match run(expression, "messageExpression", bindings, budget) {
                Ok(Val::String(text)) => Some(text.trim().to_owned()),
                Err(Stop::Budget) => {
                    return Err(Stop::Failed(format!("failed messageExpression: {OUT_OF_BUDGET}")));
                }
                Ok(_) | Err(Stop::Failed(_)) => None,
            },
        };
        let usable = |m: &String| !m.is_empty() && m.len() <= MESSAGE_MAX && !m.contains('\n');
        let written = Some(self.message.clone()).filter(|m| !m.is_empty());
        let message = made.filter(usable).or(written);
        let message = message.unwrap_or_else(|| format!("failed expression: {}", self.source));
        Ok(Some(Denial { message, reason: self.reason }))
    }
}

impl Binding {
    pub(super) fn read(of: &Value) -> Binding {
        let spec = object::at(of, &["spec"]);
        let actions = object::items(spec, &["validationActions"]).iter();
        Binding {
            name: object::name(of).to_owned(),
            policy: object::text(spec, &["policyName"]).to_owned(),
            criteria: Criteria::read(object::at(spec, &["matchResources"]), "resourceRules"),
            param: spec.get("paramRef").filter(|p| p.is_object()).cloned(),
            actions: actions.filter_map(|a| a.as_str().map(str::to_owned)).collect(),
        }
    }

    fn acts(&self, action: &str) -> bool {
        self.actions.iter().any(|a| a == action)
    }

    /// The parameters that the policy is to be asked with, once for each; `null` where it has none.
    pub(super) async fn params(&self, admit: &Admit<'_>, row: Option<&Kind>) -> Result<Vec<Value>, String> {
        let (Some(row), Some(param)) = (row, &self.param) else { return Ok(vec![Value::Null]) };
        let said = object::text(param, &["namespace"]);
        let namespace = match (row.is_namespaced(), said) {
            (false, "") => "",
            (false, _) => {
                return Err(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()
                );
            }
            (true, "") if admit.namespace.is_empty() => {
                let words =
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
                return Err(words.to_owned());
            }
            (true, "") => admit.namespace,
            (true, said) => said,
        };
        let name = object::text(param, &["name"]);
        let state = admit.core.store.snapshot();
        let found: Vec<_> = if name.is_empty() {
            state.range(&crate::registry::prefix(row, namespace), None).collect()
        } else {
            state.get(&crate::registry::key(row, namespace, name)).into_iter().collect()
        };
        let found = crd::versions::shown(admit.core, row, found).await.map_err(|e| e.message)?;
        let found = found.iter().map(|v| crate::registry::decode_stored(row, v).map_err(|e| e.message));
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        if name.is_empty() {
            let selector = LabelSelector::from_object(object::at(param, &["selector"]));
            let selector = selector.map_err(|e| e.to_string())?;
            found.retain(|v| selector.selects(v));
        }
        if found.is_empty() && object::text(param, &["parameterNotFoundAction"]) != "Allow" {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
        }
        Ok(found)
    }
}

/// Asks every policy that is bound to this write.
pub(super) async fn validate(admit: &Admit<'_>, state: &State, obj: Option<&Value>) -> Result<(), Status> {
    let mut refused: Option<(String, &'static str)> = None;
    for policy in state.policies.values() {
        let bindings: Vec<_> = state.bindings.values().filter(|b| b.policy == policy.name).collect();
        if bindings.is_empty() {
            continue;
        }
        let Some(row) = policy.criteria.matches(admit, obj)? else { continue };
        let versioned = Versioned::new(admit, &row, obj).await?;
        let mut deny = |binding: Option<&Binding>, denial: Denial| {
            let with = binding.map_or(String::new(), |b| format!(" with binding '{}'", b.name));
            let words = format!(
                "ValidatingAdmissionPolicy '{}'{with} denied request: {}",
                policy.name, denial.message
            );
            refused.get_or_insert((words, denial.reason));
        };
        let params = match policy.param_row(admit) {
            Ok(params) => params,
            Err(_) if policy.ignores_failure => continue,
            Err(why) => {
                deny(None, Denial::failure(format!("failed to configure policy: {why}")));
                continue;
            }
        };
        for binding in bindings {
            if !binding.criteria.allows(admit, obj)? {
                continue;
            }
            match binding.params(admit, params.as_deref()).await {
                Ok(params) => {
                    for denial in asked(admit, policy, &row, &versioned, &params)? {
                        if binding.acts("Warn") {
                            admit.call.warn(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                                policy.name, binding.name, denial.message
                            ));
                        }
                        if binding.acts("Deny") {
                            deny(Some(binding), denial);
                        }
                    }
                }
                Err(_) if policy.ignores_failure => {}
                Err(why) => {
                    deny(Some(binding), Denial::failure(format!("failed to configure binding: {why}")));
                }
            }
        }
    }
    match refused {
        None => Ok(()),
        Some((message, reason)) => Err(forbidden(admit, obj, message, reason)),
    }
}

pub(super) fn forbidden(
    admit: &Admit<'_>,
    obj: Option<&Value>,
    message: String,
    reason: &'static str,
) -> Status {
    let name = if admit.name.is_empty() { obj.map_or("", object::name) } else { admit.name };
    let mut status = Status::forbidden(admit.resource.resource(), name, &message);
    status.reason = reason;
    status.code = code_of(reason);
    let details = status.details.get_or_insert_with(Details::default);
    details.causes.push(Cause { message, ..Cause::default() });
    status
}

/// What speaks against the write, with each of the parameters.
fn asked(
    admit: &Admit<'_>,
    policy: &Policy,
    row: &Kind,
    versioned: &Versioned,
    params: &[Value],
) -> Result<Vec<Denial>, Status> {
    let facts = Facts::new(admit, row, namespace(admit)?);
    let rules = policy.rules();
    let mut denials = Vec::new();
    for params in params {
        let bindings = facts.bind(&rules.env, versioned).json("params", params);
        denials.extend(rules.denials(bindings, policy.ignores_failure));
    }
    Ok(denials)
}

/// The namespace of the write, for what is in one.
pub(super) fn namespace(admit: &Admit<'_>) -> Result<Value, Status> {
    let is_namespace = admit.resource.group.is_empty() && &*admit.resource.plural == "namespaces";
    if admit.namespace.is_empty() || is_namespace {
        return Ok(Value::Null);
    }
    match admit.core.object("", "namespaces", "", admit.namespace) {
        Some(namespace) => Ok(namespace),
        None => Err(Status::not_found(admit.core.builtin("", "namespaces")?.resource(), admit.namespace)),
    }
}
