//! pods/eviction: a deletion that asks the disruption budgets first.

use bytes::Bytes;
use coracle_api::field::go_quote;
use coracle_api::selector::LabelSelector;
use coracle_api::status::{Cause, Details, Resource};
use coracle_api::{Status, object};
use coracle_store::Expect;
use serde_json::{Map, Value, json};

use super::bodies;
use crate::admission::{Admit, dynamic};
use crate::options::{DeleteOptions, WriteOptions};
use crate::registry::write::{self, Lost};
use crate::registry::{Call, decode, delete, prefix};
use crate::respond::{self, Answer};
use crate::server::Core;

/// How often a budget that changes meanwhile is read again.
const TRIES: usize = 16;
/// So many evictions may wait for the budget's controller to see them.
const DISRUPTED_MAX: usize = 2000;
const ALLOWED: &str = "DisruptionAllowed";

pub(crate) async fn create(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let mut eviction = decode::object(core, call, &bodies::eviction(), &body, options.field_validation)?;
    let name = object::name(&eviction);
    if name != call.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut how = DeleteOptions::parse(&call.query, eviction.get("deleteOptions"))?;
    how.dry_run |= options.dry_run;
    let kind = bodies::eviction();
    let admit = Admit::create(core, call, &kind).for_dry_run(how.dry_run);
    dynamic::mutate(&admit, &mut eviction).await?;
    dynamic::validate(&admit, Some(&eviction)).await?;
    evict(core, call, &how).await?;
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::value(201, &done, call.format))
}

async fn evict(core: &Core, call: &Call, how: &DeleteOptions) -> Result<(), Status> {
    let bound = how.resource_version.is_some();
    for _ in 0..TRIES {
        let pod = core.object("", "pods", &call.namespace, &call.name).ok_or_else(|| call.not_found())?;
        let free = may_go_freely(&pod);
        let budget = if free { Spent::Nothing } else { spend_budget(core, call, &pod, how.dry_run).await? };
        let mut how = how.clone();
        // Whether it may go was judged by this version of it; it may be ready by now.
        if !bound && (budget.was_unready() || free && may_become_ready(&pod)) {
            how.resource_version = Some(object::resource_version(&pod).to_owned());
        }
        return match (delete::object(core, call, &how).await, budget) {
            (Err(status), _) if status.code == 409 && !bound && free => continue,
            (Err(status), Spent::Unready(name)) if status.code == 409 && !bound => {
                Err(still_processed(&name))
            }
            (deleted, _) => deleted.map(drop),
        };
    }
    Err(Status::conflict_modified(call.kind.resource(), &call.name))
}

/// What an eviction costs its budget.
enum Spent {
    Nothing,
    /// Nothing, since the Pod is not ready; by the budget's name.
    Unready(String),
    One,
}

impl Spent {
    fn was_unready(&self) -> bool {
        matches!(self, Spent::Unready(_))
    }
}

/// A Pod that has not ended.
fn may_become_ready(pod: &Value) -> bool {
    !object::is_deleting(pod) && !matches!(object::text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// A Pod that does not run serves nobody: no budget counts it.
fn may_go_freely(pod: &Value) -> bool {
    object::is_deleting(pod)
        || matches!(object::text(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending")
}

/// A Pod that is not ready serves nobody either: it may go where its budget says so, or is kept without it.
fn may_go_unready(budget: &Value, pod: &Value) -> bool {
    let conditions = object::items(pod, &["status", "conditions"]);
    if conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True") {
        return false;
    }
    let number = |key: &str| object::at(budget, &["status", key]).as_i64().unwrap_or(0);
    let desired = number("desiredHealthy");
    object::text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow"
        || (desired > 0 && number("currentHealthy") >= desired)
}

fn budgets(core: &Core, namespace: &str, pod: &Value) -> Result<Vec<Value>, Status> {
    let kind = core.builtin("policy", "poddisruptionbudgets")?;
    let labels = object::at(pod, &["metadata", "labels"]);
    let all = core.store.snapshot();
    Ok(all
        .range(&prefix(&kind, namespace), None)
        .filter_map(|v| serde_json::from_slice::<Value>(&v.json).ok())
        .filter(|b| {
            let selector = LabelSelector::from_object(object::at(b, &["spec", "selector"]));
            selector.is_ok_and(|s| s.matches(labels))
        })
        .collect())
}

async fn spend_budget(core: &Core, call: &Call, pod: &Value, dry_run: bool) -> Result<Spent, Status> {
    for _ in 0..TRIES {
        let mut found = budgets(core, &call.namespace, pod)?;
        if found.len() > 1 {
            let words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::new(500, "", words));
        }
        let Some(mut budget) = found.pop() else { return Ok(Spent::Nothing) };
        if may_go_unready(&budget, pod) {
            return Ok(Spent::Unready(object::name(&budget).to_owned()));
        }
        spend(core, call, &mut budget)?;
        if dry_run {
            return Ok(Spent::One);
        }
        let kind = core.builtin("policy", "poddisruptionbudgets")?;
        let key = crate::registry::key(&kind, &call.namespace, object::name(&budget));
        let revision = object::resource_version(&budget).parse().unwrap_or(0);
        let put = write::Put::new(&key, Expect::Revision(revision), write::draft(&kind, &budget));
        match write::commit_put(core, put).await {
            Ok(_) => return Ok(Spent::One),
            Err(Lost::Race | Lost::RaceAlong) => continue,
            Err(Lost::Failed(status)) => return Err(status),
        }
    }
    Err(Status::conflict_modified(call.kind.resource(), &call.name))
}

/// Take one disruption off the budget, or say why there is none.
fn spend(core: &Core, call: &Call, budget: &mut Value) -> Result<(), Status> {
    let name = object::name(budget).to_owned();
    let number = |b: &Value, key: &str| object::at(b, &["status", key]).as_i64().unwrap_or(0);
    let generation = object::at(budget, &["metadata", "generation"]).as_i64().unwrap_or(0);
    if number(budget, "observedGeneration") < generation {
        return Err(still_processed(&name));
    }
    let allowed = number(budget, "disruptionsAllowed");
    let forbidden = |why: &str| {
        let named = Resource { group: "policy", resource: "poddisruptionbudget" };
        Err(Status::forbidden(named, &name, why))
    };
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    let disrupted = object::at(budget, &["status", "disruptedPods"]).as_object().map_or(0, Map::len);
    if disrupted > DISRUPTED_MAX {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(too_many(why_none(budget, &name), 0));
    }
    let status = object::map_at_mut(budget, &["status"]);
    status.insert("disruptionsAllowed".into(), json!(allowed - 1));
    if allowed == 1 {
        say_insufficient(core, budget);
    }
    object::map_at_mut(budget, &["status", "disruptedPods"])
        .insert(call.name.clone(), json!(core.clock.now_rfc3339()));
    tracing::debug!(pod = %go_quote(&call.name), budget = %name, "eviction counted");
    Ok(())
}

fn still_processed(budget: &str) -> Status {
    too_many(format!("The disruption budget {budget} is still being processed by the server."), 10)
}

fn why_none(budget: &Value, name: &str) -> String {
    let number = |key: &str| object::at(budget, &["status", key]).as_i64().unwrap_or(0);
    let conditions = object::items(budget, &["status", "conditions"]);
    let failed = conditions.iter().find(|c| c["type"] == ALLOWED && c["reason"] == "SyncFailed");
    match failed {
        Some(condition) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            object::text(condition, &["message"])
        ),
        None => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number("desiredHealthy"),
            number("currentHealthy")
        ),
    }
}

/// That the last disruption was taken is told at once, and not only when the budget's controller comes by.
fn say_insufficient(core: &Core, budget: &mut Value) {
    let generation = object::at(budget, &["metadata", "generation"]).clone();
    let mut condition = json!({"type": ALLOWED, "status": "False", "lastTransitionTime": core.clock.now_rfc3339(),
        "reason": "InsufficientPods", "message": ""});
    if generation.is_number() {
        condition["observedGeneration"] = generation;
    }
    let conditions = object::map_at_mut(budget, &["status"]).entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else { return };
    match list.iter_mut().find(|c| c["type"] == ALLOWED) {
        Some(old) => *old = condition,
        None => list.push(condition),
    }
}

fn too_many(why: String, retry_after_seconds: u32) -> Status {
    Status::new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        .with_details(Details {
            causes: vec![Cause { reason: "DisruptionBudget".into(), message: why, ..Cause::default() }],
            retry_after_seconds,
            ..Details::default()
        })
}
