//! MutatingAdmissionPolicy: expressions that change a write, by what they would have applied or by a JSON patch.

use coracle_api::cel::{Bindings, PER_CALL_LIMIT, Val, admission::Compiled};
use coracle_api::patch::{self, PatchError};
use coracle_api::{Kind, Status, object};
use serde_json::{Map, Value};

use super::conditions::{self, Facts, OUT_OF_BUDGET};
use super::policy::{self, Binding, Policy};
use super::request::Versioned;
use crate::admission::Admit;
use crate::crd;
use crate::registry::{create, decode};

/// One way in which a policy changes an object.
#[derive(Debug)]
pub(super) struct Mutation {
    pub source: String,
    pub expression: Compiled,
    /// Whether its expression gives a part of an object to apply, and not the operations of a JSON patch.
    pub applies: bool,
}

/// Has a policy change the object, once for each of its bindings and their parameters; whether it did.
pub(super) async fn mutate(
    admit: &Admit<'_>,
    policy: &Policy,
    bindings: &[&Binding],
    obj: &mut Value,
) -> Result<bool, Status> {
    let Some(row) = policy.criteria.matches(admit, Some(obj))? else { return Ok(false) };
    let failed = |binding: Option<&Binding>, why: String| {
        if policy.ignores_failure {
            return Ok(());
        }
        let with = binding.map_or(String::new(), |b| format!(" with binding '{}'", b.name));
        let words = format!("policy '{}'{with} denied request: {why}", policy.name);
        Err(policy::forbidden(admit, Some(obj), words, "Invalid"))
    };
    let params = match policy.param_row(admit) {
        Ok(params) => params,
        Err(why) => return failed(None, format!("failed to configure policy: {why}")).map(|()| false),
    };
    let mut now = obj.clone();
    for binding in bindings {
        if !binding.criteria.allows(admit, Some(&now))? {
            continue;
        }
        match binding.params(admit, params.as_deref()).await {
            Err(why) => failed(Some(binding), format!("failed to configure binding: {why}"))?,
            Ok(params) => {
                for params in &params {
                    match asked(admit, policy, &row, &now, params).await? {
                        Ok(changed) => now = changed,
                        Err(why) => failed(Some(binding), why)?,
                    }
                }
            }
        }
    }
    let changed = now != *obj;
    *obj = now;
    Ok(changed)
}

/// The object as the policy leaves it, or why it could not.
async fn asked(
    admit: &Admit<'_>,
    policy: &Policy,
    row: &std::sync::Arc<Kind>,
    obj: &Value,
    params: &Value,
) -> Result<Result<Value, String>, Status> {
    let rules = policy.rules();
    let namespace = policy::namespace(admit)?;
    let mut budget = coracle_api::cel::BUDGET;
    let mut now = obj.clone();
    for (i, mutation) in rules.mutations.iter().enumerate() {
        let versioned = Versioned::new(admit, row, Some(&now)).await?;
        let changed = {
            let facts = Facts::new(admit, row, namespace.clone());
            let bindings = facts.bind(&rules.env, &versioned).json("params", params);
            match if i == 0 { rules.conditions.hold(&bindings) } else { Ok(true) } {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(now)),
                Err(why) => return Ok(Err(why)),
            }
            let made = mutation.run(&bindings.variables(&rules.variables), &mut budget);
            made.and_then(|made| mutation.change(admit, row, &versioned.object, &made))
        };
        let changed = match changed {
            Ok(changed) => retyped(admit, row, changed).await,
            Err(why) => Err(why),
        };
        match changed {
            Ok(changed) => now = changed,
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(now))
}

impl Mutation {
    /// What its expression comes to, as JSON.
    fn run<'a>(&'a self, bindings: &Bindings<'a>, budget: &mut u64) -> Result<Value, String> {
        let program = self.expression.as_ref().map_err(Clone::clone)?;
        let outcome = program.eval(bindings, PER_CALL_LIMIT);
        *budget = budget.checked_sub(outcome.cost).ok_or(OUT_OF_BUDGET)?;
        let value = outcome.value.map_err(|why| conditions::failed(&self.source, &why))?;
        if self.applies {
            check_names(&value, "Object")?;
        }
        value.to_json().ok_or_else(|| format!("expression '{}' has a result that is no JSON", self.source))
    }

    fn change(&self, admit: &Admit<'_>, row: &Kind, obj: &Value, made: &Value) -> Result<Value, String> {
        if self.applies {
            return applied(admit, row, obj, made);
        }
        let operations = patch::json::decode(made.to_string().as_bytes()).map_err(|e| e.to_string())?.patch;
        let mut patched = obj.clone();
        match patch::json::apply(&mut patched, &operations) {
            Ok(()) => Ok(patched),
            // A test that fails says that the patch is not meant for this object.
            Err(PatchError::DoesNotApply(why)) if why.starts_with("testing value") => Ok(obj.clone()),
            Err(why) => Err(format!("JSON Patch: {why}")),
        }
    }
}

/// `obj` with what the expression made laid over it.
fn applied(admit: &Admit<'_>, row: &Kind, obj: &Value, made: &Value) -> Result<Value, String> {
    let Some(members) = made.as_object() else { return Err("the expression made no object".to_owned()) };
    let mut whole = Map::new();
    for key in ["apiVersion", "kind"] {
        whole.insert(key.to_owned(), obj[key].clone());
    }
    for (key, value) in members {
        let named = matches!(key.as_str(), "apiVersion" | "kind") && *value != obj[key];
        if named {
            return Err(format!("may not change {key} of the object"));
        }
        whole.insert(key.clone(), value.clone());
    }
    Ok(patch::lay_over(admit.core.schemas.of(row), obj, &Value::Object(whole)))
}

/// The object as its kind is kept, typed and defaulted anew.
pub(super) async fn retyped(
    admit: &Admit<'_>,
    row: &std::sync::Arc<Kind>,
    mut made: Value,
) -> Result<Value, String> {
    if admit.kind.storage != row.storage {
        return Ok(made);
    }
    let core = admit.core;
    decode::set_kind(row, &mut made);
    let (made, _) = decode::shape(core, row, made)?;
    let made = decode::defaulted(core, row, made);
    if row.is_custom() {
        return crd::versions::converted(core, admit.kind, made).await.map_err(|e| e.message);
    }
    create::stored_from(core, row, made).map(|(_, stored)| stored).map_err(|e| e.message)
}

/// An object's type must be named after the place where the object stands.
fn check_names(value: &Val<'_>, place: &str) -> Result<(), String> {
    match value {
        Val::Struct(made) if made.name != place => Err(format!(
            "unexpected type name {:?}, expected {place:?}, which matches field name path from root Object type",
            made.name
        )),
        Val::Struct(made) => {
            made.fields.iter().try_for_each(|(name, value)| check_names(value, &format!("{place}.{name}")))
        }
        Val::List(list) => list.iter().try_for_each(|value| check_names(&value, place)),
        _ => Ok(()),
    }
}

/// What a policy's `mutations` hold: the expression, and whether what it makes is applied.
pub(super) fn expression_of(mutation: &Value) -> (&str, bool) {
    let applies = object::text(mutation, &["patchType"]) == "ApplyConfiguration";
    let key = if applies { "applyConfiguration" } else { "jsonPatch" };
    (object::text(mutation, &[key, "expression"]), applies)
}
