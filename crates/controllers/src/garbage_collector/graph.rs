//! Who owns whom, by uid: the collector's picture of the cluster, and what it says must be done about an object.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

pub(crate) const ORPHAN: &str = "orphan";
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// An object as the collector knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub uid: String,
    /// Index into the collector's list of resources.
    pub resource: usize,
    pub namespace: String,
    pub name: String,
    pub owners: Vec<OwnerReference>,
    pub deleting: bool,
    pub finalizers: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, BTreeSet<String>>,
    /// Owners that were asked for by GET and do not exist. A uid is never used again, so this never goes stale.
    absent: HashSet<String>,
}

/// What to do about one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Nothing,
    /// Owners that the graph does not know: ask the API whether they exist.
    Verify(Vec<OwnerReference>),
    /// Every owner is gone.
    Delete,
    /// Some owners are gone, others stay: forget the ones that are gone.
    DropOwners(Vec<String>),
    /// It waits for its dependents: delete these.
    DeleteDependents(Vec<String>),
    /// It waits for nobody any more.
    RemoveFinalizer(&'static str),
    /// Its dependents are to live on without it.
    Orphan(Vec<String>),
}

impl Graph {
    /// Take note of an object; the uids whose fate may have changed.
    pub(crate) fn insert(&mut self, node: Node) -> Vec<String> {
        self.forget_owners(&node.uid);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(node.uid.clone());
        }
        let mut touched = vec![node.uid.clone()];
        touched.extend(node.owners.iter().map(|o| o.uid.clone()).filter(|uid| self.nodes.contains_key(uid)));
        self.nodes.insert(node.uid.clone(), node);
        touched
    }

    /// An object is gone; its dependents and its owners may have to act.
    pub(crate) fn remove(&mut self, uid: &str) -> Vec<String> {
        let owners = self.forget_owners(uid);
        self.nodes.remove(uid);
        self.absent.insert(uid.to_owned());
        let mut touched: Vec<String> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        if touched.is_empty() {
            self.absent.remove(uid);
        }
        touched.extend(owners);
        touched
    }

    /// The API says that this owner does not exist.
    pub(crate) fn mark_absent(&mut self, uid: &str) {
        self.absent.insert(uid.to_owned());
    }

    pub(crate) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Every object of a resource that is not among `seen`: what a fresh list no longer shows.
    pub(crate) fn unseen(&self, resource: usize, seen: &HashSet<String>) -> Vec<String> {
        let stale = self.nodes.values().filter(|n| n.resource == resource && !seen.contains(&n.uid));
        stale.map(|n| n.uid.clone()).collect()
    }

    fn forget_owners(&mut self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        let owners: Vec<String> = node.owners.iter().map(|o| o.uid.clone()).collect();
        for owner in &owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                    self.absent.remove(owner);
                }
            }
        }
        owners
    }

    fn dependents_of(&self, uid: &str) -> Vec<&Node> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|d| self.nodes.get(d)).collect()
    }

    /// What an object's owners, dependents and finalizers demand now.
    pub(crate) fn plan(&self, uid: &str) -> Step {
        let Some(node) = self.nodes.get(uid) else { return Step::Nothing };
        if node.deleting {
            return self.plan_deleting(node);
        }
        if node.owners.is_empty() {
            return Step::Nothing;
        }
        let mut by_state: BTreeMap<State, Vec<&OwnerReference>> = BTreeMap::new();
        for owner in &node.owners {
            by_state.entry(self.state(owner)).or_default().push(owner);
        }
        if let Some(unknown) = by_state.get(&State::Unknown) {
            return Step::Verify(unknown.iter().map(|o| (*o).clone()).collect());
        }
        let uids =
            |state| by_state.get(&state).into_iter().flatten().map(|o: &&OwnerReference| o.uid.clone());
        let leaving: Vec<String> = uids(State::Absent).chain(uids(State::Waiting)).collect();
        if by_state.contains_key(&State::Present) {
            if leaving.is_empty() { Step::Nothing } else { Step::DropOwners(leaving) }
        } else {
            Step::Delete
        }
    }

    fn plan_deleting(&self, node: &Node) -> Step {
        let dependents = self.dependents_of(&node.uid);
        if node.finalizers.iter().any(|f| f == ORPHAN) {
            let all: Vec<String> = dependents.iter().map(|d| d.uid.clone()).collect();
            return if all.is_empty() { Step::RemoveFinalizer(ORPHAN) } else { Step::Orphan(all) };
        }
        if !node.finalizers.iter().any(|f| f == FOREGROUND) {
            return Step::Nothing;
        }
        let blocks =
            |d: &&&Node| d.owners.iter().any(|o| o.uid == node.uid && o.block_owner_deletion == Some(true));
        if !dependents.iter().any(|d| blocks(&d)) {
            return Step::RemoveFinalizer(FOREGROUND);
        }
        let live: Vec<String> = dependents.iter().filter(|d| !d.deleting).map(|d| d.uid.clone()).collect();
        if live.is_empty() { Step::Nothing } else { Step::DeleteDependents(live) }
    }

    fn state(&self, owner: &OwnerReference) -> State {
        match self.nodes.get(&owner.uid) {
            Some(n) if n.deleting && n.finalizers.iter().any(|f| f == FOREGROUND) => State::Waiting,
            Some(_) => State::Present,
            None if self.absent.contains(&owner.uid) => State::Absent,
            None => State::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Present,
    Absent,
    /// Being deleted in the foreground: waits for this dependent to go.
    Waiting,
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str, owners: &[&str]) -> Node {
        let owner = |uid: &&str| OwnerReference {
            uid: (*uid).to_owned(),
            name: (*uid).to_owned(),
            block_owner_deletion: Some(true),
            ..OwnerReference::default()
        };
        Node {
            uid: uid.into(),
            resource: 0,
            namespace: "ns".into(),
            name: uid.into(),
            owners: owners.iter().map(owner).collect(),
            deleting: false,
            finalizers: vec![],
        }
    }

    fn deleting(uid: &str, finalizer: &str) -> Node {
        Node { deleting: true, finalizers: vec![finalizer.into()], ..node(uid, &[]) }
    }

    #[test]
    fn a_dependent_goes_when_its_last_owner_went() {
        let mut g = Graph::default();
        g.insert(node("owner", &[]));
        g.insert(node("other", &[]));
        g.insert(node("d", &["owner", "other"]));
        assert_eq!(g.plan("d"), Step::Nothing);
        assert_eq!(g.remove("owner"), ["d"]);
        assert_eq!(g.plan("d"), Step::DropOwners(vec!["owner".into()]));
        g.remove("other");
        assert_eq!(g.plan("d"), Step::Delete);
    }

    #[test]
    fn an_owner_nobody_has_seen_is_looked_up_before_anything_is_deleted() {
        let mut g = Graph::default();
        g.insert(node("d", &["ghost"]));
        assert!(matches!(g.plan("d"), Step::Verify(owners) if owners[0].uid == "ghost"));
        g.mark_absent("ghost");
        assert_eq!(g.plan("d"), Step::Delete);
    }

    #[test]
    fn foreground_waits_for_blocking_dependents_and_orphan_frees_them() {
        let mut g = Graph::default();
        g.insert(deleting("owner", FOREGROUND));
        g.insert(node("d", &["owner"]));
        assert_eq!(g.plan("owner"), Step::DeleteDependents(vec!["d".into()]));
        assert_eq!(g.plan("d"), Step::Delete);
        assert_eq!(g.remove("d"), ["owner"]);
        assert_eq!(g.plan("owner"), Step::RemoveFinalizer(FOREGROUND));

        g.insert(deleting("owner", ORPHAN));
        g.insert(node("d", &["owner"]));
        assert_eq!(g.plan("owner"), Step::Orphan(vec!["d".into()]));
        g.insert(node("d", &[]));
        assert_eq!(g.plan("owner"), Step::RemoveFinalizer(ORPHAN));
    }
}
