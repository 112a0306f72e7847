//! Service account tokens: how they are made and what makes one good.

mod cache;
mod claims;
mod jwt;
mod request;
mod strict_json;
mod verify;

use std::fmt;
use std::sync::Arc;

use coracle_api::status::Status;
use coracle_clock::Clock;
use serde_json::{Value, json};

use crate::pki::TokenKeys;
use cache::Cache;
pub use request::{Binding, BindingKind, DEFAULT_SECONDS, bound_object, validate_request};
pub use verify::{Refused, Verified};

pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// What legacy Secret tokens name as their issuer.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// The lifetime that the kubelet asks for the token of a Pod which did not ask for one itself.
const POD_TOKEN_SECONDS: i64 = 3607;
/// What such a token gets, for clients that never read it again: a year, as the reference.
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

#[derive(Debug, Clone)]
pub struct Config {
    pub issuer: String,
    /// Empty means `[issuer]`.
    pub api_audiences: Vec<String>,
    /// Longest lifetime handed out, in seconds (`--service-account-max-token-expiration`).
    pub max_expiration: Option<i64>,
    /// Give Pod tokens of 3607 s a year, with a warning claim (`--service-account-extend-token-expiration`).
    pub extend: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config { issuer: DEFAULT_ISSUER.into(), api_audiences: vec![], max_expiration: None, extend: true }
    }
}

/// An object's name and uid inside the claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    pub name: String,
    pub uid: String,
}

/// What a token is bound to besides its service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// With the Pod's node where it has one; the node's uid is empty where the Node object is missing.
    Pod(Ref, Option<Ref>),
    Node(Ref),
    Secret(Ref),
}

/// A token to be made; the caller has looked everything up.
#[derive(Debug, Clone)]
pub struct Order {
    pub namespace: String,
    pub service_account: Ref,
    pub bound: Option<Bound>,
    /// Empty means the API's audiences.
    pub audiences: Vec<String>,
    /// As asked for, already validated.
    pub expiration_seconds: i64,
}

#[derive(Clone)]
pub struct Issued {
    pub token: String,
    /// For the audit annotation `authentication.kubernetes.io/issued-credential-id` (as `JTI=…`).
    pub jti: String,
    pub audiences: Vec<String>,
    /// `spec.expirationSeconds` of the answer (shortened where the maximum says so).
    pub expiration_seconds: i64,
    /// `status.expirationTimestamp`, unix seconds. An extended token is valid for longer than this says.
    pub expires: i64,
    /// For the `Warning` header.
    pub warning: Option<String>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("jti", &self.jti).finish_non_exhaustive()
    }
}

/// Makes and checks tokens.
#[derive(Debug)]
pub struct Tokens {
    config: Config,
    keys: Arc<TokenKeys>,
    clock: Clock,
    cache: Cache,
}

impl Tokens {
    pub fn new(mut config: Config, keys: Arc<TokenKeys>, clock: Clock) -> Tokens {
        if config.api_audiences.is_empty() {
            config.api_audiences = vec![config.issuer.clone()];
        }
        Tokens { config, keys, clock, cache: Cache::default() }
    }

    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    pub fn api_audiences(&self) -> &[String] {
        &self.config.api_audiences
    }

    /// Sign a token. Waits, off the async threads, where the key is still in the making.
    pub async fn issue(&self, order: Order) -> Result<Issued, Status> {
        let now = self.clock.unix_seconds();
        let (seconds, warning) = self.shortened(order.expiration_seconds);
        let audiences = if order.audiences.is_empty() {
            self.config.api_audiences.clone()
        } else {
            order.audiences.clone()
        };
        let extends = self.config.extend
            && matches!(order.bound, Some(Bound::Pod(..)))
            && seconds == POD_TOKEN_SECONDS
            && audiences.iter().all(|a| self.config.api_audiences.contains(a));
        let jti = uuid::Uuid::new_v4().to_string();
        let claims = json!({
            "aud": audiences,
            "exp": now + if extends { EXTENDED_SECONDS } else { seconds },
            "iat": now,
            "iss": self.config.issuer,
            "jti": jti,
            "kubernetes.io": claims::private(&order, extends.then_some(now + seconds)),
            "nbf": now,
            "sub": claims::subject(&order.namespace, &order.service_account.name),
        });
        let token = self.sign(claims).await?;
        Ok(Issued { token, jti, audiences, expiration_seconds: seconds, expires: now + seconds, warning })
    }

    fn shortened(&self, asked: i64) -> (i64, Option<String>) {
        match self.config.max_expiration {
            Some(max) if asked > max => {
                (max, Some(format!("requested expiration of {asked} seconds shortened to {max} seconds")))
            }
            _ => (asked, None),
        }
    }

    /// The token for a Secret of type `kubernetes.io/service-account-token`.
    pub async fn issue_legacy(&self, namespace: &str, account: &Ref, secret: &str) -> Result<String, Status> {
        self.sign(json!({
            "iss": LEGACY_ISSUER,
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": account.name,
            "kubernetes.io/serviceaccount/service-account.uid": account.uid,
            "sub": claims::subject(namespace, &account.name),
        }))
        .await
    }

    async fn sign(&self, claims: Value) -> Result<String, Status> {
        self.blocking(move |keys| keys.sign(&claims)).await
    }

    /// The document at `/openid/v1/jwks`.
    pub async fn jwks(&self) -> Result<Value, Status> {
        self.blocking(TokenKeys::jwks).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TokenKeys) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Status> {
        let keys = Arc::clone(&self.keys);
        let failed = |why: String| Status::internal(format!("failed to generate token: {why}"));
        match tokio::task::spawn_blocking(move || work(&keys)).await {
            Ok(done) => done.map_err(failed),
            Err(_) => Err(failed("the signer stopped".into())),
        }
    }

    /// The document at `/.well-known/openid-configuration`; `server` is the API server's `host:port`.
    pub fn issuer_document(&self, server: &str) -> Value {
        json!({
            "issuer": self.config.issuer,
            "jwks_uri": format!("https://{server}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }
}

#[cfg(test)]
mod tests;
