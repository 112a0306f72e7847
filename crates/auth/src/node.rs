//! Authorisation of kubelets: what a node may read follows from the Pods that are bound to it.
//!
//! There is no graph to keep: the question is answered by looking at the node's Pods, of which there are about a
//! hundred at most.

use coracle_api::field::go_quote;
use coracle_api::object::{annotation, name, text};
use serde_json::Value;

use crate::attributes::{Attributes, ResourceTarget};
use crate::directory::Directory;
use crate::pod_references as references;
use crate::rbac::Rule;

/// The namespace of the leases by which nodes say that they are alive.
const LEASES: &str = "kube-node-lease";
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

/// `Err` says why not; empty where there is nothing to say.
type Verdict = Result<(), String>;

fn no(why: impl Into<String>) -> Verdict {
    Err(why.into())
}

fn allowed_if(yes: bool) -> Verdict {
    if yes { Ok(()) } else { Err(String::new()) }
}

/// `None` where the user is no node. `rules` are those of the role `system:node`.
pub(crate) fn decide(wish: &Attributes, directory: &dyn Directory, rules: &[Rule]) -> Option<Verdict> {
    let node = wish.user.as_node()?;
    if node.is_empty() {
        return Some(no(format!("unknown node for user {}", go_quote(&wish.user.name))));
    }
    let asking = Asking { node, verb: &wish.verb, directory };
    if let Some(target) = wish.as_resource()
        && let Some(verdict) = asking.subdivided(target)
    {
        return Some(verdict);
    }
    Some(allowed_if(rules.iter().any(|rule| rule.allows(wish))))
}

struct Asking<'a> {
    node: &'a str,
    verb: &'a str,
    directory: &'a dyn Directory,
}

impl Asking<'_> {
    /// The resources on which not every node has the same rights.
    fn subdivided(&self, target: &ResourceTarget) -> Option<Verdict> {
        Some(match (target.group.as_str(), target.resource.as_str()) {
            ("", "secrets" | "configmaps") => self.read_referenced(target),
            ("", "persistentvolumeclaims") if target.subresource == "status" => self.update_status(target),
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => self.get_one(target),
            ("", "serviceaccounts") => self.create_token(target),
            ("coordination.k8s.io", "leases") => self.lease(target),
            ("storage.k8s.io", "csinodes") => self.csi_node(target),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(target),
            ("", "nodes") => self.node_object(target),
            ("", "pods") => self.pod(target),
            _ => return None,
        })
    }

    fn related(&self, target: &ResourceTarget) -> Verdict {
        if target.name.is_empty() {
            return no("No Object name found");
        }
        if self.is_related(target) {
            return Ok(());
        }
        no(format!("no relationship found between node '{}' and this object", self.node))
    }

    fn is_related(&self, target: &ResourceTarget) -> bool {
        let (namespace, name) = (target.namespace.as_str(), target.name.as_str());
        let some_pod = |test: &dyn Fn(&Value) -> bool| {
            self.directory
                .pods_on(self.node, namespace)
                .iter()
                // A mirror Pod is of the node's own making: it must not open anything.
                .any(|pod| annotation(pod, MIRROR).is_none() && test(pod))
        };
        match target.resource.as_str() {
            "secrets" => {
                some_pod(&|pod| references::secrets(pod).any(|s| s == name))
                    || self
                        .claimed_volumes(namespace)
                        .iter()
                        .any(|v| references::volume_secret(v, namespace, name))
            }
            "configmaps" => some_pod(&|pod| references::config_maps(pod).any(|c| c == name)),
            "persistentvolumeclaims" => some_pod(&|pod| references::claims(pod).any(|c| c == name)),
            "persistentvolumes" => self.volume(name),
            "resourceclaims" => some_pod(&|pod| references::resource_claims(pod).any(|c| c == name)),
            "serviceaccounts" => some_pod(&|pod| text(pod, &["spec", "serviceAccountName"]) == name),
            "pods" => self.directory.pods_on(self.node, namespace).iter().any(|p| self::name(p) == name),
            "volumeattachments" | "resourceslices" => self
                .directory
                .object(&target.group, &target.resource, "", name)
                .is_some_and(|o| text(&o, &["spec", "nodeName"]) == self.node),
            _ => false,
        }
    }

    /// A volume belongs to the node through the claim it is bound to.
    fn volume(&self, volume: &str) -> bool {
        let Some(volume) = self.directory.object("", "persistentvolumes", "", volume) else { return false };
        let claim = |key: &str| text(&volume, &["spec", "claimRef", key]);
        let (namespace, claim) = (claim("namespace"), claim("name"));
        let pods = self.directory.pods_on(self.node, namespace);
        !claim.is_empty()
            && pods
                .iter()
                .any(|p| annotation(p, MIRROR).is_none() && references::claims(p).any(|c| c == claim))
    }

    /// The volumes behind the claims that Pods of the node use in a namespace.
    fn claimed_volumes(&self, namespace: &str) -> Vec<Value> {
        let pods = self.directory.pods_on(self.node, namespace);
        let real = pods.iter().filter(|pod| annotation(pod, MIRROR).is_none());
        real.flat_map(references::claims)
            .filter_map(|claim| self.directory.object("", "persistentvolumeclaims", namespace, &claim))
            .filter_map(|claim| {
                let volume = self.directory.object(
                    "",
                    "persistentvolumes",
                    "",
                    text(&claim, &["spec", "volumeName"]),
                )?;
                let reference = |key: &str| text(&volume, &["spec", "claimRef", key]).to_owned();
                (reference("namespace") == namespace && reference("name") == name(&claim)).then_some(volume)
            })
            .collect()
    }

    fn read_referenced(&self, target: &ResourceTarget) -> Verdict {
        if !matches!(self.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !target.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if target.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(target)
    }

    fn update_status(&self, target: &ResourceTarget) -> Verdict {
        if !matches!(self.verb, "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.related(target)
    }

    fn get_one(&self, target: &ResourceTarget) -> Verdict {
        if self.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !target.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(target)
    }

    fn create_token(&self, target: &ResourceTarget) -> Verdict {
        if self.verb != "create" || target.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if target.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(target)
    }

    fn changes_one(&self) -> bool {
        matches!(self.verb, "get" | "create" | "update" | "patch" | "delete")
    }

    fn lease(&self, target: &ResourceTarget) -> Verdict {
        if !self.changes_one() {
            return no("can only get, create, update, patch, or delete a node lease");
        }
        if target.namespace != LEASES {
            return no(format!("can only access leases in the {} system namespace", go_quote(LEASES)));
        }
        // The name of what is created is in the body; admission looks at it.
        if self.verb != "create" && target.name != self.node {
            return no("can only access node lease with the same name as the requesting node");
        }
        Ok(())
    }

    fn csi_node(&self, target: &ResourceTarget) -> Verdict {
        if !self.changes_one() {
            return no("can only get, create, update, patch, or delete a CSINode");
        }
        if !target.subresource.is_empty() {
            return no("cannot authorize CSINode subresources");
        }
        if self.verb != "create" && target.name != self.node {
            return no("can only access CSINode with the same name as the requesting node");
        }
        Ok(())
    }

    fn selects_own(&self, target: &ResourceTarget, field: &str) -> bool {
        target.fields.iter().any(|(key, value)| key == field && value == self.node)
    }

    fn resource_slice(&self, target: &ResourceTarget) -> Verdict {
        if !target.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match self.verb {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(target),
            "watch" | "list" | "deletecollection" if self.selects_own(target, "spec.nodeName") => Ok(()),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, \
                 delete, deletecollection",
            ),
        }
    }

    fn node_object(&self, target: &ResourceTarget) -> Verdict {
        match (target.subresource.as_str(), self.verb) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") if target.name == self.node => Ok(()),
            ("", "get" | "list" | "watch") if target.name.is_empty() => {
                no(format!("node '{}' cannot read all nodes, only its own Node object", self.node))
            }
            ("", "get" | "list" | "watch") => {
                no(format!("node '{}' cannot read '{}', only its own Node object", self.node, target.name))
            }
            _ => no(""),
        }
    }

    fn pod(&self, target: &ResourceTarget) -> Verdict {
        match (target.subresource.as_str(), self.verb) {
            ("", "get") => self.get_one(target),
            ("", "list" | "watch") if self.selects_own(target, "spec.nodeName") => Ok(()),
            ("", "list" | "watch") if !target.name.is_empty() => self.related(target),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => no(""),
        }
    }
}

#[cfg(test)]
mod tests;
