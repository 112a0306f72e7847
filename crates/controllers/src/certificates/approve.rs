//! A node's request for its own client certificate is approved where its maker may make such.

use coracle_api::CertificateRequest;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::{add_condition, is_issued, rules};
use crate::{Context, Error};

/// What a maker may be allowed to ask for, and what is said of it.
const WAYS: [(&str, &str); 2] = [
    ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
    ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
];

pub(super) async fn approve(
    cx: &Context,
    requests: &Api<CertificateSigningRequest>,
    mut request: CertificateSigningRequest,
) -> Result<(), Error> {
    let Ok(asked) = CertificateRequest::of_pem(&request.spec.request.0) else { return Ok(()) };
    let usages = request.spec.usages.clone().unwrap_or_default();
    let is_ours = request.spec.signer_name == rules::KUBELET_CLIENT && !is_issued(&request);
    if !is_ours || rules::kubelet_client(&asked, &usages).is_err() {
        return Ok(());
    }
    let of_itself = request.spec.username.as_deref() == Some(asked.common_name.as_str());
    for (subresource, message) in WAYS.iter().skip(usize::from(!of_itself)) {
        if allowed(cx, &request, subresource).await? {
            add_condition(&mut request, "Approved", "AutoApproved", (*message).to_owned());
            let name = request.name_any();
            requests.replace_subresource("approval", &name, &PostParams::default(), &request).await?;
            return Ok(());
        }
    }
    Ok(())
}

async fn allowed(cx: &Context, request: &CertificateSigningRequest, sub: &str) -> Result<bool, Error> {
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".into()),
                resource: Some("certificatesigningrequests".into()),
                subresource: Some(sub.to_owned()),
                verb: Some("create".into()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(cx.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}
