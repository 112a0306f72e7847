//! Service account tokens: what they claim, how they are signed and how they are checked.

use std::sync::Arc;

use coracle_api::status::Status;
use coracle_api::user::User;
use coracle_clock::Clock;
use serde_json::Value;

use crate::directory::Directory;

pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[derive(Debug, Clone)]
pub struct Config {
    pub issuer: String,
    /// Empty means `[issuer]`.
    pub api_audiences: Vec<String>,
    /// Longest lifetime handed out, in seconds (`--service-account-max-token-expiration`).
    pub max_expiration: Option<i64>,
    /// Give Pod tokens of 3607 s a year, with a warning claim, as the reference does by default.
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
    pub jti: String,
    pub audiences: Vec<String>,
    /// `spec.expirationSeconds` of the answer (shortened where the maximum says so).
    pub expiration_seconds: i64,
    /// `status.expirationTimestamp`, unix seconds.
    pub expires: i64,
    /// For the `Warning` header.
    pub warning: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub user: User,
    /// The audiences that token and target have in common.
    pub audiences: Vec<String>,
    /// Audit annotations (`authentication.k8s.io/stale-token`).
    pub annotations: Vec<(&'static str, String)>,
    /// `(namespace, secret name)` of a legacy token that was used.
    pub legacy_secret: Option<(String, String)>,
}

/// The reason why a token is not accepted. A caller is told 401; TokenReview shows these words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not one of ours: no signature of this cluster's issuer.
    #[error("invalid bearer token")]
    Unknown,
    #[error("[invalid bearer token, {0}]")]
    Because(String),
}

/// Signs and checks. Cheap to clone through `Arc`.
#[derive(Debug)]
pub struct Tokens {
    config: Config,
    clock: Clock,
}

impl Tokens {
    pub fn new(config: Config, keys: Arc<crate::pki::TokenKeys>, clock: Clock) -> Tokens {
        let _ = keys;
        Tokens { config, clock }
    }

    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    pub fn api_audiences(&self) -> &[String] {
        &self.config.api_audiences
    }

    /// Sign a token. Waits for the signing key where it is still being made.
    pub async fn issue(&self, order: Order) -> Result<Issued, Status> {
        let _ = (order, &self.clock);
        Err(Status::internal("no key"))
    }

    /// The token of a `kubernetes.io/service-account-token` Secret.
    pub async fn issue_legacy(&self, namespace: &str, account: &Ref, secret: &str) -> Result<String, Status> {
        let _ = (namespace, account, secret);
        Err(Status::internal("no key"))
    }

    /// `audiences`: those that the token must serve one of; empty means the API's.
    pub fn verify(
        &self,
        token: &str,
        audiences: &[String],
        directory: &dyn Directory,
    ) -> Result<Verified, Refused> {
        let _ = (token, audiences, directory);
        Err(Refused::Unknown)
    }

    /// `/openid/v1/jwks`
    pub async fn jwks(&self) -> Value {
        Value::Null
    }

    /// `/.well-known/openid-configuration`; `server` is the `host:port` that the caller reached.
    pub fn issuer_document(&self, server: &str) -> Value {
        let _ = server;
        Value::Null
    }
}

/// The 422 of a TokenRequest whose spec is out of bounds.
pub fn validate_request(token_request: &Value) -> Result<(), Status> {
    let _ = token_request;
    Ok(())
}
