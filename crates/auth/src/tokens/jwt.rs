//! The compact form of a JWT, read strictly: one algorithm, canonical base64, no second reading.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::strict_json;

/// A token of ours has about 1 kB; 16 kB leaves room for many audiences and keeps hashing and parsing cheap.
const MAX_BYTES: usize = 16 * 1024;

pub(super) struct Jwt<'a> {
    /// What is signed: header and claims as they were sent.
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
    pub(super) kid: Option<String>,
    pub(super) claims: Map<String, Value>,
}

/// `None` for whatever is no RS256 token in compact form.
pub(super) fn parse(token: &str) -> Option<Jwt<'_>> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    if claims.contains('.') || signature.is_empty() {
        return None;
    }
    let header = strict_json::object(&decode(header)?)?;
    // `crit` names extensions that must be understood; none is.
    if header.get("alg")?.as_str()? != "RS256" || header.contains_key("crit") {
        return None;
    }
    let kid = match header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str()?.to_owned()).filter(|k| !k.is_empty()),
    };
    decode(signature)?;
    Some(Jwt { message, signature, kid, claims: strict_json::object(&decode(claims)?)? })
}

/// Padding, other alphabets and stray trailing bits are refused by this engine.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
