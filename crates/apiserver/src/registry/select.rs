//! Which objects a selector takes, decided from what the store keeps beside the bytes.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_api::catalog::Catalog;
use coracle_api::selector::{FieldSelector, FieldTerm, LabelSelector, Operator};
use coracle_api::{Kind, Status, object};
use coracle_store::{Meta, MetaOf, Term};
use serde_json::Value;

use super::skim::skim;

#[derive(Debug, Clone)]
pub(crate) struct Selector {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selector {
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Selector, Status> {
        let labels = LabelSelector::parse(labels)?;
        let fields = FieldSelector::parse(fields)?;
        fields.check(kind.rules.selectable())?;
        Ok(Selector { labels, fields })
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
        let fields = self.fields.terms.iter().filter(|t| t.equal);
        labels.chain(fields.map(|t| Term::Field(&t.path, &t.value))).collect()
    }

    /// The one name that the selector takes, so that a list need not look at others.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    pub(crate) fn takes(&self, key: &str, meta: &Meta) -> bool {
        self.labels.matches(&meta.labels[..]) && self.fields.matches(|path| field(key, meta, path))
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
    let deleted = object::text(stored, &["metadata", "deletionTimestamp"]);
    Meta {
        uid: object::uid(stored).to_owned(),
        deletion_timestamp: deleted.parse::<jiff::Timestamp>().ok().map(|t| t.as_second()),
        labels: object::labels(stored).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        fields: kind.rules.selectable().iter().map(|p| (p.clone(), kind.rules.field(stored, p))).collect(),
        ttl: kind.rules.time_to_live(),
    }
}

/// What a store needs to keep [`Meta`]s of what it reads back from disk.
pub fn meta_of(catalog: &Catalog) -> MetaOf {
    let kinds = catalog.keepers().map(|k| (k.storage.to_string(), k.clone()));
    let by_storage: HashMap<String, Arc<Kind>> = kinds.collect();
    Arc::new(move |key: &str, json: &[u8]| {
        let place = key.strip_prefix("/registry/").unwrap_or(key);
        // A kind is kept under a folder, or under one in another.
        let kind = place.match_indices('/').find_map(|(end, _)| by_storage.get(&place[..end]));
        kind.map(|k| meta(k, &skim(json))).unwrap_or_default()
    })
}
