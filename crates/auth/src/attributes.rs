//! What a request wants to do, as authorisers see it, and the words in which it is refused.

use std::sync::Arc;

use coracle_api::field::go_quote;
use coracle_api::path::RequestInfo;
use coracle_api::selector::FieldSelector;
use coracle_api::status::{Resource, Status};
use coracle_api::user::User;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub user: Arc<User>,
    /// A Kubernetes verb (`list`) for resources, a lower-case HTTP method (`get`) for paths.
    pub verb: String,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Resource(ResourceTarget),
    Path(String),
}

/// Empty strings stand for what is absent, as in the reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceTarget {
    pub group: String,
    pub version: String,
    /// The plural.
    pub resource: String,
    pub subresource: String,
    /// For the resource `namespaces` itself this is the name of the namespace.
    pub namespace: String,
    pub name: String,
    /// The `key=value` terms of the field selector; others cannot narrow a permission.
    pub fields: Vec<(String, String)>,
}

impl Attributes {
    /// What a request line asks for: the very value that is served afterwards.
    pub fn of_request(user: Arc<User>, info: &RequestInfo) -> Attributes {
        if !info.is_resource {
            return Attributes::path(user, &info.verb, &info.path);
        }
        let target = ResourceTarget {
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            fields: selected_fields(&info.field_selector),
        };
        Attributes::resource(user, &info.verb, target)
    }

    pub fn resource(user: Arc<User>, verb: &str, target: ResourceTarget) -> Attributes {
        Attributes { user, verb: verb.to_owned(), target: Target::Resource(target) }
    }

    pub fn path(user: Arc<User>, verb: &str, path: &str) -> Attributes {
        Attributes { user, verb: verb.to_owned(), target: Target::Path(path.to_owned()) }
    }

    pub fn as_resource(&self) -> Option<&ResourceTarget> {
        match &self.target {
            Target::Resource(target) => Some(target),
            Target::Path(_) => None,
        }
    }

    /// The same wish with another verb.
    pub fn with_verb(&self, verb: &str) -> Attributes {
        Attributes { verb: verb.to_owned(), ..self.clone() }
    }

    pub fn is_read_only(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// The 403 that this wish earns; `reason` is what the authorisers add, often nothing.
    pub fn denial(&self, reason: &str) -> Status {
        let suffix = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let why = format!("{}{suffix}", without_html(&self.refusal()));
        match &self.target {
            Target::Path(_) => Status::forbidden_path(&why),
            Target::Resource(r) => {
                Status::forbidden(Resource { group: &r.group, resource: &r.resource }, &r.name, &why)
            }
        }
    }

    fn refusal(&self) -> String {
        let (user, verb) = (go_quote(&self.user.name), &self.verb);
        match &self.target {
            Target::Path(path) => format!("User {user} cannot {verb} path {}", go_quote(path)),
            Target::Resource(r) => {
                let (resource, group) = (go_quote(&r.qualified()), go_quote(&r.group));
                let scope = if r.namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace {}", go_quote(&r.namespace))
                };
                format!("User {user} cannot {verb} resource {resource} in API group {group} {scope}")
            }
        }
    }
}

/// No answer may be taken for HTML by a browser.
fn without_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl ResourceTarget {
    pub fn new(group: &str, resource: &str) -> ResourceTarget {
        ResourceTarget { group: group.into(), resource: resource.into(), ..ResourceTarget::default() }
    }

    pub fn subresource(mut self, subresource: &str) -> ResourceTarget {
        self.subresource = subresource.into();
        self
    }

    pub fn within(mut self, namespace: &str) -> ResourceTarget {
        self.namespace = namespace.into();
        self
    }

    pub fn named(mut self, name: &str) -> ResourceTarget {
        self.name = name.into();
        self
    }

    /// `pods/exec`, `pods`.
    pub fn qualified(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// The `key=value` terms. A selector that cannot be read pins nothing, and is refused where it is served.
pub(crate) fn selected_fields(selector: &str) -> Vec<(String, String)> {
    let Ok(selector) = FieldSelector::parse(selector) else { return Vec::new() };
    let equal = selector.terms.into_iter().filter(|term| term.equal);
    equal.map(|term| (term.path, term.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(verb: &str, target: ResourceTarget) -> String {
        let user = Arc::new(User { name: "jane".into(), ..User::default() });
        Attributes::resource(user, verb, target).denial("").message
    }

    #[test]
    fn denials_use_the_references_words() {
        assert_eq!(
            denied("list", ResourceTarget::new("", "pods").within("ns")),
            r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "ns""#
        );
        assert_eq!(
            denied("create", ResourceTarget::new("apps", "deployments").subresource("scale").named("d")),
            r#"deployments.apps "d" is forbidden: User "jane" cannot create resource "deployments/scale" in API group "apps" at the cluster scope"#
        );
    }

    #[test]
    fn a_request_is_what_it_says() {
        let of = |method, path, query| {
            let info = RequestInfo::parse(method, path, query).unwrap();
            Attributes::of_request(Arc::new(User::anonymous()), &info)
        };
        let listed = of(
            "GET",
            "/api/v1/namespaces/ns/pods",
            "fieldSelector=spec.nodeName%3Dn1,status.phase!%3DFailed",
        );
        let mut target = ResourceTarget::new("", "pods").within("ns");
        target.version = "v1".into();
        target.fields = vec![("spec.nodeName".into(), "n1".into())];
        assert_eq!((listed.verb.as_str(), listed.as_resource()), ("list", Some(&target)));
        let path = of("GET", "/healthz", "");
        assert_eq!((path.verb.as_str(), path.target), ("get", Target::Path("/healthz".into())));
    }

    #[test]
    fn a_resolver_error_is_appended() {
        let user = Arc::new(User::anonymous());
        let status = Attributes::path(user, "get", "/x").denial("RBAC: broken");
        assert_eq!(
            status.message,
            r#"forbidden: User "system:anonymous" cannot get path "/x": RBAC: broken"#
        );
    }

    #[test]
    fn html_is_defused_everywhere_but_in_the_name() {
        let target = ResourceTarget::new("", "pods").within("<b>").named("<b>&");
        assert!(denied("get", target).starts_with(r#"pods "<b>&" is forbidden: User "jane" cannot get"#));
        let user = Arc::new(User { name: "<script>".into(), ..User::default() });
        let message = Attributes::path(user, "get", "/a&b").denial("").message;
        assert_eq!(message, r#"forbidden: User "&lt;script&gt;" cannot get path "/a&amp;b""#);
    }
}
