//! Rules one by one, and whole random policies against an oracle that knows no index.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::escalation;

fn rule(verbs: &str, groups: &str, resources: &str, names: &str) -> Rule {
    let list = |s: &str| s.split(',').filter(|s| !s.is_empty()).map(|s| s.replace("core", "")).collect();
    Rule {
        verbs: list(verbs),
        api_groups: list(groups),
        resources: list(resources),
        resource_names: list(names),
        ..Rule::default()
    }
}

fn wish(verb: &str, group: &str, resource: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let target = ResourceTarget::new(group, resource).subresource(subresource).named(name);
    Attributes::resource(Arc::new(User::anonymous()), verb, target)
}

#[test]
fn what_a_rule_allows() {
    for (rule, wish, yes) in [
        (rule("get", "core", "pods", ""), wish("get", "", "pods", "p"), true),
        (rule("get", "core", "pods", ""), wish("list", "", "pods", ""), false),
        (rule("get", "core", "pods", ""), wish("get", "apps", "pods", "p"), false),
        (rule("get", "core", "pods", ""), wish("get", "", "pods/log", "p"), false),
        (rule("get", "core", "pods/log", ""), wish("get", "", "pods", "p"), false),
        (rule("get", "core", "pods/log", ""), wish("get", "", "pods/log", "p"), true),
        (rule("get", "core", "pods/*", ""), wish("get", "", "pods/log", "p"), false),
        (rule("update", "*", "*/scale", ""), wish("update", "apps", "deployments/scale", "d"), true),
        (rule("update", "*", "*/scale", ""), wish("update", "apps", "deployments", "d"), false),
        (rule("update", "*", "*/scale", ""), wish("update", "apps", "scale", "d"), false),
        (rule("*", "*", "*", ""), wish("frob", "x", "y/z", ""), true),
        (rule("get", "core", "secrets", "a"), wish("get", "", "secrets", "a"), true),
        (rule("get", "core", "secrets", "a"), wish("get", "", "secrets", "b"), false),
        (rule("list,create", "core", "secrets", "a"), wish("list", "", "secrets", ""), false),
        (rule("list,create", "core", "secrets", "a"), wish("create", "", "secrets", ""), false),
        (rule("list", "core", "secrets", "a"), wish("list", "", "secrets", "a"), true),
    ] {
        assert_eq!(rule.allows(&wish), yes, "{rule:?} {wish:?}");
    }
}

#[test]
fn paths() {
    for (url, path, yes) in [
        ("/healthz", "/healthz", true),
        ("/healthz", "/healthz/", false),
        ("/api/*", "/api/v1", true),
        ("/api/*", "/api", false),
        ("/a*", "/api", true),
        ("*", "/anything", true),
        ("/*", "/anything", true),
        ("/api/*/x", "/api/v1/x", false),
    ] {
        assert_eq!(url_covers(url, path), yes, "{url} {path}");
    }
    let resource = rule("get", "*", "*", "");
    assert!(!resource.allows(&Attributes::path(Arc::new(User::anonymous()), "get", "/api")));
}

#[test]
fn a_missing_role_is_reported_and_others_still_count() {
    let policy = Policy::new();
    let bind = |name: &str, role: &str| {
        let binding = json!({"roleRef": {"kind": "Role", "name": role}, "subjects": [{"kind": "User", "name": "jane"}]});
        policy.apply("rolebindings", "ns", name, Some(&binding));
    };
    bind("b1", "ghost");
    bind("b2", "ghost");
    let jane = Arc::new(User { name: "jane".into(), ..User::default() });
    let list = Attributes::resource(jane, "list", ResourceTarget::new("", "pods").within("ns"));
    let said = |policy: &Policy| match policy.decide(&list) {
        Verdict::Allowed(grant) => grant.to_string(),
        Verdict::NoOpinion(why) => why,
    };
    assert_eq!(said(&policy), "RBAC: role.rbac.authorization.k8s.io \"ghost\" not found");
    bind("b3", "spectre");
    assert_eq!(
        said(&policy),
        "RBAC: [role.rbac.authorization.k8s.io \"ghost\" not found, role.rbac.authorization.k8s.io \"spectre\" not found]"
    );
    let role = json!({"rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]});
    policy.apply("roles", "ns", "spectre", Some(&role));
    assert_eq!(said(&policy), "RBAC: allowed by RoleBinding \"b3/ns\" of Role \"spectre\" to User \"jane\"");
    policy.apply("rolebindings", "ns", "b3", None);
    assert!(said(&policy).starts_with("RBAC: role."));
}

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(from).prop_map(str::to_owned)
}

fn some(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> + Clone {
    prop::collection::vec(pick(from), 0..=most)
}

const VERBS: &[&str] = &["get", "list", "create", "*"];
const GROUPS: &[&str] = &["", "apps", "*"];
const RESOURCES: &[&str] = &["pods", "pods/log", "pods/scale", "*/scale", "*", "secrets"];
const NAMES: &[&str] = &["a", "b"];
const URLS: &[&str] = &["/api", "/api/*", "*", "/x"];
const NAMESPACES: &[&str] = &["ns1", "ns2"];
const PEOPLE: &[&str] = &["jane", "joe", "system:serviceaccount:ns1:a", "system:serviceaccount:ns2:a"];
const TEAMS: &[&str] = &["dev", "ops"];
const ROLES: &[&str] = &["r1", "r2"];

fn any_rule() -> impl Strategy<Value = Rule> + Clone {
    let fields = (some(VERBS, 2), some(GROUPS, 2), some(RESOURCES, 2), some(NAMES, 1), some(URLS, 1));
    fields.prop_map(|(verbs, api_groups, resources, resource_names, non_resource_urls)| Rule {
        verbs,
        api_groups,
        resources,
        resource_names,
        non_resource_urls,
    })
}

fn any_subject() -> impl Strategy<Value = Value> + Clone {
    prop_oneof![
        pick(PEOPLE).prop_map(|name| json!({"kind": "User", "name": name})),
        pick(TEAMS).prop_map(|name| json!({"kind": "Group", "name": name})),
        (pick(&["a"]), pick(&["", "ns1", "ns2"])).prop_map(|(name, namespace)| json!({
            "kind": "ServiceAccount", "name": name, "namespace": namespace,
        })),
    ]
}

/// `(plural, namespace, name, object or deleted)`
type Change = (&'static str, String, String, Option<Value>);

fn any_change() -> impl Strategy<Value = Change> {
    let role = (pick(ROLES), prop::collection::vec(any_rule(), 0..3), any::<bool>()).prop_map(
        |(name, rules, keep)| {
            let rules: Vec<Value> = rules.iter().map(Rule::to_value).collect();
            (name, keep.then(|| json!({"rules": rules})))
        },
    );
    let reference = (pick(ROLES), prop::collection::vec(any_subject(), 0..3), 0..4u8);
    let binding = (pick(&["b1", "b2", "b3"]), reference)
        .prop_map(|(name, (role, subjects, keep))| (name, role, subjects, keep > 0));
    prop_oneof![
        role.clone().prop_map(|(name, object)| ("clusterroles", String::new(), name, object)),
        (pick(NAMESPACES), role).prop_map(|(ns, (name, object))| ("roles", ns, name, object)),
        binding.clone().prop_map(|(name, role, subjects, keep)| {
            let object = json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects});
            ("clusterrolebindings", String::new(), name, keep.then_some(object))
        }),
        (pick(NAMESPACES), binding, any::<bool>()).prop_map(|(ns, (name, role, subjects, keep), cluster)| {
            let kind = if cluster { "ClusterRole" } else { "Role" };
            let object = json!({"roleRef": {"kind": kind, "name": role}, "subjects": subjects});
            ("rolebindings", ns, name, keep.then_some(object))
        }),
    ]
}

fn any_wish() -> impl Strategy<Value = Attributes> {
    let user = (pick(PEOPLE), some(TEAMS, 2))
        .prop_map(|(name, groups)| Arc::new(User { name, groups, ..User::default() }));
    let target = (
        pick(&["", "apps", "x"]),
        pick(&["pods", "secrets"]),
        pick(&["", "log", "scale"]),
        pick(&["", "ns1", "ns2"]),
        pick(&["", "a", "b"]),
    );
    prop_oneof![
        4 => (user.clone(), pick(VERBS), target).prop_map(|(user, verb, (group, resource, sub, ns, name))| {
            let target = ResourceTarget::new(&group, &resource).subresource(&sub).within(&ns).named(&name);
            Attributes::resource(user, &verb, target)
        }),
        1 => (user, pick(VERBS), pick(&["/api", "/api/v1", "/x", "/"]))
            .prop_map(|(user, verb, path)| Attributes::path(user, &verb, &path)),
    ]
}

/// The definition of RBAC, read aloud: some binding in scope, some subject, some rule of its role.
fn oracle(objects: &[Change], wish: &Attributes) -> bool {
    let namespace = wish.as_resource().map_or("", |r| r.namespace.as_str());
    let rules_of = |kind: &str, ns: &str, name: &str| -> Vec<Rule> {
        let (plural, ns) = if kind == "ClusterRole" { ("clusterroles", "") } else { ("roles", ns) };
        let role = objects.iter().find(|o| (o.0, o.1.as_str(), o.2.as_str()) == (plural, ns, name));
        role.and_then(|o| o.3.as_ref())
            .map(|o| items(o, &["rules"]).iter().map(Rule::parse).collect())
            .unwrap_or_default()
    };
    objects.iter().filter(|o| o.0.ends_with("bindings") && (o.1.is_empty() || o.1 == namespace)).any(|o| {
        let binding = o.3.as_ref().expect("deleted ones are not kept");
        let meant = items(binding, &["subjects"]).iter().any(|s| {
            let name = text(s, &["name"]);
            match text(s, &["kind"]) {
                "User" => wish.user.name == name,
                "Group" => wish.user.groups.iter().any(|g| g == name),
                _ => {
                    let ns = [text(s, &["namespace"]), &o.1].into_iter().find(|n| !n.is_empty());
                    ns.is_some_and(|ns| wish.user.name == format!("system:serviceaccount:{ns}:{name}"))
                }
            }
        });
        let rules = rules_of(text(binding, &["roleRef", "kind"]), &o.1, text(binding, &["roleRef", "name"]));
        meant && rules.iter().any(|r| allows(r, wish))
    })
}

fn allows(rule: &Rule, wish: &Attributes) -> bool {
    let has = |list: &[String], s: &str| list.contains(&"*".to_owned()) || list.contains(&s.to_owned());
    has(&rule.verbs, &wish.verb)
        && match &wish.target {
            Target::Path(path) => rule.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => path == url,
            }),
            Target::Resource(r) => {
                let sub = format!("*/{}", r.subresource);
                has(&rule.api_groups, &r.group)
                    && (has(&rule.resources, &r.qualified())
                        || !r.subresource.is_empty() && rule.resources.contains(&sub))
                    && (rule.resource_names.is_empty() || rule.resource_names.contains(&r.name))
            }
        }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_agree_with_the_definition(
        changes in prop::collection::vec(any_change(), 0..20),
        wishes in prop::collection::vec(any_wish(), 1..12),
    ) {
        let policy = Policy::new();
        let mut objects: Vec<Change> = Vec::new();
        for change in changes {
            policy.apply(change.0, &change.1, &change.2, change.3.as_ref());
            objects.retain(|o| (o.0, &o.1, &o.2) != (change.0, &change.1, &change.2));
            if change.3.is_some() {
                objects.push(change);
            }
        }
        for wish in wishes {
            let got = matches!(policy.decide(&wish), Verdict::Allowed(_));
            prop_assert_eq!(got, oracle(&objects, &wish), "{:?}", wish);
            let namespace = wish.as_resource().map_or("", |r| r.namespace.as_str());
            let held = policy.rules_for(&wish.user, namespace);
            prop_assert_eq!(got, held.rules.iter().any(|r| r.allows(&wish)), "{:?}", wish);
        }
    }

    /// Whoever may grant a rule could have done already all that it allows.
    #[test]
    fn row_16_nothing_covered_allows_more(
        owner in prop::collection::vec(any_rule(), 0..4),
        servant in any_rule(),
        wishes in prop::collection::vec(any_wish(), 1..20),
    ) {
        if escalation::missing(&owner, std::slice::from_ref(&servant)).is_empty() {
            for wish in wishes {
                prop_assert!(!servant.allows(&wish) || owner.iter().any(|r| r.allows(&wish)), "{:?}", wish);
            }
        }
    }
}
