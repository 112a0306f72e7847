//! What a kubelet may write: the checks of the reference's NodeRestriction admission plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coracle_api::CertificateRequest;
use coracle_api::field::go_quote;
use coracle_api::object::{annotation, at, items, labels, name, text};
use coracle_api::status::{Resource, Status};
use coracle_api::user::{NODE_PREFIX, User};
use serde_json::Value;

use crate::attributes::{Attributes, ResourceTarget};
use crate::authorizer::Authorizer;
use crate::directory::Directory;
use crate::node::MIRROR;
use crate::pod_references as references;

const LEASES: &str = "kube-node-lease";
/// Labels in the Kubernetes domains that a kubelet may set on its node.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
const KUBELET_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESTRICTED_DOMAIN: &str = "node-restriction.kubernetes.io";

/// Whose certificates speak for a node.
const NODE_SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }
}

/// A write as admission sees it.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Of the path; empty on create.
    pub name: &'a str,
    /// As it is to be; null on delete.
    pub object: &'a Value,
    /// As it is; null on create.
    pub old: &'a Value,
}

enum Refusal {
    Forbidden(String),
    Other(Status),
}

type Checked = Result<(), Refusal>;

fn forbid(why: impl Into<String>) -> Checked {
    Err(Refusal::Forbidden(why.into()))
}

/// Whether the user, if it is a node, may write this.
pub fn check(user: &Arc<User>, write: &Write<'_>, authorizer: &Authorizer) -> Result<(), Status> {
    let Some(node) = user.as_node() else { return Ok(()) };
    let checked = if node.is_empty() {
        forbid(format!("could not determine node from user {}", go_quote(&user.name)))
    } else {
        let directory = authorizer.directory();
        Check { user, node, quoted: go_quote(node), write, directory, authorizer }.run()
    };
    checked.map_err(|refusal| match refusal {
        Refusal::Other(status) => status,
        Refusal::Forbidden(why) => {
            let resource = Resource { group: write.group, resource: write.resource };
            Status::forbidden(resource, write.object_name(), &why)
        }
    })
}

impl<'a> Write<'a> {
    fn object_name(&self) -> &'a str {
        let generated = text(self.object, &["metadata", "generateName"]);
        [self.name, name(self.object), generated].into_iter().find(|n| !n.is_empty()).unwrap_or("Unknown")
    }
}

struct Check<'a> {
    user: &'a Arc<User>,
    node: &'a str,
    quoted: String,
    write: &'a Write<'a>,
    directory: &'a dyn Directory,
    authorizer: &'a Authorizer,
}

impl Check<'_> {
    fn run(&self) -> Checked {
        let w = self.write;
        match (w.group, w.resource, w.subresource) {
            ("", "pods", "") => self.pod(),
            ("", "pods", "status") => self.pod_status(),
            ("", "pods", "eviction") => self.eviction(),
            ("", "pods", other) => forbid(format!(
                "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
                go_quote(other)
            )),
            ("", "nodes", _) => self.node_object(),
            ("", "persistentvolumeclaims", "status") => self.claim_status(),
            ("", "persistentvolumeclaims", _) => forbid("may only update PVC status"),
            ("", "serviceaccounts", "token") if w.operation == Operation::Create => self.token(),
            ("coordination.k8s.io", "leases", _) => self.lease(),
            ("storage.k8s.io", "csinodes", _) => {
                self.own_name("can only access CSINode with the same name as the requesting node")
            }
            ("resource.k8s.io", "resourceslices", _) => self.resource_slice(),
            ("certificates.k8s.io", "certificatesigningrequests", "") if w.operation == Operation::Create => {
                self.certificate()
            }
            _ => Ok(()),
        }
    }

    fn unexpected(&self) -> Checked {
        forbid(format!("unexpected operation {}", go_quote(self.write.operation.name())))
    }

    /// The Pod as it is stored, or its 404.
    fn stored_pod(&self, pod: &str) -> Result<Value, Refusal> {
        self.directory
            .object("", "pods", self.write.namespace, pod)
            .ok_or_else(|| Refusal::Other(Status::not_found(Resource { group: "", resource: "pods" }, pod)))
    }

    fn bound_here(&self, pod: &Value) -> bool {
        text(pod, &["spec", "nodeName"]) == self.node
    }

    fn pod(&self) -> Checked {
        match self.write.operation {
            Operation::Create => self.mirror_pod(),
            Operation::Delete => {
                if self.bound_here(&self.stored_pod(self.write.name)?) {
                    return Ok(());
                }
                forbid(format!("node {} can only delete pods with spec.nodeName set to itself", self.quoted))
            }
            Operation::Update => forbid(format!(
                "unexpected operation \"UPDATE\", node {} can only create and delete mirror pods",
                self.quoted
            )),
        }
    }

    fn mirror_pod(&self) -> Checked {
        let pod = self.write.object;
        if annotation(pod, MIRROR).is_none() {
            return forbid(format!(
                "pod does not have {} annotation, node {} can only create mirror pods",
                go_quote(MIRROR),
                self.quoted
            ));
        }
        if !self.bound_here(pod) {
            return forbid(format!(
                "node {} can only create pods with spec.nodeName set to itself",
                self.quoted
            ));
        }
        self.mirror_owner(items(pod, &["metadata", "ownerReferences"]))?;
        let says =
            |what: &str| forbid(format!("node {} can not create pods that reference {what}", self.quoted));
        if !text(pod, &["spec", "serviceAccountName"]).is_empty() {
            return says("a service account");
        }
        if references::secrets(pod).next().is_some() {
            return says("secrets");
        }
        if references::config_maps(pod).next().is_some() {
            return says("configmaps");
        }
        let volumes = items(pod, &["spec", "volumes"]);
        let sources = || volumes.iter().flat_map(|v| items(v, &["projected", "sources"]));
        if sources().any(|s| s.get("clusterTrustBundle").is_some()) {
            return says("clustertrustbundles");
        }
        if sources().any(|s| s.get("podCertificate").is_some()) {
            return says("podcertificates");
        }
        if volumes.iter().any(|v| v.get("persistentVolumeClaim").is_some()) {
            return says("persistentvolumeclaims");
        }
        if !items(pod, &["spec", "resourceClaims"]).is_empty() {
            return says("resourceclaims");
        }
        Ok(())
    }

    fn mirror_owner(&self, owners: &[Value]) -> Checked {
        let says = |what: &str| forbid(format!("node {} {what}", self.quoted));
        let owner = match owners {
            [] => return says("can only create pods with an owner reference set to itself"),
            [owner] => owner,
            _ => return says("can only create pods with a single owner reference set to itself"),
        };
        let is = |key: &str, value: &str| text(owner, &[key]) == value;
        if !(is("apiVersion", "v1") && is("kind", "Node") && is("name", self.node)) {
            return says("can only create pods with an owner reference set to itself");
        }
        if at(owner, &["controller"]) != &Value::Bool(true) {
            return says("can only create pods with a controller owner reference set to itself");
        }
        if at(owner, &["blockOwnerDeletion"]) == &Value::Bool(true) {
            return says("must not set blockOwnerDeletion on an owner reference");
        }
        let resource = Resource { group: "", resource: "nodes" };
        let found = self.directory.node(self.node);
        let found = found.ok_or_else(|| Refusal::Other(Status::not_found(resource, self.node)))?;
        let claimed = text(owner, &["uid"]);
        if claimed != found.uid {
            return forbid(format!("node {} UID mismatch: expected {claimed} got {}", self.node, found.uid));
        }
        Ok(())
    }

    fn pod_status(&self) -> Checked {
        let (old, new) = (self.write.old, self.write.object);
        if self.write.operation != Operation::Update {
            return self.unexpected();
        }
        if !self.bound_here(old) {
            return forbid(format!(
                "node {} can only update pod status for pods with spec.nodeName set to itself",
                self.quoted
            ));
        }
        if !changed_labels(old, new).is_empty() {
            return forbid(format!("node {} cannot update labels through pod status", self.quoted));
        }
        let claims = |pod| at(pod, &["status", "resourceClaimStatuses"]);
        if claims(old) != claims(new) {
            return forbid(format!("node {} cannot update resource claim statues", self.quoted));
        }
        Ok(())
    }

    fn eviction(&self) -> Checked {
        if self.write.operation != Operation::Create {
            return self.unexpected();
        }
        let pod = if self.write.name.is_empty() { name(self.write.object) } else { self.write.name };
        if pod.is_empty() {
            return forbid("could not determine pod from request data");
        }
        if self.bound_here(&self.stored_pod(pod)?) {
            return Ok(());
        }
        forbid(format!("node {} can only evict pods with spec.nodeName set to itself", self.node))
    }

    /// Only what the kubelet learns by growing a volume may change.
    fn claim_status(&self) -> Checked {
        if self.write.operation != Operation::Update {
            return self.unexpected();
        }
        let rest = |claim: &Value| {
            let mut claim = claim.clone();
            for (part, keys) in [
                ("metadata", &["resourceVersion", "managedFields"][..]),
                (
                    "status",
                    &["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"][..],
                ),
            ] {
                let Some(part) = claim.get_mut(part).and_then(Value::as_object_mut) else { continue };
                part.retain(|key, _| !keys.contains(&key.as_str()));
            }
            claim
        };
        if rest(self.write.old) == rest(self.write.object) {
            return Ok(());
        }
        forbid(format!(
            "node {} is not allowed to update fields other than status.capacity and status.conditions",
            self.quoted
        ))
    }

    fn node_object(&self) -> Checked {
        let (old, new) = (self.write.old, self.write.object);
        let requested = if self.write.name.is_empty() { name(new) } else { self.write.name };
        if requested != self.node {
            let other = go_quote(requested);
            return forbid(format!("node {} is not allowed to modify node {other}", self.quoted));
        }
        let config = |node| at(node, &["spec", "configSource"]);
        match self.write.operation {
            Operation::Delete => Ok(()),
            Operation::Create => {
                if !config(new).is_null() {
                    return forbid(format!(
                        "node {} is not allowed to create pods with a non-nil configSource",
                        self.quoted
                    ));
                }
                let forbidden = forbidden_labels(&changed_labels(&Value::Null, new));
                if forbidden.is_empty() {
                    return Ok(());
                }
                let list = forbidden.join(", ");
                forbid(format!("node {} is not allowed to set the following labels: {list}", self.quoted))
            }
            Operation::Update => {
                let says = |what: &str| forbid(format!("node {} is not allowed to {what}", self.quoted));
                if !config(new).is_null() && config(new) != config(old) {
                    return says("update configSource to a new non-nil configSource");
                }
                if items(old, &["spec", "taints"]) != items(new, &["spec", "taints"]) {
                    return says("modify taints");
                }
                let owners = |node| items(node, &["metadata", "ownerReferences"]);
                if owners(old) != owners(new) {
                    return says("modify ownerReferences");
                }
                let forbidden = forbidden_labels(&changed_labels(old, new));
                if forbidden.is_empty() {
                    return Ok(());
                }
                forbid(format!("is not allowed to modify labels: {}", forbidden.join(", ")))
            }
        }
    }

    fn token(&self) -> Checked {
        let request = self.write.object;
        let bound = |key: &str| text(request, &["spec", "boundObjectRef", key]);
        if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
            return forbid("node requested token not bound to a pod");
        }
        if bound("uid").is_empty() {
            return forbid("node requested token with a pod binding without a uid");
        }
        let pod = self.stored_pod(bound("name"))?;
        if text(&pod, &["metadata", "uid"]) != bound("uid") {
            return forbid(format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have \
                 been deleted and then recreated",
                bound("uid")
            ));
        }
        if !self.bound_here(&pod) {
            return forbid("node requested token bound to a pod scheduled on a different node");
        }
        self.audience(&pod, items(request, &["spec", "audiences"]))
    }

    /// A node gets tokens only for the audiences that its Pod asks for, or that RBAC lets it ask for.
    fn audience(&self, pod: &Value, audiences: &[Value]) -> Checked {
        let wanted = match audiences {
            [] => "",
            [one] => one.as_str().unwrap_or(""),
            _ => return forbid("node may only request 0 or 1 audiences"),
        };
        let projected = items(pod, &["spec", "volumes"])
            .iter()
            .flat_map(|v| items(v, &["projected", "sources"]))
            .filter_map(|s| s.get("serviceAccountToken"))
            .any(|t| text(t, &["audience"]) == wanted);
        if projected || self.driver_wants(pod, wanted) || self.may_request(wanted) {
            return Ok(());
        }
        forbid(format!(
            "audience {} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            go_quote(wanted),
            self.user.name
        ))
    }

    /// Whether a CSI driver of one of the Pod's volumes asks for tokens of this audience.
    fn driver_wants(&self, pod: &Value, audience: &str) -> bool {
        let namespace = self.write.namespace;
        let inline = items(pod, &["spec", "volumes"]).iter().map(|v| text(v, &["csi", "driver"]).to_owned());
        let claimed = references::claims(pod).filter_map(|claim| {
            let claim = self.directory.object("", "persistentvolumeclaims", namespace, &claim)?;
            let volume = text(&claim, &["spec", "volumeName"]);
            let volume = self.directory.object("", "persistentvolumes", "", volume)?;
            Some(text(&volume, &["spec", "csi", "driver"]).to_owned())
        });
        inline
            .chain(claimed)
            .filter(|driver| !driver.is_empty())
            .filter_map(|driver| self.directory.object("storage.k8s.io", "csidrivers", "", &driver))
            .any(|d| items(&d, &["spec", "tokenRequests"]).iter().any(|r| text(r, &["audience"]) == audience))
    }

    /// The audience is the resource, the service account the name.
    fn may_request(&self, audience: &str) -> bool {
        let target = ResourceTarget::new("", audience).within(self.write.namespace).named(self.write.name);
        let verb = "request-serviceaccounts-token-audience";
        !audience.is_empty()
            && self.authorizer.allows(Attributes::resource(Arc::clone(self.user), verb, target))
    }

    fn lease(&self) -> Checked {
        if self.write.namespace != LEASES {
            return forbid(format!("can only access leases in the {} system namespace", go_quote(LEASES)));
        }
        self.own_name("can only access node lease with the same name as the requesting node")
    }

    fn own_name(&self, otherwise: &str) -> Checked {
        let creates = self.write.operation == Operation::Create;
        let named = if creates { name(self.write.object) } else { self.write.name };
        if named == self.node { Ok(()) } else { forbid(otherwise) }
    }

    fn resource_slice(&self) -> Checked {
        let (slice, verb) = match self.write.operation {
            Operation::Create => (self.write.object, "create"),
            Operation::Update => (self.write.old, "update"),
            Operation::Delete => (self.write.old, "delete"),
        };
        if text(slice, &["spec", "nodeName"]) == self.node {
            return Ok(());
        }
        forbid(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node"))
    }
}

impl Check<'_> {
    /// A node asks for certificates in its own name only.
    fn certificate(&self) -> Checked {
        let request = self.write.object;
        if !NODE_SIGNERS.contains(&text(request, &["spec", "signerName"])) {
            return Ok(());
        }
        match CertificateRequest::parse(text(request, &["spec", "request"])) {
            Err(why) => forbid(format!("unable to parse csr: {why}")),
            Ok(asked) if asked.common_name.strip_prefix(NODE_PREFIX) == Some(self.node) => Ok(()),
            Ok(_) => forbid(format!("can only create a node CSR with CN={NODE_PREFIX}{}", self.node)),
        }
    }
}

fn changed_labels(old: &Value, new: &Value) -> BTreeSet<String> {
    let (old, new): (BTreeMap<&str, &str>, BTreeMap<&str, &str>) =
        (labels(old).collect(), labels(new).collect());
    old.keys().chain(new.keys()).filter(|k| old.get(*k) != new.get(*k)).map(|k| (*k).to_owned()).collect()
}

/// Those by which a node could draw work to itself.
fn forbidden_labels(changed: &BTreeSet<String>) -> Vec<String> {
    let within = |domain: &str, parent: &str| {
        domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    changed
        .iter()
        .filter(|label| {
            let domain = label.split_once('/').map_or("", |(domain, _)| domain);
            let of_kubernetes = within(domain, "kubernetes.io") || within(domain, "k8s.io");
            let of_kubelet = KUBELET_LABELS.contains(&label.as_str())
                || KUBELET_LABEL_DOMAINS.iter().any(|d| within(domain, d));
            within(domain, RESTRICTED_DOMAIN) || of_kubernetes && !of_kubelet
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
