//! The spec of a Pod, on its own or inside of a template.

use serde_json::Value;

use super::volumes::Volumes;
use super::{containers, network, scheduling, security, volumes};
use crate::at::At;
use crate::field::Errors;
use crate::kinds::core::amounts;
use crate::meta;
use crate::names;

/// What the parts of a spec must know of the whole.
#[derive(Debug)]
pub struct PodContext<'a> {
    pub volumes: Volumes<'a>,
    /// The names in `resourceClaims`.
    pub claims: Vec<&'a str>,
    pub restart_policy: &'a str,
    pub host_users: bool,
    pub grace: Option<i64>,
}

/// `spec` of a template, which must also have labels and annotations that are well-formed.
pub fn template(at: &At<'_>, errs: &mut Errors) {
    let metadata = at.get("metadata");
    // The reference leaves `metadata` out of these two paths.
    meta::labels(&At::new(metadata.peek("labels"), at.path.child("labels")), errs);
    meta::annotations(&At::new(metadata.peek("annotations"), at.path.child("annotations")), errs);
    spec(&at.get("spec"), None, errs);
    let ephemeral = at.get("spec").get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errs.forbidden(&ephemeral.path, "ephemeral containers not allowed in pod template");
    }
}

/// `pod` is the Pod's name where this is no template.
pub fn spec(at: &At<'_>, pod: Option<&str>, errs: &mut Errors) {
    let grace = at.get("terminationGracePeriodSeconds");
    if !grace.is_set() {
        errs.required(&grace.path, "");
    }
    let volumes = volumes::volumes(&at.get("volumes"), pod, errs);
    let cx = PodContext {
        volumes,
        claims: resource_claims(&at.get("resourceClaims"), errs),
        restart_policy: at.peek_text("restartPolicy"),
        host_users: at.peek("hostUsers").as_bool().unwrap_or(true),
        grace: grace.value.as_i64(),
    };
    containers::containers(&at.get("containers"), &cx, errs);
    containers::init_containers(&at.get("initContainers"), &at.get("containers"), &cx, errs);
    containers::ephemeral_containers(at, &cx, errs);
    pod_resources(&at.get("resources"), errs);
    network::host_network_ports(at, pod.is_some(), errs);
    policies(at, errs);
    meta::labels(&at.get("nodeSelector"), errs);
    security::pod(&at.get("securityContext"), at, errs);
    scheduling::affinity(&at.get("affinity"), errs);
    network::dns(at, errs);
    for gate in at.get("readinessGates").items() {
        let kind = gate.get("conditionType");
        errs.bad_texts(&kind, names::qualified(kind.text()));
    }
    scheduling::gates(&at.get("schedulingGates"), errs);
    scheduling::topology_spread(&at.get("topologySpreadConstraints"), errs);
    host_users(at, cx.host_users, errs);
    names_and_deadline(at, errs);
    scheduling::tolerations(&at.get("tolerations"), errs);
    network::host_aliases(&at.get("hostAliases"), errs);
    classes(at, errs);
}

fn policies(at: &At<'_>, errs: &mut Errors) {
    errs.one_of(&at.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errs.one_of(&at.get("dnsPolicy"), &dns);
}

fn resource_claims<'a>(at: &At<'a>, errs: &mut Errors) -> Vec<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for claim in at.items() {
        let name = claim.get("name");
        if name.is_empty() {
            errs.required(&name.path, "");
        } else if seen.contains(&name.text()) {
            errs.duplicate(&name.path, name.value);
        } else {
            errs.bad_texts(&name, names::dns1123_label(name.text()));
            seen.push(name.text());
        }
        let (direct, template) = (claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        match (direct.is_set(), template.is_set()) {
            (true, true) => errs.bad(
                &claim,
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
            (false, false) => {
                errs.bad(&claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
            }
            _ => {}
        }
        for named in [direct, template].iter().filter(|n| n.is_set()) {
            errs.bad_texts(named, names::dns_subdomain(named.text(), false));
        }
    }
    seen
}

/// The resources of the Pod as a whole.
fn pod_resources(at: &At<'_>, errs: &mut Errors) {
    if !at.is_set() {
        return;
    }
    if at.has("claims") {
        errs.forbidden(&at.get("claims").path, "claims cannot be set for Resources at pod-level");
    }
    amounts::requirements(at, &[], errs);
}

fn host_users(at: &At<'_>, host_users: bool, errs: &mut Errors) {
    if host_users {
        return;
    }
    for (key, said) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if at.peek_true(key) {
            errs.forbidden(&at.path.child(said), "when `pod.Spec.HostUsers` is false");
        }
    }
}

fn names_and_deadline(at: &At<'_>, errs: &mut Errors) {
    for key in ["serviceAccountName", "nodeName"] {
        let name = at.get(key);
        if !name.is_empty() {
            errs.bad_texts(&name, names::dns_subdomain(name.text(), false));
        }
    }
    let deadline = at.get("activeDeadlineSeconds");
    if deadline.is_set() {
        errs.bad_ints(&deadline, names::in_range(deadline.int(), 1, i64::from(i32::MAX)));
    }
    for key in ["hostname", "subdomain"] {
        let name = at.get(key);
        if !name.is_empty() {
            errs.bad_texts(&name, names::dns1123_label(name.text()));
        }
    }
}

fn classes(at: &At<'_>, errs: &mut Errors) {
    let priority = at.get("priorityClassName");
    if !priority.is_empty() {
        errs.bad_texts(&priority, names::dns_subdomain(priority.text(), false));
    }
    let runtime = at.get("runtimeClassName");
    if runtime.is_set() {
        errs.bad_texts(&runtime, names::dns_subdomain(runtime.text(), false));
    }
    errs.one_of_if_set(&at.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"]);
    for (name, amount) in at.get("overhead").entries() {
        amounts::of_resource(name, &amount, errs);
    }
    let os = at.get("os");
    let os_name = os.get("name");
    if os.is_set() && os_name.is_empty() {
        errs.required(&os_name.path, "cannot be empty");
    } else if os.is_set() && !["linux", "windows"].contains(&os_name.text()) {
        errs.not_supported(&os.path, os_name.value, &["linux", "windows"]);
    }
}

/// What holds for a Pod but not for templates.
pub fn only_pods(spec: &At<'_>, errs: &mut Errors) {
    if spec.peek_text("serviceAccountName").is_empty() {
        for volume in spec.get("volumes").items() {
            for source in volume.get("projected").get("sources").items() {
                if source.has("serviceAccountToken") {
                    let words = "must not be specified when serviceAccountName is not set";
                    errs.forbidden(&source.get("serviceAccountToken").path, words);
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).items() {
            containers::image_is_trimmed(&container, errs);
        }
    }
}

/// All containers of a spec, init containers first.
pub fn all_containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .filter_map(|list| spec.get(*list)?.as_array())
        .flatten()
}
