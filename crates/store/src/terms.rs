//! Which objects have a label or a field of a value, for selectors that ask for one: the index beside the map of all.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use imbl::OrdSet;

use crate::index::Root;
use crate::{Event, Meta, Version, covers};

/// The fields that are asked for often enough to keep: every kubelet lists and watches its node's Pods.
const FIELDS: [&str; 1] = ["spec.nodeName"];

/// One value that a selector demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term<'a> {
    Label(&'a str, &'a str),
    Field(&'a str, &'a str),
}

impl Term<'_> {
    /// Whether objects are found by it. An empty field is what most have, and so finds nothing.
    fn is_kept(&self) -> bool {
        match self {
            Term::Label(..) => true,
            Term::Field(path, value) => FIELDS.contains(path) && !value.is_empty(),
        }
    }
}

/// A term's hash and the key of an object that has it. Who finds a key looks at the object again, so that hashes which
/// meet do no harm; a set of these costs some 40 bytes a label.
type Entry = (u64, Arc<str>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    entries: OrdSet<Entry>,
    hasher: RandomState,
}

impl Terms {
    pub(crate) fn of(root: &Root) -> Terms {
        let terms = Terms::default();
        let entries = root.values().flat_map(|version| terms.entries_of(version));
        let mut entries: Vec<Entry> = entries.collect();
        // Keys come in order and a stable sort leaves them so. What is put into a set in its order finds its place at
        // once; in the order of the keys it costs a miss of the cache at every level.
        entries.sort_by_key(|(hash, _)| *hash);
        Terms { entries: entries.into_iter().collect(), ..terms }
    }

    fn entries_of<'a>(&'a self, version: &'a Version) -> impl Iterator<Item = Entry> + 'a {
        kept(&version.meta).map(|term| (self.hash(term), version.key.clone()))
    }

    fn hash(&self, term: Term<'_>) -> u64 {
        match term {
            Term::Label(name, value) => self.hasher.hash_one(("label", name, value)),
            Term::Field(path, value) => self.hasher.hash_one(("field", path, value)),
        }
    }

    fn add(&mut self, version: &Version) {
        let entries: Vec<Entry> = self.entries_of(version).collect();
        self.entries.extend(entries);
    }

    fn remove(&mut self, version: &Version) {
        let entries: Vec<Entry> = self.entries_of(version).collect();
        for entry in &entries {
            self.entries.remove(entry);
        }
    }

    pub(crate) fn apply(&mut self, event: &Event) {
        let meta = |version: &Option<Arc<Version>>| version.as_ref().map(|v| v.meta.clone());
        // Most updates change no label.
        if let (Some(prev), Some(now)) = (meta(&event.prev), meta(&event.now))
            && prev.labels == now.labels
            && FIELDS.iter().all(|path| prev.field(path) == now.field(path))
        {
            return;
        }
        event.prev.iter().for_each(|prev| self.remove(prev));
        event.now.iter().for_each(|now| self.add(now));
    }

    /// The keys under `prefix` that may have `term`, in order, from the first after `start_after`.
    fn keys<'a>(
        &'a self,
        term: Term<'_>,
        prefix: &'a str,
        start_after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let hash = self.hash(term);
        let from = start_after.filter(|key| *key >= prefix).unwrap_or(prefix);
        let after = start_after.map(str::to_owned);
        self.entries
            .range((hash, Arc::from(from))..)
            .take_while(move |(h, key)| *h == hash && covers(prefix, key))
            .map(|(_, key)| key)
            .filter(move |key| after.as_deref() != Some(key))
    }

    /// The fewest keys that one of `terms` leaves; `None` where none of them is kept.
    pub(crate) fn fewest(
        &self,
        terms: &[Term<'_>],
        prefix: &str,
        start_after: Option<&str>,
    ) -> Option<Vec<Arc<str>>> {
        let kept = terms.iter().filter(|t| t.is_kept());
        let mut found: Vec<_> =
            kept.map(|t| (self.keys(*t, prefix, start_after), Vec::<Arc<str>>::new())).collect();
        // In step: the shortest ends first, and the longer ones cost no more than it.
        while !found.is_empty() {
            for (keys, taken) in &mut found {
                match keys.next() {
                    Some(key) => taken.push(key.clone()),
                    None => return Some(std::mem::take(taken)),
                }
            }
        }
        None
    }
}

fn kept(meta: &Meta) -> impl Iterator<Item = Term<'_>> {
    let labels = meta.labels.iter().map(|(name, value)| Term::Label(name, value));
    let fields = meta.fields.iter().map(|(path, value)| Term::Field(path, value));
    labels.chain(fields).filter(Term::is_kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, labels: &[(&str, &str)], node: &str) -> Arc<Version> {
        let meta = Meta {
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            fields: vec![("spec.nodeName", node.to_owned())],
            ..Meta::default()
        };
        let draft = crate::Draft { meta: Arc::new(meta), ..crate::Draft::default() };
        Arc::new(Version::assemble(format!("/registry/pods/{name}").into(), 1, draft))
    }

    fn said(terms: &Terms, asked: &[Term<'_>], prefix: &str, after: Option<&str>) -> String {
        match terms.fewest(asked, prefix, after) {
            Some(keys) => keys.join(" ").replace("/registry/pods/", ""),
            None => "all".to_owned(),
        }
    }

    #[test]
    fn finds_by_the_rarest_term_and_follows_changes() {
        let mut terms = Terms::default();
        let (app, web, n1) =
            (Term::Label("app", "a"), Term::Label("tier", "web"), Term::Field("spec.nodeName", "n1"));
        let made = [
            version("x/1", &[("app", "a"), ("tier", "web")], "n1"),
            version("x/2", &[("app", "a")], ""),
            version("y/3", &[("app", "a")], "n1"),
        ];
        for now in &made {
            terms.apply(&Event::new(1, now.key.clone(), None, Some(now.clone())));
        }
        let pods = "/registry/pods/";
        assert_eq!(said(&terms, &[app], pods, None), "x/1 x/2 y/3");
        assert_eq!(said(&terms, &[app], "/registry/pods/x/", None), "x/1 x/2");
        assert_eq!(said(&terms, &[app], pods, Some("/registry/pods/x/1")), "x/2 y/3");
        assert_eq!(said(&terms, &[app, web], pods, None), "x/1");
        assert_eq!(said(&terms, &[n1], pods, None), "x/1 y/3");
        assert_eq!(said(&terms, &[Term::Label("app", "b"), app], pods, None), "");
        assert_eq!(said(&terms, &[Term::Field("spec.nodeName", "")], pods, None), "all");
        assert_eq!(said(&terms, &[Term::Field("status.phase", "Running")], pods, None), "all");
        let moved = version("x/1", &[("app", "b")], "n2");
        terms.apply(&Event::new(2, moved.key.clone(), Some(made[0].clone()), Some(moved)));
        terms.apply(&Event::new(3, made[2].key.clone(), Some(made[2].clone()), None));
        assert_eq!(said(&terms, &[app], pods, None), "x/2");
        assert_eq!(said(&terms, &[n1], pods, None), "");
        assert_eq!(terms.entries.len(), 3);
    }
}
