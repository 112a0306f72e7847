//! Who a request comes from: client certificate, bearer token or nobody.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_api::status::Status;
use coracle_api::user::{AUTHENTICATED, User};
use coracle_clock::Clock;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::directory::Directory;
use crate::pki::{ClientChains, Error, Pki};
use crate::tokens::{Tokens, Verified};

/// How browsers, which cannot set headers on WebSockets, send a token.
const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";
/// Distinct client certificates whose chain was found good; each takes a few hundred bytes.
const CERTIFICATE_CAPACITY: usize = 1024;
/// The attribute of a certificate's subject that holds a uid (1.3.6.1.4.1.57683.2).
const UID_ATTRIBUTE: &str = "1.3.6.1.4.1.57683.2";

/// The identity that a request proved.
#[derive(Debug, Clone, PartialEq)]
pub struct Authenticated {
    pub user: Arc<User>,
    /// Audit annotations.
    pub annotations: Vec<(&'static str, String)>,
    /// `(namespace, secret name)` of a legacy token, whose last use is to be written down.
    pub legacy_secret: Option<(String, String)>,
}

/// The chain of certificates that a client showed in the handshake, if any; the client's own is the first.
#[derive(Debug)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    /// Of the whole chain: what it is known by once it has been verified, for each request on its connection.
    digest: [u8; 32],
}

impl Peer {
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Peer {
        let mut hasher = Sha256::new();
        for certificate in &chain {
            hasher.update((certificate.len() as u64).to_be_bytes());
            hasher.update(certificate);
        }
        Peer { digest: hasher.finalize().into(), chain }
    }
}

pub struct Authenticator {
    chains: Arc<ClientChains>,
    certificates: Mutex<HashMap<[u8; 32], Certified>>,
    tokens: Arc<Tokens>,
    directory: Arc<dyn Directory>,
    clock: Clock,
    anonymous: bool,
}

/// A certificate of our CA: its chain holds for good, its dates are looked at each time.
#[derive(Clone)]
struct Certified {
    not_before: i64,
    not_after: i64,
    /// Without a common name a certificate is good and names nobody.
    user: Option<Arc<User>>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

/// What one way of proving an identity came to.
enum Outcome {
    /// Nothing of the kind was sent.
    Absent,
    Proven(Authenticated),
    /// Sent, and no good: such a request is never downgraded to anonymous.
    Failed,
}

impl Authenticator {
    pub fn new(
        pki: &Pki,
        tokens: Arc<Tokens>,
        directory: Arc<dyn Directory>,
        clock: Clock,
        anonymous: bool,
    ) -> Result<Authenticator, Error> {
        let (chains, certificates) = (Arc::new(pki.client_chains()?), Mutex::default());
        Ok(Authenticator { chains, certificates, tokens, directory, clock, anonymous })
    }

    /// The same credentials, held against the objects of another cluster.
    pub fn with_directory(&self, directory: Arc<dyn Directory>) -> Authenticator {
        Authenticator {
            chains: self.chains.clone(),
            certificates: Mutex::default(),
            tokens: self.tokens.clone(),
            directory,
            clock: self.clock.clone(),
            anonymous: self.anonymous,
        }
    }

    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Credentials are taken out of `headers`, so that they go no further, as are those that a front proxy would have
    /// set. The error is the 401.
    pub fn authenticate(&self, headers: &mut HeaderMap, peer: &Peer) -> Result<Authenticated, Status> {
        let mut failed = false;
        let ways = [
            Authenticator::by_certificate as fn(&_, &mut HeaderMap, &Peer) -> Outcome,
            Authenticator::by_bearer,
            Authenticator::by_websocket,
        ];
        let mut proven = None;
        for way in ways {
            match way(self, headers, peer) {
                Outcome::Absent => {}
                Outcome::Failed => failed = true,
                Outcome::Proven(who) => {
                    proven = Some(who);
                    break;
                }
            }
        }
        let who = match proven {
            Some(who) => who,
            None if failed || !self.anonymous => return Err(Status::unauthorized()),
            None => Authenticated::as_user(Arc::new(User::anonymous())),
        };
        strip(headers);
        Ok(who)
    }

    fn by_certificate(&self, _: &mut HeaderMap, peer: &Peer) -> Outcome {
        if peer.chain.is_empty() {
            return Outcome::Absent;
        }
        let now = self.clock.unix_seconds();
        match self.certified(peer, now) {
            Some(c) if c.not_before <= now && now <= c.not_after => match c.user {
                Some(user) => Outcome::Proven(Authenticated::as_user(user)),
                None => Outcome::Absent,
            },
            _ => Outcome::Failed,
        }
    }

    fn certified(&self, peer: &Peer, now: i64) -> Option<Certified> {
        let known =
            self.certificates.lock().unwrap_or_else(PoisonError::into_inner).get(&peer.digest).cloned();
        if known.is_some() {
            return known;
        }
        if !self.chains.verify(&peer.chain, now) {
            return None;
        }
        let certified = Certified::read(peer.chain.first()?)?;
        let mut known = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CERTIFICATE_CAPACITY {
            known.clear();
        }
        known.insert(peer.digest, certified.clone());
        Some(certified)
    }

    fn by_bearer(&self, headers: &mut HeaderMap, _: &Peer) -> Outcome {
        let Some(value) = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()) else {
            return Outcome::Absent;
        };
        let mut parts = value.trim().splitn(3, ' ');
        match (parts.next(), parts.next()) {
            (Some(scheme), Some(token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
                self.by_token(token)
            }
            _ => Outcome::Absent,
        }
    }

    fn by_websocket(&self, headers: &mut HeaderMap, _: &Peer) -> Outcome {
        if !asks_websocket(headers) {
            return Outcome::Absent;
        }
        let protocols: Vec<String> = headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .map(|p| p.trim().to_owned())
            .collect();
        let (bearers, others): (Vec<String>, Vec<String>) =
            protocols.into_iter().partition(|p| p.starts_with(WEBSOCKET_BEARER));
        let [bearer] = bearers.as_slice() else {
            return if bearers.is_empty() { Outcome::Absent } else { Outcome::Failed };
        };
        let decoded = URL_SAFE_NO_PAD.decode(&bearer[WEBSOCKET_BEARER.len()..]).ok();
        let Some(token) = decoded.and_then(|t| String::from_utf8(t).ok()) else { return Outcome::Failed };
        // The server must have a protocol left to agree on: browsers insist.
        if others.is_empty() {
            return Outcome::Failed;
        }
        let outcome = self.by_token(&token);
        if let (Outcome::Proven(_), Ok(rest)) = (&outcome, HeaderValue::from_str(&others.join(", "))) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, rest);
        }
        outcome
    }

    fn by_token(&self, token: &str) -> Outcome {
        match self.tokens.verify(token, &[], &*self.directory) {
            Ok(verified) => Outcome::Proven(verified.into()),
            Err(why) => {
                // The words name no secret: uids and audiences at most.
                tracing::debug!(%why, "token refused");
                Outcome::Failed
            }
        }
    }
}

impl Authenticated {
    fn as_user(user: Arc<User>) -> Authenticated {
        Authenticated { user, annotations: Vec::new(), legacy_secret: None }
    }
}

impl From<Verified> for Authenticated {
    fn from(v: Verified) -> Authenticated {
        Authenticated { user: Arc::new(v.user), annotations: v.annotations, legacy_secret: v.legacy_secret }
    }
}

impl Certified {
    fn read(der: &CertificateDer<'_>) -> Option<Certified> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().last().and_then(|a| a.as_str().ok()).unwrap_or("");
        let mut groups: Vec<String> =
            subject.iter_organization().filter_map(|a| a.as_str().ok()).map(str::to_owned).collect();
        if !groups.iter().any(|g| g == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        let uid = subject
            .iter_attributes()
            .find(|a| a.attr_type().to_id_string() == UID_ATTRIBUTE)
            .and_then(|a| a.as_str().ok())
            .unwrap_or("");
        let hash = Sha256::digest(der).iter().fold(String::from("X509SHA256="), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        });
        let extra = BTreeMap::from([("authentication.kubernetes.io/credential-id".to_owned(), vec![hash])]);
        let user = User { name: name.to_owned(), uid: uid.to_owned(), groups, extra };
        Some(Certified {
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            user: (!name.is_empty()).then(|| Arc::new(user)),
        })
    }
}

fn asks_websocket(headers: &HeaderMap) -> bool {
    let says = |name: HeaderName, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .any(|v| v.trim().eq_ignore_ascii_case(word))
    };
    says(CONNECTION, "upgrade") && says(UPGRADE, "websocket")
}

/// Whatever could pass for a credential behind this point.
fn strip(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    let spoofs: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    for name in spoofs {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
