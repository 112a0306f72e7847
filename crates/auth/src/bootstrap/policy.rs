//! Reading `policy.txt` into objects.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::rbac::{GROUP, Rule};

const POLICY: &str = include_str!("policy.txt");
const AGGREGATE_TO: &str = "rbac.authorization.k8s.io/aggregate-to-";
const CONTROLLER: &str = "system:controller:";
const SYSTEM: &str = "kube-system";

/// A binding's subject, as the file writes it: `User:x`, `Group:x`, `ServiceAccount:namespace/x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl Subject {
    fn parse(word: &str) -> Option<Subject> {
        let (kind, name) = word.split_once(':')?;
        match kind {
            "User" => Some(Subject::User(name.to_owned())),
            "Group" => Some(Subject::Group(name.to_owned())),
            "ServiceAccount" => {
                let (namespace, name) = name.split_once('/')?;
                Some(Subject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Subject::User(name) => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
            Subject::Group(name) => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
            Subject::ServiceAccount { namespace, name } => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
        }
    }
}

#[derive(Default)]
struct Role {
    namespace: String,
    name: String,
    /// The role that this one is a part of.
    part_of: Option<String>,
    /// Which parts this one consists of.
    aggregates: Option<String>,
    rules: Vec<Rule>,
}

struct Binding {
    namespace: String,
    name: String,
    role_kind: &'static str,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Default)]
struct Policy {
    roles: Vec<Role>,
    bindings: Vec<Binding>,
}

/// ClusterRoles, ClusterRoleBindings, Roles, RoleBindings, in the order to write them.
pub fn objects() -> Vec<Value> {
    let mut policy = Policy::read(POLICY);
    policy.aggregate();
    let in_namespace = |namespace: &str| !namespace.is_empty();
    let mut out: Vec<(u8, Value)> =
        policy.roles.iter().map(|r| (2 * u8::from(in_namespace(&r.namespace)), r.to_value())).collect();
    let bindings = policy.bindings.iter();
    out.extend(bindings.map(|b| (1 + 2 * u8::from(in_namespace(&b.namespace)), b.to_value())));
    out.sort_by_key(|(rank, _)| *rank);
    out.into_iter().map(|(_, object)| object).collect()
}

/// What every node may do alike.
pub(crate) fn node_rules() -> Vec<Rule> {
    Policy::read(POLICY)
        .roles
        .into_iter()
        .find(|r| r.name == "system:node")
        .map(|r| r.rules)
        .unwrap_or_default()
}

impl Policy {
    /// The file is part of the program and tested to have no line that says nothing.
    fn read(text: &str) -> Policy {
        let mut policy = Policy::default();
        for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if line.starts_with(' ') {
                let rule = read_rule(&words);
                if let Some(role) = policy.roles.last_mut() {
                    role.rules.push(rule);
                }
            } else {
                policy.read_head(&words);
            }
        }
        policy
    }

    fn read_head(&mut self, words: &[&str]) {
        match words {
            ["clusterrole", name, rest @ ..] => {
                let value = |key: &str| rest.iter().find_map(|w| w.strip_prefix(key)).map(str::to_owned);
                self.roles.push(Role {
                    name: (*name).to_owned(),
                    part_of: value("part-of="),
                    aggregates: value("aggregates="),
                    ..Role::default()
                });
            }
            ["controller", name] => {
                let role = format!("{CONTROLLER}{name}");
                let account =
                    Subject::ServiceAccount { namespace: SYSTEM.to_owned(), name: (*name).to_owned() };
                self.roles.push(Role { name: role.clone(), ..Role::default() });
                self.bind("", &role, "ClusterRole", &role, vec![account]);
            }
            ["role", namespace, name] => self.roles.push(Role {
                namespace: (*namespace).to_owned(),
                name: (*name).to_owned(),
                ..Role::default()
            }),
            ["clusterrolebinding", name, "CONTROLLERS"] => {
                let controllers = self.controllers();
                self.bind("", name, "ClusterRole", name, controllers);
            }
            ["clusterrolebinding", name, subjects @ ..] => {
                self.bind("", name, "ClusterRole", name, read_subjects(subjects));
            }
            ["rolebinding", namespace, name, role, subjects @ ..] => {
                self.bind(namespace, name, "Role", role, read_subjects(subjects));
            }
            _ => debug_assert!(false, "unreadable: {words:?}"),
        }
    }

    /// The service accounts of the controllers read so far.
    fn controllers(&self) -> Vec<Subject> {
        let names = self.bindings.iter().filter_map(|b| b.name.strip_prefix(CONTROLLER));
        names
            .map(|name| Subject::ServiceAccount { namespace: SYSTEM.to_owned(), name: name.to_owned() })
            .collect()
    }

    fn bind(&mut self, namespace: &str, name: &str, kind: &'static str, role: &str, subjects: Vec<Subject>) {
        self.bindings.push(Binding {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            role_kind: kind,
            role: role.to_owned(),
            subjects,
        });
    }

    /// Puts the rules of the parts into `view`, `edit` and `admin`, as the aggregation controller would a moment later.
    fn aggregate(&mut self) {
        for whole in ["view", "edit", "admin"] {
            let parts: BTreeMap<&str, &Role> = self
                .roles
                .iter()
                .filter(|r| r.part_of.as_deref() == Some(whole))
                .map(|r| (r.name.as_str(), r))
                .collect();
            let mut rules: Vec<Rule> = Vec::new();
            for rule in parts.values().flat_map(|r| &r.rules) {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
            if let Some(role) = self.roles.iter_mut().find(|r| r.aggregates.as_deref() == Some(whole)) {
                role.rules = rules;
            }
        }
    }
}

fn read_subjects(words: &[&str]) -> Vec<Subject> {
    words.iter().filter_map(|w| Subject::parse(w)).collect()
}

/// `verbs groups resources [names=…]` or `verbs urls=…`; lists are separated by commas.
fn read_rule(words: &[&str]) -> Rule {
    let mut rule = Rule::default();
    for (i, word) in words.iter().enumerate() {
        if let Some(urls) = word.strip_prefix("urls=") {
            rule.non_resource_urls = sorted(urls);
        } else if let Some(names) = word.strip_prefix("names=") {
            rule.resource_names = sorted(names);
        } else if i == 0 {
            rule.verbs = sorted(&verbs(word));
        } else if i == 1 {
            rule.api_groups = sorted(word);
        } else {
            rule.resources = sorted(word);
        }
    }
    rule
}

fn verbs(word: &str) -> String {
    word.replace("READ", "get,list,watch").replace("WRITE", "create,delete,deletecollection,patch,update")
}

fn sorted(list: &str) -> Vec<String> {
    let mut out: Vec<String> =
        list.split(',').map(|s| if s == "core" { String::new() } else { s.to_owned() }).collect();
    out.sort();
    out
}

fn metadata(namespace: &str, name: &str, part_of: Option<&str>) -> Value {
    let mut labels = Map::new();
    labels.insert("kubernetes.io/bootstrapping".into(), json!("rbac-defaults"));
    if let Some(whole) = part_of {
        labels.insert(format!("{AGGREGATE_TO}{whole}"), json!("true"));
    }
    let mut out = Map::new();
    out.insert("name".into(), json!(name));
    if !namespace.is_empty() {
        out.insert("namespace".into(), json!(namespace));
    }
    out.insert("labels".into(), Value::Object(labels));
    out.insert("annotations".into(), json!({"rbac.authorization.kubernetes.io/autoupdate": "true"}));
    Value::Object(out)
}

fn object(kind: &str, metadata: Value) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("kind".into(), json!(kind));
    out.insert("apiVersion".into(), json!(format!("{GROUP}/v1")));
    out.insert("metadata".into(), metadata);
    out
}

impl Role {
    fn to_value(&self) -> Value {
        let kind = if self.namespace.is_empty() { "ClusterRole" } else { "Role" };
        let mut out = object(kind, metadata(&self.namespace, &self.name, self.part_of.as_deref()));
        out.insert("rules".into(), self.rules.iter().map(Rule::to_value).collect());
        if let Some(whole) = &self.aggregates {
            let mut labels = Map::new();
            labels.insert(format!("{AGGREGATE_TO}{whole}"), json!("true"));
            out.insert("aggregationRule".into(), json!({"clusterRoleSelectors": [{"matchLabels": labels}]}));
        }
        Value::Object(out)
    }
}

impl Binding {
    fn to_value(&self) -> Value {
        let kind = if self.namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
        let mut out = object(kind, metadata(&self.namespace, &self.name, None));
        if !self.subjects.is_empty() {
            out.insert("subjects".into(), self.subjects.iter().map(Subject::to_value).collect());
        }
        out.insert("roleRef".into(), json!({"apiGroup": GROUP, "kind": self.role_kind, "name": self.role}));
        Value::Object(out)
    }
}
