//! The order in which a token is checked, and the words of each refusal.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::field::go_quote;
use coracle_api::object::{at, text};
use coracle_api::user::User;

use super::cache::Cache;
use super::claims::{BoundScope, Claims, LegacyScope, Scope, subject};
use super::{LEGACY_ISSUER, Ref, Tokens, jwt};
use crate::directory::{Directory, Found};

/// Clocks may differ by this much, and what is being deleted counts as there for this long: go-jose's leeway.
const LEEWAY_SECONDS: i64 = 60;
/// Longer would be no date; keeps sums from overflowing.
const FAR: i64 = i64::MAX / 4;

const EXTRA: &str = "authentication.kubernetes.io";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub user: User,
    /// The audiences that token and target have in common.
    pub audiences: Vec<String>,
    /// Audit annotations (`authentication.k8s.io/stale-token`, `…/legacy-token`).
    pub annotations: Vec<(&'static str, String)>,
    /// `(namespace, secret name)` of a legacy token, whose last use is to be written down.
    pub legacy_secret: Option<(String, String)>,
}

/// The reason why a token is not accepted. A caller is told 401; TokenReview shows these words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Not one of this cluster's.
    Unknown,
    Because(String),
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unknown => f.write_str("invalid bearer token"),
            Refused::Because(why) => write!(f, "[invalid bearer token, {why}]"),
        }
    }
}

fn because<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Because(why.into()))
}

/// Go's `%q` of a list.
fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|s| go_quote(s)).collect();
    format!("[{}]", items.join(" "))
}

impl Tokens {
    /// `audiences`: the target's, of which the token must have one; empty means the API's.
    pub fn verify(
        &self,
        token: &str,
        audiences: &[String],
        directory: &dyn Directory,
    ) -> Result<Verified, Refused> {
        let claims = self.signed_claims(token)?;
        let mut annotations = Vec::new();
        let of_api = self.api_audiences();
        let targets = if audiences.is_empty() { of_api } else { audiences };
        let held = if claims.audiences.is_empty() {
            annotations.push(("authentication.k8s.io/legacy-token", claims.subject.clone()));
            of_api
        } else {
            &claims.audiences
        };
        let common: Vec<String> = held.iter().filter(|a| targets.contains(a)).cloned().collect();
        if common.is_empty() {
            let (held, targets) = (quoted(held), quoted(targets));
            return because(format!("token audiences {held} is invalid for the target audiences {targets}"));
        }
        let now = self.clock.unix_seconds();
        let (user, legacy_secret) = match &claims.scope {
            Scope::Bound(scope) => {
                check_dates(&claims, now)?;
                check_bound(scope, directory, now)?;
                annotations.extend(stale(scope, &claims.subject, now));
                (bound_user(scope, &claims.jti), None)
            }
            Scope::Legacy(scope) => {
                check_legacy(scope, &claims.subject, token, directory)?;
                (legacy_user(scope), Some((scope.namespace.clone(), scope.secret.clone())))
            }
        };
        Ok(Verified { user, audiences: common, annotations, legacy_secret })
    }

    /// Form, issuer and signature. Of these, only good answers are remembered.
    fn signed_claims(&self, token: &str) -> Result<Arc<Claims>, Refused> {
        let key = Cache::key(token);
        if let Some(claims) = self.cache.get(&key) {
            return Ok(claims);
        }
        let jwt = jwt::parse(token).ok_or(Refused::Unknown)?;
        let issuer = jwt.claims.get("iss").and_then(|v| v.as_str()).unwrap_or("");
        let legacy = issuer == LEGACY_ISSUER;
        if !legacy && issuer != self.issuer() {
            return Err(Refused::Unknown);
        }
        let mut candidates = self.keys.candidates(jwt.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return because("invalid signature, no keys found");
        }
        if !candidates.any(|k| k.verifies(jwt.message.as_bytes(), jwt.signature)) {
            return because("go-jose/go-jose: error in cryptographic primitive");
        }
        let claims = Arc::new(Claims::parse(jwt.claims, legacy).ok_or(Refused::Unknown)?);
        debug_assert!(legacy || claims.issuer == self.issuer());
        self.cache.put(key, Arc::clone(&claims));
        Ok(claims)
    }
}

fn check_dates(claims: &Claims, now: i64) -> Result<(), Refused> {
    let near = |date: i64| date.clamp(-FAR, FAR);
    if claims.not_before.is_some_and(|nbf| now + LEEWAY_SECONDS < near(nbf)) {
        return because("service account token is not valid yet");
    }
    if claims.expires.is_some_and(|exp| now - LEEWAY_SECONDS > near(exp)) {
        return because("service account token has expired");
    }
    if claims.issued_at.is_some_and(|iat| now + LEEWAY_SECONDS < near(iat)) {
        return because("service account token is issued in the future");
    }
    Ok(())
}

fn long_deleted(found: &Found, now: i64) -> bool {
    found.deletion.is_some_and(|at| at < now - LEEWAY_SECONDS)
}

fn check_bound(scope: &BoundScope, directory: &dyn Directory, now: i64) -> Result<(), Refused> {
    let (namespace, account) = (&scope.namespace, &scope.service_account);
    let Some(found) = directory.service_account(namespace, &account.name) else {
        return because(format!("serviceaccount {} not found", go_quote(&account.name)));
    };
    if long_deleted(&found, now) {
        return because(format!("service account {namespace}/{} has been deleted", account.name));
    }
    if found.uid != account.uid {
        return because(format!(
            "service account UID ({}) does not match claim ({})",
            found.uid, account.uid
        ));
    }
    if let Some(secret) = &scope.secret {
        check_object("secret", secret, directory.secret(namespace, &secret.name), now)?;
    }
    if let Some(pod) = &scope.pod {
        check_object("pod", pod, directory.pod(namespace, &pod.name), now)?;
    } else if let Some(node) = &scope.node {
        check_object("node", node, directory.node(&node.name), now)?;
    }
    Ok(())
}

fn check_object(kind: &str, claimed: &Ref, found: Option<Found>, now: i64) -> Result<(), Refused> {
    match found {
        None => because("service account token has been invalidated"),
        Some(found) if long_deleted(&found, now) => because("service account token has been invalidated"),
        Some(found) if found.uid != claimed.uid => because(format!(
            "{kind} UID ({}) does not match service account {kind} ref claim ({})",
            found.uid, claimed.uid
        )),
        Some(_) => Ok(()),
    }
}

fn check_legacy(
    scope: &LegacyScope,
    claimed_subject: &str,
    token: &str,
    directory: &dyn Directory,
) -> Result<(), Refused> {
    let account = &scope.service_account;
    for (claim, value) in [
        ("namespace", &scope.namespace),
        ("secretName", &scope.secret),
        ("serviceAccountName", &account.name),
        ("serviceAccountUID", &account.uid),
    ] {
        if value.is_empty() {
            return because(format!("{claim} claim is missing"));
        }
    }
    if claimed_subject != subject(&scope.namespace, &account.name) {
        return because("sub claim is invalid");
    }
    let Some(secret) = directory.object("", "secrets", &scope.namespace, &scope.secret) else {
        return because("Token has been invalidated");
    };
    if !text(&secret, &["metadata", "deletionTimestamp"]).is_empty() {
        return because("Token has been invalidated");
    }
    if STANDARD.decode(text(&secret, &["data", "token"])).is_ok_and(|stored| stored == token.as_bytes()) {
        check_legacy_account(scope, directory)?;
    } else {
        return because("Token does not match server's copy");
    }
    if at(&secret, &["metadata", "labels", INVALID_SINCE]).is_string() {
        let (namespace, secret) = (&scope.namespace, &scope.secret);
        return because(format!(
            "the token in secret {namespace}/{secret} for service account {namespace}/{} has been marked invalid. \
             Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
             '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
            account.name
        ));
    }
    Ok(())
}

fn check_legacy_account(scope: &LegacyScope, directory: &dyn Directory) -> Result<(), Refused> {
    let account = &scope.service_account;
    match directory.service_account(&scope.namespace, &account.name) {
        None => because(format!("serviceaccount {} not found", go_quote(&account.name))),
        Some(found) if found.deletion.is_some() => {
            because(format!("ServiceAccount {}/{} has been deleted", scope.namespace, account.name))
        }
        Some(found) if found.uid != account.uid => {
            because(format!("ServiceAccount UID ({}) does not match claim ({})", found.uid, account.uid))
        }
        Some(_) => Ok(()),
    }
}

/// A token that was extended and is past the time it should have been renewed at.
fn stale(scope: &BoundScope, subject: &str, now: i64) -> Option<(&'static str, String)> {
    let after = scope.warn_after.filter(|after| *after != 0 && now > *after)?;
    let late = now - after;
    let said = format!("subject: {subject}, seconds after warning threshold: {late}");
    Some(("authentication.k8s.io/stale-token", said))
}

fn bound_user(scope: &BoundScope, jti: &str) -> User {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut say = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("{EXTRA}/{key}"), vec![value.to_owned()]);
        }
    };
    if !jti.is_empty() {
        say("credential-id", &format!("JTI={jti}"));
    }
    if let Some(pod) = &scope.pod {
        say("pod-name", &pod.name);
        say("pod-uid", &pod.uid);
    }
    if let Some(node) = &scope.node {
        say("node-name", &node.name);
        say("node-uid", &node.uid);
    }
    let uid = scope.service_account.uid.clone();
    User { uid, extra, ..User::service_account(&scope.namespace, &scope.service_account.name) }
}

fn legacy_user(scope: &LegacyScope) -> User {
    let uid = scope.service_account.uid.clone();
    User { uid, ..User::service_account(&scope.namespace, &scope.service_account.name) }
}
