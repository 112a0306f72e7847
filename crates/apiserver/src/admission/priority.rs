//! A Pod's priority is its class's: nobody sets the number themselves.

use coracle_api::codec::json;
use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::{Admit, Operation, Plugin};
use crate::registry;
use crate::server::Core;

const GROUP: &str = "scheduling.k8s.io";

/// How a default class is stored, among other things.
const MARK: &[u8] = br#""globalDefault":true"#;

pub(crate) struct Priority;

impl Plugin for Priority {
    fn mutate(&self, admit: &Admit<'_>, pod: &mut Value) -> Result<(), Status> {
        if admit.operation == Operation::Update && admit.sub.is_none() && admit.is_kind("", "Pod") {
            keep(pod, admit.old);
            return Ok(());
        }
        if !admit.creates_pod() {
            return Ok(());
        }
        let named = object::text(pod, &["spec", "priorityClassName"]).to_owned();
        let class = if named.is_empty() {
            default_class(admit.core)?
        } else {
            let found = admit.core.object(GROUP, "priorityclasses", "", &named);
            let why = || format!("no PriorityClass with name {named} was found");
            Some(found.ok_or_else(|| admit.forbidden(object::name(pod), &why()))?)
        };
        let value = class.as_ref().and_then(|c| c["value"].as_i64()).unwrap_or(0);
        let policy = class.as_ref().map(|c| object::text(c, &["preemptionPolicy"]).to_owned());
        let policy = policy.filter(|p| !p.is_empty()).unwrap_or_else(|| "PreemptLowerPriority".into());
        check_own_words(admit, pod, value, &policy)?;
        let spec = object::map_at_mut(pod, &["spec"]);
        if let Some(class) = &class {
            spec.insert("priorityClassName".into(), json!(object::name(class)));
        }
        spec.insert("priority".into(), json!(value));
        spec.insert("preemptionPolicy".into(), json!(policy));
        Ok(())
    }

    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let Some(class) = obj.filter(|_| admit.is_kind(GROUP, "PriorityClass")) else { return Ok(()) };
        if class["globalDefault"] != true {
            return Ok(());
        }
        let other = default_class(admit.core)?.filter(|c| object::name(c) != object::name(class));
        match other {
            Some(_) => Err(admit.forbidden(
                object::name(class),
                &format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    other.as_ref().map(object::name).unwrap_or_default()
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Fields that only admission sets survive an update that leaves them out.
fn keep(pod: &mut Value, old: Option<&Value>) {
    let Some(old) = old else { return };
    for key in ["priority", "preemptionPolicy"] {
        let before = object::at(old, &["spec", key]);
        if !before.is_null() && object::at(pod, &["spec", key]).is_null() {
            object::map_at_mut(pod, &["spec"]).insert(key.into(), before.clone());
        }
    }
}

fn check_own_words(admit: &Admit<'_>, pod: &Value, value: i64, policy: &str) -> Result<(), Status> {
    let said = object::at(pod, &["spec", "priority"]).as_i64();
    if let Some(said) = said.filter(|s| *s != value) {
        let why = format!(
            "the integer value of priority ({said}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        );
        return Err(admit.forbidden(object::name(pod), &why));
    }
    let said = object::text(pod, &["spec", "preemptionPolicy"]);
    if !said.is_empty() && said != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({said}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        );
        return Err(admit.forbidden(object::name(pod), &why));
    }
    Ok(())
}

/// The class for Pods that name none; of several the least, as the reference. Asked for with every Pod, so that only
/// classes are read that may be one.
fn default_class(core: &Core) -> Result<Option<Value>, Status> {
    let prefix = registry::prefix(&*core.builtin(GROUP, "priorityclasses")?, "");
    let state = core.store.snapshot();
    let marked = state.range(&prefix, None).filter(|v| v.json.windows(MARK.len()).any(|at| at == MARK));
    Ok(marked
        .filter_map(|v| json::reread(&v.json).ok())
        .filter(|c| c["globalDefault"] == true)
        .min_by_key(|c| c["value"].as_i64().unwrap_or(0)))
}
