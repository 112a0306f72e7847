//! ServiceAccount `default` in every namespace that is not going away.

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::work::{self, Key, Next};
use crate::{Context, Error};

const DEFAULT: &str = "default";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    cx.informers.namespaces.listed().await;
    cx.informers.accounts.listed().await;
    let namespaces = cx.informers.namespaces.changes().map(|change| change.key().name);
    let accounts = cx.informers.accounts.changes().map(|change| change.key());
    let accounts =
        accounts.filter_map(async |account| (account.name == DEFAULT).then_some(account.namespace));
    let triggers = stream::select(namespaces, accounts).boxed();
    work::reconcile_all(triggers, &cx.clock, |namespace| reconcile(&cx, namespace)).await
}

async fn reconcile(cx: &Context, namespace: String) -> Result<Next, Error> {
    let key = Key { namespace: namespace.clone(), name: DEFAULT.to_owned() };
    if !is_active(cx, &namespace) || cx.informers.accounts.get(&key).is_some() {
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
pub(crate) fn is_active(cx: &Context, namespace: &str) -> bool {
    let found = cx.informers.namespaces.get(&Key { name: namespace.to_owned(), ..Key::default() });
    let phase = |n: &Namespace| n.status.as_ref().and_then(|s| s.phase.clone());
    found.is_some_and(|n| phase(&n).as_deref() != Some("Terminating"))
}
