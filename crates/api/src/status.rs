//! The one error that crosses the API: `meta/v1 Status`, with the reference's codes, reasons and words.
//!
//! Every constructor is one row of the reference's `api/errors`; nobody else invents a code or a reason.

use serde_json::{Map, Value, json};

use crate::field::Errors;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    pub code: u16,
    /// Empty where the reference sends none.
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Details>,
    /// `metadata.continue` of an expired list.
    pub continue_token: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// A resource name for most errors, a kind's name for `Invalid`.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

/// A resource as errors print it: `deployments.apps`, `pods`.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    pub group: &'a str,
    pub resource: &'a str,
}

impl Resource<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }

    fn details(&self, name: &str) -> Details {
        Details {
            name: name.to_owned(),
            group: self.group.to_owned(),
            kind: self.resource.to_owned(),
            ..Details::default()
        }
    }
}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status { code, reason, message: message.into(), details: None, continue_token: None }
    }

    pub fn with_details(mut self, details: Details) -> Status {
        self.details = Some(details);
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }

    /// `pods "x" is forbidden: why`; without a name `pods is forbidden: why`.
    pub fn forbidden(r: Resource<'_>, name: &str, why: &str) -> Status {
        let subject = if name.is_empty() {
            r.qualified()
        } else {
            format!("{} {}", r.qualified(), crate::field::go_quote(name))
        };
        Status::new(403, "Forbidden", format!("{subject} is forbidden: {why}")).with_details(r.details(name))
    }

    pub fn forbidden_path(why: &str) -> Status {
        Status::new(403, "Forbidden", format!("forbidden: {why}")).with_details(Details::default())
    }

    pub fn not_found(r: Resource<'_>, name: &str) -> Status {
        let message = format!("{} {} not found", r.qualified(), crate::field::go_quote(name));
        Status::new(404, "NotFound", message).with_details(r.details(name))
    }

    /// A path in a known group that names no resource.
    pub fn no_resource() -> Status {
        Status::new(404, "NotFound", "the server could not find the requested resource")
            .with_details(Details::default())
    }

    pub fn method_not_allowed() -> Status {
        Status::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// A verb that a resource does not have, to handlers that know which resource it is.
    pub fn method_not_supported(r: Resource<'_>, verb: &str) -> Status {
        let resource = crate::field::go_quote(&r.qualified());
        let message = format!("{verb} is not supported on resources of kind {resource}");
        Status::new(405, "MethodNotAllowed", message).with_details(r.details(""))
    }

    pub fn not_acceptable(message: impl Into<String>) -> Status {
        Status::new(406, "NotAcceptable", message)
    }

    pub fn already_exists(r: Resource<'_>, name: &str) -> Status {
        let message = format!("{} {} already exists", r.qualified(), crate::field::go_quote(name));
        Status::new(409, "AlreadyExists", message).with_details(r.details(name))
    }

    pub fn conflict(r: Resource<'_>, name: &str, why: &str) -> Status {
        let quoted = crate::field::go_quote(name);
        let message = format!("Operation cannot be fulfilled on {} {quoted}: {why}", r.qualified());
        Status::new(409, "Conflict", message).with_details(r.details(name))
    }

    /// The write was made against an older version.
    pub fn conflict_modified(r: Resource<'_>, name: &str) -> Status {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Status::conflict(r, name, why)
    }

    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }

    pub fn too_large(message: impl Into<String>) -> Status {
        Status::new(413, "RequestEntityTooLarge", message)
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> Status {
        Status::new(415, "UnsupportedMediaType", message)
    }

    /// Validation failed: `Pod "x" is invalid: …` with a cause for each error.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &Errors) -> Status {
        let causes = errors
            .0
            .iter()
            .map(|e| Cause {
                reason: e.kind.reason().to_owned(),
                message: e.body(),
                field: e.path.to_string(),
            })
            .collect();
        let mut texts: Vec<String> = Vec::with_capacity(errors.0.len());
        for e in &errors.0 {
            let text = e.to_string();
            // The reference aggregates errors as a set: the same words are said once.
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let said = if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{qualified} {} is invalid: {said}", crate::field::go_quote(name));
        Status::new(422, "Invalid", message).with_details(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes,
            ..Details::default()
        })
    }

    pub fn internal(why: impl AsRef<str>) -> Status {
        let why = why.as_ref();
        Status::new(500, "InternalError", format!("Internal error occurred: {why}")).with_details(Details {
            causes: vec![Cause { message: why.to_owned(), ..Cause::default() }],
            ..Details::default()
        })
    }

    pub fn timeout(message: impl Into<String>, retry_after_seconds: u32) -> Status {
        Status::new(504, "Timeout", format!("Timeout: {}", message.into()))
            .with_details(Details { retry_after_seconds, ..Details::default() })
    }

    pub fn service_unavailable(message: impl Into<String>) -> Status {
        Status::new(503, "ServiceUnavailable", message)
    }

    /// The body that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".into(), json!(token));
        }
        let mut out = Map::new();
        out.insert("kind".into(), json!("Status"));
        out.insert("apiVersion".into(), json!("v1"));
        out.insert("metadata".into(), Value::Object(metadata));
        out.insert("status".into(), json!("Failure"));
        out.insert("message".into(), json!(self.message));
        if !self.reason.is_empty() {
            out.insert("reason".into(), json!(self.reason));
        }
        if let Some(d) = &self.details {
            out.insert("details".into(), d.to_value());
        }
        out.insert("code".into(), json!(self.code));
        Value::Object(out)
    }
}

impl Details {
    pub fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        if !self.causes.is_empty() {
            out.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            out.insert("retryAfterSeconds".into(), json!(self.retry_after_seconds));
        }
        Value::Object(out)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        Value::Object(out)
    }
}

/// Several errors as one, as apimachinery's `NewAggregate` prints them: each said once.
pub fn aggregate(errors: Vec<String>) -> String {
    let mut said: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        if !said.contains(&error) {
            said.push(error);
        }
    }
    if said.len() == 1 { said.remove(0) } else { format!("[{}]", said.join(", ")) }
}
