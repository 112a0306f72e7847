//! The continue token of a paged list: which revision is being read and where the next page starts.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use coracle_api::{Status, codec};
use serde_json::json;

/// As lenient as Go's decoder, so that what is wrong with a token is said of its contents.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// −1 goes on with the present: what is left of an expired list.
    pub revision: i64,
    /// The key to go on behind.
    pub after: String,
    /// Whether that key itself comes first. Tokens of this server never say so, others may.
    pub inclusive: bool,
}

/// `prefix` is left out of the token, so that it cannot lead elsewhere.
pub fn encode(revision: i64, prefix: &str, last_key: &str) -> String {
    let start = format!("{}\0", last_key.strip_prefix(prefix).unwrap_or(last_key));
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

pub fn decode(token: &str, prefix: &str) -> Result<Continuation, Status> {
    let refuse = |why: String| {
        Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let bytes = LENIENT.decode(token.trim_end_matches('=')).map_err(|e| refuse(e.to_string()))?;
    let parsed = codec::json::parse(&bytes).map_err(|e| refuse(e.to_string()))?;
    let v = parsed.value;
    if v["v"] != "meta.k8s.io/v1" {
        return Err(Status::bad_request(format!(
            "invalid continue token: continue key is not valid: server does not recognize this encoded version {}",
            coracle_api::field::go_quote(v["v"].as_str().unwrap_or_default())
        )));
    }
    let revision = v["rv"].as_i64().unwrap_or(0);
    if revision == 0 {
        return Err(refuse("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into()));
    }
    let start = v["start"].as_str().unwrap_or_default();
    if start.is_empty() {
        return Err(refuse("encoded start key empty (version meta.k8s.io/v1)".into()));
    }
    let after = start.trim_end_matches('\0');
    // A relative step would leave the prefix that the caller may read, and a name is never one.
    if after.split('/').any(|part| part == ".." || part == ".") {
        return Err(Status::bad_request(format!("invalid continue token: invalid key: {start}")));
    }
    let inclusive = after == start;
    let after = after.trim_start_matches('/');
    Ok(Continuation { revision, after: format!("{prefix}{after}"), inclusive })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_round_and_stays_inside() {
        let prefix = "/registry/pods/ns/";
        let token = encode(7, prefix, "/registry/pods/ns/a");
        assert_eq!(
            decode(&token, prefix).unwrap(),
            Continuation { revision: 7, after: "/registry/pods/ns/a".into(), inclusive: false }
        );
        for out in [r"../../secrets/x\u0000", r"a/..\u0000", r".\u0000", ".", r"a/.\u0000\u0000"] {
            let token = format!(r#"{{"v":"meta.k8s.io/v1","rv":7,"start":"{out}"}}"#);
            let refused = decode(&URL_SAFE_NO_PAD.encode(token), prefix).unwrap_err();
            assert!(refused.message.contains("invalid key"), "{out}");
        }
        assert_eq!(
            decode("xyz", prefix).unwrap_err().message,
            "invalid continue token: continue key is not valid: invalid character 'Ç' looking for beginning of value"
        );
    }
}
