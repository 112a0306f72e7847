//! Namespaces that are going away: their Pods first, then everything else, then the namespace itself.
//!
//! Pods go before the rest so that nothing that guards them (a NetworkPolicy, say) is gone while they still run.

use std::time::Duration;

use futures::stream::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::discovery::{ApiResource, Discovery, Scope, verbs};
use kube::{Api, Resource, ResourceExt};

use crate::work::{self, Next};
use crate::{Context, Error, api_code, found};

/// What is left is looked at again after this while: Pods take their grace period, finalizers their owners' time.
const POLL: Duration = Duration::from_millis(250);
const FINALIZER: &str = "kubernetes";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let triggers = cx.informers.namespaces.changes().filter_map(async |change| {
        let ending = change.new.filter(|namespace| namespace.meta().deletion_timestamp.is_some());
        ending.map(|namespace| namespace.name_any())
    });
    work::reconcile_all(triggers.boxed(), &cx.clock, |name| reconcile(&cx, name)).await
}

async fn reconcile(cx: &Context, name: String) -> Result<Next, Error> {
    let namespaces: Api<Namespace> = Api::all(cx.client.clone());
    let Some(namespace) = found(namespaces.get(&name).await)? else { return Ok(Next::Wait) };
    let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.clone()).unwrap_or_default();
    if namespace.meta().deletion_timestamp.is_none() || !finalizers.iter().any(|f| f == FINALIZER) {
        return Ok(Next::Wait);
    }
    let left = empty(cx, &name).await?;
    if !left.is_empty() {
        report(cx, &namespaces, namespace, &left).await?;
        return Ok(Next::After(POLL));
    }
    finalize(cx, namespace, finalizers).await?;
    Ok(Next::Wait)
}

/// What still stands in a namespace after everything was told to go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    resource: String,
    count: usize,
    /// The finalizers that hold objects back.
    finalizers: Vec<String>,
}

/// Delete all that can be deleted; Pods alone for as long as there are any.
async fn empty(cx: &Context, namespace: &str) -> Result<Vec<Left>, Error> {
    let resources = deletable(cx).await?;
    let (pods, rest): (Vec<_>, Vec<_>) =
        resources.into_iter().partition(|r| r.group.is_empty() && r.plural == "pods");
    let left = delete_all(cx, namespace, &pods).await?;
    if !left.is_empty() {
        return Ok(left);
    }
    delete_all(cx, namespace, &rest).await
}

async fn delete_all(cx: &Context, namespace: &str, resources: &[ApiResource]) -> Result<Vec<Left>, Error> {
    let mut left = Vec::new();
    for resource in resources {
        left.extend(delete_kind(cx, namespace, resource).await?);
    }
    Ok(left)
}

async fn delete_kind(cx: &Context, namespace: &str, resource: &ApiResource) -> Result<Option<Left>, Error> {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::namespaced_with(cx.client.clone(), namespace, resource);
    let Some(list) = allowed(api.list(&ListParams::default()).await)? else { return Ok(None) };
    if list.items.is_empty() {
        return Ok(None);
    }
    let objects: Api<DynamicObject> = Api::namespaced_with(cx.client.clone(), namespace, resource);
    allowed(objects.delete_collection(&DeleteParams::background(), &ListParams::default()).await)?;
    let Some(list) = allowed(api.list(&ListParams::default()).await)? else { return Ok(None) };
    if list.items.is_empty() {
        return Ok(None);
    }
    let mut finalizers: Vec<String> = list.items.iter().flat_map(|o| o.finalizers().to_vec()).collect();
    finalizers.sort();
    finalizers.dedup();
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    Ok(Some(Left { resource: format!("{}{group}", resource.plural), count: list.items.len(), finalizers }))
}

/// `None` where the resource has gone meanwhile (404) or does not support the verb (405).
fn allowed<T>(result: Result<T, kube::Error>) -> Result<Option<T>, Error> {
    match result {
        Err(e) if api_code(&e) == Some(405) => Ok(None),
        other => found(other),
    }
}

async fn deletable(cx: &Context) -> Result<Vec<ApiResource>, Error> {
    let discovery = Discovery::new(cx.client.clone()).run_aggregated().await?;
    let mut resources = Vec::new();
    for group in discovery.groups_alphabetical() {
        for (resource, capabilities) in group.recommended_resources() {
            let deletes = capabilities.supports_operation(verbs::DELETE_COLLECTION)
                || capabilities.supports_operation(verbs::DELETE);
            if capabilities.scope == Scope::Namespaced
                && deletes
                && capabilities.supports_operation(verbs::LIST)
            {
                resources.push(resource);
            }
        }
    }
    Ok(resources)
}

/// Say in the namespace's conditions what it is waiting for.
async fn report(
    cx: &Context,
    namespaces: &Api<Namespace>,
    mut namespace: Namespace,
    left: &[Left],
) -> Result<(), Error> {
    let now = Time(cx.clock.now());
    let status = namespace.status.get_or_insert_with(NamespaceStatus::default);
    let before = status.conditions.clone().unwrap_or_default();
    let conditions = conditions(left, &before, &now);
    if conditions == before {
        return Ok(());
    }
    status.conditions = Some(conditions);
    let name = namespace.name_any();
    namespaces.replace_status(&name, &PostParams::default(), &namespace).await?;
    Ok(())
}

fn conditions(left: &[Left], before: &[NamespaceCondition], now: &Time) -> Vec<NamespaceCondition> {
    let remaining: Vec<String> =
        left.iter().map(|l| format!("{} has {} resource instances", l.resource, l.count)).collect();
    let held: Vec<String> = left
        .iter()
        .flat_map(|l| l.finalizers.iter().map(move |f| format!("{f} in {} resource instances", l.count)))
        .collect();
    let rows: [(&str, bool, &str, String); 5] = [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".into(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".into(),
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
        ),
        (
            "NamespaceContentRemaining",
            !remaining.is_empty(),
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", remaining.join(", ")),
        ),
        (
            "NamespaceFinalizersRemaining",
            !held.is_empty(),
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {}", held.join(", ")),
        ),
    ];
    rows.into_iter()
        .map(|(kind, on, reason, message)| {
            let status = if on { "True" } else { "False" };
            let (reason, message) = match (kind, on) {
                ("NamespaceContentRemaining", false) => {
                    ("ContentRemoved", "All content successfully removed".to_owned())
                }
                ("NamespaceFinalizersRemaining", false) => {
                    ("ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
                }
                _ => (reason, message),
            };
            let same = before.iter().find(|c| c.type_ == kind && c.status == status);
            NamespaceCondition {
                type_: kind.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_transition_time: same.map_or(Some(now.clone()), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// Nothing is left: give up our finalizer, and the API server removes the namespace.
async fn finalize(cx: &Context, mut namespace: Namespace, finalizers: Vec<String>) -> Result<(), Error> {
    let others: Vec<String> = finalizers.into_iter().filter(|f| f != FINALIZER).collect();
    namespace.spec.get_or_insert_default().finalizers = Some(others);
    let name = namespace.name_any();
    let body = serde_json::to_vec(&namespace).map_err(|e| Error::Unexpected(e.to_string()))?;
    let request = kube::core::Request::new(Namespace::url_path(&(), None))
        .replace_subresource("finalize", &name, &PostParams::default(), body)
        .map_err(kube::Error::BuildRequest)?;
    found(cx.client.request::<Namespace>(request).await).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conditions_say_what_is_left_and_who_holds_it() {
        let left =
            [Left { resource: "configmaps".into(), count: 2, finalizers: vec!["example.com/hold".into()] }];
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        let conditions = conditions(&left, &[], &now);
        let on: Vec<_> =
            conditions.iter().filter(|c| c.status == "True").map(|c| c.message.clone().unwrap()).collect();
        assert_eq!(
            on,
            [
                "Some resources are remaining: configmaps has 2 resource instances",
                "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances"
            ]
        );
    }
}
