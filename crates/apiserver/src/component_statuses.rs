//! ComponentStatuses: how the parts of the control plane are, asked when somebody wants to know.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use coracle_api::Status;
use coracle_store::Meta;
use serde_json::{Map, Value, json};

use crate::options::ListOptions;
use crate::registry::select::{self, Selector};
use crate::registry::{Call, Outcome, answer, key};
use crate::respond::Answer;
use crate::server::Core;

/// Why a part is not well.
pub(crate) type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The parts that run beside the server, as far as they have been made known to it.
#[derive(Default)]
pub(crate) struct Components(Mutex<BTreeMap<&'static str, Probe>>);

impl fmt::Debug for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Components")
    }
}

impl Components {
    pub(crate) fn set(&self, name: &'static str, probe: Probe) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, probe);
    }

    fn health(&self, name: &str) -> Result<(), String> {
        let probe = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        probe.map_or_else(|| Err("it does not run in this process".to_owned()), |probe| probe())
    }
}

/// The parts that the reference asks for, with the store under the name of its first etcd.
const CONTROLLER_MANAGER: &str = "controller-manager";
const SCHEDULER: &str = "scheduler";
const STORE: &str = "etcd-0";

fn all(core: &Core) -> [(&'static str, Result<(), String>); 3] {
    let store = core.store.health().map_err(|e| e.to_string());
    let of = |name| (name, core.components.health(name));
    [of(CONTROLLER_MANAGER), (STORE, store), of(SCHEDULER)]
}

fn object(name: &str, health: &Result<(), String>) -> Value {
    let (status, message) = match health {
        Ok(()) => ("True", "ok"),
        Err(why) => ("False", why.as_str()),
    };
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": status, "message": message}],
    })
}

pub(crate) async fn get(core: &Core, call: &Call) -> Result<Answer, Status> {
    let found = all(core).into_iter().find(|(name, _)| *name == call.name);
    // A plain Go error in the reference: code 500 and no reason.
    let missing = || Status::new(500, "", format!("Component not found: {}", call.name));
    let (name, health) = found.ok_or_else(missing)?;
    answer::object(core, call, 200, Outcome::Unstored(object(name, &health))).await
}

pub(crate) fn list(core: &Core, call: &Call) -> Result<Answer, Status> {
    let options = ListOptions::parse(&call.query)?;
    let selector = Selector::parse(&call.kind, &options.label_selector, &options.field_selector)?;
    let takes = |name: &str, meta: &Meta| selector.takes_unstored(&key(&call.kind, "", name), meta);
    let items = all(core).into_iter().map(|(name, health)| (name, object(name, &health)));
    let taken = items.filter(|(name, item)| takes(name, &select::meta(&call.kind, item)));
    answer::values(core, call, Map::new(), taken.map(|(_, item)| item).collect())
}
