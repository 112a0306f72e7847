//! VolumeAttributesClasses stay for as long as a claim or a volume has them, or is to have them.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::watcher;

use crate::work::{self, Key, Next};
use crate::{Context, Error, use_protection};

const FINALIZER: &str = "kubernetes.io/vac-protection";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let classes: Api<VolumeAttributesClass> = Api::all(cx.client.clone());
    let changed = work::changes(classes.clone(), watcher::Config::default()).map(|c| Key::of(c.object()));
    let claims =
        work::changes(Api::<PersistentVolumeClaim>::all(cx.client.clone()), watcher::Config::default());
    let volumes = work::changes(Api::<PersistentVolume>::all(cx.client.clone()), watcher::Config::default());
    let users = stream::select(claims.map(|_| ()), volumes.map(|_| ()));
    let freed = users.then(|()| {
        let classes = classes.clone();
        async move { ending(&classes).await }
    });
    let triggers = stream::select(changed, freed.flat_map(stream::iter));
    work::reconcile_all(triggers.boxed(), &cx.clock, |key| reconcile(&cx, key)).await
}

async fn ending(classes: &Api<VolumeAttributesClass>) -> Vec<Key> {
    // A list that fails is made good by the next change.
    let all = classes.list(&ListParams::default()).await.map(|l| l.items).unwrap_or_default();
    all.iter().filter(|c| c.metadata.deletion_timestamp.is_some()).map(Key::of).collect()
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let classes: Api<VolumeAttributesClass> = Api::all(cx.client.clone());
    let claims: Api<PersistentVolumeClaim> = Api::all(cx.client.clone());
    let volumes: Api<PersistentVolume> = Api::all(cx.client.clone());
    let name = key.name.clone();
    use_protection::reconcile(&classes, &key.name, FINALIZER, |_| async move {
        let claims = claims.list(&ListParams::default()).await?.items;
        let volumes = volumes.list(&ListParams::default()).await?.items;
        Ok(claims.iter().flat_map(of_claim).chain(volumes.iter().filter_map(of_volume)).any(|n| n == name))
    })
    .await
}

fn of_volume(volume: &PersistentVolume) -> Option<String> {
    volume.spec.as_ref()?.volume_attributes_class_name.clone()
}

fn of_claim(claim: &PersistentVolumeClaim) -> BTreeSet<String> {
    let status = claim.status.as_ref();
    let wanted = claim.spec.as_ref().and_then(|s| s.volume_attributes_class_name.clone());
    let current = status.and_then(|s| s.current_volume_attributes_class_name.clone());
    let modify = status.and_then(|s| s.modify_volume_status.as_ref());
    let target = modify.and_then(|m| m.target_volume_attributes_class_name.clone());
    [wanted, current, target].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_holds_every_class_that_it_names() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "spec": {"volumeAttributesClassName": "new"},
            "status": {"currentVolumeAttributesClassName": "old",
                "modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "new"}}}))
        .unwrap();
        assert_eq!(of_claim(&claim), BTreeSet::from(["new".into(), "old".into()]));
        assert!(of_claim(&PersistentVolumeClaim::default()).is_empty());
    }
}
