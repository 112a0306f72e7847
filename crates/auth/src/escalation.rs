//! Nobody grants what they do not hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use coracle_api::field::go_quote;
use coracle_api::object::{at, items, name, text};
use coracle_api::status::{Resource, Status, aggregate};
use coracle_api::user::User;
use serde_json::Value;

use crate::attributes::{Attributes, ResourceTarget};
use crate::authorizer::Authorizer;
use crate::rbac::{GROUP, Policy, Rule, url_covers};

/// A Role, ClusterRole or binding of either, about to be written.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// The plural.
    pub resource: &'a str,
    /// Empty for the cluster's own.
    pub namespace: &'a str,
    pub object: &'a Value,
    /// What it replaces.
    pub old: Option<&'a Value>,
}

/// Whether the user may write it. Other resources than RBAC's four are none of this function's business.
pub fn check(authorizer: &Authorizer, user: &Arc<User>, grant: &Grant<'_>) -> Result<(), Status> {
    match grant.resource {
        "roles" | "clusterroles" => check_role(authorizer, user, grant),
        "rolebindings" | "clusterrolebindings" => check_binding(authorizer, user, grant),
        _ => Ok(()),
    }
}

impl Grant<'_> {
    fn keeps(&self, key: &str) -> bool {
        self.old.is_some_and(|old| old.get(key) == self.object.get(key))
    }

    fn forbidden(&self, why: &str) -> Status {
        Status::forbidden(Resource { group: GROUP, resource: self.resource }, name(self.object), why)
    }
}

fn may(
    authorizer: &Authorizer,
    user: &Arc<User>,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let target = ResourceTarget::new(GROUP, resource).within(namespace).named(name);
    let target = ResourceTarget { version: "v1".into(), ..target };
    authorizer.allows(Attributes::resource(Arc::clone(user), verb, target))
}

fn check_role(authorizer: &Authorizer, user: &Arc<User>, grant: &Grant<'_>) -> Result<(), Status> {
    let role = name(grant.object);
    if grant.keeps("rules") && grant.keeps("aggregationRule")
        || may(authorizer, user, "escalate", grant.resource, grant.namespace, role)
    {
        return Ok(());
    }
    if !at(grant.object, &["aggregationRule"]).is_null() {
        let everything = [everything_rule(), every_url_rule()];
        check_grant(authorizer.policy(), user, "", &everything)
            .map_err(|_| grant.forbidden("must have cluster-admin privileges to use an aggregationRule"))?;
    }
    let rules: Vec<Rule> = items(grant.object, &["rules"]).iter().map(Rule::parse).collect();
    check_grant(authorizer.policy(), user, grant.namespace, &rules).map_err(|why| grant.forbidden(&why))
}

/// Whoever may `bind` the role, or holds all of it. A role that does not exist is told as 404.
fn check_binding(authorizer: &Authorizer, user: &Arc<User>, grant: &Grant<'_>) -> Result<(), Status> {
    let role = |key: &str| text(grant.object, &["roleRef", key]);
    let (kind, role) = (role("kind"), role("name"));
    let (plural, singular) =
        if kind == "ClusterRole" { ("clusterroles", "clusterrole") } else { ("roles", "role") };
    if grant.keeps("roleRef") && grant.keeps("subjects")
        || may(authorizer, user, "bind", plural, grant.namespace, role)
    {
        return Ok(());
    }
    let rules = authorizer
        .policy()
        .role_rules(kind, grant.namespace, role)
        .map_err(|_| Status::not_found(Resource { group: GROUP, resource: singular }, role))?;
    check_grant(authorizer.policy(), user, grant.namespace, &rules).map_err(|why| grant.forbidden(&why))
}

fn everything_rule() -> Rule {
    let all = || vec!["*".to_owned()];
    Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() }
}

fn every_url_rule() -> Rule {
    let all = || vec!["*".to_owned()];
    Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() }
}

/// The words of the 403 (after `… is forbidden: `) where `user` does not hold all of `rules` in `namespace`.
pub fn check_grant(policy: &Policy, user: &User, namespace: &str, rules: &[Rule]) -> Result<(), String> {
    let held = policy.rules_for(user, namespace);
    let missing = missing(&held.rules, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = missing.iter().map(describe).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let mut said = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        go_quote(&user.name),
        quoted(&user.groups),
        lines.join("\n")
    );
    if !held.errors.is_empty() {
        said.push_str(&format!("; resolution errors: {}", aggregate(held.errors)));
    }
    Err(said)
}

/// The servant's rules that the owner's do not cover, with the verbs of one resource put together.
pub fn missing(owner: &[Rule], servant: &[Rule]) -> Vec<Rule> {
    let uncovered =
        servant.iter().flat_map(atoms).filter(|atom| !owner.iter().any(|rule| covers(rule, atom)));
    let mut compact: Vec<Rule> = Vec::new();
    for atom in uncovered {
        let alike = compact.iter_mut().find(|rule| {
            rule.non_resource_urls.is_empty()
                && atom.non_resource_urls.is_empty()
                && rule.api_groups == atom.api_groups
                && rule.resources == atom.resources
                && rule.resource_names == atom.resource_names
        });
        match alike {
            Some(rule) => {
                for verb in atom.verbs {
                    if !rule.verbs.contains(&verb) {
                        rule.verbs.push(verb);
                    }
                }
            }
            None => compact.push(atom),
        }
    }
    compact
}

/// The rule as single permissions, each of which one rule covers wholly or not at all.
fn atoms(rule: &Rule) -> Vec<Rule> {
    let one = |s: &String| vec![s.clone()];
    let mut out = Vec::new();
    for (group, resource) in rule.api_groups.iter().flat_map(|g| rule.resources.iter().map(move |r| (g, r))) {
        for verb in &rule.verbs {
            let atom = Rule {
                verbs: one(verb),
                api_groups: one(group),
                resources: one(resource),
                ..Rule::default()
            };
            if rule.resource_names.is_empty() {
                out.push(atom);
            } else {
                let named = rule.resource_names.iter();
                out.extend(named.map(|n| Rule { resource_names: one(n), ..atom.clone() }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        let verbs = rule.verbs.iter();
        out.extend(verbs.map(|v| Rule { verbs: one(v), non_resource_urls: one(url), ..Rule::default() }));
    }
    out
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|s| s == "*" || s == wanted)
}

fn covers(owner: &Rule, atom: &Rule) -> bool {
    let all = |wanted: &[String], test: &dyn Fn(&str) -> bool| wanted.iter().all(|w| test(w));
    all(&atom.verbs, &|v| has(&owner.verbs, v))
        && all(&atom.api_groups, &|g| has(&owner.api_groups, g))
        && all(&atom.resources, &|r| has(&owner.resources, r) || covers_subresource(owner, r))
        && all(&atom.non_resource_urls, &|u| owner.non_resource_urls.iter().any(|o| url_covers(o, u)))
        && (owner.resource_names.is_empty()
            || !atom.resource_names.is_empty()
                && all(&atom.resource_names, &|n| owner.resource_names.iter().any(|o| o == n)))
}

fn covers_subresource(owner: &Rule, resource: &str) -> bool {
    resource
        .split_once('/')
        .is_some_and(|(_, sub)| owner.resources.iter().any(|o| o.strip_prefix("*/") == Some(sub)))
}

/// Go's `%q` of a list.
fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|s| go_quote(s)).collect();
    format!("[{}]", items.join(" "))
}

fn describe(rule: &Rule) -> String {
    let parts: Vec<String> = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(key, list)| format!("{key}:{}", quoted(list)))
    .collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use coracle_api::object::namespace;
    use coracle_api::user::MASTERS;
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::testing::{Objects, authorizer};

    fn rules(v: Value) -> Vec<Rule> {
        v.as_array().unwrap().iter().map(Rule::parse).collect()
    }

    fn compare(held: Value, granted: Value, expected: Expect) {
        let lines: Vec<String> = missing(&rules(held), &rules(granted)).iter().map(describe).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    fn rule(verbs: &[&str], resources: &[&str]) -> Value {
        json!({"verbs": verbs, "apiGroups": [""], "resources": resources})
    }

    #[test]
    fn what_is_not_covered_is_named() {
        let pods = rule(&["get", "list"], &["pods"]);
        compare(json!([pods]), json!([rule(&["get"], &["pods"])]), expect![[""]]);
        compare(
            json!([pods]),
            json!([rule(&["get", "delete", "watch"], &["pods", "secrets"])]),
            expect![[r#"
                {APIGroups:[""], Resources:["pods"], Verbs:["delete" "watch"]}
                {APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete" "watch"]}"#]],
        );
        compare(json!([rule(&["*"], &["*/scale"])]), json!([rule(&["get"], &["x/scale"])]), expect![[""]]);
        compare(
            json!([rule(&["*"], &["pods"])]),
            json!([rule(&["get"], &["pods/log"])]),
            expect![[r#"{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}"#]],
        );
        compare(
            json!([rule(&["get"], &["pods"])]),
            json!([rule(&["*"], &["pods"])]),
            expect![[r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#]],
        );
    }

    #[test]
    fn names_and_urls() {
        let named =
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]});
        compare(json!([rule(&["get"], &["secrets"])]), json!([named]), expect![[""]]);
        compare(
            json!([named]),
            json!([rule(&["get"], &["secrets"])]),
            expect![[r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#]],
        );
        let url = |url: &str| json!({"verbs": ["get"], "nonResourceURLs": [url]});
        compare(json!([url("/api/*")]), json!([url("/api/v1")]), expect![[""]]);
        compare(
            json!([url("/api/v1")]),
            json!([url("/api/*")]),
            expect![[r#"{NonResourceURLs:["/api/*"], Verbs:["get"]}"#]],
        );
        compare(
            json!([url("*")]),
            json!([rule(&["get"], &["pods"])]),
            expect![[r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#]],
        );
    }

    fn world() -> (Authorizer, Arc<User>) {
        let objects = Objects::default().grant(
            "jane",
            json!([
                rule(&["get"], &["pods"]),
                {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["bindable"]},
                {"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"], "resourceNames": ["free"]},
            ]),
        );
        for role in ["bindable", "other"] {
            objects.put(
                "clusterroles",
                json!({"metadata": {"name": role}, "rules": [rule(&["*"], &["secrets"])]}),
            );
        }
        let user = User { name: "jane".into(), groups: vec!["dev".into(), "ops".into()], ..User::default() };
        (authorizer(&objects), Arc::new(user))
    }

    fn ask(
        authorizer: &Authorizer,
        user: &Arc<User>,
        kind: &str,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let namespace = namespace(object);
        let resource = format!("{}{kind}s", if namespace.is_empty() { "cluster" } else { "" });
        check(authorizer, user, &Grant { resource: &resource, namespace, object, old })
    }

    #[test]
    fn row_16_roles_are_checked_on_write() {
        let (authorizer, jane) = world();
        let role = |name: &str, verb: &str| json!({"metadata": {"namespace": "ns", "name": name}, "rules": [rule(&[verb], &["pods"])]});
        ask(&authorizer, &jane, "role", &role("r", "get"), None).unwrap();
        ask(&authorizer, &jane, "role", &role("free", "delete"), None).unwrap();
        ask(&authorizer, &jane, "role", &role("r", "delete"), Some(&role("r", "delete"))).unwrap();
        expect![[r#"
            roles.rbac.authorization.k8s.io "r" is forbidden: user "jane" (groups=["dev" "ops"]) is attempting to grant RBAC permissions not currently held:
            {APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#]]
        .assert_eq(&ask(&authorizer, &jane, "role", &role("r", "delete"), None).unwrap_err().message);
        let aggregating = json!({"metadata": {"name": "a"}, "aggregationRule": {}});
        expect![[r#"clusterroles.rbac.authorization.k8s.io "a" is forbidden: must have cluster-admin privileges to use an aggregationRule"#]]
            .assert_eq(&ask(&authorizer, &jane, "role", &aggregating, None).unwrap_err().message);
        let root = Arc::new(User { name: "root".into(), groups: vec![MASTERS.into()], ..User::default() });
        ask(&authorizer, &root, "role", &aggregating, None).unwrap();
    }

    #[test]
    fn row_16_bindings_are_checked_on_write() {
        let (authorizer, jane) = world();
        let binding = |role: &str| json!({"metadata": {"namespace": "ns", "name": "b"}, "roleRef": {"kind": "ClusterRole", "name": role}});
        ask(&authorizer, &jane, "rolebinding", &binding("bindable"), None).unwrap();
        let refused = ask(&authorizer, &jane, "rolebinding", &binding("other"), None).unwrap_err();
        assert_eq!(refused.code, 403);
        assert!(
            refused
                .message
                .starts_with("rolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"jane\"")
        );
        let absent = ask(&authorizer, &jane, "rolebinding", &binding("ghost"), None).unwrap_err();
        assert_eq!(absent.message, "clusterrole.rbac.authorization.k8s.io \"ghost\" not found");
    }
}
