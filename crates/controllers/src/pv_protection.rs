//! Volumes stay for as long as they are bound to a claim.

use futures::stream::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use kube::runtime::watcher;

use crate::work::{self, Key, Next};
use crate::{Context, Error, use_protection};

const FINALIZER: &str = "kubernetes.io/pv-protection";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let volumes: Api<PersistentVolume> = Api::all(cx.client.clone());
    let triggers = work::changes(volumes, watcher::Config::default()).map(|c| Key::of(c.object()));
    work::reconcile_all(triggers.boxed(), &cx.clock, |key| reconcile(&cx, key)).await
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let volumes: Api<PersistentVolume> = Api::all(cx.client.clone());
    use_protection::reconcile(&volumes, &key.name, FINALIZER, |volume| {
        let phase = volume.status.and_then(|s| s.phase);
        std::future::ready(Ok(phase.as_deref() == Some("Bound")))
    })
    .await
}
