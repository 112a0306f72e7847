//! Nothing is created where there is no Namespace or where one is ending, and some Namespaces stay.

use coracle_api::Status;
use coracle_api::status::{Cause, Details};
use serde_json::Value;

use super::{Admit, Operation, Plugin};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(crate) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn mutate(&self, admit: &Admit<'_>, _: &mut Value) -> Result<(), Status> {
        if admit.operation != Operation::Create || admit.namespace.is_empty() || reviews_access(admit) {
            return Ok(());
        }
        let Some(namespace) = admit.core.stored("", "namespaces", "", admit.namespace) else {
            let kind = admit.core.builtin("", "namespaces")?;
            return Err(Status::not_found(kind.resource(), admit.namespace));
        };
        if admit.sub.is_some() || namespace.meta.field("status.phase") != Some("Terminating") {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {} because it is being terminated",
            admit.namespace
        );
        let mut status = admit.forbidden(admit.name, &why);
        let details = status.details.get_or_insert_with(Details::default);
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {} is being terminated", admit.namespace),
            field: "metadata.namespace".into(),
        });
        Err(status)
    }

    fn validate(&self, admit: &Admit<'_>, _: Option<&Value>) -> Result<(), Status> {
        let deletes = admit.operation == Operation::Delete && admit.is_kind("", "Namespace");
        if deletes && IMMORTAL.contains(&admit.name) {
            return Err(admit.forbidden(admit.name, "this namespace may not be deleted"));
        }
        Ok(())
    }
}

/// Asking what is allowed in a Namespace leaks nothing and needs no Namespace.
fn reviews_access(admit: &Admit<'_>) -> bool {
    admit.kind.group == "authorization.k8s.io"
}
