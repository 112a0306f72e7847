//! Claims stay for as long as a Pod that has been bound to a node uses them.

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use crate::pod::{Claim, Pod};
use crate::work::{self, Key, Next};
use crate::{Context, Error, use_protection};

const FINALIZER: &str = "kubernetes.io/pvc-protection";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    work::reconcile_all(triggers(&cx), &cx.clock, |key| reconcile(&cx, key)).await
}

/// Every claim that is or becomes, and those of each Pod that has gone.
fn triggers(cx: &Context) -> BoxStream<'static, Key> {
    let claims: Api<PersistentVolumeClaim> = Api::all(cx.client.clone());
    let changed = work::changes(claims.clone(), watcher::Config::default()).map(|c| Key::of(c.object()));
    let gone =
        cx.informers.pods.changes().filter_map(async |change| change.old.filter(|_| change.new.is_none()));
    let freed = gone.flat_map(|pod| {
        let namespace = pod.namespace().unwrap_or_default();
        let keys: Vec<Key> =
            pod.claim_names().map(|name| Key { namespace: namespace.clone(), name }).collect();
        stream::iter(keys)
    });
    stream::select(changed, freed).boxed()
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let claims = Api::namespaced(cx.client.clone(), &key.namespace);
    let pods: Api<Pod> = Api::namespaced(cx.client.clone(), &key.namespace);
    use_protection::reconcile(&claims, &key.name, FINALIZER, |claim| async move {
        let pods = pods.list(&ListParams::default()).await?.items;
        Ok(pods.iter().any(|pod| uses(pod, &claim)))
    })
    .await
}

/// A Pod without a node cannot be started any more with a claim that is on its way out.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let name = claim.name_any();
    let of_pod =
        || claim.owner_references().iter().any(|o| o.kind == "Pod" && pod.uid().as_ref() == Some(&o.uid));
    let mut claims = pod.spec.claims.iter();
    !pod.node().is_empty()
        && claims.any(|c| pod.claim_name(c) == name && (matches!(c, Claim::Named(_)) || of_pod()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn who_uses_a_claim() {
        let claim = |name: &str, owner: &str| -> PersistentVolumeClaim {
            let owners = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owner}]);
            serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": owners}})).unwrap()
        };
        let pod = |node: Value, volume: Value| -> Pod {
            let spec = json!({"nodeName": node, "containers": [], "volumes": [volume]});
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).unwrap()
        };
        let named = json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}});
        let template = json!({"name": "v", "ephemeral": {}});
        let cases = [
            (pod(json!("n"), named.clone()), claim("c", "u"), true),
            (pod(json!("n"), named.clone()), claim("other", "u"), false),
            (pod(Value::Null, named), claim("c", "u"), false),
            (pod(json!("n"), template.clone()), claim("p-v", "u"), true),
            (pod(json!("n"), template), claim("p-v", "somebody"), false),
        ];
        for (pod, claim, want) in cases {
            assert_eq!(uses(&pod, &claim), want);
        }
    }
}
