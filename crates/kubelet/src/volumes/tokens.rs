//! Service account tokens of Pods: requested bound to the Pod, kept, and refreshed in time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_clock::Clock;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::Pod;

use crate::objects::Objects;

/// A token is refreshed a day after it was issued even when it lives longer, as in the reference.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Refreshes are spread over this many seconds, so that a node's tokens do not all fall due together.
const JITTER_SECONDS: f64 = 10.0;
/// What the API server gives when a projection does not say.
const DEFAULT_SECONDS: i64 = 3600;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    account: String,
    audience: String,
    seconds: i64,
}

#[derive(Debug, Clone)]
struct Kept {
    token: String,
    expires: Timestamp,
    refresh: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Kept>>);

/// What a `serviceAccountToken` projection asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) audience: &'a str,
    pub(crate) seconds: Option<i64>,
}

impl Tokens {
    /// The token and when it is due for refresh. A failed refresh keeps the old token while that is valid.
    pub(crate) async fn get(
        &self,
        wanted: Wanted<'_>,
        objects: &dyn Objects,
        clock: &Clock,
    ) -> Result<(String, Timestamp), String> {
        let key = key(&wanted);
        let kept = self.kept().get(&key).cloned();
        if let Some(kept) = kept.as_ref().filter(|kept| clock.now() < kept.refresh) {
            return Ok((kept.token.clone(), kept.refresh));
        }
        match (self.request(&wanted, &key, objects).await, kept) {
            (Ok(fresh), _) => {
                let answer = (fresh.token.clone(), fresh.refresh);
                self.kept().insert(key, fresh);
                Ok(answer)
            }
            (Err(error), Some(kept)) if clock.now() < kept.expires => {
                tracing::warn!(error, account = key.account, "cannot refresh token, keeping the old one");
                Ok((kept.token, kept.refresh))
            }
            (Err(error), Some(_)) => {
                Err(format!("token {} expired and refresh failed: {error}", key.account))
            }
            (Err(error), None) => Err(format!("failed to fetch token: {error}")),
        }
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.kept().retain(|key, _| key.uid != uid);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(&self, wanted: &Wanted<'_>, key: &Key, objects: &dyn Objects) -> Result<Kept, String> {
        let meta = &wanted.pod.metadata;
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(key.audience.clone()).filter(|it| !it.is_empty()).map(|it| vec![it]),
                expiration_seconds: Some(key.seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: meta.name.clone(),
                    uid: meta.uid.clone(),
                }),
            }),
            ..TokenRequest::default()
        };
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let answer =
            objects.token(namespace, &key.account, &request).await.map_err(|error| error.to_string())?;
        let seconds = answer.spec.and_then(|spec| spec.expiration_seconds).unwrap_or(key.seconds);
        let status = answer.status.ok_or("the answer has no status")?;
        let expires = status.expiration_timestamp.ok_or("the answer has no expiration")?.0;
        let token = status.token.ok_or("the answer has no token")?;
        let jitter = rand::random::<f64>() * JITTER_SECONDS;
        Ok(Kept { token, expires, refresh: refresh_at(expires, seconds, jitter) })
    }
}

fn key(wanted: &Wanted<'_>) -> Key {
    let account = wanted.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    Key {
        uid: wanted.pod.metadata.uid.clone().unwrap_or_default(),
        account: account.unwrap_or_else(|| "default".to_owned()),
        audience: wanted.audience.to_owned(),
        seconds: wanted.seconds.unwrap_or(DEFAULT_SECONDS),
    }
}

/// At 80 % of its life, or after [`MAX_AGE`], whichever is first; less the jitter.
fn refresh_at(expires: Timestamp, seconds: i64, jitter: f64) -> Timestamp {
    let life = Duration::from_secs(seconds.unsigned_abs());
    let jitter = Duration::from_secs_f64(jitter);
    let issued = expires.checked_sub(life).unwrap_or(Timestamp::MIN);
    let by_age = issued.checked_add(MAX_AGE).unwrap_or(Timestamp::MAX);
    let by_life = expires.checked_sub(life / 5).unwrap_or(Timestamp::MIN);
    by_age.min(by_life).checked_sub(jitter).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::ReadError;
    use crate::objects::fixed::FixedObjects;

    #[test]
    fn refresh_comes_at_four_fifths_or_after_a_day() {
        let at = |seconds: i64, jitter| {
            let expires = Timestamp::from_second(seconds).unwrap();
            refresh_at(expires, seconds, jitter).as_second()
        };
        assert_eq!(at(3600, 0.0), 2880);
        assert_eq!(at(3607, 10.0), 2875);
        assert_eq!(at(10 * 24 * 3600, 0.0), 24 * 3600);
    }

    fn answer(token: &str, expires: Timestamp) -> Result<TokenRequest, ReadError> {
        Ok(serde_json::from_value(json!({
            "spec": {"audiences": [], "expirationSeconds": 3607},
            "status": {"token": token, "expirationTimestamp": expires.to_string()},
        }))
        .unwrap())
    }

    #[tokio::test]
    async fn a_token_is_kept_refreshed_and_survives_a_failed_refresh() {
        let clock = Clock::stepped("2026-01-01T00:00:00Z".parse().unwrap());
        let objects = FixedObjects::default();
        let hour = clock.now().checked_add(Duration::from_secs(3607)).unwrap();
        *objects.tokens.lock().unwrap() = vec![
            answer("one", hour),
            Err(ReadError::Other("down".into())),
            answer("two", hour.checked_add(Duration::from_secs(3607)).unwrap()),
        ];
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u", "namespace": "n"}})).unwrap();
        let tokens = Tokens::default();
        let wanted = Wanted { pod: &pod, audience: "", seconds: Some(3607) };
        let get = async || tokens.get(wanted, &objects, &clock).await.map(|it| it.0);
        assert_eq!(get().await.as_deref(), Ok("one"));
        clock.advance(Duration::from_secs(2800));
        assert_eq!(get().await.as_deref(), Ok("one"));
        clock.advance(Duration::from_secs(100));
        assert_eq!(get().await.as_deref(), Ok("one"), "the refresh failed");
        assert_eq!(get().await.as_deref(), Ok("two"));
        clock.advance(Duration::from_secs(5000));
        assert!(get().await.unwrap_err().contains("expired"));
    }
}
