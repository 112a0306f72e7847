//! THE TABLE: every built-in kind is one row here, and nowhere else.
//!
//! Routes, discovery, OpenAPI, RBAC names, storage keys, garbage collection, namespace deletion, tables and CLI names
//! derive from [`KINDS`]. A custom resource becomes the same [`Kind`] at run time.

use std::borrow::Cow;

use crate::print::Print;
use crate::rules::Rules;

pub type Text = Cow<'static, str>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// What a path may say after an object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subresource {
    Status,
    Scale,
    Finalize,
    Approval,
    Binding,
    Eviction,
    EphemeralContainers,
    Resize,
    Log,
    Exec,
    Attach,
    PortForward,
    Proxy,
    Token,
}

impl Subresource {
    pub fn name(self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::Approval => "approval",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
            Subresource::Log => "log",
            Subresource::Exec => "exec",
            Subresource::Attach => "attach",
            Subresource::PortForward => "portforward",
            Subresource::Proxy => "proxy",
            Subresource::Token => "token",
        }
    }
}

/// One served resource: a kind in one group and version.
#[derive(Clone)]
pub struct Kind {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
    pub plural: Text,
    pub singular: Text,
    pub short_names: Cow<'static, [Text]>,
    pub categories: Cow<'static, [Text]>,
    pub scope: Scope,
    /// The verbs of the resource itself, as discovery lists them: `create`, `delete`, `deletecollection`, `get`,
    /// `list`, `patch`, `update`, `watch`.
    pub verbs: Cow<'static, [Text]>,
    pub subresources: Cow<'static, [Subresource]>,
    /// Where objects live: `/registry/<storage>/[<namespace>/]<name>`. Two rows with one `storage` are two views of the
    /// same objects (`events`, `horizontalpodautoscalers`).
    pub storage: Text,
    /// The row's key in the schema facts: `io.k8s.api.core.v1.Pod`.
    pub schema: Text,
    pub rules: &'static dyn Rules,
    pub print: &'static dyn Print,
}

impl Kind {
    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    pub fn has(&self, sub: Subresource) -> bool {
        self.subresources.contains(&sub)
    }

    /// The resource as errors print it.
    pub fn resource(&self) -> crate::status::Resource<'_> {
        crate::status::Resource { group: &self.group, resource: &self.plural }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.api_version(), self.kind)
    }
}
