//! The recorded cases, and which mode allows what.

use serde_json::json;

use super::*;
use crate::testing::{Objects, authorizer};

const SENDER: &str = "system:serviceaccount:ct-imp:default";

fn wish() -> Attributes {
    let user = Arc::new(User::service_account("ct-imp", "default"));
    Attributes::resource(user, "list", ResourceTarget::new("", "pods").within("ct-imp"))
}

fn run(
    headers: &[(&'static str, &str)],
    rules: serde_json::Value,
    masters: bool,
) -> Result<Impersonated, Status> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    map.append("x-other", "kept".parse().unwrap());
    let authorizer = authorizer(&Objects::default().grant(SENDER, rules));
    let mut wish = wish();
    if masters {
        wish.user = Arc::new(User { name: "admin".into(), groups: vec![MASTERS.into()], ..User::default() });
    }
    let done = impersonate(&mut map, &wish, &authorizer);
    if done.is_ok() {
        assert_eq!(map.len(), 1, "{map:?}");
    }
    done.map(|who| who.expect("headers were given"))
}

fn message(headers: &[(&'static str, &str)]) -> String {
    run(headers, json!([]), false).unwrap_err().message
}

#[test]
fn masters_may_be_anybody() {
    let groups =
        |headers: &[(&'static str, &str)]| run(headers, json!([]), true).unwrap().user.groups.clone();
    assert_eq!(groups(&[(USER, "jane")]), ["system:authenticated"]);
    assert_eq!(
        groups(&[(USER, "jane"), (GROUP, "dev"), (GROUP, "ops")]),
        ["dev", "ops", "system:authenticated"]
    );
    assert_eq!(
        groups(&[(USER, "system:serviceaccount:ct-imp:default")]),
        ["system:serviceaccounts", "system:serviceaccounts:ct-imp", "system:authenticated"]
    );
    assert_eq!(groups(&[(USER, "system:anonymous")]), ["system:unauthenticated"]);
    assert_eq!(groups(&[(USER, "jane"), (GROUP, "system:masters")])[0], "system:masters");
    let who = run(
        &[
            (USER, "jane"),
            (UID, "7"),
            ("impersonate-extra-Acme.io%2fScopes", "view"),
            ("impersonate-extra-scopes", "x"),
        ],
        json!([]),
        true,
    )
    .unwrap();
    assert_eq!(who.user.uid, "7");
    assert_eq!(who.user.extra["acme.io/scopes"], ["view"]);
    assert_eq!(who.user.extra["scopes"], ["x"]);
}

#[test]
fn refusals_use_the_recorded_words() {
    assert_eq!(
        message(&[(USER, "jane")]),
        format!(
            "pods is forbidden: User \"{SENDER}\" cannot impersonate-on:user-info:list resource \"pods\" in API group \
             \"\" in the namespace \"ct-imp\""
        )
    );
    assert_eq!(
        message(&[(USER, SENDER), (GROUP, "dev")]),
        format!(
            "serviceaccounts \"default\" is forbidden: User \"{SENDER}\" cannot impersonate resource \
             \"serviceaccounts\" in API group \"\" in the namespace \"ct-imp\""
        )
    );
    let status = run(&[(GROUP, "dev")], json!([]), true).unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            400,
            "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"dev\"}, \
             Extra:map[string][]string(nil)} without impersonating a user name"
        )
    );
}

#[test]
fn the_old_form_still_works() {
    let rules = json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["jane"]}]);
    let who = run(&[(USER, "jane")], rules.clone(), false).unwrap();
    assert_eq!((who.user.name.as_str(), who.constraint.as_str()), ("jane", ""));
    assert!(run(&[(USER, "joe")], rules.clone(), false).is_err());
    assert!(run(&[(USER, "jane"), (GROUP, "dev")], rules, false).is_err());
}

#[test]
fn a_constrained_impersonator_may_do_only_what_is_named() {
    let rules = json!([
        {"verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users", "groups"]},
    ]);
    let who = run(&[(USER, "jane"), (GROUP, "dev")], rules.clone(), false).unwrap();
    assert_eq!(who.constraint, "impersonate:user-info");
    for headers in [
        [(USER, "jane"), (GROUP, "system:masters")],
        [(USER, "jane"), (UID, "7")],
        [(USER, "system:node:n1"), (GROUP, "x")],
    ] {
        assert!(run(&headers, rules.clone(), false).is_err(), "{headers:?}");
    }
}

#[test]
fn no_header_means_oneself() {
    let authorizer = authorizer(&Objects::default());
    assert_eq!(impersonate(&mut HeaderMap::new(), &wish(), &authorizer).unwrap(), None);
}
