//! Nobody grants what they do not hold: the check on roles and bindings, before anything else is done to them.

use coracle_api::{Kind, Status};
use coracle_auth::escalation::{self, Grant};
use coracle_auth::rbac;
use serde_json::Value;

use crate::registry::Call;
use crate::server::Core;

/// The 403 of a write that would give more than its writer has.
pub(crate) fn check(
    core: &Core,
    call: &Call,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if kind.group != rbac::GROUP {
        return Ok(());
    }
    let grant = Grant { resource: &kind.plural, namespace: &call.namespace, object: new, old };
    escalation::check(&core.authorizer, call.user(), &grant)
}
