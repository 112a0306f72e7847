//! No request can make its certificate one of `system:masters`, whom no policy binds.

use coracle_api::user::MASTERS;
use coracle_api::{CertificateRequest, Status, object};
use serde_json::Value;

use super::certificate_approval::GROUP;
use super::{Admit, Operation, Plugin};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub(crate) struct CertificateSubjectRestriction;

impl Plugin for CertificateSubjectRestriction {
    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let creates = admit.operation == Operation::Create && admit.sub.is_none();
        let is_request = admit.is_kind(GROUP, "CertificateSigningRequest");
        let Some(request) = obj.filter(|_| creates && is_request) else { return Ok(()) };
        if object::text(request, &["spec", "signerName"]) != SIGNER {
            return Ok(());
        }
        let refuse = |why: String| Err(admit.forbidden(object::name(request), &why));
        match CertificateRequest::parse(object::text(request, &["spec", "request"])) {
            Err(why) => refuse(format!("failed to parse CSR: {why}")),
            Ok(asked) if asked.organizations.iter().any(|o| o == MASTERS) => {
                refuse(format!("use of {SIGNER} signer with {MASTERS} group is not allowed"))
            }
            Ok(_) => Ok(()),
        }
    }
}
