//! Pods that nobody will clean up: bound to a Node that is gone, or terminating without ever having been scheduled.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{self, Node};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::informer::Change;
use crate::pod::Pod;
use crate::work::{self, Key, Next};
use crate::{Context, Error, found};

/// How long a Node may be missing before its Pods are taken for lost (the reference: 40 s).
const QUARANTINE: Duration = Duration::from_secs(40);

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    cx.informers.nodes.listed().await;
    let missing = Missing::default();
    work::reconcile_all(triggers(&cx), &cx.clock, |key| reconcile(&cx, &missing, key)).await
}

/// Every Pod that is or becomes, and every Pod of a node that goes.
fn triggers(cx: &Context) -> BoxStream<'static, Key> {
    let pods = cx.informers.pods.changes().filter_map(async |c| c.new.is_some().then(|| c.key()));
    let known = cx.informers.pods.clone();
    let nodes = cx.informers.nodes.changes().flat_map(move |change: Change<Node>| {
        let gone = change.new.is_none().then(|| change.key().name);
        let left = gone.map(|node| known.all().into_iter().filter(move |pod| pod.node() == node));
        let keys: Vec<Key> = left.into_iter().flatten().map(|pod| Key::of(&*pod)).collect();
        stream::iter(keys)
    });
    stream::select(pods, nodes).boxed()
}

async fn reconcile(cx: &Context, missing: &Missing, key: Key) -> Result<Next, Error> {
    let Some(pod) = cx.informers.pods.get(&key) else { return Ok(Next::Wait) };
    let node = pod.node();
    if node.is_empty() {
        if pod.metadata.deletion_timestamp.is_some() {
            delete(cx, &pod).await?;
        }
        return Ok(Next::Wait);
    }
    if cx.informers.nodes.get(&Key { name: node.to_owned(), ..Key::default() }).is_some() {
        missing.forget(node);
        return Ok(Next::Wait);
    }
    let is_used = |node: &str| cx.informers.pods.all().iter().any(|pod| pod.node() == node);
    let for_long = missing.since(node, cx.clock.elapsed(), is_used);
    if let Some(rest) = QUARANTINE.checked_sub(for_long).filter(|rest| !rest.is_zero()) {
        return Ok(Next::After(rest));
    }
    // The last word is the API's: what an informer does not show may be about to come.
    let nodes: Api<Node> = Api::all(cx.client.clone());
    if found(nodes.get(node).await)?.is_none() {
        delete(cx, &pod).await?;
    }
    Ok(Next::Wait)
}

/// When each node that Pods are bound to was first missed.
#[derive(Debug, Default)]
struct Missing(Mutex<HashMap<String, Duration>>);

impl Missing {
    /// For how long a node has been missing at `now`. A node that is new here makes those be forgotten that no Pod is
    /// bound to any more.
    fn since(&self, node: &str, now: Duration, is_used: impl Fn(&str) -> bool) -> Duration {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = first.get(node) {
            return now.saturating_sub(*at);
        }
        first.retain(|other, _| is_used(other));
        first.insert(node.to_owned(), now);
        Duration::ZERO
    }

    fn forget(&self, node: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }
}

async fn delete(cx: &Context, pod: &Pod) -> Result<(), Error> {
    let pods: Api<v1::Pod> = Api::namespaced(cx.client.clone(), &pod.namespace().unwrap_or_default());
    let params = DeleteParams::default()
        .grace_period(0)
        .preconditions(Preconditions { uid: pod.uid(), resource_version: None });
    found(pods.delete(&pod.name_any(), &params).await).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_missing_since_it_was_first_missed() {
        let missing = Missing::default();
        let at = Duration::from_secs;
        let all = |_: &str| true;
        assert_eq!(missing.since("a", at(10), all), at(0));
        assert_eq!(missing.since("a", at(45), all), at(35));
        missing.forget("a");
        assert_eq!(missing.since("a", at(50), all), at(0), "it had come back");
        assert_eq!(missing.since("b", at(60), |node| node != "a"), at(0));
        assert_eq!(missing.since("a", at(70), all), at(0), "no Pod was bound to it");
    }
}
