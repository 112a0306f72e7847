//! Impersonation headers: nobody becomes who they may not be, and the headers are gone afterwards.

#![no_main]

use std::sync::{Arc, LazyLock};

use coracle_api::user::{AUTHENTICATED, MASTERS, UNAUTHENTICATED, User};
use coracle_auth::impersonate::impersonate;
use coracle_auth::{Attributes, Authorizer, Directory, Found, Policy, ResourceTarget};
use coracle_fuzz::{records, stretched};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const SENDER: &str = "sender";

struct Nothing;

impl Directory for Nothing {
    fn find(&self, _: &str, _: &str, _: &str, _: &str) -> Option<Found> {
        None
    }

    fn object(&self, _: &str, _: &str, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn pods_on(&self, _: &str, _: &str) -> Vec<Value> {
        Vec::new()
    }
}

/// The sender may be `jane`, uid 7, of `dev` and with `view` for scopes; and no more.
static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(|| {
    let rule = |groups: &str, resource: &str, name: &str| json!({"apiGroups": [groups], "resources": [resource], "resourceNames": [name], "verbs": ["impersonate"]});
    let rules = [
        rule("", "users", "jane"),
        rule("", "groups", "dev"),
        rule("authentication.k8s.io", "uids", "7"),
        rule("authentication.k8s.io", "userextras/scopes", "view"),
    ];
    let role = json!({"metadata": {"name": SENDER}, "rules": rules});
    let binding = json!({"metadata": {"name": SENDER}, "roleRef": {"kind": "ClusterRole", "name": SENDER},
        "subjects": [{"kind": "User", "name": SENDER}]});
    let policy = Policy::default();
    policy.apply("clusterroles", "", SENDER, Some(&role));
    policy.apply("clusterrolebindings", "", SENDER, Some(&binding));
    Authorizer::new(Arc::new(policy), Arc::new(Nothing))
});

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let mut sent = HeaderMap::new();
    for line in records(&data) {
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value))
        {
            // The map has a bound on the number of its names, which a request keeps.
            let _ = sent.try_append(name, value);
        }
    }
    let asks = asks(&sent);
    for groups in [&[][..], &[MASTERS.to_owned()]] {
        let sender = User { name: SENDER.into(), groups: groups.to_vec(), ..User::default() };
        let wish = Attributes::resource(Arc::new(sender), "list", ResourceTarget::new("", "pods"));
        let mut headers = sent.clone();
        let Ok(became) = impersonate(&mut headers, &wish, &AUTHORIZER) else { continue };
        let Some(became) = became else {
            assert!(!asks, "{sent:?} ask for nobody");
            continue;
        };
        assert!(headers.keys().all(|name| !is_asking(name)), "{headers:?}");
        let is_asked = sent.get("impersonate-user").is_some_and(|name| name == became.user.name.as_bytes());
        assert!(is_asked);
        if groups.is_empty() {
            is_within_its_rights(&became.user);
        }
    }
});

/// Of the headers that have one value the first counts, as Go's `Header.Get` has it; of the others each.
fn asks(sent: &HeaderMap) -> bool {
    let single = ["impersonate-user", "impersonate-uid"];
    let is_said = |name: &str| sent.get(name).is_some_and(|value| !value.is_empty());
    single.into_iter().any(is_said)
        || sent
            .iter()
            .any(|(name, value)| is_asking(name) && !single.contains(&name.as_str()) && !value.is_empty())
}

fn is_asking(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["impersonate-user", "impersonate-uid", "impersonate-group"].contains(&name)
        || name.starts_with("impersonate-extra-")
}

fn is_within_its_rights(user: &User) {
    assert_eq!(user.name, "jane");
    assert!(["", "7"].contains(&user.uid.as_str()), "{user:?}");
    let allowed = ["dev", AUTHENTICATED, UNAUTHENTICATED];
    assert!(user.groups.iter().all(|group| allowed.contains(&group.as_str())), "{user:?}");
    let is_allowed = |(key, values): (&String, &Vec<String>)| {
        values.is_empty() || key == "scopes" && values.iter().all(|value| value == "view")
    };
    assert!(user.extra.iter().all(is_allowed), "{user:?}");
}
