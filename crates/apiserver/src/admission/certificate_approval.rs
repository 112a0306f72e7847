//! Who approves a request for a certificate must be one who may, for its signer.

use std::sync::Arc;

use coracle_api::field::go_quote;
use coracle_api::{Status, Subresource, object};
use coracle_auth::{Attributes, ResourceTarget};
use serde_json::Value;

use super::{Admit, Operation, Plugin};

pub(super) const GROUP: &str = "certificates.k8s.io";

pub(crate) struct CertificateApproval;

impl Plugin for CertificateApproval {
    fn validate(&self, admit: &Admit<'_>, _: Option<&Value>) -> Result<(), Status> {
        let Some(old) = updated(admit, Subresource::Approval) else { return Ok(()) };
        check(admit, "approve", old)
    }
}

/// The request as it is, where this is an update of one's subresource.
pub(super) fn updated<'a>(admit: &Admit<'a>, sub: Subresource) -> Option<&'a Value> {
    let is_it = admit.operation == Operation::Update
        && admit.sub == Some(sub)
        && admit.is_kind(GROUP, "CertificateSigningRequest");
    admit.old.filter(|_| is_it)
}

/// Whether the user may, for this signer or for all of its domain.
pub(super) fn check(admit: &Admit<'_>, verb: &str, request: &Value) -> Result<(), Status> {
    let signer = object::text(request, &["spec", "signerName"]);
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    let may = [signer, &domain].iter().any(|name| {
        let target = ResourceTarget::new(GROUP, "signers").named(name);
        admit.core.authorizer.allows(Attributes::resource(Arc::clone(admit.user), verb, target))
    });
    if may {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {}", go_quote(signer));
    Err(admit.forbidden(object::name(request), &why))
}
