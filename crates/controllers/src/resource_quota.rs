//! What the ResourceQuotas of every namespace have used: counted anew when something goes or a quota changes.
//!
//! Admission charges what is made. The count is written with the version of the quota that was read before it began, so
//! that a charge in between makes it start again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_api::quota::{self, Evaluator};
use coracle_api::resources::{self, Resources};
use coracle_api::{object, quantity::Quantity};
use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::discovery::{ApiResource, Discovery};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::informer::Change;
use crate::metadata::Object;
use crate::pod::Pod;
use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

/// How often everything is counted although nothing seems to have changed (the reference: 5 minutes).
const RESYNC: Duration = Duration::from_secs(300);
/// What is made while a quota's first count is under way is charged by nobody: it is counted once more after this.
const SETTLE: Duration = Duration::from_secs(1);
/// A resource that is not served yet may be soon.
const UNKNOWN_RETRY: Duration = Duration::from_secs(30);

/// A group and a plural name.
type Counted = (String, String);

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let (freed, of_watches) = mpsc::unbounded_channel();
    let counter = Counter {
        quotas: Mutex::default(),
        served: Mutex::default(),
        watched: Mutex::default(),
        watches: Mutex::default(),
        freed,
        cx: cx.clone(),
    };
    let triggers = counter.triggers(of_watches);
    work::reconcile_all(triggers, &cx.clock, |key| counter.reconcile(key)).await
}

struct Counter {
    cx: Context,
    /// What each quota counts.
    quotas: Mutex<BTreeMap<Key, BTreeSet<Counted>>>,
    /// What is served, as far as it was asked for.
    served: Mutex<BTreeMap<Counted, ApiResource>>,
    watched: Mutex<BTreeSet<Counted>>,
    watches: Mutex<JoinSet<()>>,
    /// Told of what has gone: which resource, in which namespace; "" is any.
    freed: mpsc::UnboundedSender<(Counted, String)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counter {
    fn triggers(&self, of_watches: mpsc::UnboundedReceiver<(Counted, String)>) -> BoxStream<'_, Key> {
        let quotas =
            work::changes(Api::<ResourceQuota>::all(self.cx.client.clone()), watcher::Config::default());
        let quotas = quotas.map(|change| vec![Key::of(change.object())]);
        let pods = self.cx.informers.pods.changes().filter(|c| std::future::ready(pod_frees(c)));
        let pods = pods.map(|c| self.counting(&counted_as("", "pods"), &c.key().namespace));
        let services =
            self.cx.informers.services.changes().filter(|c| std::future::ready(service_changes(c)));
        let services = services.map(|c| self.counting(&counted_as("", "services"), &c.key().namespace));
        let others = stream::unfold(of_watches, async |mut told| Some((told.recv().await?, told)));
        let others = others.map(|(counted, namespace)| self.counting(&counted, &namespace));
        let clock = &self.cx.clock;
        let resync = stream::unfold((), move |()| async move {
            clock.sleep(RESYNC).await;
            Some(((), ()))
        });
        let resync = resync.map(|()| locked(&self.quotas).keys().cloned().collect::<Vec<_>>());
        let all = [quotas.boxed(), pods.boxed(), services.boxed(), others.boxed(), resync.boxed()];
        stream::select_all(all).flat_map(stream::iter).boxed()
    }

    /// The quotas of a namespace that count a resource.
    fn counting(&self, counted: &Counted, namespace: &str) -> Vec<Key> {
        let quotas = locked(&self.quotas);
        let within = |key: &Key| namespace.is_empty() || key.namespace == namespace;
        quotas
            .iter()
            .filter(|(key, what)| within(key) && what.contains(counted))
            .map(|(k, _)| k.clone())
            .collect()
    }

    async fn reconcile(&self, key: Key) -> Result<Next, Error> {
        let resource = ApiResource::erase::<ResourceQuota>(&());
        let quotas: Api<DynamicObject> =
            Api::namespaced_with(self.cx.client.clone(), &key.namespace, &resource);
        let Some(stored) = work::read(&quotas, &key.name).await? else {
            locked(&self.quotas).remove(&key);
            return Ok(Next::Wait);
        };
        let mut quota = serde_json::to_value(stored).map_err(|e| Error::Unexpected(e.to_string()))?;
        let counted = counted(&quota);
        locked(&self.quotas).insert(key.clone(), counted.clone());
        let mut usage = Resources::new();
        let mut all_known = true;
        for (group, plural) in counted {
            let objects = self.objects(&group, &plural, &key.namespace).await?;
            all_known &= objects.is_some();
            let evaluator = Evaluator::for_resource(&group, &plural);
            let objects = objects.unwrap_or_default();
            usage.extend(total(&quota, &evaluator, &objects, self.cx.clock.now()));
        }
        let is_first = status_hard(&quota) != spec_hard(&quota);
        if let Some(status) = status(&quota, &usage) {
            quota["status"] = status;
            let quota: DynamicObject =
                serde_json::from_value(quota).map_err(|e| Error::Unexpected(e.to_string()))?;
            quotas.replace_status(&key.name, &PostParams::default(), &quota).await?;
        }
        Ok(match (all_known, is_first) {
            (false, _) => Next::After(UNKNOWN_RETRY),
            (true, true) => Next::After(SETTLE),
            (true, false) => Next::Wait,
        })
    }

    /// The objects of a resource in a namespace, followed from now on; `None` where nothing of that name is served.
    async fn objects(&self, group: &str, plural: &str, namespace: &str) -> Result<Option<Vec<Value>>, Error> {
        let Some(resource) = self.served(counted_as(group, plural)).await? else { return Ok(None) };
        self.follow(&resource);
        let api: Api<DynamicObject> = Api::namespaced_with(self.cx.client.clone(), namespace, &resource);
        let Some(list) = found(api.list(&ListParams::default()).await)? else {
            locked(&self.served).remove(&counted_as(group, plural));
            return Ok(None);
        };
        let objects = list.items.into_iter().map(serde_json::to_value).collect::<Result<_, _>>();
        objects.map(Some).map_err(|e| Error::Unexpected(e.to_string()))
    }

    async fn served(&self, counted: Counted) -> Result<Option<ApiResource>, Error> {
        if let Some(known) = locked(&self.served).get(&counted).cloned() {
            return Ok(Some(known));
        }
        let discovery = Discovery::new(self.cx.client.clone()).run_aggregated().await?;
        let group = discovery.groups().find(|g| g.name() == counted.0);
        let resources = group.into_iter().flat_map(|g| g.recommended_resources()).map(|(r, _)| r);
        let resource = resources.into_iter().find(|r| r.plural == counted.1);
        if let Some(resource) = &resource {
            locked(&self.served).insert(counted, resource.clone());
        }
        Ok(resource)
    }

    /// Hear of what goes. Pods and Services the informers tell of.
    fn follow(&self, resource: &ApiResource) {
        let counted = counted_as(&resource.group, &resource.plural);
        let is_shared = resource.group.is_empty() && ["pods", "services"].contains(&resource.plural.as_str());
        if is_shared || !locked(&self.watched).insert(counted.clone()) {
            return;
        }
        let changes_in_place =
            ["persistentvolumeclaims", "resourceclaims"].contains(&resource.plural.as_str());
        let api: Api<Object> = Api::all_with(self.cx.client.clone(), resource);
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let freed = self.freed.clone();
        locked(&self.watches).spawn(async move {
            let told = events.for_each(|event| {
                let namespace = match event {
                    Ok(Event::Delete(object)) => object.meta().namespace.clone(),
                    Ok(Event::Apply(object)) if changes_in_place => object.meta().namespace.clone(),
                    // What went while nobody watched.
                    Ok(Event::InitDone) => Some(String::new()),
                    _ => None,
                };
                if let Some(namespace) = namespace {
                    // The counter has ended, and this task with it.
                    let _ = freed.send((counted.clone(), namespace));
                }
                std::future::ready(())
            });
            told.await;
        });
    }
}

fn counted_as(group: &str, plural: &str) -> Counted {
    (group.to_owned(), plural.to_owned())
}

/// Whether a Pod holds less than before.
fn pod_frees(change: &Change<Pod>) -> bool {
    let has_ended = |pod: &Pod| matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    match (&change.old, &change.new) {
        (_, None) => true,
        (Some(old), Some(new)) => has_ended(new) && !has_ended(old),
        (None, Some(_)) => false,
    }
}

fn service_changes(change: &Change<Service>) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => old.spec != new.spec,
        (_, new) => new.is_none(),
    }
}

fn spec_hard(quota: &Value) -> Resources {
    resources::read(object::at(quota, &["spec", "hard"]))
}

fn status_hard(quota: &Value) -> Resources {
    resources::read(object::at(quota, &["status", "hard"]))
}

/// The resources whose objects a quota counts.
fn counted(quota: &Value) -> BTreeSet<Counted> {
    let names = spec_hard(quota).into_keys();
    names.filter_map(|name| quota::counted(&name).map(|(group, plural)| counted_as(group, plural))).collect()
}

/// What objects use up of those things that the quota limits and they count for; nothing is a 0, too.
fn total(quota: &Value, evaluator: &Evaluator, objects: &[Value], now: jiff::Timestamp) -> Resources {
    let names = spec_hard(quota).into_keys().filter(|name| evaluator.counts(name));
    let mut total: Resources = names.map(|name| (name, Quantity::ZERO)).collect();
    for object in objects.iter().filter(|object| evaluator.is_in_scope(quota, object)) {
        let usage = evaluator.usage(object, now);
        let limited = usage.into_iter().filter(|(name, _)| total.contains_key(name)).collect();
        resources::add(&mut total, &limited);
    }
    total
}

/// The status that a quota is to have, where it is not the one it has.
fn status(quota: &Value, usage: &Resources) -> Option<Value> {
    let hard = spec_hard(quota);
    let mut used = resources::read(object::at(quota, &["status", "used"]));
    let before = used.clone();
    used.extend(usage.iter().map(|(name, amount)| (name.clone(), *amount)));
    used.retain(|name, _| hard.contains_key(name));
    let is_new = ["hard", "used"].iter().any(|part| object::at(quota, &["status", part]).is_null());
    if !is_new && hard == status_hard(quota) && used == before {
        return None;
    }
    Some(json!({"hard": resources::write(&hard), "used": resources::write(&used)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(hard: Value, status: Value) -> Value {
        json!({"spec": {"hard": hard}, "status": status})
    }

    #[test]
    fn a_quota_is_counted_by_what_it_limits() {
        let quota = quota(
            json!({"pods": "5", "requests.cpu": "2", "count/deployments.apps": "1", "nonsense": "1"}),
            json!({}),
        );
        assert_eq!(
            counted(&quota),
            BTreeSet::from([counted_as("", "pods"), counted_as("apps", "deployments")])
        );
        let pod = |cpu: &str, phase: &str| {
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
                "status": {"phase": phase}})
        };
        let pods = [pod("1", "Running"), pod("500m", "Pending"), pod("9", "Succeeded")];
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let total = |pods: &[Value]| {
            resources::write(&total(&quota, &Evaluator::for_resource("", "pods"), pods, now)).to_string()
        };
        assert_eq!(total(&pods), r#"{"pods":"2","requests.cpu":"1500m"}"#);
        assert_eq!(total(&[]), r#"{"pods":"0","requests.cpu":"0"}"#);
    }

    #[test]
    fn a_status_is_written_where_it_says_something_new() {
        let used = |n: i64| Resources::from([("pods".to_owned(), Quantity::from_int(n))]);
        let new = quota(json!({"pods": "5"}), json!({}));
        let told = status(&new, &used(0)).unwrap();
        assert_eq!(told, json!({"hard": {"pods": "5"}, "used": {"pods": "0"}}));
        let same = quota(json!({"pods": "5"}), told.clone());
        assert_eq!(status(&same, &used(0)), None);
        assert_eq!(status(&same, &used(1)).unwrap()["used"], json!({"pods": "1"}));
        let raised = quota(json!({"pods": "6", "secrets": "1"}), told);
        assert_eq!(status(&raised, &used(0)).unwrap()["hard"], json!({"pods": "6", "secrets": "1"}));
        let dropped = quota(json!({"secrets": "1"}), json!({"hard": {"pods": "5"}, "used": {"pods": "2"}}));
        assert_eq!(status(&dropped, &Resources::new()).unwrap()["used"], json!({}));
    }
}
