//! The conditions of a definition, which say how far it has come.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_api::kinds::apiextensions::{Approval, approval_of};
use coracle_api::object;
use coracle_auth::pki::webhook;
use serde_json::{Value, json};

use super::names::{self, Taken};

pub(super) const NAMES_ACCEPTED: &str = "NamesAccepted";
pub(super) const ESTABLISHED: &str = "Established";
pub(super) const TERMINATING: &str = "Terminating";
const APPROVED: &str = "KubernetesAPIApprovalPolicyConformant";

#[derive(Debug, Clone)]
pub(super) struct Condition {
    of: &'static str,
    is_true: bool,
    reason: &'static str,
    message: String,
}

impl Condition {
    pub(super) fn new(
        of: &'static str,
        is_true: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Condition {
        Condition { of, is_true, reason, message: message.into() }
    }
}

fn find<'a>(status: &'a Value, of: &str) -> Option<&'a Value> {
    object::items(status, &["conditions"]).iter().find(|c| object::text(c, &["type"]) == of)
}

pub(super) fn has(status: &Value, of: &str) -> bool {
    find(status, of).is_some()
}

pub(super) fn is_true(status: &Value, of: &str) -> bool {
    find(status, of).is_some_and(|c| object::text(c, &["status"]) == "True")
}

/// Puts a condition in the place of the one of its type. Its time is that of the last change between true and false.
pub(super) fn set(status: &mut Value, new: Condition, now: &str) {
    let word = if new.is_true { "True" } else { "False" };
    let since = find(status, new.of).filter(|c| object::text(c, &["status"]) == word);
    let since = since.map(|c| object::text(c, &["lastTransitionTime"])).filter(|time| !time.is_empty());
    let condition = json!({
        "type": new.of, "status": word, "lastTransitionTime": since.unwrap_or(now), "reason": new.reason,
        "message": new.message,
    });
    let list = object::map_mut(status).entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    match list.iter_mut().find(|c| object::text(c, &["type"]) == new.of) {
        Some(old) => *old = condition,
        None => list.push(condition),
    }
}

/// The status of a definition after everything has been done that can be done for it at once.
pub(super) fn settled(definition: &Value, taken: &Taken, now: &str) -> Value {
    let mut status = definition.get("status").filter(|s| s.is_object()).cloned().unwrap_or_else(|| json!({}));
    names::accept(definition, &mut status, taken, now);
    establish(definition, &mut status, now);
    if let Some(approval) = approval(definition) {
        set(&mut status, approval, now);
    }
    status
}

fn establish(definition: &Value, status: &mut Value, now: &str) {
    if !is_true(status, NAMES_ACCEPTED) || is_true(status, ESTABLISHED) {
        return;
    }
    let client = object::at(definition, &["spec", "conversion", "webhook", "clientConfig"]);
    let bundle = STANDARD.decode(object::text(client, &["caBundle"])).unwrap_or_default();
    // No bundle at all means the system's.
    let condition = if bundle.is_empty() || webhook::client_config(&bundle).is_ok() {
        Condition::new(ESTABLISHED, true, "InitialNamesAccepted", "the initial names have been accepted")
    } else {
        Condition::new(ESTABLISHED, false, "InvalidCABundle", "The conversion webhook CABundle is invalid")
    };
    set(status, condition, now);
}

/// Whether the project has approved a definition in one of its own groups; nothing is said of other groups.
fn approval(definition: &Value) -> Option<Condition> {
    let (is_approved, reason, words) = match approval_of(definition)? {
        Approval::Missing(words) => (false, "MissingAnnotation", words),
        Approval::Invalid(words) => (false, "InvalidAnnotation", words),
        Approval::Bypassed(words) => (false, "UnapprovedAnnotation", words),
        Approval::Approved(words) => (true, "ApprovedAnnotation", words),
    };
    Some(Condition::new(APPROVED, is_approved, reason, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(group: &str, annotations: Value, bundle: &str) -> Value {
        json!({
            "metadata": {"annotations": annotations},
            "spec": {
                "group": group,
                "names": {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"},
                "conversion": {"webhook": {"clientConfig": {"caBundle": bundle}}},
            },
        })
    }

    fn said(definition: &Value, of: &str) -> String {
        let status = settled(definition, &Taken::default(), "T1");
        let Some(found) = find(&status, of) else { return "-".to_owned() };
        let text = |key: &str| object::text(found, &[key]);
        format!("{} {} {}", text("status"), text("reason"), text("lastTransitionTime"))
    }

    #[test]
    fn a_definition_is_established_unless_its_bundle_is_none() {
        let of = |bundle: &str| said(&definition("example.com", json!({}), bundle), ESTABLISHED);
        assert_eq!(of(""), "True InitialNamesAccepted T1");
        assert_eq!(of(&STANDARD.encode("no certificate")), "False InvalidCABundle T1");
    }

    #[test]
    fn the_projects_groups_need_an_approval() {
        let of = |group: &str, said_so: &str| {
            said(&definition(group, json!({"api-approved.kubernetes.io": said_so}), ""), APPROVED)
        };
        assert_eq!(of("example.com", ""), "-");
        assert_eq!(of("notk8s.io", ""), "-");
        assert_eq!(of("k8s.io", ""), "False MissingAnnotation T1");
        assert_eq!(of("x.k8s.io", "unapproved, for now"), "False UnapprovedAnnotation T1");
        assert_eq!(of("x.kubernetes.io", "https://example.com/1"), "True ApprovedAnnotation T1");
        assert_eq!(of("x.kubernetes.io", "yes"), "False InvalidAnnotation T1");
    }

    #[test]
    fn a_time_moves_with_the_status_alone() {
        let mut status = json!({});
        let condition = |is_true, reason| Condition::new(ESTABLISHED, is_true, reason, "");
        set(&mut status, condition(false, "A"), "T1");
        set(&mut status, condition(false, "B"), "T2");
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "T1");
        set(&mut status, condition(true, "C"), "T3");
        assert_eq!(status["conditions"].as_array().map(Vec::len), Some(1));
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "T3");
    }
}
