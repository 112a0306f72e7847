//! The chain of authorisers, and the permit that only it can make.

use std::fmt;
use std::sync::Arc;

use coracle_api::status::Status;
use coracle_api::user::{MASTERS, User};

use crate::attributes::Attributes;
use crate::bootstrap::node_rules;
use crate::directory::Directory;
use crate::node;
use crate::rbac::{Grant, Policy, Rule, Verdict};

/// Proof that a wish was authorised. Registry verbs take one; nothing outside this module can make one.
#[derive(Debug, Clone)]
pub struct Permit {
    attributes: Attributes,
    by: By,
}

/// Who allowed it.
#[derive(Debug, Clone)]
enum By {
    Masters,
    Node,
    Rbac(Grant),
}

#[derive(Debug)]
pub enum Decision {
    Allowed(Permit),
    /// The wish, and what the authorisers had to say.
    NoOpinion(Attributes, String),
}

impl Permit {
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    pub fn user(&self) -> &Arc<User> {
        &self.attributes.user
    }

    /// As in the audit annotation `authorization.k8s.io/reason`; empty for masters and nodes.
    pub fn reason(&self) -> String {
        self.by.to_string()
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Masters | By::Node => Ok(()),
            By::Rbac(grant) => grant.fmt(f),
        }
    }
}

/// system:masters, then the node authoriser, then RBAC.
#[derive(Clone)]
pub struct Authorizer {
    policy: Arc<Policy>,
    directory: Arc<dyn Directory>,
    node_rules: Arc<[Rule]>,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

impl Authorizer {
    pub fn new(policy: Arc<Policy>, directory: Arc<dyn Directory>) -> Authorizer {
        Authorizer { policy, directory, node_rules: node_rules().into() }
    }

    /// The same rules over the policy and objects of another cluster.
    pub fn with(&self, policy: Arc<Policy>, directory: Arc<dyn Directory>) -> Authorizer {
        Authorizer { policy, directory, node_rules: self.node_rules.clone() }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    /// Allowed or not, with the authorisers' words: for reviews.
    pub fn decide(&self, attributes: Attributes) -> Decision {
        if attributes.user.in_group(MASTERS) {
            return Decision::Allowed(Permit { attributes, by: By::Masters });
        }
        let mut said = match node::decide(&attributes, &*self.directory, &self.node_rules) {
            Some(Ok(())) => return Decision::Allowed(Permit { attributes, by: By::Node }),
            Some(Err(why)) => why,
            None => String::new(),
        };
        match self.policy.decide(&attributes) {
            Verdict::Allowed(grant) => Decision::Allowed(Permit { attributes, by: By::Rbac(grant) }),
            Verdict::NoOpinion(reason) => {
                if !said.is_empty() && !reason.is_empty() {
                    said.push('\n');
                }
                said.push_str(&reason);
                Decision::NoOpinion(attributes, said)
            }
        }
    }

    /// A permit, or the 403 to send.
    pub fn authorize(&self, attributes: Attributes) -> Result<Permit, Status> {
        match self.decide(attributes) {
            Decision::Allowed(permit) => Ok(permit),
            Decision::NoOpinion(attributes, reason) => Err(attributes.denial(&reason)),
        }
    }

    /// Whether the wish would be allowed.
    pub fn allows(&self, attributes: Attributes) -> bool {
        matches!(self.decide(attributes), Decision::Allowed(_))
    }
}
