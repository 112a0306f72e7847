//! PodDisruptionBudgets: how many Pods there are to be, how many are healthy, and so how many may be taken away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::selector::LabelSelector;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DynamicObject, PostParams};
use kube::discovery::{ApiResource, Discovery};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};

use crate::pod::Pod;
use crate::work::{self, Change, Key, Next};
use crate::{Context, Error, found};

/// A Pod that was to be evicted and is still there after this was not (the reference: 2 minutes).
const DISRUPTION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
/// What the Pods' owners are to have is asked for anew after this, for nobody tells of it.
const SCALE_RESYNC: Duration = Duration::from_secs(30);
const ALLOWED: &str = "DisruptionAllowed";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    cx.informers.pods.listed().await;
    work::reconcile_all(triggers(&cx), &cx.clock, |key| reconcile(&cx, key)).await
}

/// Every budget that is or becomes, and those that a Pod that changes belongs to, or has belonged to.
fn triggers(cx: &Context) -> BoxStream<'static, Key> {
    let budgets: Api<PodDisruptionBudget> = Api::all(cx.client.clone());
    let events = work::changes(budgets, watcher::Config::default()).map(|c| Event::Budget(Box::new(c)));
    let pods = cx.informers.pods.changes().map(|change| Event::Pods(change.states().cloned().collect()));
    let all = stream::select(events, pods);
    let known: BTreeMap<Key, PodDisruptionBudget> = BTreeMap::new();
    let keys = all.scan(known, |known, event| {
        let keys = match event {
            Event::Budget(change) => vec![note(known, *change)],
            Event::Pods(states) => {
                let concerned = |budget: &PodDisruptionBudget| states.iter().any(|pod| covers(budget, pod));
                known.iter().filter(|(_, b)| concerned(b)).map(|(key, _)| key.clone()).collect()
            }
        };
        std::future::ready(Some(stream::iter(keys)))
    });
    keys.flatten().boxed()
}

enum Event {
    Budget(Box<Change<PodDisruptionBudget>>),
    /// What a Pod was and what it is.
    Pods(Vec<Pod>),
}

fn note(known: &mut BTreeMap<Key, PodDisruptionBudget>, change: Change<PodDisruptionBudget>) -> Key {
    let key = Key::of(change.object());
    match change {
        Change::Is(budget) => drop(known.insert(key.clone(), budget)),
        Change::Gone(_) => drop(known.remove(&key)),
    }
    key
}

/// A budget without a selector covers nothing.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    let selector = serde_json::to_value(selector).ok().and_then(|s| LabelSelector::from_object(&s).ok());
    let labels: Vec<(String, String)> = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    budget.namespace() == pod.namespace() && selector.is_some_and(|s| s.matches(&labels))
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cx.client.clone(), &key.namespace);
    let Some(mut budget) = work::read(&budgets, &key.name).await? else { return Ok(Next::Wait) };
    let pods = cx.informers.pods.select(&key.namespace, |pod| covers(&budget, pod));
    let now = cx.clock.now();
    let spec = budget.spec.clone().unwrap_or_default();
    let counted = match of_owners(cx, &key.namespace, &spec, &pods).await? {
        Ok(owners) => Ok(counts(&spec, owners, pods.len())),
        Err(why) => Err(why),
    };
    let needs_owners =
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)));
    let (status, recheck) = status(&budget, &pods, counted, now);
    if budget.status.as_ref() != Some(&status) {
        budget.status = Some(status);
        found(budgets.replace_status(&key.name, &PostParams::default(), &budget).await)?;
    }
    let resync = (needs_owners && !pods.is_empty()).then_some(SCALE_RESYNC);
    Ok(recheck.into_iter().chain(resync).min().map_or(Next::Wait, Next::After))
}

/// How many Pods the owners of these are to have; `Err` says why that cannot be known. `None` where nobody asks.
async fn of_owners(
    cx: &Context,
    namespace: &str,
    spec: &PodDisruptionBudgetSpec,
    pods: &[Arc<Pod>],
) -> Result<Result<i64, String>, Error> {
    if spec.max_unavailable.is_none() && !matches!(spec.min_available, Some(IntOrString::String(_))) {
        return Ok(Ok(0));
    }
    let mut owners: BTreeMap<String, OwnerReference> = BTreeMap::new();
    for pod in pods {
        if let Some(owner) = controller(&pod.metadata.owner_references) {
            owners.entry(owner.uid.clone()).or_insert_with(|| owner.clone());
        }
    }
    let mut scales = BTreeMap::new();
    for owner in owners.into_values() {
        match scale(cx, namespace, owner.clone()).await? {
            Some((uid, replicas)) => drop(scales.insert(uid, replicas)),
            None => {
                let (kind, name) = (owner.kind, owner.name);
                return Ok(Err(format!(
                    "found no scale of the controller {kind} {name:?} of the budget's pods"
                )));
            }
        }
    }
    Ok(Ok(scales.values().sum()))
}

fn controller(owners: &Option<Vec<OwnerReference>>) -> Option<&OwnerReference> {
    owners.iter().flatten().find(|o| o.controller == Some(true))
}

/// What is scaled, and to how many: a Deployment in place of its ReplicaSet.
async fn scale(cx: &Context, namespace: &str, owner: OwnerReference) -> Result<Option<(String, i64)>, Error> {
    let mut owner = owner;
    loop {
        let Some(resource) = served(cx, &owner).await? else { return Ok(None) };
        let api: Api<DynamicObject> = Api::namespaced_with(cx.client.clone(), namespace, &resource);
        let is_replica_set = resource.group == "apps" && resource.kind == "ReplicaSet";
        if is_replica_set {
            let Some(set) = found(api.get(&owner.name).await)? else { return Ok(None) };
            if let Some(above) = controller(&set.meta().owner_references).filter(|o| o.kind == "Deployment") {
                owner = above.clone();
                continue;
            }
        }
        let scale = found(api.get_scale(&owner.name).await)?;
        let replicas = |scale: Scale| i64::from(scale.spec.and_then(|s| s.replicas).unwrap_or(0));
        return Ok(scale.map(|scale| (owner.uid, replicas(scale))));
    }
}

async fn served(cx: &Context, owner: &OwnerReference) -> Result<Option<ApiResource>, Error> {
    let (group, version) = coracle_api::catalog::split_api_version(&owner.api_version);
    let discovery = Discovery::new(cx.client.clone()).run_aggregated().await?;
    let resources = discovery.groups().find(|g| g.name() == group).map(|g| g.versioned_resources(version));
    let resources = resources.into_iter().flatten().map(|(resource, _)| resource);
    Ok(resources.into_iter().find(|resource| resource.kind == owner.kind))
}

/// How many Pods there are to be, and how many of them healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    expected: i64,
    desired: i64,
}

fn counts(spec: &PodDisruptionBudgetSpec, of_owners: i64, pods: usize) -> Counts {
    if let Some(most) = &spec.max_unavailable {
        return Counts { expected: of_owners, desired: (of_owners - scaled(most, of_owners)).max(0) };
    }
    match &spec.min_available {
        Some(IntOrString::Int(least)) => {
            Counts { expected: i64::try_from(pods).unwrap_or(i64::MAX), desired: i64::from(*least) }
        }
        Some(percent) => Counts { expected: of_owners, desired: scaled(percent, of_owners) },
        None => Counts { expected: 0, desired: 0 },
    }
}

/// A number, or so much of `of`, rounded up.
fn scaled(value: &IntOrString, of: i64) -> i64 {
    match value {
        IntOrString::Int(n) => i64::from(*n),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            (of * percent + 99).div_euclid(100)
        }
    }
}

/// The budget's status, and when it must be looked at again although nothing changes.
fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    counted: Result<Counts, String>,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let before = budget.status.clone().unwrap_or_default();
    let (disrupted, recheck) = disrupted(before.disrupted_pods.clone().unwrap_or_default(), pods, now);
    let counted = match counted {
        Ok(counted) => counted,
        Err(why) => {
            let mut status = PodDisruptionBudgetStatus {
                disruptions_allowed: Some(0),
                current_healthy: before.current_healthy.or(Some(0)),
                desired_healthy: before.desired_healthy.or(Some(0)),
                expected_pods: before.expected_pods.or(Some(0)),
                ..before
            };
            // As the reference: what was observed stays, so that an eviction says why.
            status.observed_generation = budget.metadata.generation;
            set_condition(&mut status, ("False", "SyncFailed", &why), now);
            return (status, recheck);
        }
    };
    let is_healthy = |pod: &&Arc<Pod>| {
        let is_ready = pod.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True");
        is_ready && pod.metadata.deletion_timestamp.is_none() && !disrupted.contains_key(&pod.name_any())
    };
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i64::MAX);
    let allowed = if counted.expected > 0 { (healthy - counted.desired).max(0) } else { 0 };
    let number = |n: i64| Some(i32::try_from(n).unwrap_or(i32::MAX));
    let mut status = PodDisruptionBudgetStatus {
        conditions: before.conditions,
        current_healthy: number(healthy),
        desired_healthy: number(counted.desired),
        expected_pods: number(counted.expected),
        disruptions_allowed: number(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
    };
    let said = if allowed > 0 { ("True", "SufficientPods", "") } else { ("False", "InsufficientPods", "") };
    set_condition(&mut status, said, now);
    (status, recheck)
}

/// The Pods that are about to be evicted and have not begun to end, and when the first of them counts as kept.
fn disrupted(
    before: BTreeMap<String, Time>,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let stands = |name: &String| {
        pods.iter().any(|pod| pod.name_any() == *name && pod.metadata.deletion_timestamp.is_none())
    };
    let left = |since: &Time| DISRUPTION_TIMEOUT - now.duration_since(since.0);
    let kept: BTreeMap<String, Time> =
        before.into_iter().filter(|(name, since)| stands(name) && left(since).is_positive()).collect();
    let recheck = kept.values().map(left).min().and_then(|left| Duration::try_from(left).ok());
    (kept, recheck)
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    (value, reason, message): (&str, &str, &str),
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions.iter().find(|c| c.type_ == ALLOWED && c.status == value);
    let since = before.map_or_else(|| whole_seconds(now), |c| c.last_transition_time.clone());
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|c| c.type_ == ALLOWED) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// As the API keeps times, so that a status read back is the one that was written.
fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(spec: Value) -> PodDisruptionBudgetSpec {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn how_many_are_to_be_healthy() {
        let cases = [
            (json!({"minAvailable": 2}), 9, 3, (3, 2)),
            (json!({"minAvailable": "50%"}), 5, 3, (5, 3)),
            (json!({"maxUnavailable": 1}), 5, 3, (5, 4)),
            (json!({"maxUnavailable": "30%"}), 5, 3, (5, 3)),
            (json!({"maxUnavailable": 9}), 5, 3, (5, 0)),
            (json!({}), 5, 3, (0, 0)),
        ];
        for (said, of_owners, pods, (expected, desired)) in cases {
            assert_eq!(counts(&spec(said.clone()), of_owners, pods), Counts { expected, desired }, "{said}");
        }
    }

    fn pod(name: &str, ready: &str) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": name, "namespace": "ns", "labels": {"a": "b"}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn shown(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], counted: Result<Counts, String>) -> Value {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let (status, recheck) = status(budget, pods, counted, now);
        json!({"allowed": status.disruptions_allowed, "healthy": status.current_healthy,
            "disrupted": status.disrupted_pods.unwrap_or_default().keys().collect::<Vec<_>>(),
            "said": status.conditions.unwrap_or_default().iter().map(|c| c.reason.clone()).collect::<Vec<_>>(),
            "recheck": recheck.map(|r| r.as_secs())})
    }

    #[test]
    fn what_may_be_taken_away() {
        let counted = |desired| Ok(Counts { expected: 3, desired });
        let pods = [pod("a", "True"), pod("b", "True"), pod("c", "False")];
        let fresh: PodDisruptionBudget =
            serde_json::from_value(json!({"metadata": {"name": "x", "generation": 1}})).unwrap();
        let want = |allowed: i32, healthy: i32, said: &str| json!({"allowed": allowed, "healthy": healthy, "disrupted": [], "said": [said], "recheck": null});
        assert_eq!(shown(&fresh, &pods, counted(1)), want(1, 2, "SufficientPods"));
        assert_eq!(shown(&fresh, &pods, counted(2)), want(0, 2, "InsufficientPods"));
        assert_eq!(shown(&fresh, &pods, Err("why".into())), want(0, 0, "SyncFailed"));
        let mut evicting = fresh;
        evicting.status = serde_json::from_value(json!({"disruptionsAllowed": 0, "currentHealthy": 0,
            "desiredHealthy": 0, "expectedPods": 0, "disruptedPods":
            {"a": "2026-01-01T00:00:00Z", "b": "2025-12-31T00:00:00Z", "gone": "2026-01-01T00:00:59Z"}}))
        .unwrap();
        assert_eq!(
            shown(&evicting, &pods, counted(0)),
            json!({"allowed": 1, "healthy": 1, "disrupted": ["a"], "said": ["SufficientPods"], "recheck": 60})
        );
    }

    #[test]
    fn a_budget_covers_what_it_selects_in_its_namespace() {
        let of = |namespace: &str, selector: Value| -> PodDisruptionBudget {
            serde_json::from_value(
                json!({"metadata": {"name": "x", "namespace": namespace}, "spec": {"selector": selector}}),
            )
            .unwrap()
        };
        let labelled = json!({"matchLabels": {"a": "b"}});
        let cases = [
            (of("ns", labelled.clone()), true),
            (of("ns", json!({"matchLabels": {"a": "c"}})), false),
            (of("ns", json!({})), true),
            (of("other", labelled), false),
            (of("ns", Value::Null), false),
        ];
        for (budget, want) in cases {
            assert_eq!(covers(&budget, &pod("p", "True")), want, "{budget:?}");
        }
    }
}
