//! The RSA keys of service account tokens: one signs, all verify.
//!
//! Making an RSA key takes long enough to delay a start, so that a thread makes it and the first signer waits.

use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, SigningKey, SubjectPublicKeyInfo};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use super::{Error, Files};

/// A public key that verifies tokens.
pub struct PublicKey {
    /// base64url of the SHA-256 of the PKIX form, as the reference derives it.
    pub kid: String,
    modulus: String,
    exponent: String,
    decoding: DecodingKey,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl PublicKey {
    fn of(key: &impl PublicKeyData) -> Result<PublicKey, String> {
        let pkcs1 = key.der_bytes();
        let (_, rsa) = RSAPublicKey::from_der(pkcs1).map_err(|e| format!("it is no RSA key: {e}"))?;
        Ok(PublicKey {
            kid: URL_SAFE_NO_PAD.encode(Sha256::digest(key.subject_public_key_info())),
            modulus: unsigned(rsa.modulus),
            exponent: unsigned(rsa.exponent),
            decoding: DecodingKey::from_rsa_der(pkcs1),
        })
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, Algorithm::RS256).unwrap_or(false)
    }

    fn jwk(&self) -> Value {
        json!({
            "use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256", "n": self.modulus, "e": self.exponent,
        })
    }
}

/// DER integers carry a zero byte for the sign; JWKs do not.
fn unsigned(bytes: &[u8]) -> String {
    let skip = bytes.iter().take_while(|b| **b == 0).count();
    URL_SAFE_NO_PAD.encode(&bytes[skip..])
}

struct Signer {
    key: KeyPair,
    public: PublicKey,
}

type Slot = Arc<OnceLock<Result<Signer, String>>>;

pub struct TokenKeys {
    signer: Slot,
    /// Of keys that signed once and whose tokens may still be about.
    retired: Vec<PublicKey>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("retired", &self.retired).finish_non_exhaustive()
    }
}

impl Signer {
    fn make() -> Result<Signer, String> {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|e| e.to_string())?;
        Signer::of(key)
    }

    fn of(key: KeyPair) -> Result<Signer, String> {
        let public = PublicKey::of(&key)?;
        Ok(Signer { key, public })
    }

    fn load(pem: &str) -> Result<Signer, String> {
        Signer::of(KeyPair::from_pem_and_sign_algo(pem, &PKCS_RSA_SHA256).map_err(|e| e.to_string())?)
    }
}

impl TokenKeys {
    /// A new key that lives as long as the process.
    pub fn memory() -> TokenKeys {
        TokenKeys::in_background(Signer::make)
    }

    /// The key `sa.key`, made where there is none. Every `sa-*.pub` beside it verifies as well: to rotate, move
    /// `sa.pub` to such a name and remove `sa.key`.
    pub(super) fn open(files: Files) -> Result<TokenKeys, Error> {
        let mut retired = Vec::new();
        for name in files.matching("sa-", ".pub")? {
            let pem = files.read(&name)?.unwrap_or_default();
            let key = SubjectPublicKeyInfo::from_pem(&pem).map_err(|e| files.damaged(&name, e))?;
            retired.push(PublicKey::of(&key).map_err(|e| files.damaged(&name, e))?);
        }
        let keys = match files.read("sa.key")? {
            Some(pem) => {
                let signer = Signer::load(&pem).map_err(|e| files.damaged("sa.key", e))?;
                TokenKeys { signer: Arc::new(OnceLock::from(Ok(signer))), retired: Vec::new() }
            }
            None => TokenKeys::in_background(move || {
                let signer = Signer::make()?;
                // The key is used only once it is on disk: a token must outlive a crash.
                files.write_public("sa.pub", &signer.key.public_key_pem()).map_err(|e| e.to_string())?;
                files.write_private("sa.key", &signer.key.serialize_pem()).map_err(|e| e.to_string())?;
                Ok(signer)
            }),
        };
        Ok(TokenKeys { retired, ..keys })
    }

    fn in_background(make: impl FnOnce() -> Result<Signer, String> + Send + 'static) -> TokenKeys {
        let signer: Slot = Arc::default();
        let slot = Arc::clone(&signer);
        let work = move || {
            slot.get_or_init(make);
        };
        let spawned = std::thread::Builder::new().name("token-key".into()).spawn(work);
        if let Err(e) = spawned {
            signer.get_or_init(|| Err(format!("no thread to make the token key in: {e}")));
        }
        TokenKeys { signer, retired: Vec::new() }
    }

    /// Blocks while the key is in the making.
    fn wait(&self) -> Result<&Signer, String> {
        self.signer.wait().as_ref().map_err(Clone::clone)
    }

    /// Blocks until the key is there, on disk where it has one.
    pub(super) fn made(&self) -> Result<(), String> {
        self.wait().map(|_| ())
    }

    /// `header.claims.signature`; blocks.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, String> {
        let signer = self.wait()?;
        let header = json!({"alg": "RS256", "kid": signer.public.kid});
        let encode = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let message = format!("{}.{}", encode(&header), encode(claims));
        let signature = signer.key.sign(message.as_bytes()).map_err(|e| e.to_string())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The keys that a token with this key id may be signed with; all of them for a token without one. A key that is
    /// still in the making has signed nothing yet.
    pub(crate) fn candidates(&self, kid: Option<&str>) -> impl Iterator<Item = &PublicKey> {
        let current = self.signer.get().and_then(|made| made.as_ref().ok()).map(|s| &s.public);
        current.into_iter().chain(&self.retired).filter(move |k| kid.is_none_or(|kid| kid == k.kid))
    }

    /// The key set document; blocks.
    pub(crate) fn jwks(&self) -> Result<Value, String> {
        let current = &self.wait()?.public;
        let keys: Vec<Value> = std::iter::once(current).chain(&self.retired).map(PublicKey::jwk).collect();
        Ok(json!({ "keys": keys }))
    }
}
