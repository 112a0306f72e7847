//! What the reference's handler of custom resources answers before the registry is asked.

use coracle_api::path::RequestInfo;
use coracle_api::{Kind, Status};

use crate::server::Core;

/// Whether no custom resource is at this path: requests of a scope that the resource does not have go on to where nothing
/// is.
pub(crate) fn is_elsewhere(kind: &Kind, info: &RequestInfo) -> bool {
    let in_namespace = !info.namespace.is_empty();
    let across = matches!(info.verb.as_str(), "list" | "watch");
    if kind.is_namespaced() { !in_namespace && !across } else { in_namespace }
}

/// Whether the verb may be tried. Discovery offers less of what is going than is still done.
pub(crate) fn check_verb(core: &Core, kind: &Kind, verb: &str) -> Result<(), Status> {
    let refused = || Status::method_not_supported(kind.resource(), verb);
    match verb {
        "create" if core.definitions.of(kind).is_some_and(|d| d.is_terminating) => Err(Status {
            message: format!("{verb} not allowed while custom resource definition is terminating"),
            ..refused()
        }),
        "update" | "patch" => Ok(()),
        _ if kind.allows(verb) => Ok(()),
        _ => Err(refused()),
    }
}
