//! Admission that objects of the cluster describe: webhooks and policies.
//!
//! [`Hooks`] follows those objects as the index of RBAC policies follows roles: a hook is in force before its write is
//! acknowledged. A write that none of them is for costs two loads of a flag.

mod conditions;
mod matching;
mod mutation;
mod policy;
mod request;
mod webhooks;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use coracle_api::catalog::Catalog;
use coracle_api::{Status, Subresource};
use coracle_store::{Event, Observer};
use imbl::OrdMap;
use serde_json::Value;

use super::{Admit, Operation};
use policy::{Binding, Policy};
use webhooks::Hook;

pub(crate) const GROUP: &str = "admissionregistration.k8s.io";

/// By the name of the configuration.
type Configured = OrdMap<String, Arc<Vec<Hook>>>;

/// What is in force at one moment.
#[derive(Clone, Default)]
struct State {
    mutating: Configured,
    validating: Configured,
    policies: OrdMap<String, Arc<Policy>>,
    bindings: OrdMap<String, Arc<Binding>>,
    mutating_policies: OrdMap<String, Arc<Policy>>,
    mutating_bindings: OrdMap<String, Arc<Binding>>,
}

/// The hooks of a cluster.
#[derive(Default)]
pub(crate) struct Hooks {
    state: RwLock<Arc<State>>,
    has_mutating: AtomicBool,
    has_validating: AtomicBool,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

impl Hooks {
    /// The same hooks, which change on their own from now on.
    pub(crate) fn fork(&self) -> Hooks {
        let hooks = Hooks::default();
        hooks.replace(State::clone(&self.state()));
        hooks
    }

    fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, state: State) {
        let has_validating =
            !state.validating.is_empty() || !(state.policies.is_empty() || state.bindings.is_empty());
        let has_mutating = !state.mutating.is_empty()
            || !(state.mutating_policies.is_empty() || state.mutating_bindings.is_empty());
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.has_mutating.store(has_mutating, Ordering::Release);
        self.has_validating.store(has_validating, Ordering::Release);
    }

    fn apply(&self, plural: &str, name: &str, now: Option<&Value>) {
        let mut state = State::clone(&self.state());
        match plural {
            "mutatingwebhookconfigurations" => put(&mut state.mutating, name, now, Hook::read_all),
            "validatingwebhookconfigurations" => put(&mut state.validating, name, now, Hook::read_all),
            "validatingadmissionpolicies" => put(&mut state.policies, name, now, Policy::read),
            "validatingadmissionpolicybindings" => put(&mut state.bindings, name, now, Binding::read),
            "mutatingadmissionpolicies" => put(&mut state.mutating_policies, name, now, Policy::read),
            "mutatingadmissionpolicybindings" => put(&mut state.mutating_bindings, name, now, Binding::read),
            _ => return,
        }
        self.replace(state);
    }
}

fn put<T>(map: &mut OrdMap<String, Arc<T>>, name: &str, now: Option<&Value>, read: fn(&Value) -> T) {
    match now {
        Some(object) => map.insert(name.to_owned(), Arc::new(read(object))),
        None => map.remove(name),
    };
}

/// What has `hooks` follow the configurations in a store, each kind with its prefix.
pub(crate) fn observers(catalog: &Catalog, hooks: &Arc<Hooks>) -> Vec<(String, Observer)> {
    let kinds = catalog.kinds().filter(|k| k.group == GROUP);
    let observers = kinds.map(|kind| {
        let (hooks, plural) = (hooks.clone(), kind.plural.clone());
        let prefix = format!("/registry/{}/", kind.storage);
        let inside = prefix.clone();
        let apply = move |event: &Event| {
            let name = event.key.strip_prefix(&*inside).unwrap_or_default();
            let now = event.now.as_ref().and_then(|v| serde_json::from_slice::<Value>(&v.json).ok());
            hooks.apply(&plural, name, now.as_ref());
        };
        (prefix, Box::new(apply) as Observer)
    });
    observers.collect()
}

/// What decides on admission is not itself subject to it: a hook that refuses everything can be taken away. And who was
/// asked about an eviction or a binding is not asked again about the deletion or the change that it comes to.
fn is_exempt(admit: &Admit<'_>) -> bool {
    let follows = matches!(
        (admit.operation, admit.sub),
        (Operation::Delete, Some(Subresource::Eviction)) | (Operation::Update, Some(Subresource::Binding))
    );
    admit.resource.group == GROUP || follows
}

/// Has everybody who may change the object do so.
pub(crate) async fn mutate(admit: &Admit<'_>, obj: &mut Value) -> Result<(), Status> {
    let hooks = &admit.core.hooks;
    if !hooks.has_mutating.load(Ordering::Acquire) || is_exempt(admit) {
        return Ok(());
    }
    // In a box, so that a write that no hook is for need not have room for this.
    Box::pin(webhooks::mutate(admit, hooks.state(), obj)).await
}

/// Asks everybody who may refuse. `obj` is `None` for a deletion.
pub(crate) async fn validate(admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
    let hooks = &admit.core.hooks;
    if !hooks.has_validating.load(Ordering::Acquire) || is_exempt(admit) {
        return Ok(());
    }
    let state = hooks.state();
    Box::pin(policy::validate(admit, &state, obj)).await?;
    if state.validating.is_empty() {
        return Ok(());
    }
    Box::pin(webhooks::validate(admit, state, obj)).await
}
