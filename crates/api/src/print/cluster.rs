//! The kinds that run the cluster itself, in tables: leases, certificates, priorities, runtimes, API services.

use serde_json::Value;

use super::cell::{NONE, age, condition, has_true_condition, name, number, shown_or, string, text_or};
use super::{AGE, Columns, NAME, boolean, duration, integer, text as column};
use crate::object::{at, items, text};

pub static LEASE: Columns = Columns {
    columns: &[NAME, column("Holder"), AGE],
    cells: |obj, now| vec![name(obj), string(text(obj, &["spec", "holderIdentity"])), age(obj, now)],
};

pub static PRIORITY_CLASS: Columns = Columns {
    columns: &[NAME, integer("Value"), boolean("Global-Default"), AGE, column("PreemptionPolicy")],
    cells: |obj, now| {
        vec![
            name(obj),
            Value::from(number(obj, &["value"])),
            Value::from(at(obj, &["globalDefault"]) == true),
            age(obj, now),
            string(text(obj, &["preemptionPolicy"])),
        ]
    },
};

pub static RUNTIME_CLASS: Columns = Columns {
    columns: &[NAME, column("Handler"), AGE],
    cells: |obj, now| vec![name(obj), string(text(obj, &["handler"])), age(obj, now)],
};

pub static CERTIFICATE_SIGNING_REQUEST: Columns = Columns {
    columns: &[
        NAME,
        AGE,
        column("SignerName"),
        column("Requestor"),
        column("RequestedDuration"),
        column("Condition"),
    ],
    cells: |obj, now| {
        let duration = at(obj, &["spec", "expirationSeconds"]).as_i64();
        vec![
            name(obj),
            age(obj, now),
            string(text_or(obj, &["spec", "signerName"], NONE)),
            string(text(obj, &["spec", "username"])),
            string(duration.map_or_else(|| NONE.to_owned(), duration::human)),
            string(certificate_state(obj)),
        ]
    },
};

fn certificate_state(csr: &Value) -> String {
    let holds = |kind| items(csr, &["status", "conditions"]).iter().any(|c| text(c, &["type"]) == kind);
    let decided = match () {
        () if holds("Denied") => "Denied",
        () if holds("Approved") => "Approved",
        () => "Pending",
    };
    let failed = if holds("Failed") { ",Failed" } else { "" };
    let issued = if text(csr, &["status", "certificate"]).is_empty() { "" } else { ",Issued" };
    format!("{decided}{failed}{issued}")
}

pub static API_SERVICE: Columns = Columns {
    columns: &[NAME, column("Service"), column("Available"), AGE],
    cells: |obj, now| {
        let service = at(obj, &["spec", "service"]);
        let place = if service.is_null() {
            "Local".to_owned()
        } else {
            format!("{}/{}", text(service, &["namespace"]), text(service, &["name"]))
        };
        let available = match condition(obj, "Available") {
            None => "Unknown".to_owned(),
            Some(_) if has_true_condition(obj, "Available") => "True".to_owned(),
            Some(c) => format!("{} ({})", text(c, &["status"]), text(c, &["reason"])),
        };
        vec![name(obj), string(place), string(available), age(obj, now)]
    },
};

pub static FLOW_SCHEMA: Columns = Columns {
    columns: &[
        NAME,
        column("PriorityLevel"),
        column("MatchingPrecedence"),
        column("DistinguisherMethod"),
        AGE,
        column("MissingPL"),
    ],
    cells: |obj, now| {
        let dangling = condition(obj, "Dangling").map_or("?", |c| text(c, &["status"]));
        vec![
            name(obj),
            string(text(obj, &["spec", "priorityLevelConfiguration", "name"])),
            Value::from(number(obj, &["spec", "matchingPrecedence"])),
            string(text_or(obj, &["spec", "distinguisherMethod", "type"], NONE)),
            age(obj, now),
            string(dangling),
        ]
    },
};

pub static PRIORITY_LEVEL: Columns = Columns {
    columns: &[
        NAME,
        column("Type"),
        column("NominalConcurrencyShares"),
        column("Queues"),
        column("HandSize"),
        column("QueueLengthLimit"),
        AGE,
    ],
    cells: |obj, now| {
        let queuing =
            |key: &str| string(shown_or(obj, &["spec", "limited", "limitResponse", "queuing", key], NONE));
        vec![
            name(obj),
            string(text(obj, &["spec", "type"])),
            string(shown_or(obj, &["spec", "limited", "nominalConcurrencyShares"], NONE)),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            age(obj, now),
        ]
    },
};
