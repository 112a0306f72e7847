//! What patches must know of a type: how its lists and maps merge. The schema engine answers; patches only ask.

use serde_json::Value;

use crate::schema::{Emit, Form, ListKind, Schema};

/// How the items of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    Atomic,
    /// Scalars, each its own owner's.
    Set,
    /// Objects, told apart by [`Facts::list_key`]s.
    Map,
}

/// The type of a value, as a cheap handle into the schema facts.
pub trait Facts: Copy {
    /// The type of an object's member: a declared field, or the value type of a map. `None` where the type allows no
    /// such member.
    fn field(self, name: &str) -> Option<Self>;

    /// Whether `name` is a declared field, and not a key of a map.
    fn declares(self, name: &str) -> bool;

    /// The type of a list's items.
    fn items(self) -> Option<Self>;

    /// `x-kubernetes-list-type`; atomic where nothing is said.
    fn list_type(self) -> ListType;

    /// The `i`th of `x-kubernetes-list-map-keys`.
    fn list_key(&self, i: usize) -> Option<&str>;

    /// The default of a list item's key (`protocol: TCP` of a port), which stands in for a missing one.
    fn key_default(self, key: &str) -> Option<Value>;

    /// `x-kubernetes-map-type: atomic`.
    fn is_atomic_map(self) -> bool;

    /// Whether Go would write this member of its parent even when it is zero: a struct by value, or a field without
    /// `omitempty`. Such a member is never newly there.
    fn always_written(self) -> bool;

    /// Whether anything goes here: the shape of the value decides how it merges.
    fn is_untyped(self) -> bool;

    /// `x-kubernetes-patch-strategy` contains `merge`.
    fn patch_merges(self) -> bool;

    /// `x-kubernetes-patch-strategy` contains `retainKeys`.
    fn patch_retains_keys(self) -> bool;

    /// `x-kubernetes-patch-merge-key`; `None` on a merging list of scalars.
    fn patch_merge_key(&self) -> Option<&str>;
}

impl Facts for Schema<'_> {
    fn field(self, name: &str) -> Option<Self> {
        Schema::field(&self, name)
    }

    fn declares(self, name: &str) -> bool {
        Schema::declares(&self, name)
    }

    fn items(self) -> Option<Self> {
        Schema::items(&self)
    }

    fn list_type(self) -> ListType {
        match self.list_kind() {
            ListKind::Atomic => ListType::Atomic,
            ListKind::Set => ListType::Set,
            ListKind::Map(_) => ListType::Map,
        }
    }

    fn list_key(&self, i: usize) -> Option<&str> {
        match self.list_kind() {
            ListKind::Map(keys) => keys.get(i).map(|k| &**k),
            _ => None,
        }
    }

    fn key_default(self, key: &str) -> Option<Value> {
        Schema::key_default(&self, key)
    }

    fn is_atomic_map(self) -> bool {
        self.is_atomic()
    }

    fn always_written(self) -> bool {
        match self.emit() {
            Some(Emit::Always | Emit::AlwaysOrNull) => true,
            Some(Emit::UnlessEmpty) => self.is_struct(),
            _ => false,
        }
    }

    fn is_untyped(self) -> bool {
        self.form() == Form::Any
    }

    fn patch_merges(self) -> bool {
        self.merges_items()
    }

    fn patch_retains_keys(self) -> bool {
        self.retains_keys()
    }

    fn patch_merge_key(&self) -> Option<&str> {
        self.merge_key()
    }
}
