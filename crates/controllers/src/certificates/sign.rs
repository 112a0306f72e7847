//! Approved requests of the cluster's own signers get their certificate, or are told why they do not.

use std::time::Duration;

use coracle_api::CertificateRequest;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::{add_condition, has, is_issued, rules};
use crate::{Context, Error, SigningOrder};

/// The reference's `--cluster-signing-duration`: what a certificate lives that asks for no less.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Twice what a certificate is backdated.
const LIFE_MIN: Duration = Duration::from_secs(600);

pub(super) async fn sign(
    cx: &Context,
    requests: &Api<CertificateSigningRequest>,
    mut request: CertificateSigningRequest,
) -> Result<(), Error> {
    if has(&request, "Failed") || is_issued(&request) {
        return Ok(());
    }
    let name = request.name_any();
    let usages = request.spec.usages.clone().unwrap_or_default();
    let asked = match CertificateRequest::of_pem(&request.spec.request.0) {
        Ok(asked) => asked,
        Err(why) => return Err(Error::Unexpected(format!("unable to parse csr {name:?}: {why}"))),
    };
    let Some(checked) = rules::check(&request.spec.signer_name, &asked, &usages) else { return Ok(()) };
    let life = life(request.spec.expiration_seconds);
    let order = SigningOrder { request: asked.der, usages, life };
    match checked.and_then(|()| (cx.config.sign_certificate)(order)) {
        Ok(pem) => request.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes())),
        Err(why) => add_condition(&mut request, "Failed", "SignerValidationFailure", why),
    }
    requests.replace_status(&name, &PostParams::default(), &request).await?;
    Ok(())
}

fn life(asked: Option<i32>) -> Duration {
    let asked = asked.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)));
    asked.map_or(LIFE_MAX, |asked| asked.clamp(LIFE_MIN, LIFE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_a_life_has_bounds() {
        let seconds = |asked| life(asked).as_secs();
        assert_eq!((seconds(None), seconds(Some(60)), seconds(Some(3600))), (LIFE_MAX.as_secs(), 600, 3600));
        assert_eq!(seconds(Some(i32::MAX)), LIFE_MAX.as_secs());
    }
}
