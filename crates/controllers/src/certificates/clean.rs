//! Requests that are done, or that nobody cared for, go after a while.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};

use super::{conditions, is_issued};
use crate::{Context, Error, found};

/// How often they are looked through.
const PERIOD: Duration = Duration::from_secs(3600);
/// What is issued or denied has been read by then.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub(super) async fn run(cx: &Context) -> Result<(), Error> {
    let requests: Api<CertificateSigningRequest> = Api::all(cx.client.clone());
    loop {
        let now = cx.clock.now();
        for request in requests.list(&ListParams::default()).await?.items {
            if is_past(&request, now) {
                found(requests.delete(&request.name_any(), &DeleteParams::default()).await)?;
            }
        }
        cx.clock.sleep(PERIOD).await;
    }
}

fn is_past(request: &CertificateSigningRequest, now: Timestamp) -> bool {
    let older = |since: Option<Timestamp>, age| since.is_some_and(|since| now.duration_since(since) > age);
    let decisions = conditions(request);
    if decisions.is_empty() {
        return older(request.creation_timestamp().map(|t| t.0), PENDING);
    }
    let certificate = request.status.as_ref().and_then(|s| s.certificate.as_ref());
    let has_ended =
        certificate.and_then(|c| coracle_api::certificate_ends(&c.0)).is_some_and(|end| now > end);
    decisions.iter().any(|c| {
        let is_old = older(c.last_update_time.as_ref().map(|t| t.0), DECIDED);
        match c.type_.as_str() {
            "Denied" => is_old,
            "Approved" => is_issued(request) && (is_old || has_ended),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_goes_when() {
        let decided =
            |kind: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": "2026-01-02T00:00:00Z"}]);
        let issued = |kind: &str| json!({"conditions": decided(kind), "certificate": "eA=="});
        let cases = [
            (json!({}), "2026-01-01T23:59:59Z", false),
            (json!({}), "2026-01-02T00:00:01Z", true),
            (json!({"conditions": decided("Denied")}), "2026-01-02T01:00:00Z", false),
            (json!({"conditions": decided("Denied")}), "2026-01-02T01:00:01Z", true),
            (json!({"conditions": decided("Approved")}), "2026-02-02T01:00:01Z", false),
            (issued("Approved"), "2026-01-02T00:30:00Z", false),
            (issued("Approved"), "2026-01-02T01:00:01Z", true),
        ];
        for (status, now, want) in cases {
            let request: Value = json!({"metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"request": "", "signerName": "a.b/c"}, "status": status});
            let request = serde_json::from_value(request).unwrap();
            assert_eq!(is_past(&request, now.parse().unwrap()), want, "{now}");
        }
    }
}
