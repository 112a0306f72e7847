//! The kinds that keep Pods running, in tables.

use serde_json::Value;

use super::cell::{age, containers, labels, name, number, selector, string};
use super::{AGE, Column, Columns, NAME, Now, integer, text as column};
use crate::object::{at, items, text};

const CONTAINERS: Column = Column::wide("Containers");
const IMAGES: Column = Column::wide("Images");
const SELECTOR: Column = Column::wide("Selector");

fn template_containers(obj: &Value) -> [Value; 2] {
    containers(at(obj, &["spec", "template", "spec"]))
}

fn status(obj: &Value, field: &str) -> i64 {
    number(obj, &["status", field])
}

pub static DEPLOYMENT: Columns = Columns {
    columns: &[
        NAME,
        column("Ready"),
        column("Up-to-date"),
        column("Available"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |obj, now| {
        let [names, images] = template_containers(obj);
        vec![
            name(obj),
            string(format!("{}/{}", status(obj, "readyReplicas"), number(obj, &["spec", "replicas"]))),
            Value::from(status(obj, "updatedReplicas")),
            Value::from(status(obj, "availableReplicas")),
            age(obj, now),
            names,
            images,
            selector(at(obj, &["spec", "selector"])),
        ]
    },
};

fn replicas(obj: &Value, now: Now, chosen: Value) -> Vec<Value> {
    let [names, images] = template_containers(obj);
    vec![
        name(obj),
        Value::from(number(obj, &["spec", "replicas"])),
        Value::from(status(obj, "replicas")),
        Value::from(status(obj, "readyReplicas")),
        age(obj, now),
        names,
        images,
        chosen,
    ]
}

pub static REPLICA_SET: Columns = Columns {
    columns: &[
        NAME,
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |obj, now| replicas(obj, now, selector(at(obj, &["spec", "selector"]))),
};

pub static REPLICATION_CONTROLLER: Columns = Columns {
    columns: &[
        NAME,
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |obj, now| replicas(obj, now, labels(at(obj, &["spec", "selector"]))),
};

pub static STATEFUL_SET: Columns = Columns {
    columns: &[NAME, column("Ready"), AGE, CONTAINERS, IMAGES],
    cells: |obj, now| {
        let [names, images] = template_containers(obj);
        let ready = format!("{}/{}", status(obj, "readyReplicas"), number(obj, &["spec", "replicas"]));
        vec![name(obj), string(ready), age(obj, now), names, images]
    },
};

pub static DAEMON_SET: Columns = Columns {
    columns: &[
        NAME,
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        integer("Up-to-date"),
        integer("Available"),
        column("Node Selector"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |obj, now| {
        let [names, images] = template_containers(obj);
        let mut cells = vec![name(obj)];
        for field in [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
        ] {
            cells.push(Value::from(status(obj, field)));
        }
        cells.push(labels(at(obj, &["spec", "template", "spec", "nodeSelector"])));
        cells.extend([age(obj, now), names, images, selector(at(obj, &["spec", "selector"]))]);
        cells
    },
};

pub static CONTROLLER_REVISION: Columns = Columns {
    columns: &[NAME, column("Controller"), column("Revision"), AGE],
    cells: |obj, now| {
        let owners = items(obj, &["metadata", "ownerReferences"]);
        let controller = owners.iter().find(|o| at(o, &["controller"]) == true).map(|o| {
            let group =
                text(o, &["apiVersion"]).split_once('/').map_or(String::new(), |(g, _)| format!(".{g}"));
            format!("{}{group}/{}", text(o, &["kind"]).to_lowercase(), text(o, &["name"]))
        });
        let controller = controller.unwrap_or_else(|| super::cell::NONE.to_owned());
        vec![name(obj), string(controller), Value::from(number(obj, &["revision"])), age(obj, now)]
    },
};
