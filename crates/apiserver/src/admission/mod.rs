//! What the cluster has to say about a write, beyond what the kind's own rules check.
//!
//! [`PLUGINS`] is the whole list, in order. Mutation goes through all of them before the object is validated, validation
//! after: a plugin sees what the others left.

mod certificate_approval;
mod certificate_signing;
mod certificate_subject;
mod claim_resize;
mod default_ingress_class;
mod default_storage_class;
mod default_tolerations;
pub(crate) mod dynamic;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod pod_topology_labels;
mod priority;
pub(crate) mod resource_quota;
mod runtime_class;
pub(crate) mod service_account;
mod storage_protection;
mod taint_nodes;

use std::sync::Arc;

use coracle_api::{Kind, Status, Subresource, User};
use serde_json::Value;

use crate::registry::Call;
use crate::server::Core;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// A stream into a Pod, or a request that is handed on.
    Connect,
}

/// One write, as plugins see it.
pub(crate) struct Admit<'a> {
    pub core: &'a Core,
    call: &'a Call,
    pub user: &'a Arc<User>,
    pub operation: Operation,
    /// Of the body.
    pub kind: &'a Kind,
    /// Of the path: `serviceaccounts` where the body is a TokenRequest.
    pub resource: &'a Kind,
    pub namespace: &'a str,
    pub name: &'a str,
    pub sub: Option<Subresource>,
    pub old: Option<&'a Value>,
    dry_run: bool,
}

impl<'a> Admit<'a> {
    pub(crate) fn create(core: &'a Core, call: &'a Call, kind: &'a Kind) -> Admit<'a> {
        Admit {
            core,
            call,
            user: call.user(),
            operation: Operation::Create,
            kind,
            resource: &call.kind,
            namespace: &call.namespace,
            name: &call.name,
            sub: call.sub,
            old: None,
            dry_run: false,
        }
    }

    pub(crate) fn update(core: &'a Core, call: &'a Call, kind: &'a Kind, old: &'a Value) -> Admit<'a> {
        Admit { operation: Operation::Update, old: Some(old), ..Admit::create(core, call, kind) }
    }

    pub(crate) fn delete(core: &'a Core, call: &'a Call, kind: &'a Kind, old: &'a Value) -> Admit<'a> {
        Admit { operation: Operation::Delete, old: Some(old), ..Admit::create(core, call, kind) }
    }

    pub(crate) fn connect(core: &'a Core, call: &'a Call, kind: &'a Kind) -> Admit<'a> {
        Admit { operation: Operation::Connect, ..Admit::create(core, call, kind) }
    }

    pub(crate) fn with_name(self, name: &'a str) -> Admit<'a> {
        Admit { name, ..self }
    }

    /// Whether nothing will be kept of the write, so that nobody may keep anything because of it.
    pub(crate) fn for_dry_run(self, dry_run: bool) -> Admit<'a> {
        Admit { dry_run, ..self }
    }

    pub(crate) fn is_kind(&self, group: &str, kind: &str) -> bool {
        self.kind.group == group && self.kind.kind == kind
    }

    /// The creation of a Pod itself, where most plugins act.
    pub(crate) fn creates_pod(&self) -> bool {
        self.operation == Operation::Create && self.sub.is_none() && self.is_kind("", "Pod")
    }

    /// Tell the client something besides the answer.
    pub(crate) fn warn(&self, words: String) {
        self.call.warn(words);
    }

    /// The 403 that a plugin refuses with.
    pub(crate) fn forbidden(&self, name: &str, why: &str) -> Status {
        Status::forbidden(self.kind.resource(), name, why)
    }
}

/// One opinion.
pub(crate) trait Plugin: Sync {
    fn mutate(&self, _: &Admit<'_>, _: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// `obj` is `None` for a deletion.
    fn validate(&self, _: &Admit<'_>, _obj: Option<&Value>) -> Result<(), Status> {
        Ok(())
    }
}

/// In the reference's order.
const PLUGINS: &[&dyn Plugin] = &[
    &namespace_lifecycle::NamespaceLifecycle,
    &limit_ranger::LimitRanger,
    &service_account::ServiceAccount,
    &node_restriction::NodeRestriction,
    &taint_nodes::TaintNodesByCondition,
    &pod_security::PodSecurity,
    &priority::Priority,
    &default_tolerations::DefaultTolerationSeconds,
    &default_storage_class::DefaultStorageClass,
    &storage_protection::StorageObjectInUseProtection,
    &claim_resize::PersistentVolumeClaimResize,
    &runtime_class::RuntimeClass,
    &certificate_approval::CertificateApproval,
    &certificate_signing::CertificateSigning,
    &certificate_subject::CertificateSubjectRestriction,
    &default_ingress_class::DefaultIngressClass,
    &pod_topology_labels::PodTopologyLabels,
];

/// What the plugins make of the object, and then the hooks that objects of the cluster describe.
pub(crate) async fn mutate(admit: &Admit<'_>, obj: &mut Value) -> Result<(), Status> {
    mutate_by_plugins(admit, obj)?;
    dynamic::mutate(admit, obj).await
}

fn mutate_by_plugins(admit: &Admit<'_>, obj: &mut Value) -> Result<(), Status> {
    PLUGINS.iter().try_for_each(|p| p.mutate(admit, obj))
}

/// `obj` is `None` for a deletion.
pub(crate) async fn validate(admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
    PLUGINS.iter().try_for_each(|p| p.validate(admit, obj))?;
    dynamic::validate(admit, obj).await
}

/// What hooks make of a request to connect; none of the plugins is for one. `options` is what the request asks for.
pub(crate) async fn connect(admit: &Admit<'_>, options: &mut Value) -> Result<(), Status> {
    dynamic::mutate(admit, options).await?;
    dynamic::validate(admit, Some(options)).await
}
