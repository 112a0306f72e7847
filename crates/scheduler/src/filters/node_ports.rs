//! Two Pods cannot hold the same port of one node.

use k8s_openapi::api::core::v1::Pod;

use super::Verdict;
use crate::cluster::{HostPort, NodeState, host_ports};

pub(super) fn check(pod: &Pod, state: &NodeState) -> Verdict {
    let taken = host_ports(pod).iter().any(|wanted| state.host_ports.iter().any(|held| clash(wanted, held)));
    if taken {
        Verdict::refused("node(s) didn't have free ports for the requested pod ports")
    } else {
        Verdict::Fits
    }
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || any(&a.1) || any(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_clashes_with_every_address() {
        let port = |ip: &str, n| ("TCP".to_owned(), ip.to_owned(), n);
        assert!(clash(&port("", 80), &port("10.0.0.1", 80)));
        assert!(!clash(&port("10.0.0.2", 80), &port("10.0.0.1", 80)));
        assert!(!clash(&port("", 81), &port("", 80)));
    }
}
