//! The authorization.k8s.io reviews: what they may ask, and what they are answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::field::{Errors, Path};
use coracle_api::object::{at, items, map_at_mut, namespace, text};
use coracle_api::status::{Status, aggregate};
use coracle_api::user::User;
use serde_json::{Map, Value, json};

use crate::attributes::{Attributes, ResourceTarget};
use crate::authorizer::{Authorizer, Decision};
use crate::rbac::Rule;

const GROUP: &str = "authorization.k8s.io";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    SubjectAccess,
    LocalSubjectAccess,
    SelfSubjectAccess,
}

/// What an access review asks; `caller` is whom a Self… review is about. A local review carries its namespace in its
/// metadata by now.
pub fn attributes(review: Review, object: &Value, caller: &Arc<User>) -> Result<Attributes, Status> {
    validate(review, object)?;
    let spec = at(object, &["spec"]);
    let user = if review == Review::SelfSubjectAccess { Arc::clone(caller) } else { Arc::new(subject(spec)) };
    let path = at(spec, &["nonResourceAttributes"]);
    if !path.is_null() {
        return Ok(Attributes::path(user, text(path, &["verb"]), text(path, &["path"])));
    }
    let asked = at(spec, &["resourceAttributes"]);
    let field = |key: &str| text(asked, &[key]).to_owned();
    let target = ResourceTarget {
        group: field("group"),
        version: field("version"),
        resource: field("resource"),
        subresource: field("subresource"),
        namespace: field("namespace"),
        name: field("name"),
        fields: selected_fields(asked),
    };
    Ok(Attributes::resource(user, text(asked, &["verb"]), target))
}

/// The terms of a field selector that pin a field to one value.
fn selected_fields(asked: &Value) -> Vec<(String, String)> {
    let given = items(asked, &["fieldSelector", "requirements"]).iter().filter_map(|r| {
        let [value] = items(r, &["values"]) else { return None };
        (text(r, &["operator"]) == "In")
            .then(|| Some((text(r, &["key"]).to_owned(), value.as_str()?.to_owned())))?
    });
    let raw = crate::attributes::selected_fields(text(asked, &["fieldSelector", "rawSelector"]));
    given.chain(raw).collect()
}

fn subject(spec: &Value) -> User {
    let strings =
        |v: &Value| v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let extra: BTreeMap<String, Vec<String>> = at(spec, &["extra"])
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), strings(values)))
        .collect();
    User {
        name: text(spec, &["user"]).to_owned(),
        uid: text(spec, &["uid"]).to_owned(),
        groups: strings(at(spec, &["groups"])),
        extra,
    }
}

fn validate(review: Review, object: &Value) -> Result<(), Status> {
    let mut errors = Errors::default();
    let spec = at(object, &["spec"]);
    let (resource, path) = (at(spec, &["resourceAttributes"]), at(spec, &["nonResourceAttributes"]));
    let resource_path = Path::new("spec.resourceAttributes");
    let non_resource_path = Path::new("spec.nonResourceAttributes");
    if !resource.is_null() && !path.is_null() {
        errors.invalid(
            &non_resource_path,
            path,
            "cannot be specified in combination with resourceAttributes",
        );
    }
    if resource.is_null() && path.is_null() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.invalid(&resource_path, &Value::Null, why);
    }
    let nobody = text(spec, &["user"]).is_empty() && items(spec, &["groups"]).is_empty();
    if review != Review::SelfSubjectAccess && nobody {
        errors.invalid(
            &Path::new("spec.user"),
            &json!(""),
            "at least one of user or group must be specified",
        );
    }
    check_metadata(review, object, &mut errors);
    if review == Review::LocalSubjectAccess {
        let asked = at(resource, &["namespace"]);
        if !resource.is_null() && asked.as_str().unwrap_or("") != namespace(object) {
            let shown = json!(asked.as_str().unwrap_or(""));
            errors.invalid(&resource_path.child("namespace"), &shown, "must match metadata.namespace");
        }
        if !path.is_null() {
            errors.invalid(&non_resource_path, path, "disallowed on this kind of request");
        }
    }
    // The reference looks the kind up in the decoded object, which has none by then.
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(GROUP, "", "", &errors)) }
}

/// A review is a question, not an object: it must have no metadata but, for a local one, the namespace.
fn check_metadata(review: Review, object: &Value, errors: &mut Errors) {
    let mut metadata = at(object, &["metadata"]).clone();
    let fields = map_at_mut(&mut metadata, &[]);
    fields.retain(|key, value| {
        let empty = value.is_null() || value == &json!({}) || value == &json!("") || value == &json!([]);
        let allowed = key == "managedFields"
            || key == "creationTimestamp"
            || key == "namespace" && review == Review::LocalSubjectAccess;
        !empty && !allowed
    });
    if !fields.is_empty() {
        let words = if review == Review::LocalSubjectAccess {
            "must be empty except for namespace"
        } else {
            "must be empty"
        };
        errors.invalid(&Path::new("metadata"), at(object, &["metadata"]), words);
    }
}

/// The `status` of an access review.
pub fn answer(authorizer: &Authorizer, attributes: Attributes) -> Value {
    let (allowed, reason) = match authorizer.decide(attributes) {
        Decision::Allowed(permit) => (true, permit.reason()),
        Decision::NoOpinion(_, reason) => (false, reason),
    };
    let mut status = Map::new();
    status.insert("allowed".into(), json!(allowed));
    if !reason.is_empty() {
        status.insert("reason".into(), json!(reason));
    }
    Value::Object(status)
}

/// The `status` of a SelfSubjectRulesReview of `namespace`, or the 400 where it names none.
pub fn rules(authorizer: &Authorizer, user: &User, namespace: &str) -> Result<Value, Status> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let held = authorizer.policy().rules_for(user, namespace);
    let mut errors = held.errors;
    let is_node = user.as_node().is_some();
    if is_node {
        errors.insert(0, "node authorizer does not support user rule resolution".into());
    }
    let resource_rules: Vec<Value> =
        held.rules.iter().filter(|r| !r.resources.is_empty()).map(resource_rule).collect();
    let non_resource_rules: Vec<Value> = held
        .rules
        .iter()
        .filter(|r| !r.non_resource_urls.is_empty())
        .map(|r| json!({"verbs": r.verbs, "nonResourceURLs": r.non_resource_urls}))
        .collect();
    let mut status = json!({
        "resourceRules": resource_rules, "nonResourceRules": non_resource_rules, "incomplete": is_node,
    });
    if !errors.is_empty() {
        map_at_mut(&mut status, &[]).insert("evaluationError".into(), json!(aggregate(errors)));
    }
    Ok(status)
}

fn resource_rule(rule: &Rule) -> Value {
    Rule { non_resource_urls: Vec::new(), ..rule.clone() }.to_value()
}

/// A user as reviews show one: of a SelfSubjectReview, a TokenReview, an AdmissionReview.
pub fn user_info(user: &User) -> Value {
    let mut out = Map::new();
    for (key, value) in [("username", &user.name), ("uid", &user.uid)] {
        if !value.is_empty() {
            out.insert(key.into(), json!(value));
        }
    }
    if !user.groups.is_empty() {
        out.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        out.insert("extra".into(), json!(user.extra));
    }
    Value::Object(out)
}

/// The `status` of a TokenReview, or the 400 for one without a token.
pub fn token(
    tokens: &crate::tokens::Tokens,
    directory: &dyn crate::directory::Directory,
    object: &Value,
) -> Result<Value, Status> {
    let token = text(object, &["spec", "token"]);
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences: Vec<String> =
        items(object, &["spec", "audiences"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(match tokens.verify(token, &audiences, directory) {
        Ok(good) => {
            json!({"authenticated": true, "user": user_info(&good.user), "audiences": good.audiences})
        }
        Err(why) => json!({"user": {}, "error": why.to_string()}),
    })
}

#[cfg(test)]
mod tests;
