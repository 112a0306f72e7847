//! The rules of scheduling.k8s.io: PriorityClasses.

use serde_json::Value;

use super::core::pod::defaults::set;
use crate::at::At;
use crate::field::Errors;
use crate::object::map_mut;
use crate::rules::{Rules, Write};

#[derive(Debug)]
pub struct PriorityClass;

/// What is above belongs to the system.
const USER_MAX: i64 = 1_000_000_000;
const SYSTEM_PREFIX: &str = "system-";
/// The system's own classes and what they are worth.
pub const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

impl Rules for PriorityClass {
    fn default(&self, obj: &mut Value) {
        set(map_mut(obj), "preemptionPolicy", "PreemptLowerPriority");
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let class = At::root(obj);
        let (name, value) = (class.get("metadata").get("name"), class.get("value"));
        let is_system = SYSTEM.contains(&(name.text(), value.int()));
        if name.text().starts_with(SYSTEM_PREFIX) && !is_system {
            let words =
                "priority class names with 'system-' prefix are reserved for system use only. error: ";
            let known = SYSTEM.iter().find(|(known, _)| *known == name.text());
            let why = match known {
                None => format!("{} is not a known system priority class", name.text()),
                Some((known, wanted)) => {
                    format!("value of {known} PriorityClass must be {wanted}")
                }
            };
            errs.forbidden(&name.path, format!("{words}{why}"));
        } else if value.int() > USER_MAX && !is_system {
            let words = format!("maximum allowed value of a user defined priority is {USER_MAX}");
            errs.forbidden(&value.path, words);
        }
        let policies = ["PreemptLowerPriority", "Never"];
        errs.one_of_if_set(&class.get("preemptionPolicy"), &policies);
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        let (new, old) = (At::root(obj), At::root(old));
        if write != Write::Main {
            return;
        }
        if new.get("value").int() != old.get("value").int() {
            errs.forbidden(&new.get("value").path, "may not be changed in an update.");
        }
        errs.immutable(&new.get("preemptionPolicy"), old.peek("preemptionPolicy"));
    }
}
