//! THE LIST of filters: may this Pod run on this node at all? The first refusal is the one that is told.

pub(crate) mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources;
mod node_unschedulable;
pub(crate) mod taints;

use k8s_openapi::api::core::v1::Pod;

use crate::cluster::NodeState;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fits,
    /// In the reference's words, without the count of nodes.
    Refused(Vec<String>),
}

impl Verdict {
    fn refused(why: impl Into<String>) -> Verdict {
        Verdict::Refused(vec![why.into()])
    }
}

pub(crate) struct Filter {
    pub check: fn(&Pod, &NodeState) -> Verdict,
}

/// In the reference's order: the cheap and the final first.
pub(crate) const FILTERS: &[Filter] = &[
    Filter { check: node_unschedulable::check },
    Filter { check: node_name::check },
    Filter { check: taints::check },
    Filter { check: node_affinity::check },
    Filter { check: node_ports::check },
    Filter { check: node_resources::check },
];
