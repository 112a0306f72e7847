//! What is served right now: the built-in kinds and the custom ones, found by path, by body or by storage.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::custom::version_rank;
use crate::kinds::{KINDS, Kind, Text};

/// The served kinds. Cheap to clone; a change makes a new catalog.
#[derive(Clone)]
pub struct Catalog(Arc<Index>);

#[derive(Default)]
struct Index {
    kinds: Vec<Arc<Kind>>,
    /// Positions by plural name; two or three share one at most, so that a lookup needs no key of its own.
    by_plural: HashMap<Text, Vec<usize>>,
    by_kind: HashMap<Text, Vec<usize>>,
    groups: Vec<Group>,
}

/// An API group and its versions, the preferred one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: Text,
    pub versions: Vec<Text>,
}

impl Group {
    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self, version: &str) -> String {
        api_version(&self.name, version)
    }
}

/// `apps/v1`, or `v1` in the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// `apps/v1` as group and version; the core group is "".
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl Catalog {
    /// The built-in kinds.
    pub fn builtin() -> Catalog {
        static BUILTIN: LazyLock<Catalog> =
            LazyLock::new(|| Catalog(Arc::new(Index::of(KINDS.iter().cloned().map(Arc::new)))));
        BUILTIN.clone()
    }

    /// The built-in kinds and these ones, whose groups follow by name.
    pub fn with_custom(mut custom: Vec<Arc<Kind>>) -> Catalog {
        let builtin = Catalog::builtin();
        custom.sort_by(|a, b| a.group.cmp(&b.group));
        let index = Index::of(builtin.0.kinds.iter().cloned().chain(custom));
        Catalog(Arc::new(index))
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.pick(self.0.by_plural.get(plural)?, |k| k.group == group && k.version == version)
    }

    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Kind>> {
        self.pick(self.0.by_kind.get(kind)?, |k| k.group == group && k.version == version)
    }

    /// The kind of a body with this `apiVersion` and `kind`.
    pub fn by_api_version(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let (group, version) = split_api_version(api_version);
        self.by_kind(group, version, kind)
    }

    /// A resource in the preferred one of the versions that serve it.
    pub fn find_any_version(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        self.pick(self.0.by_plural.get(plural)?, |k| k.group == group)
    }

    /// The row in whose version the objects of `kind` are kept: itself, unless it is a view.
    pub fn stored_as(&self, kind: &Arc<Kind>) -> Arc<Kind> {
        if !kind.is_view {
            return kind.clone();
        }
        let keeper = self.0.kinds.iter().find(|k| k.storage == kind.storage && !k.is_view);
        keeper.unwrap_or(kind).clone()
    }

    fn pick(&self, among: &[usize], fits: impl Fn(&Kind) -> bool) -> Option<Arc<Kind>> {
        among.iter().map(|&i| &self.0.kinds[i]).find(|k| fits(k)).cloned()
    }

    /// Every served row, in the order of the table.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.kinds.iter()
    }

    /// The rows of one group and version, by plural name.
    pub fn in_version(&self, group: &str, version: &str) -> Vec<Arc<Kind>> {
        let mut out: Vec<_> =
            self.kinds().filter(|k| k.group == group && k.version == version).cloned().collect();
        out.sort_by(|a, b| a.plural.cmp(&b.plural));
        out
    }

    /// Every group, the core one ("") first.
    pub fn groups(&self) -> &[Group] {
        &self.0.groups
    }

    pub fn group(&self, name: &str) -> Option<&Group> {
        self.0.groups.iter().find(|g| g.name == name)
    }

    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.group(group).is_some_and(|g| g.versions.iter().any(|v| v == version))
    }
}

impl Index {
    /// Of the served ones.
    fn of(kinds: impl IntoIterator<Item = Arc<Kind>>) -> Index {
        let mut index = Index::default();
        kinds.into_iter().filter(|kind| kind.is_served()).for_each(|kind| index.add(kind));
        index
    }

    fn add(&mut self, mut kind: Arc<Kind>) {
        if kind.singular.is_empty() {
            Arc::make_mut(&mut kind).singular = kind.kind.to_lowercase().into();
        }
        let at = self.kinds.len();
        self.by_plural.entry(kind.plural.clone()).or_default().push(at);
        self.by_kind.entry(kind.kind.clone()).or_default().push(at);
        let group = match self.groups.iter_mut().find(|g| g.name == kind.group) {
            Some(group) => group,
            None => {
                self.groups.push(Group { name: kind.group.clone(), versions: Vec::new() });
                self.groups.last_mut().expect("pushed above")
            }
        };
        if !group.versions.contains(&kind.version) {
            group.versions.push(kind.version.clone());
            if kind.is_custom() {
                // Several definitions may share a group, whatever versions each of them has.
                group.versions.sort_by_key(|v| Reverse(version_rank(v)));
            }
        }
        self.kinds.push(kind);
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.kinds()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subresource;

    #[test]
    fn finds_by_path_and_by_body() {
        let c = Catalog::builtin();
        let pod = c.find("", "v1", "pods").unwrap();
        assert_eq!((&*pod.kind, &*pod.singular, &*pod.schema), ("Pod", "pod", "io.k8s.api.core.v1.Pod"));
        assert!(c.find("apps", "v1", "pods").is_none());
        assert!(c.find("", "v1", "Pod").is_none());
        assert_eq!(c.by_api_version("apps/v1", "Deployment").unwrap().plural, "deployments");
        assert_eq!(c.find_any_version("autoscaling", "horizontalpodautoscalers").unwrap().version, "v2");
        assert_eq!(c.group("autoscaling").unwrap().versions, ["v2", "v1"]);
        assert!(c.has_version("", "v1") && !c.has_version("apps", "v9"));
    }

    #[test]
    fn a_view_is_kept_in_its_twin() {
        let c = Catalog::builtin();
        let event = c.find("events.k8s.io", "v1", "events").unwrap();
        assert_eq!(c.stored_as(&event).group, "");
        assert_eq!(c.stored_as(&c.find("", "v1", "pods").unwrap()).plural, "pods");
    }

    #[test]
    fn a_custom_kind_is_a_row_like_any_other() {
        let mut kind = KINDS[2].clone();
        kind.group = "stable.example.com".into();
        kind.kind = "CronTab".into();
        kind.plural = "crontabs".into();
        let c = Catalog::with_custom(vec![Arc::new(kind)]);
        assert_eq!(c.find("stable.example.com", "v1", "crontabs").unwrap().singular, "crontab");
        assert!(c.find("", "v1", "configmaps").is_some());
        assert_eq!(c.groups().last().unwrap().name, "stable.example.com");
    }

    #[test]
    fn subresources_speak_their_own_kinds() {
        let c = Catalog::builtin();
        let pods = c.find("", "v1", "pods").unwrap();
        assert_eq!(pods.served_as(Subresource::Eviction).group, "policy");
        assert_eq!(pods.served_as(Subresource::Exec).kind, "PodExecOptions");
        assert_eq!(pods.served_as(Subresource::Log).kind, "Pod");
    }
}
