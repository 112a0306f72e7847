//! The scheduler's picture of the cluster, and the choice of a node in it.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use crate::filters::{FILTERS, Verdict};
use crate::quantity::{self, Amounts};
use crate::scores::SCORES;

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    pods: HashMap<String, Placed>,
    listed: Listed,
}

#[derive(Debug, Default)]
struct Listed {
    pods: Option<HashSet<String>>,
    pods_done: bool,
    nodes_done: bool,
}

/// A node and what already runs on it.
#[derive(Debug)]
pub(crate) struct NodeState {
    pub node: Node,
    pub used: Amounts,
    pub pods: usize,
    /// `(protocol, address, port)` of the host ports in use.
    pub host_ports: Vec<HostPort>,
}

pub(crate) type HostPort = (String, String, i32);

#[derive(Debug, Clone, PartialEq)]
struct Placed {
    node: String,
    requests: Amounts,
    host_ports: Vec<HostPort>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Node(String),
    Nowhere(String),
}

impl Cluster {
    pub(crate) fn is_complete(&self) -> bool {
        self.listed.pods_done && self.listed.nodes_done
    }

    pub(crate) fn pods_listing(&mut self) {
        self.listed.pods = Some(HashSet::new());
    }

    pub(crate) fn pods_listed(&mut self) {
        if let Some(seen) = self.listed.pods.take() {
            let stale: Vec<String> = self.pods.keys().filter(|k| !seen.contains(*k)).cloned().collect();
            for key in stale {
                self.remove_pod(&key);
            }
        }
        self.listed.pods_done = true;
    }

    pub(crate) fn nodes_listing(&mut self) {
        self.nodes.clear();
        self.listed.nodes_done = false;
    }

    pub(crate) fn nodes_listed(&mut self) {
        self.listed.nodes_done = true;
    }

    /// Whether this may make room for somebody.
    pub(crate) fn set_node(&mut self, node: Node) -> bool {
        let name = node.name_any();
        let same = self.nodes.get(&name).is_some_and(|s| {
            s.node.spec == node.spec
                && s.node.metadata.labels == node.metadata.labels
                && s.node.status.as_ref().map(|x| &x.allocatable)
                    == node.status.as_ref().map(|x| &x.allocatable)
        });
        let mut state = NodeState { node, used: Amounts::new(), pods: 0, host_ports: Vec::new() };
        for placed in self.pods.values().filter(|p| p.node == name) {
            state.occupy(placed);
        }
        self.nodes.insert(name, state);
        !same
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// A bound Pod; whether it released what it held (it has ended).
    pub(crate) fn set_pod(&mut self, key: String, pod: &Pod) -> bool {
        if let Some(seen) = &mut self.listed.pods {
            seen.insert(key.clone());
        }
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return self.remove_pod(&key);
        }
        let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
        self.assume(key, pod, &node);
        false
    }

    /// Count a Pod to a node, before or after its binding comes back by watch.
    pub(crate) fn assume(&mut self, key: String, pod: &Pod, node: &str) {
        let Some(spec) = &pod.spec else { return };
        let placed =
            Placed { node: node.to_owned(), requests: quantity::requests(spec), host_ports: host_ports(pod) };
        if self.pods.get(&key) == Some(&placed) {
            return;
        }
        self.remove_pod(&key);
        if let Some(state) = self.nodes.get_mut(node) {
            state.occupy(&placed);
        }
        self.pods.insert(key, placed);
    }

    pub(crate) fn remove_pod(&mut self, key: &str) -> bool {
        let Some(placed) = self.pods.remove(key) else { return false };
        if let Some(state) = self.nodes.get_mut(&placed.node) {
            state.release(&placed);
        }
        true
    }

    /// The best node, or why there is none in the reference's words.
    pub(crate) fn place(&self, pod: &Pod) -> Outcome {
        let mut fit: Vec<&NodeState> = Vec::new();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for state in self.nodes.values() {
            match FILTERS.iter().map(|f| (f.check)(pod, state)).find(|v| *v != Verdict::Fits) {
                None => fit.push(state),
                Some(Verdict::Refused(why)) => {
                    why.into_iter().for_each(|w| *reasons.entry(w).or_default() += 1)
                }
                Some(Verdict::Fits) => {}
            }
        }
        let score = |state: &NodeState| SCORES.iter().map(|s| s.weight * (s.score)(pod, state)).sum::<i64>();
        match fit.iter().max_by_key(|state| (score(state), std::cmp::Reverse(state.node.name_any()))) {
            Some(best) => Outcome::Node(best.node.name_any()),
            None => Outcome::Nowhere(self.explain(&reasons)),
        }
    }

    fn explain(&self, reasons: &BTreeMap<String, usize>) -> String {
        if self.nodes.is_empty() {
            return "no nodes available to schedule pods".to_owned();
        }
        let total = self.nodes.len();
        let mut said: Vec<String> = reasons.iter().map(|(why, n)| format!("{n} {why}")).collect();
        said.sort();
        format!(
            "0/{total} nodes are available: {}. preemption: 0/{total} nodes are available: \
             {total} Preemption is not helpful for scheduling.",
            said.join(", ")
        )
    }
}

impl NodeState {
    fn occupy(&mut self, placed: &Placed) {
        quantity::add(&mut self.used, &placed.requests);
        self.pods += 1;
        self.host_ports.extend(placed.host_ports.iter().cloned());
    }

    fn release(&mut self, placed: &Placed) {
        for (name, amount) in &placed.requests {
            *self.used.entry(name.clone()).or_default() -= amount;
        }
        self.pods -= 1;
        for port in &placed.host_ports {
            if let Some(at) = self.host_ports.iter().position(|p| p == port) {
                self.host_ports.remove(at);
            }
        }
    }

    pub(crate) fn allocatable(&self, resource: &str) -> i128 {
        let allocatable = self.node.status.as_ref().and_then(|s| s.allocatable.as_ref());
        allocatable.and_then(|a| a.get(resource)).map_or(0, quantity::milli)
    }
}

/// The host ports that a Pod asks for.
pub(crate) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let containers = pod.spec.iter().flat_map(|s| &s.containers);
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|port| *port > 0)?;
            Some((
                p.protocol.clone().unwrap_or_else(|| "TCP".into()),
                p.host_ip.clone().unwrap_or_default(),
                port,
            ))
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn node(name: &str, extra: Value) -> Node {
        let mut v = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}}});
        if let Value::Object(extra) = extra {
            v["spec"] = Value::Object(extra);
        }
        serde_json::from_value(v).unwrap()
    }

    pub(crate) fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{"name": "c"}]);
        }
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn cluster(nodes: Vec<Node>) -> Cluster {
        let mut cluster = Cluster::default();
        for node in nodes {
            cluster.set_node(node);
        }
        cluster
    }

    #[test]
    fn an_empty_cluster_says_so() {
        assert_eq!(
            cluster(vec![]).place(&pod(json!({}))),
            Outcome::Nowhere("no nodes available to schedule pods".into())
        );
    }

    #[test]
    fn a_full_node_is_passed_over_until_its_pod_goes() {
        let big = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]});
        let mut cluster = cluster(vec![node("a", json!(null))]);
        assert_eq!(cluster.place(&pod(big.clone())), Outcome::Node("a".into()));
        cluster.assume("ns/first".into(), &pod(big.clone()), "a");
        let Outcome::Nowhere(why) = cluster.place(&pod(big.clone())) else { panic!("placed") };
        assert!(why.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{why}");
        assert!(cluster.remove_pod("ns/first"));
        assert_eq!(cluster.place(&pod(big)), Outcome::Node("a".into()));
    }

    #[test]
    fn the_emptier_node_wins() {
        let some = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]});
        let mut cluster = cluster(vec![node("a", json!(null)), node("b", json!(null))]);
        cluster.assume("ns/first".into(), &pod(some.clone()), "a");
        assert_eq!(cluster.place(&pod(some)), Outcome::Node("b".into()));
    }
}
