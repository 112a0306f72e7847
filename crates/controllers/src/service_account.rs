//! ServiceAccount `default` in every namespace that is not going away.

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use crate::work::{self, Next};
use crate::{Context, Error};

const DEFAULT: &str = "default";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let namespaces = work::changes(Api::<Namespace>::all(cx.informer.clone()), watcher::Config::default())
        .map(|c| c.object().name_any());
    let accounts = work::changes(
        Api::<ServiceAccount>::all(cx.informer.clone()),
        watcher::Config::default().fields("metadata.name=default"),
    )
    .map(|c| c.object().namespace().unwrap_or_default());
    let triggers = stream::select(namespaces, accounts).boxed();
    work::reconcile_all(triggers, &cx.clock, |namespace| reconcile(&cx, namespace)).await
}

async fn reconcile(cx: &Context, namespace: String) -> Result<Next, Error> {
    if !is_active(cx, &namespace).await? {
        return Ok(Next::Wait);
    }
    let seen: Api<ServiceAccount> = Api::namespaced(cx.informer.clone(), &namespace);
    if work::read(&seen, DEFAULT).await?.is_some() {
        return Ok(Next::Wait);
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(cx.client.clone(), &namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(DEFAULT.into()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    match accounts.create(&PostParams::default(), &account).await {
        Err(e) if crate::api_code(&e) == Some(409) => Ok(Next::Wait),
        other => other.map(|_| Next::Wait).map_err(Error::from),
    }
}

/// Whether objects may still be made in this namespace.
pub(crate) async fn is_active(cx: &Context, namespace: &str) -> Result<bool, Error> {
    let found = work::read(&Api::<Namespace>::all(cx.informer.clone()), namespace).await?;
    Ok(found.is_some_and(|n| n.status.and_then(|s| s.phase).as_deref() != Some("Terminating")))
}
