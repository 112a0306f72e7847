//! Who puts a certificate into a request, or says that none will come, must be one who may sign for its signer.

use coracle_api::{Status, Subresource, object};
use serde_json::Value;

use super::certificate_approval::{check, updated};
use super::{Admit, Plugin};

pub(crate) struct CertificateSigning;

impl Plugin for CertificateSigning {
    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let (Some(old), Some(new)) = (updated(admit, Subresource::Status), obj) else { return Ok(()) };
        let same = |part: &str| object::at(old, &["status", part]) == object::at(new, &["status", part]);
        if same("certificate") && same("conditions") {
            return Ok(());
        }
        check(admit, "sign", old)
    }
}
