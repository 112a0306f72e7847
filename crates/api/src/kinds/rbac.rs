//! The rules of rbac.authorization.k8s.io: roles and bindings, in a namespace or in the cluster.

use serde_json::{Value, json};

use super::core::pod::defaults::{children, set};
use crate::at::{At, same};
use crate::field::Errors;
use crate::meta;
use crate::names;
use crate::object::{map_at_mut, map_mut};
use crate::rules::{Rules, Write, facts};

pub const GROUP: &str = "rbac.authorization.k8s.io";

#[derive(Debug)]
pub struct Role;

#[derive(Debug)]
pub struct ClusterRole;

#[derive(Debug)]
pub struct RoleBinding;

#[derive(Debug)]
pub struct ClusterRoleBinding;

impl Rules for Role {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        policy_rules(&At::root(obj).get("rules"), true, errs);
    }

    facts!(uncounted, upsert, any_name);
}

impl Rules for ClusterRole {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let role = At::root(obj);
        policy_rules(&role.get("rules"), false, errs);
        let aggregation = role.get("aggregationRule");
        let selectors = aggregation.get("clusterRoleSelectors");
        if aggregation.is_set() && selectors.is_empty() {
            let words = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errs.required(&selectors.path, words);
        }
        for selector in selectors.items() {
            meta::label_selector(&selector, errs);
        }
    }

    facts!(uncounted, upsert, any_name);
}

impl Rules for RoleBinding {
    fn default(&self, obj: &mut Value) {
        default_binding(obj);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        binding(&At::root(obj), &["Role", "ClusterRole"], true, errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        keep_role(obj, old, write, errs);
    }

    facts!(uncounted, upsert, any_name);
}

impl Rules for ClusterRoleBinding {
    fn default(&self, obj: &mut Value) {
        default_binding(obj);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        binding(&At::root(obj), &["ClusterRole"], false, errs);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        keep_role(obj, old, write, errs);
    }

    facts!(uncounted, upsert, any_name);
}

fn policy_rules(at: &At<'_>, namespaced: bool, errs: &mut Errors) {
    for rule in at.items() {
        let (verbs, urls) = (rule.get("verbs"), rule.get("nonResourceURLs"));
        let (groups, resources, names) =
            (rule.get("apiGroups"), rule.get("resources"), rule.get("resourceNames"));
        if verbs.is_empty() {
            errs.required(&verbs.path, "verbs must contain at least one value");
        }
        if !urls.is_empty() {
            if namespaced {
                errs.bad(&urls, "namespaced rules cannot apply to non-resource URLs");
            }
            if ![groups, resources, names].iter().all(At::is_empty) {
                errs.bad(&urls, "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if groups.is_empty() {
            errs.required(&groups.path, "resource rules must supply at least one api group");
        }
        if resources.is_empty() {
            errs.required(&resources.path, "resource rules must supply at least one resource");
        }
    }
}

fn default_binding(obj: &mut Value) {
    set(map_at_mut(obj, &["roleRef"]), "apiGroup", GROUP);
    for subject in children(map_mut(obj), "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            set(subject, "apiGroup", GROUP);
        }
    }
}

fn binding(root: &At<'_>, kinds: &[&str], namespaced: bool, errs: &mut Errors) {
    let role = root.get("roleRef");
    let (group, kind, name) = (role.get("apiGroup"), role.get("kind"), role.get("name"));
    if group.text() != GROUP {
        errs.not_supported(&group.path, &Value::from(group.text()), &[GROUP]);
    }
    if !kinds.contains(&kind.text()) {
        errs.not_supported(&kind.path, &Value::from(kind.text()), kinds);
    }
    if name.is_empty() {
        errs.required(&name.path, "");
    } else {
        errs.bad_texts(&name, names::path_segment(name.text(), false));
    }
    for subject in root.get("subjects").items() {
        check_subject(&subject, namespaced, errs);
    }
}

fn check_subject(subject: &At<'_>, namespaced: bool, errs: &mut Errors) {
    let (kind, name, group) = (subject.get("kind"), subject.get("name"), subject.get("apiGroup"));
    if name.is_empty() {
        errs.required(&name.path, "");
    }
    let who = match kind.text() {
        "ServiceAccount" => {
            if !name.is_empty() {
                errs.bad_texts(&name, names::dns_subdomain(name.text(), false));
            }
            if !group.is_empty() {
                errs.not_supported(&group.path, group.value, &[""]);
            }
            if !namespaced && subject.peek_text("namespace").is_empty() {
                errs.required(&subject.get("namespace").path, "");
            }
            return;
        }
        "User" => "user",
        "Group" => "group",
        _ => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errs.not_supported(&kind.path, &Value::from(kind.text()), &kinds);
            return;
        }
    };
    if name.is_empty() {
        errs.bad_text(&name, format!("{who} name cannot be empty"));
    }
    if group.text() != GROUP {
        errs.not_supported(&group.path, &Value::from(group.text()), &[GROUP]);
    }
}

/// Who may bind a role may not turn the binding into one of another role.
fn keep_role(obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
    let (role, before) = (At::root(obj).get("roleRef"), At::root(old).get("roleRef"));
    if write == Write::Main && !same(role.value, before.value) {
        // The reference shows its internal type.
        let shown = json!({
            "APIGroup": role.peek_text("apiGroup"), "Kind": role.peek_text("kind"), "Name": role.peek_text("name"),
        });
        errs.invalid(&role.path, &shown, "cannot change roleRef");
    }
}
