//! The rules of admissionregistration.k8s.io: webhooks and policies.

mod expressions;

use serde_json::{Map, Value, json};

use super::core::pod::defaults::{child, children, set_pointer};
use super::workload::inner;
use crate::at::At;
use crate::field::Errors;
use crate::meta;
use crate::names;
use crate::object::{map_at_mut, map_mut};
use crate::rules::{Rules, facts};

#[derive(Debug)]
pub struct ValidatingWebhookConfiguration;

#[derive(Debug)]
pub struct MutatingWebhookConfiguration;

#[derive(Debug)]
pub struct ValidatingAdmissionPolicy;

#[derive(Debug)]
pub struct MutatingAdmissionPolicy;

#[derive(Debug)]
pub struct ValidatingAdmissionPolicyBinding;

#[derive(Debug)]
pub struct MutatingAdmissionPolicyBinding;

/// How long a webhook may take, in seconds, where it does not say, and at most.
const TIMEOUT: i64 = 10;
const TIMEOUT_MAX: i64 = 30;
/// What this server can send.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

impl Rules for ValidatingWebhookConfiguration {
    fn default(&self, obj: &mut Value) {
        for hook in children(map_mut(obj), "webhooks") {
            webhook_defaults(hook);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        webhooks(&At::root(obj).get("webhooks"), errs);
    }

    facts!(conditional);
}

impl Rules for MutatingWebhookConfiguration {
    fn default(&self, obj: &mut Value) {
        for hook in children(map_mut(obj), "webhooks") {
            webhook_defaults(hook);
            set_pointer(hook, "reinvocationPolicy", "Never");
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let hooks = At::root(obj).get("webhooks");
        webhooks(&hooks, errs);
        for hook in hooks.items() {
            errs.one_of_if_set(&hook.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
        }
    }

    facts!(conditional);
}

fn webhook_defaults(hook: &mut Map<String, Value>) {
    set_pointer(hook, "failurePolicy", "Fail");
    set_pointer(hook, "matchPolicy", "Equivalent");
    set_pointer(hook, "namespaceSelector", json!({}));
    set_pointer(hook, "objectSelector", json!({}));
    set_pointer(hook, "timeoutSeconds", TIMEOUT);
    if let Some(service) = child(hook, "clientConfig").and_then(|c| child(c, "service")) {
        set_pointer(service, "port", 443);
    }
    for rule in children(hook, "rules") {
        set_pointer(rule, "scope", "*");
    }
}

fn webhooks(at: &At<'_>, errs: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for hook in at.items() {
        let name = hook.get("name");
        qualified_domain(&name, errs);
        if seen.contains(&name.text()) {
            errs.duplicate(&name.path, name.value);
        }
        seen.push(name.text());
        webhook(&hook, errs);
    }
}

fn webhook(hook: &At<'_>, errs: &mut Errors) {
    for rule in hook.get("rules").items() {
        rule_with_operations(&rule, errs);
    }
    errs.one_of_if_set(&hook.get("failurePolicy"), &["Fail", "Ignore"]);
    errs.one_of_if_set(&hook.get("matchPolicy"), &["Equivalent", "Exact"]);
    let effects = hook.get("sideEffects");
    if effects.is_set() {
        errs.one_of(&effects, &["None", "NoneOnDryRun"]);
    } else {
        errs.required(&effects.path, "must specify one of None, NoneOnDryRun");
    }
    let timeout = hook.get("timeoutSeconds");
    if timeout.is_set() && !(1..=TIMEOUT_MAX).contains(&timeout.int()) {
        errs.bad_int(&timeout, format!("the timeout value must be between 1 and {TIMEOUT_MAX} seconds"));
    }
    meta::label_selector(&hook.get("namespaceSelector"), errs);
    meta::label_selector(&hook.get("objectSelector"), errs);
    client_config(&hook.get("clientConfig"), errs);
    expressions::webhook(hook, errs);
    let versions = hook.get("admissionReviewVersions");
    if versions.is_empty() {
        errs.required(&versions.path, format!("must specify one of {}", REVIEW_VERSIONS.join(", ")));
    } else if !versions.texts().any(|v| REVIEW_VERSIONS.contains(&v)) {
        let words = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errs.bad(&versions, words);
    }
}

/// A webhook is named like a domain of at least three parts.
fn qualified_domain(at: &At<'_>, errs: &mut Errors) {
    if at.is_empty() {
        errs.required(&at.path, "");
        return;
    }
    let said = names::dns1123_subdomain(at.text());
    if !said.is_empty() {
        errs.bad_text(at, said.join(","));
    } else if at.text().split('.').count() < 3 {
        errs.bad_text(at, "should be a domain with at least three segments separated by dots");
    }
}

fn rule_with_operations(rule: &At<'_>, errs: &mut Errors) {
    let operations = rule.get("operations");
    if operations.is_empty() {
        errs.required(&operations.path, "");
    }
    if operations.len() > 1 && operations.texts().any(|o| o == "*") {
        errs.bad(&operations, "if '*' is present, must not specify other operations");
    }
    for operation in operations.items() {
        errs.one_of_if_set(&operation, &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
    }
    for (key, several) in [
        ("apiGroups", "if '*' is present, must not specify other API groups"),
        ("apiVersions", "if '*' is present, must not specify other API versions"),
        ("resources", ""),
    ] {
        let list = rule.get(key);
        if list.is_empty() {
            errs.required(&list.path, "");
        }
        if list.len() > 1 && !several.is_empty() && list.texts().any(|v| v == "*") {
            errs.bad(&list, several);
        }
    }
    errs.one_of_if_set(&rule.get("scope"), &["*", "Cluster", "Namespaced"]);
}

pub(super) fn client_config(at: &At<'_>, errs: &mut Errors) {
    let (url, service) = (at.get("url"), at.get("service"));
    if url.is_set() == service.is_set() {
        errs.required(&at.path, "exactly one of url or service is required");
        return;
    }
    if url.is_set() {
        if !url.text().starts_with("https://") {
            let scheme = url.text().split("://").next().unwrap_or("");
            errs.bad_text(&url, format!("'https' is the only allowed URL scheme; got {scheme:?}"));
        }
        return;
    }
    for key in ["name", "namespace"] {
        if service.peek_text(key).is_empty() {
            errs.required(&service.get(key).path, format!("service {key} is required"));
        }
    }
    let port = service.get("port");
    errs.bad_ints(&port, names::port_number(port.int()));
    let path = service.get("path");
    if !path.is_empty() && !path.text().starts_with('/') {
        errs.bad_text(&path, "must start with a '/'");
    }
}

impl Rules for ValidatingAdmissionPolicy {
    fn default(&self, obj: &mut Value) {
        policy_defaults(map_at_mut(obj, &["spec"]));
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        policy(&spec, errs);
        let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
        if validations.is_empty() && annotations.is_empty() {
            let words = "validations or auditAnnotations must contain at least one item";
            errs.required(&validations.path, words);
            errs.required(&annotations.path, words);
        }
        expressions::policy(&spec, errs);
    }

    facts!(conditional);
}

impl Rules for MutatingAdmissionPolicy {
    fn default(&self, obj: &mut Value) {
        policy_defaults(map_at_mut(obj, &["spec"]));
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        policy(&spec, errs);
        let mutations = spec.get("mutations");
        if mutations.is_empty() {
            errs.required(&mutations.path, "mutations must contain at least one item");
        }
        for mutation in mutations.items() {
            errs.one_of(&mutation.get("patchType"), &["ApplyConfiguration", "JSONPatch"]);
        }
        errs.one_of(&spec.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
        expressions::mutating_policy(&spec, errs);
    }

    facts!(conditional);
}

fn policy_defaults(spec: &mut Map<String, Value>) {
    set_pointer(spec, "failurePolicy", "Fail");
    if let Some(matching) = child(spec, "matchConstraints") {
        match_defaults(matching);
    }
}

fn match_defaults(matching: &mut Map<String, Value>) {
    set_pointer(matching, "matchPolicy", "Equivalent");
    inner(matching, "namespaceSelector");
    inner(matching, "objectSelector");
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in children(matching, list) {
            set_pointer(rule, "scope", "*");
        }
    }
}

fn policy(spec: &At<'_>, errs: &mut Errors) {
    errs.one_of_if_set(&spec.get("failurePolicy"), &["Fail", "Ignore"]);
    let matching = spec.get("matchConstraints");
    if !matching.is_set() {
        errs.required(&matching.path, "");
        return;
    }
    let rules = matching.get("resourceRules");
    if rules.is_empty() {
        errs.required(&rules.path, "");
    }
    for rule in rules.items().chain(matching.get("excludeResourceRules").items()) {
        rule_with_operations(&rule, errs);
    }
    for key in ["namespaceSelector", "objectSelector"] {
        meta::label_selector(&matching.get(key), errs);
    }
    let param = spec.get("paramKind");
    if param.is_set() {
        for key in ["apiVersion", "kind"] {
            if param.peek_text(key).is_empty() {
                errs.required(&param.get(key).path, "");
            }
        }
    }
}

impl Rules for ValidatingAdmissionPolicyBinding {
    fn default(&self, obj: &mut Value) {
        binding_defaults(obj);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let spec = At::root(obj).get("spec");
        binding(&spec, errs);
        let actions = spec.get("validationActions");
        if actions.is_empty() {
            errs.required(&actions.path, "at least one validation action is required");
        }
        for action in actions.items() {
            errs.one_of_if_set(&action, &["Audit", "Deny", "Warn"]);
        }
        let has = |wanted: &str| actions.texts().any(|a| a == wanted);
        if has("Deny") && has("Warn") {
            errs.bad(&actions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
        }
    }

    facts!(conditional);
}

impl Rules for MutatingAdmissionPolicyBinding {
    fn default(&self, obj: &mut Value) {
        binding_defaults(obj);
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        binding(&At::root(obj).get("spec"), errs);
    }

    facts!(conditional);
}

fn binding_defaults(obj: &mut Value) {
    let spec = map_at_mut(obj, &["spec"]);
    if let Some(matching) = child(spec, "matchResources") {
        match_defaults(matching);
    }
}

fn binding(spec: &At<'_>, errs: &mut Errors) {
    let name = spec.get("policyName");
    if name.is_empty() {
        errs.required(&name.path, "");
    } else {
        errs.bad_texts(&name, names::dns_subdomain(name.text(), false));
    }
    let param = spec.get("paramRef");
    if param.is_set() {
        if param.peek_text("name").is_empty() != param.has("selector") {
            errs.required(&param.path, "one of name or selector must be specified");
        }
        errs.one_of(&param.get("parameterNotFoundAction"), &["Allow", "Deny"]);
    }
    for rule in spec.get("matchResources").get("resourceRules").items() {
        rule_with_operations(&rule, errs);
    }
}
