//! CertificateSigningRequests: nodes' own are approved, what is approved is signed, what is old is cleaned away.
//!
//! The three run under one identity, as in the reference.

mod approve;
mod clean;
mod rules;
mod sign;

use futures::stream::StreamExt;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::Api;
use kube::runtime::watcher;

use crate::work::{self, Key, Next};
use crate::{Context, Error};

pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let requests: Api<CertificateSigningRequest> = Api::all(cx.client.clone());
    let triggers = work::changes(requests, watcher::Config::default()).map(|c| Key::of(c.object()));
    let signing = work::reconcile_all(triggers.boxed(), &cx.clock, |key| reconcile(&cx, key));
    tokio::try_join!(signing, clean::run(&cx)).map(|_| ())
}

async fn reconcile(cx: &Context, key: Key) -> Result<Next, Error> {
    let requests: Api<CertificateSigningRequest> = Api::all(cx.client.clone());
    let Some(request) = work::read(&requests, &key.name).await? else { return Ok(Next::Wait) };
    if has(&request, "Approved") {
        sign::sign(cx, &requests, request).await?;
    } else if !has(&request, "Denied") {
        approve::approve(cx, &requests, request).await?;
    }
    Ok(Next::Wait)
}

fn has(request: &CertificateSigningRequest, condition: &str) -> bool {
    conditions(request).iter().any(|c| c.type_ == condition)
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default()
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    request.status.as_ref().and_then(|s| s.certificate.as_ref()).is_some_and(|c| !c.0.is_empty())
}

fn add_condition(request: &mut CertificateSigningRequest, kind: &str, reason: &str, message: String) {
    let condition = CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..CertificateSigningRequestCondition::default()
    };
    request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
}
