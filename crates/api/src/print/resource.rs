//! The kinds of dynamic resource allocation in tables.

use serde_json::Value;

use super::cell::{age, name, string};
use super::{AGE, Columns, NAME, text as column};
use crate::object::{at, is_deleting, items, text};

/// A kind whose table says how old it is and no more: DeviceClass, ResourceClaimTemplate.
pub static AGED: Columns =
    Columns { columns: &[NAME, AGE], cells: |obj, now| vec![name(obj), age(obj, now)] };

pub static RESOURCE_CLAIM: Columns = Columns {
    columns: &[NAME, column("State"), AGE],
    cells: |obj, now| vec![name(obj), string(claim_state(obj)), age(obj, now)],
};

fn claim_state(claim: &Value) -> String {
    let mut states = Vec::new();
    if is_deleting(claim) {
        states.push("deleted");
    }
    if at(claim, &["status", "allocation"]).is_null() {
        if !is_deleting(claim) {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if !items(claim, &["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}

pub static RESOURCE_SLICE: Columns = Columns {
    columns: &[NAME, column("Node"), column("Driver"), column("Pool"), AGE],
    cells: |obj, now| {
        vec![
            name(obj),
            string(text(obj, &["spec", "nodeName"])),
            string(text(obj, &["spec", "driver"])),
            string(text(obj, &["spec", "pool", "name"])),
            age(obj, now),
        ]
    },
};
