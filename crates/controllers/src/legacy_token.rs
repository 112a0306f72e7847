//! Secrets of type `kubernetes.io/service-account-token`: filled with token, CA and namespace, deleted with their account.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use crate::work::{self, Key, Next};
use crate::{Context, Error, LegacyToken, found};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let secrets = work::changes(
        Api::<Secret>::all(cx.informer.clone()),
        watcher::Config::default().fields("type=kubernetes.io/service-account-token"),
    )
    .map(|c| stream::iter(vec![Key::of(c.object())]).boxed());
    let client = cx.informer.clone();
    let accounts = cx.informers.accounts.changes().map(move |c| secrets_of(client.clone(), c.key()));
    let triggers = stream::select(secrets, accounts).flatten_unordered(None).boxed();
    work::reconcile_all(triggers, &cx.clock, |key| reconcile(&cx, key)).await
}

/// The token Secrets that name this account.
fn secrets_of(client: kube::Client, account: Key) -> stream::BoxStream<'static, Key> {
    stream::once(async move {
        let secrets: Api<Secret> = Api::namespaced(client, &account.namespace);
        let listed = secrets.list(&ListParams::default().fields(&format!("type={TYPE}"))).await;
        let named = |s: &Secret| s.annotations().get(ACCOUNT_NAME) == Some(&account.name);
        let keys = listed.map(|l| l.items.iter().filter(|s| named(s)).map(Key::of).collect::<Vec<_>>());
        stream::iter(keys.unwrap_or_default())
    })
    .flatten()
    .boxed()
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let secrets: Api<Secret> = Api::namespaced(cx.client.clone(), &key.namespace);
    let Some(secret) = found(secrets.get(&key.name).await)? else { return Ok(Next::Wait) };
    let name = secret.annotations().get(ACCOUNT_NAME).cloned().unwrap_or_default();
    let accounts: Api<ServiceAccount> = Api::namespaced(cx.client.clone(), &key.namespace);
    let account = found(accounts.get(&name).await)?;
    match plan(&secret, account.as_ref(), &cx.config.root_ca) {
        Step::Nothing => {}
        Step::Delete => {
            let same = Preconditions { uid: secret.uid(), resource_version: secret.resource_version() };
            found(secrets.delete(&key.name, &DeleteParams::default().preconditions(same)).await)?;
        }
        Step::Fill { mut secret, sign } => {
            if let Some(claims) = sign {
                let signed = (cx.config.sign_legacy_token)(claims).await.map_err(Error::Unexpected)?;
                let token = ByteString(signed.into_bytes());
                secret.data.get_or_insert_default().insert("token".to_owned(), token);
            }
            secrets.replace(&key.name, &PostParams::default(), &secret).await?;
        }
    }
    Ok(Next::Wait)
}

#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Delete,
    /// Write this, with a token for these claims where there is none yet.
    Fill {
        secret: Box<Secret>,
        sign: Option<LegacyToken>,
    },
}

fn plan(secret: &Secret, account: Option<&ServiceAccount>, root_ca: &str) -> Step {
    let uid = secret.annotations().get(ACCOUNT_UID);
    let Some(account) = account else { return Step::Delete };
    let Some(account_uid) = account.uid() else { return Step::Nothing };
    if uid.is_some_and(|uid| !uid.is_empty() && *uid != account_uid) {
        return Step::Delete;
    }
    let data = BTreeMap::from([
        ("ca.crt".to_owned(), ByteString(root_ca.as_bytes().to_vec())),
        ("namespace".to_owned(), ByteString(secret.namespace().unwrap_or_default().into_bytes())),
    ]);
    let has_data = data.iter().all(|(k, v)| secret.data.as_ref().and_then(|d| d.get(k)) == Some(v));
    let has_token = secret.data.as_ref().is_some_and(|d| d.get("token").is_some_and(|t| !t.0.is_empty()));
    if has_data && has_token && uid.is_some() {
        return Step::Nothing;
    }
    let mut filled = secret.clone();
    filled.data.get_or_insert_default().extend(data);
    filled.annotations_mut().insert(ACCOUNT_UID.to_owned(), account_uid.clone());
    let claims = LegacyToken {
        namespace: secret.namespace().unwrap_or_default(),
        secret: secret.name_any(),
        account: account.name_any(),
        account_uid,
    };
    Step::Fill { secret: Box::new(filled), sign: Some(claims).filter(|_| !has_token) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(uid: Option<&str>) -> Secret {
        let mut v = json!({"metadata": {"name": "s", "namespace": "ns", "annotations": {ACCOUNT_NAME: "a"}}, "type": TYPE});
        if let Some(uid) = uid {
            v["metadata"]["annotations"][ACCOUNT_UID] = json!(uid);
        }
        serde_json::from_value(v).unwrap()
    }

    fn account(uid: &str) -> ServiceAccount {
        serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "ns", "uid": uid}})).unwrap()
    }

    #[test]
    fn a_token_secret_lives_and_dies_with_its_account() {
        assert_eq!(plan(&secret(None), None, "CA"), Step::Delete);
        assert_eq!(plan(&secret(Some("old")), Some(&account("new")), "CA"), Step::Delete);
        let Step::Fill { mut secret, sign: Some(claims) } = plan(&secret(None), Some(&account("u")), "CA")
        else {
            panic!("not filled")
        };
        assert_eq!(secret.annotations()[ACCOUNT_UID], "u");
        assert_eq!(claims.account_uid, "u");
        secret.data.as_mut().unwrap().insert("token".into(), ByteString(b"t".to_vec()));
        assert_eq!(plan(&secret, Some(&account("u")), "CA"), Step::Nothing);
    }
}
