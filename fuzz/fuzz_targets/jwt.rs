//! Bearer tokens: only the token that was signed is taken, and nothing that is made of its parts.

#![no_main]

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_auth::pki::TokenKeys;
use coracle_auth::tokens::{Config, Order, Ref, Tokens};
use coracle_auth::{Directory, Found};
use coracle_clock::Clock;
use coracle_fuzz::{parts, stretched, text};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const UID: &str = "3f1c";

/// A cluster with one account in it.
struct OneAccount;

impl Directory for OneAccount {
    fn find(&self, _: &str, resource: &str, namespace: &str, name: &str) -> Option<Found> {
        let is_it = (resource, namespace, name) == ("serviceaccounts", "ns", "account");
        is_it.then(|| Found { uid: UID.to_owned(), deletion: None })
    }

    fn object(&self, _: &str, _: &str, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn pods_on(&self, _: &str, _: &str) -> Vec<Value> {
        Vec::new()
    }
}

struct Issuer {
    tokens: Tokens,
    good: String,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let tokens = Tokens::new(Config::default(), Arc::new(TokenKeys::memory()), Clock::system());
    let order = Order {
        namespace: "ns".to_owned(),
        service_account: Ref { name: "account".to_owned(), uid: UID.to_owned() },
        bound: None,
        audiences: Vec::new(),
        expiration_seconds: 3600,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let good = runtime.block_on(tokens.issue(order)).expect("a token").token;
    assert!(tokens.verify(&good, &[], &OneAccount).is_ok());
    Issuer { tokens, good }
});

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let Issuer { tokens, good } = &*ISSUER;
    if let Some(token) = text(&data) {
        check(tokens, good, token);
    }
    // Header, claims and signature; what is left out is the good token's own, and JSON is encoded.
    let own: Vec<&str> = good.split('.').collect();
    let made = parts::<3>(&data).into_iter().zip(own).map(|(part, own)| match (part, text(part)) {
        ([], _) => Cow::Borrowed(own),
        ([b'{', ..], _) | (_, None) => Cow::Owned(URL_SAFE_NO_PAD.encode(part)),
        (_, Some(text)) => Cow::Borrowed(text),
    });
    let made: Vec<_> = made.collect();
    check(tokens, good, &made.join("."));
});

fn check(tokens: &Tokens, good: &str, token: &str) {
    assert_eq!(tokens.verify(token, &[], &OneAccount).is_ok(), token == good, "{token}");
    assert!(tokens.verify(token, &["somebody-else".to_owned()], &OneAccount).is_err());
}
