//! Role-based access control: the compiled policy and the decision.
//!
//! Bindings are indexed by subject, so a decision touches only what names the user or one of its groups. Roles are looked
//! up at decision time: a change of either is in force as soon as [`Policy::apply`] has returned.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use coracle_api::field::go_quote;
use coracle_api::object::{items, text};
use coracle_api::status::aggregate;
use coracle_api::user::{SERVICE_ACCOUNT_PREFIX, User};
use imbl::{HashMap, OrdMap};
use serde_json::{Map, Value, json};

use crate::attributes::{Attributes, ResourceTarget, Target};

pub const GROUP: &str = "rbac.authorization.k8s.io";
const ALL: &str = "*";

/// A `PolicyRule`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    pub resource_names: Vec<String>,
    pub non_resource_urls: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SubjectKind {
    User,
    Group,
    ServiceAccount,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    kind: SubjectKind,
    namespace: String,
    name: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Binding {
    /// Empty for a ClusterRoleBinding.
    namespace: String,
    name: String,
    /// Empty for a ClusterRole.
    role_namespace: String,
    role_name: String,
    subjects: Vec<Subject>,
}

/// A binding and which of its subjects matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    binding: Arc<Binding>,
    subject: usize,
}

/// The bindings that name one user or one group, by (namespace, name); namespace "" is cluster-wide.
type Grants = HashMap<String, OrdMap<String, Grant>>;

/// Persistent maps: a copy, for a cluster that begins as another one is, costs nothing.
#[derive(Clone, Debug, Default)]
struct Index {
    /// By namespace ("" for ClusterRoles), then name.
    roles: HashMap<String, HashMap<String, Arc<[Rule]>>>,
    bindings: HashMap<(String, String), Arc<Binding>>,
    users: HashMap<String, Grants>,
    groups: HashMap<String, Grants>,
}

/// The policy in force.
#[derive(Debug, Default)]
pub struct Policy(RwLock<Index>);

/// What RBAC says of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allowed(Grant),
    /// With the roles that could not be found, as the reference reports them; empty mostly.
    NoOpinion(String),
}

/// The rules that a user holds somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    pub rules: Vec<Rule>,
    /// One for each bound role that does not exist.
    pub errors: Vec<String>,
}

impl Policy {
    pub fn new() -> Policy {
        Policy::default()
    }

    /// A second policy that starts as this one. The two share what neither changes.
    pub fn fork(&self) -> Policy {
        Policy(RwLock::new(self.0.read().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    /// Take in the new state of one object (`None`: deleted). Resources other than RBAC's four are ignored.
    pub fn apply(&self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match resource {
            "roles" | "clusterroles" => index.apply_role(namespace, name, object),
            "rolebindings" | "clusterrolebindings" => index.apply_binding(namespace, name, object),
            _ => {}
        }
    }

    pub fn decide(&self, wish: &Attributes) -> Verdict {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let namespace = match &wish.target {
            Target::Resource(r) => r.namespace.as_str(),
            Target::Path(_) => "",
        };
        let mut missing = Vec::new();
        for grant in index.grants(&wish.user, namespace) {
            match index.rules_of(&grant.binding) {
                Some(rules) if rules.iter().any(|rule| rule.allows(wish)) => {
                    return Verdict::Allowed(grant.clone());
                }
                Some(_) => {}
                None => missing.push(grant.binding.missing_role()),
            }
        }
        let reason = if missing.is_empty() { String::new() } else { format!("RBAC: {}", aggregate(missing)) };
        Verdict::NoOpinion(reason)
    }

    /// Every rule that `user` holds in `namespace` ("": at cluster scope).
    pub fn rules_for(&self, user: &User, namespace: &str) -> Held {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut held = Held::default();
        for grant in index.grants(user, namespace) {
            match index.rules_of(&grant.binding) {
                Some(rules) => held.rules.extend(rules.iter().cloned()),
                None => held.errors.push(grant.binding.missing_role()),
            }
        }
        held
    }

    /// The rules of a role that a binding in `namespace` refers to; the error is the reference's 404 message.
    pub fn role_rules(&self, kind: &str, namespace: &str, name: &str) -> Result<Vec<Rule>, String> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let namespace = if kind == "ClusterRole" { "" } else { namespace };
        index
            .roles
            .get(namespace)
            .and_then(|roles| roles.get(name))
            .map(|rules| rules.to_vec())
            .ok_or_else(|| missing_role(namespace, name))
    }
}

impl Index {
    fn apply_role(&mut self, namespace: &str, name: &str, object: Option<&Value>) {
        match object {
            Some(object) => {
                let rules = items(object, &["rules"]).iter().map(Rule::parse).collect();
                self.roles.entry(namespace.to_owned()).or_default().insert(name.to_owned(), rules);
            }
            None => {
                if let Some(roles) = self.roles.get_mut(namespace) {
                    roles.remove(name);
                    if roles.is_empty() {
                        self.roles.remove(namespace);
                    }
                }
            }
        }
    }

    fn apply_binding(&mut self, namespace: &str, name: &str, object: Option<&Value>) {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(old) = self.bindings.remove(&key) {
            self.unlink(&old);
        }
        if let Some(object) = object {
            let binding = Arc::new(Binding::parse(namespace, name, object));
            self.link(&binding);
            self.bindings.insert(key, binding);
        }
    }

    fn link(&mut self, binding: &Arc<Binding>) {
        for (i, subject) in binding.subjects.iter().enumerate() {
            let Some((user, key)) = subject.key(&binding.namespace) else { continue };
            let side = if user { &mut self.users } else { &mut self.groups };
            side.entry(key)
                .or_default()
                .entry(binding.namespace.clone())
                .or_default()
                .entry(binding.name.clone())
                .or_insert_with(|| Grant { binding: Arc::clone(binding), subject: i });
        }
    }

    fn unlink(&mut self, binding: &Binding) {
        for subject in &binding.subjects {
            let Some((user, key)) = subject.key(&binding.namespace) else { continue };
            let side = if user { &mut self.users } else { &mut self.groups };
            let Some(grants) = side.get_mut(&key) else { continue };
            if let Some(named) = grants.get_mut(&binding.namespace) {
                named.remove(&binding.name);
                if named.is_empty() {
                    grants.remove(&binding.namespace);
                }
            }
            if grants.is_empty() {
                side.remove(&key);
            }
        }
    }

    /// What names the user: cluster-wide bindings first, then those of the namespace.
    fn grants<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Grant> {
        let scopes = [Some(""), Some(namespace).filter(|n| !n.is_empty())];
        scopes.into_iter().flatten().flat_map(move |scope| {
            let of_user = self.users.get(&user.name);
            let of_groups = user.groups.iter().filter_map(|g| self.groups.get(g));
            of_user.into_iter().chain(of_groups).filter_map(move |g| g.get(scope)).flat_map(OrdMap::values)
        })
    }

    fn rules_of(&self, binding: &Binding) -> Option<&Arc<[Rule]>> {
        self.roles.get(&binding.role_namespace)?.get(&binding.role_name)
    }
}

impl Binding {
    fn parse(namespace: &str, name: &str, object: &Value) -> Binding {
        let cluster_role = text(object, &["roleRef", "kind"]) == "ClusterRole";
        Binding {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            role_namespace: if cluster_role { String::new() } else { namespace.to_owned() },
            role_name: text(object, &["roleRef", "name"]).to_owned(),
            subjects: items(object, &["subjects"]).iter().filter_map(Subject::parse).collect(),
        }
    }

    fn missing_role(&self) -> String {
        missing_role(&self.role_namespace, &self.role_name)
    }
}

fn missing_role(namespace: &str, name: &str) -> String {
    let kind = if namespace.is_empty() { "clusterrole" } else { "role" };
    format!("{kind}.{GROUP} {} not found", go_quote(name))
}

impl Subject {
    fn parse(v: &Value) -> Option<Subject> {
        let kind = match text(v, &["kind"]) {
            "User" => SubjectKind::User,
            "Group" => SubjectKind::Group,
            "ServiceAccount" => SubjectKind::ServiceAccount,
            _ => return None,
        };
        Some(Subject {
            kind,
            namespace: text(v, &["namespace"]).to_owned(),
            name: text(v, &["name"]).to_owned(),
        })
    }

    /// Whether a user is meant, and the name of the user or group. A service account without a namespace is of the
    /// binding's; where that has none either, nobody is meant.
    fn key(&self, binding_namespace: &str) -> Option<(bool, String)> {
        match self.kind {
            SubjectKind::User => Some((true, self.name.clone())),
            SubjectKind::Group => Some((false, self.name.clone())),
            SubjectKind::ServiceAccount => {
                let namespace =
                    if self.namespace.is_empty() { binding_namespace } else { self.namespace.as_str() };
                (!namespace.is_empty())
                    .then(|| (true, format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", self.name)))
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SubjectKind::User => write!(f, "User {}", go_quote(&self.name)),
            SubjectKind::Group => write!(f, "Group {}", go_quote(&self.name)),
            SubjectKind::ServiceAccount => {
                write!(f, "ServiceAccount {}", go_quote(&format!("{}/{}", self.name, self.namespace)))
            }
        }
    }
}

impl fmt::Display for Grant {
    /// `RBAC: allowed by RoleBinding "x/ns" of Role "r" to ServiceAccount "name/ns"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &*self.binding;
        let (kind, name) = if b.namespace.is_empty() {
            ("ClusterRoleBinding", b.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", b.name, b.namespace))
        };
        let role_kind = if b.role_namespace.is_empty() { "ClusterRole" } else { "Role" };
        write!(
            f,
            "RBAC: allowed by {kind} {} of {role_kind} {} to {}",
            go_quote(&name),
            go_quote(&b.role_name),
            b.subjects[self.subject]
        )
    }
}

fn strings(v: &Value, key: &str) -> Vec<String> {
    items(v, &[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn any_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|s| s == ALL || s == wanted)
}

impl Rule {
    pub fn parse(v: &Value) -> Rule {
        Rule {
            verbs: strings(v, "verbs"),
            api_groups: strings(v, "apiGroups"),
            resources: strings(v, "resources"),
            resource_names: strings(v, "resourceNames"),
            non_resource_urls: strings(v, "nonResourceURLs"),
        }
    }

    /// As Go's struct would be encoded.
    pub fn to_value(&self) -> Value {
        let mut out = Map::new();
        out.insert("verbs".into(), json!(self.verbs));
        for (key, list) in [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ] {
            if !list.is_empty() {
                out.insert(key.into(), json!(list));
            }
        }
        Value::Object(out)
    }

    pub fn allows(&self, wish: &Attributes) -> bool {
        any_or_all(&self.verbs, &wish.verb)
            && match &wish.target {
                Target::Resource(r) => self.allows_resource(r),
                Target::Path(path) => self.allows_path(path),
            }
    }

    fn allows_resource(&self, r: &ResourceTarget) -> bool {
        any_or_all(&self.api_groups, &r.group)
            && self.resources.iter().any(|rule| resource_matches(rule, r))
            && (self.resource_names.is_empty() || self.resource_names.contains(&r.name))
    }

    fn allows_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|url| url_covers(url, path))
    }
}

/// `*` is everything, `*/scale` that subresource of everything; `pods` is not `pods/log`.
fn resource_matches(rule: &str, r: &ResourceTarget) -> bool {
    if rule == ALL {
        return true;
    }
    match rule.split_once('/') {
        None => r.subresource.is_empty() && rule == r.resource,
        Some((resource, subresource)) => {
            !r.subresource.is_empty()
                && subresource == r.subresource
                && (resource == ALL || resource == r.resource)
        }
    }
}

/// A trailing `*` stands for any rest.
pub(crate) fn url_covers(rule: &str, path: &str) -> bool {
    rule == ALL || rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;
