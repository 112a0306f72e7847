//! Which objects a selector takes, decided from what the store keeps beside the bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use coracle_api::catalog::Catalog;
use coracle_api::selector::{FieldSelector, FieldTerm, LabelSelector, Operator};
use coracle_api::{Kind, Status, object};
use coracle_store::{Meta, MetaOf, Term, Version};
use serde_json::Value;

use super::skim::skim;

#[derive(Debug, Clone)]
pub(crate) struct Selector {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The row of a custom resource by whose own fields it selects. They are read from the object: each version has its
    /// own, and a definition may change them at any time.
    inside: Option<Arc<Kind>>,
}

/// Whether a field is kept with every object, whatever its kind.
fn is_outside(path: &str) -> bool {
    matches!(path, "metadata.name" | "metadata.namespace")
}

impl Selector {
    pub(crate) fn parse(kind: &Arc<Kind>, labels: &str, fields: &str) -> Result<Selector, Status> {
        let labels = LabelSelector::parse(labels)?;
        let fields = FieldSelector::parse(fields)?;
        fields.check(kind.rules.selectable())?;
        let looks_inside = kind.is_custom() && fields.terms.iter().any(|t| !is_outside(&t.path));
        Ok(Selector { labels, fields, inside: looks_inside.then(|| kind.clone()) })
    }

    /// Whether it has to see objects as their readers do.
    pub(crate) fn looks_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// What can be told without.
    pub(crate) fn outside(&self) -> Selector {
        let mut outside = Selector { inside: None, ..self.clone() };
        if self.looks_inside() {
            outside.fields.terms.retain(|t| is_outside(&t.path));
        }
        outside
    }

    /// Only the object of this name, as a read of one object through a collection verb.
    pub(crate) fn named(mut self, name: &str) -> Selector {
        if !name.is_empty() {
            let path = "metadata.name".to_owned();
            self.fields.terms.push(FieldTerm { path, value: name.to_owned(), equal: true });
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The values that every object has which the selector takes.
    pub(crate) fn terms(&self) -> Vec<Term<'_>> {
        let labels = self.labels.requirements().iter().filter_map(|r| {
            let is_one = matches!(r.operator, Operator::Equals | Operator::DoubleEquals | Operator::In);
            let [value] = r.values.as_slice() else { return None };
            is_one.then_some(Term::Label(&r.key, value))
        });
        let is_kept = |path: &str| self.inside.is_none() || is_outside(path);
        let fields = self.fields.terms.iter().filter(|t| t.equal && is_kept(&t.path));
        labels.chain(fields.map(|t| Term::Field(&t.path, &t.value))).collect()
    }

    /// The one name that the selector takes, so that a list need not look at others.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    /// Whether it takes an object that is not stored, by what a store would keep of it.
    pub(crate) fn takes_unstored(&self, key: &str, meta: &Meta) -> bool {
        self.labels.matches(&meta.labels[..]) && self.fields.matches(|path| field(key, meta, path))
    }

    pub(crate) fn takes(&self, version: &Version) -> bool {
        let kept = |path: &str| field(&version.key, &version.meta, path);
        if !self.labels.matches(&version.meta.labels[..]) {
            return false;
        }
        let Some(kind) = &self.inside else { return self.fields.matches(kept) };
        let object: Value = serde_json::from_slice(&version.json).unwrap_or_default();
        let own = self.fields.terms.iter().filter(|t| !is_outside(&t.path));
        let own: HashMap<&str, String> =
            own.map(|t| (t.path.as_str(), kind.rules.field(&object, &t.path))).collect();
        self.fields.matches(|path| own.get(path).map_or_else(|| kept(path), String::as_str))
    }
}

/// A field as a selector compares it; names come from the key, so that no object stores them twice.
fn field<'a>(key: &'a str, meta: &'a Meta, path: &str) -> &'a str {
    let mut parts = key.rsplit('/');
    match path {
        "metadata.name" => parts.next().unwrap_or_default(),
        "metadata.namespace" => {
            let (_, namespace) = (parts.next(), parts.next());
            // /registry/<storage>/<name> has no namespace.
            if key.matches('/').count() > 3 { namespace.unwrap_or_default() } else { "" }
        }
        other => meta.field(other).unwrap_or_default(),
    }
}

/// What the store keeps of an object.
pub(crate) fn meta(kind: &Kind, stored: &Value) -> Meta {
    let paths = if kind.is_custom() { &[] } else { kind.rules.selectable() };
    // No more room than is needed: that for seven more fields was 60 MB with 150,000 Pods.
    let mut fields = Vec::with_capacity(paths.len());
    fields.extend(paths.iter().filter_map(|path| match path {
        Cow::Borrowed(path) => Some((*path, kind.rules.field(stored, path))),
        Cow::Owned(_) => None,
    }));
    Meta { fields, ttl: kind.rules.time_to_live(), ..meta_of_any(stored) }
}

/// What is kept of every object, whatever its kind.
fn meta_of_any(stored: &Value) -> Meta {
    let deleted = object::text(stored, &["metadata", "deletionTimestamp"]);
    Meta {
        uid: object::uid(stored).to_owned(),
        deletion_timestamp: deleted.parse::<jiff::Timestamp>().ok().map(|t| t.as_second()),
        labels: object::labels(stored).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..Meta::default()
    }
}

/// What a store needs to keep [`Meta`]s of what it reads back from disk.
pub fn meta_of(catalog: &Catalog) -> MetaOf {
    let kinds = catalog.kinds().filter(|k| !k.is_view).map(|k| (k.storage.to_string(), k.clone()));
    let by_storage: HashMap<String, Arc<Kind>> = kinds.collect();
    Arc::new(move |key: &str, json: &[u8]| {
        let place = key.strip_prefix("/registry/").unwrap_or(key);
        // A kind is kept under a folder, or under one in another.
        let kind = place.match_indices('/').find_map(|(end, _)| by_storage.get(&place[..end]));
        let skimmed = skim(json);
        // What no row is known for is a custom resource, whose definition is read back as it is itself.
        kind.map_or_else(|| meta_of_any(&skimmed), |k| meta(k, &skimmed))
    })
}
