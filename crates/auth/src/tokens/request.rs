//! What a TokenRequest may ask for.

use coracle_api::field::{Errors, Path};
use coracle_api::object::{at, text};
use coracle_api::status::{Resource, Status};
use serde_json::Value;

const GROUP: &str = "authentication.k8s.io";
/// As the reference: shorter would be renewed all the time.
const MIN_SECONDS: i64 = 10 * 60;
const MAX_SECONDS: i64 = 1 << 32;
/// The default of `spec.expirationSeconds`.
pub const DEFAULT_SECONDS: i64 = 3600;

/// The object that a request wants its token bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    pub kind: BindingKind,
    pub name: &'a str,
    /// Empty where the request names none.
    pub uid: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingKind {
    Pod,
    Node,
    Secret,
}

impl BindingKind {
    pub fn name(self) -> &'static str {
        match self {
            BindingKind::Pod => "Pod",
            BindingKind::Node => "Node",
            BindingKind::Secret => "Secret",
        }
    }
}

/// The 422 of a TokenRequest whose spec is out of bounds.
pub fn validate_request(token_request: &Value) -> Result<(), Status> {
    let seconds = at(token_request, &["spec", "expirationSeconds"]).as_i64().unwrap_or(DEFAULT_SECONDS);
    let path = Path::new("spec.expirationSeconds");
    let mut errors = Errors::default();
    if seconds < MIN_SECONDS {
        errors.invalid(&path, &seconds.into(), "may not specify a duration less than 10 minutes");
    }
    if seconds > MAX_SECONDS {
        errors.invalid(&path, &seconds.into(), "may not specify a duration larger than 2^32 seconds");
    }
    if errors.0.is_empty() { Ok(()) } else { Err(Status::invalid(GROUP, "TokenRequest", "", &errors)) }
}

/// `spec.boundObjectRef`, or the 400 for a kind that tokens cannot be bound to.
pub fn bound_object(token_request: &Value) -> Result<Option<Binding<'_>>, Status> {
    let reference = at(token_request, &["spec", "boundObjectRef"]);
    if reference.is_null() {
        return Ok(None);
    }
    let (api_version, kind) = (text(reference, &["apiVersion"]), text(reference, &["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = match (group, kind) {
        ("", "Pod") => BindingKind::Pod,
        ("", "Node") => BindingKind::Node,
        ("", "Secret") => BindingKind::Secret,
        _ => {
            let gvk = format!("{group}/{version}, Kind={kind}");
            return Err(Status::bad_request(format!("cannot bind token to object of type {gvk}")));
        }
    };
    Ok(Some(Binding { kind, name: text(reference, &["name"]), uid: text(reference, &["uid"]) }))
}

impl Binding<'_> {
    /// The 409 where the object's uid is another than the one that was asked for.
    pub fn check_uid(&self, found: &str) -> Result<(), Status> {
        if self.uid.is_empty() || self.uid == found {
            return Ok(());
        }
        let resource = Resource { group: "", resource: self.kind.name() };
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
             deleted and then recreated",
            self.uid
        );
        Err(Status::conflict(resource, self.name, &why))
    }

    /// The 400 where a Pod runs as another service account than the token is for.
    pub fn check_pod_account(&self, pod: &Value, service_account: &str) -> Result<(), Status> {
        if text(pod, &["spec", "serviceAccountName"]) == service_account {
            return Ok(());
        }
        let account = coracle_api::field::go_quote(service_account);
        Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account} to pod running with different serviceaccount name."
        )))
    }
}
