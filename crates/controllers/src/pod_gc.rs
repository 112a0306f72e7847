//! Pods that nobody will clean up: bound to a Node that is gone, or terminating without ever having been scheduled.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};

use crate::work::{self, Change, Key, Next};
use crate::{Context, Error, found};

/// How long a Node may be missing before its Pods are taken for lost (the reference: 40 s).
const QUARANTINE: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trigger {
    Pod(Key),
    /// Every Pod of this node, because the node went.
    NodeGone(String),
}

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let pods = work::changes(Api::<Pod>::all(cx.informer.clone()), watcher::Config::default())
        .filter_map(|c| async move { matches!(c, Change::Is(_)).then(|| Trigger::Pod(Key::of(c.object()))) });
    let nodes = work::changes(Api::<Node>::all(cx.informer.clone()), watcher::Config::default()).filter_map(
        |c| async move { matches!(c, Change::Gone(_)).then(|| Trigger::NodeGone(c.object().name_any())) },
    );
    let triggers = stream::select(pods, nodes).boxed();
    work::reconcile_all(triggers, &cx.clock, |trigger| reconcile(&cx, trigger)).await
}

async fn reconcile(cx: &Context, trigger: Trigger) -> Result<Next, Error> {
    match trigger {
        Trigger::Pod(key) => {
            let pods: Api<Pod> = Api::namespaced(cx.informer.clone(), &key.namespace);
            let Some(pod) = work::read(&pods, &key.name).await? else { return Ok(Next::Wait) };
            let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
            if node.is_empty() && pod.meta().deletion_timestamp.is_some() {
                delete(cx, &pod).await?;
                return Ok(Next::Wait);
            }
            if node.is_empty() || node_exists(cx, &node).await? {
                return Ok(Next::Wait);
            }
            lost(cx, &pod, &node).await
        }
        Trigger::NodeGone(node) => {
            cx.clock.sleep(QUARANTINE).await;
            if node_exists(cx, &node).await? {
                return Ok(Next::Wait);
            }
            let all: Api<Pod> = Api::all(cx.client.clone());
            let params = kube::api::ListParams::default().fields(&format!("spec.nodeName={node}"));
            for pod in all.list(&params).await?.items {
                delete(cx, &pod).await?;
            }
            Ok(Next::Wait)
        }
    }
}

/// A Pod of a node that is missing now: gone for good once the node has stayed away.
async fn lost(cx: &Context, pod: &Pod, node: &str) -> Result<Next, Error> {
    cx.clock.sleep(QUARANTINE).await;
    if !node_exists(cx, node).await? {
        delete(cx, pod).await?;
    }
    Ok(Next::Wait)
}

async fn node_exists(cx: &Context, name: &str) -> Result<bool, Error> {
    Ok(work::read(&Api::<Node>::all(cx.informer.clone()), name).await?.is_some())
}

async fn delete(cx: &Context, pod: &Pod) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(cx.client.clone(), &pod.namespace().unwrap_or_default());
    let params = DeleteParams::default()
        .grace_period(0)
        .preconditions(Preconditions { uid: pod.uid(), resource_version: None });
    found(pods.delete(&pod.name_any(), &params).await).map(drop)
}
