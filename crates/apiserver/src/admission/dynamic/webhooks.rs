//! Admission webhooks, asked over HTTPS: in order where they may change the object, all at once where they may refuse.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_api::cel::{Decl, Env, admission};
use coracle_api::field::go_quote;
use coracle_api::{Kind, Status, object, patch};
use futures::future;
use serde_json::Value;

use super::State;
use super::conditions::{Conditions, Facts};
use super::matching::Criteria;
use super::mutation;
use super::policy::{Binding, Policy};
use super::request::{self, Versioned};
use crate::admission::{Admit, mutate_by_plugins};
use crate::webhook::Endpoint;

/// How long a webhook may take where its configuration does not say.
const TIMEOUT: u64 = 10;

/// One webhook of a configuration.
#[derive(Debug)]
pub(super) struct Hook {
    name: String,
    criteria: Criteria,
    endpoint: Endpoint,
    timeout: Duration,
    ignores_failure: bool,
    has_side_effects: bool,
    /// Whether it wants to see again what others change after it.
    sees_again: bool,
    spec: Value,
    conditions: OnceLock<(Env, Conditions)>,
}

/// Why a webhook did not let a write pass.
enum Refusal {
    /// It could not be asked, or its answer is none.
    Call(String),
    Denied(Status),
}

impl Hook {
    fn read(of: &Value) -> Hook {
        let text = |key: &str| object::text(of, &[key]);
        Hook {
            name: text("name").to_owned(),
            criteria: Criteria::read(of, "rules"),
            endpoint: Endpoint::read(object::at(of, &["clientConfig"])),
            timeout: Duration::from_secs(of["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT)),
            ignores_failure: text("failurePolicy") == "Ignore",
            has_side_effects: !matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            sees_again: text("reinvocationPolicy") == "IfNeeded",
            spec: serde_json::json!({"matchConditions": of["matchConditions"]}),
            conditions: OnceLock::new(),
        }
    }

    pub(super) fn read_all(configuration: &Value) -> Vec<Hook> {
        object::items(configuration, &["webhooks"]).iter().map(Hook::read).collect()
    }

    /// The row in whose version it is to be asked, if it is to be.
    async fn wants(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<Option<Arc<Kind>>, Status> {
        let Some(row) = self.criteria.matches(admit, obj)? else { return Ok(None) };
        let (env, conditions) = self.conditions.get_or_init(|| {
            let env = admission::env(Decl::Dyn, None, true);
            let conditions = Conditions::compile(&env, &self.spec);
            (env, conditions)
        });
        if conditions.is_empty() {
            return Ok(Some(row));
        }
        let versioned = Versioned::new(admit, &row, obj).await?;
        let facts = Facts::new(admit, &row, Value::Null);
        match conditions.hold(&facts.bind(env, &versioned)) {
            Ok(true) => Ok(Some(row)),
            Ok(false) => Ok(None),
            Err(_) if self.ignores_failure => Ok(None),
            Err(why) => Err(admit.forbidden(admit.name, &why)),
        }
    }

    /// What it answers: its `response`.
    async fn ask(
        &self,
        admit: &Admit<'_>,
        row: &Kind,
        obj: Option<&Value>,
        mutates: bool,
    ) -> Result<Value, Refusal> {
        if admit.dry_run && self.has_side_effects {
            let words = format!("admission webhook {} does not support dry run", go_quote(&self.name));
            return Err(Refusal::Denied(Status::bad_request(words)));
        }
        let versioned = Versioned::new(admit, row, obj).await.map_err(|e| Refusal::Call(e.message))?;
        let uid = uuid::Uuid::new_v4().to_string();
        let review = request::review(admit, row, &versioned, &uid);
        let answer = self.endpoint.post(admit.core, &review, self.timeout).await;
        let answer = answer.map_err(|why| Refusal::Call(format!("failed to call webhook: {why}")))?;
        let response = verified(answer, &uid, mutates)
            .map_err(|why| Refusal::Call(format!("received invalid webhook response: {why}")))?;
        for words in object::items(&response, &["warnings"]).iter().filter_map(Value::as_str) {
            admit.call.warn(words);
        }
        if response["allowed"] == Value::Bool(true) {
            Ok(response)
        } else {
            Err(Refusal::Denied(denied(&self.name, object::at(&response, &["status"]))))
        }
    }

    /// What a refusal means: nothing where failures do not count, else an error for the client.
    fn judge(&self, refusal: Refusal) -> Result<(), Status> {
        match refusal {
            Refusal::Denied(status) => Err(status),
            Refusal::Call(why) if self.ignores_failure => {
                tracing::warn!("failed calling webhook, failing open {}: {why}", self.name);
                Ok(())
            }
            Refusal::Call(why) => Err(self.failed(&why)),
        }
    }

    fn failed(&self, why: &str) -> Status {
        Status::internal(format!("failed calling webhook {}: {why}", go_quote(&self.name)))
    }
}

/// The answer's response, if it is one to this request.
fn verified(mut answer: Value, uid: &str, mutates: bool) -> Result<Value, String> {
    let (version, kind) = (object::text(&answer, &["apiVersion"]), object::text(&answer, &["kind"]));
    if (version, kind) != ("admission.k8s.io/v1", "AdmissionReview") {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {group}/{version}, Kind={kind}"
        ));
    }
    let response = answer["response"].take();
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let said = object::text(&response, &["uid"]);
    if said != uid {
        return Err(format!("expected response.uid={}, got {}", go_quote(uid), go_quote(said)));
    }
    let (patch, kind) = (object::text(&response, &["patch"]), object::text(&response, &["patchType"]));
    match (patch.is_empty(), kind.is_empty()) {
        (true, true) => Ok(response),
        _ if !mutates => Err("validating webhook may not return response.patch".to_owned()),
        (true, false) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (false, true) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (false, false) if kind == "JSONPatch" => Ok(response),
        (false, false) => Err(format!("webhook returned invalid response.patchType of {}", go_quote(kind))),
    }
}

/// The reference's words for a refusal, with the code and reason that the webhook gave.
fn denied(name: &str, status: &Value) -> Status {
    const KNOWN: [&str; 18] = [
        "Unauthorized",
        "Forbidden",
        "NotFound",
        "AlreadyExists",
        "Conflict",
        "Gone",
        "Invalid",
        "ServerTimeout",
        "StoreReadError",
        "Timeout",
        "TooManyRequests",
        "BadRequest",
        "MethodNotAllowed",
        "NotAcceptable",
        "RequestEntityTooLarge",
        "UnsupportedMediaType",
        "InternalError",
        "ServiceUnavailable",
    ];
    let by = format!("admission webhook {} denied the request", go_quote(name));
    let (message, reason) = (object::text(status, &["message"]), object::text(status, &["reason"]));
    let words = if !message.is_empty() {
        format!("{by}: {message}")
    } else if !reason.is_empty() {
        format!("{by}: {reason}")
    } else {
        format!("{by} without explanation")
    };
    let code = status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(0);
    let reason = KNOWN.iter().find(|known| **known == reason).copied().unwrap_or("");
    Status::new(code.max(400), reason, words)
}

/// Whoever may change an object.
enum Mutator<'a> {
    Policy(&'a Policy, Vec<&'a Binding>),
    Hook(&'a Hook),
}

impl Mutator<'_> {
    fn sees_again(&self) -> bool {
        match self {
            Mutator::Policy(policy, _) => policy.sees_again,
            Mutator::Hook(hook) => hook.sees_again,
        }
    }

    /// Whether it changed the object.
    async fn run(&self, admit: &Admit<'_>, obj: &mut Value) -> Result<bool, Status> {
        match self {
            Mutator::Policy(policy, bindings) => mutation::mutate(admit, policy, bindings, obj).await,
            Mutator::Hook(hook) => one(admit, hook, obj).await,
        }
    }
}

/// Policies first, then webhooks, each by name.
fn mutators(state: &State) -> Vec<Mutator<'_>> {
    let policies = state.mutating_policies.values().map(|policy| {
        let bindings = state.mutating_bindings.values().filter(|b| b.policy == policy.name);
        Mutator::Policy(policy, bindings.map(|b| &**b).collect())
    });
    policies.chain(state.mutating.values().flat_map(|hooks| hooks.iter()).map(Mutator::Hook)).collect()
}

/// Has everybody who may change the object do so, one after the other; then once more those that want to see what others
/// made of it.
pub(super) async fn mutate(admit: &Admit<'_>, state: Arc<State>, obj: &mut Value) -> Result<(), Status> {
    let mutators = mutators(&state);
    // What each has left, to tell whether it is to see the object again.
    let mut left: Vec<Option<Value>> = Vec::with_capacity(mutators.len());
    let mut changed = false;
    for mutator in &mutators {
        changed |= mutator.run(admit, obj).await?;
        left.push(mutator.sees_again().then(|| obj.clone()));
    }
    if !changed {
        return Ok(());
    }
    mutate_by_plugins(admit, obj)?;
    for (mutator, left) in mutators.iter().zip(left) {
        if left.is_some_and(|left| left != *obj) {
            mutator.run(admit, obj).await?;
        }
    }
    Ok(())
}

/// Asks one webhook; whether it changed the object.
async fn one(admit: &Admit<'_>, hook: &Hook, obj: &mut Value) -> Result<bool, Status> {
    let Some(row) = hook.wants(admit, Some(obj)).await? else { return Ok(false) };
    let response = match hook.ask(admit, &row, Some(obj), true).await {
        Ok(response) => response,
        Err(refusal) => return hook.judge(refusal).map(|()| false),
    };
    let patch = object::text(&response, &["patch"]);
    if patch.is_empty() {
        return Ok(false);
    }
    let patched = patched(admit, &row, obj, patch).await.map_err(Status::internal)?;
    let changed = patched != *obj;
    *obj = patched;
    Ok(changed)
}

async fn patched(admit: &Admit<'_>, row: &Arc<Kind>, obj: &Value, patch: &str) -> Result<Value, String> {
    let bytes = STANDARD.decode(patch).map_err(|e| e.to_string())?;
    let operations = patch::json::decode(&bytes).map_err(|e| e.to_string())?.patch;
    let mut made = Versioned::new(admit, row, Some(obj)).await.map_err(|e| e.message)?.object;
    patch::json::apply(&mut made, &operations).map_err(|e| e.to_string())?;
    mutation::retyped(admit, row, made).await
}

/// Asks, all at once, every webhook that may refuse. The first refusal, in their order, is the answer.
pub(super) async fn validate(
    admit: &Admit<'_>,
    state: Arc<State>,
    obj: Option<&Value>,
) -> Result<(), Status> {
    let mut wanted = Vec::new();
    for hook in state.validating.values().flat_map(|hooks| hooks.iter()) {
        if let Some(row) = hook.wants(admit, obj).await? {
            wanted.push((hook, row));
        }
    }
    let asking = wanted.iter().map(|(hook, row)| async move {
        match hook.ask(admit, row, obj, false).await {
            Ok(_) => Ok(()),
            Err(refusal) => hook.judge(refusal),
        }
    });
    future::join_all(asking).await.into_iter().collect()
}
