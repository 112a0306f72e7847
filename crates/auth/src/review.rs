//! The authorization.k8s.io reviews: what they ask, what they may ask, what they answer.

use std::sync::Arc;

use coracle_api::status::Status;
use coracle_api::user::User;
use serde_json::Value;

use crate::attributes::Attributes;
use crate::authorizer::Authorizer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review<'a> {
    SubjectAccess,
    /// With the namespace of the path.
    LocalSubjectAccess(&'a str),
    SelfSubjectAccess,
}

/// What a (Local|Self)SubjectAccessReview asks; `caller` is whom a Self… review is about.
pub fn attributes(review: Review<'_>, object: &Value, caller: &Arc<User>) -> Result<Attributes, Status> {
    let _ = (review, object);
    Ok(Attributes::path(Arc::clone(caller), "get", "/"))
}

/// The `status` of an access review.
pub fn answer(authorizer: &Authorizer, attributes: Attributes) -> Value {
    let _ = (authorizer, attributes);
    Value::Null
}

/// The `status` of a SelfSubjectRulesReview.
pub fn rules(authorizer: &Authorizer, user: &User, namespace: &str) -> Value {
    let _ = (authorizer, user, namespace);
    Value::Null
}
