//! How a kind prints as a table: its columns and the cells of one object.

mod admission;
mod autoscaling;
mod batch;
pub mod cell;
mod cluster;
mod core;
pub mod duration;
mod network;
mod node;
mod pod;
mod rbac;
mod resource;
mod storage;
mod workload;

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::object;

pub use duration::Now;

pub use admission::{
    MUTATING_POLICY, MUTATING_WEBHOOK, POLICY_BINDING, VALIDATING_POLICY, VALIDATING_WEBHOOK,
};
pub use autoscaling::{HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET};
pub use batch::{CRON_JOB, JOB};
pub use cluster::{
    API_SERVICE, CERTIFICATE_SIGNING_REQUEST, FLOW_SCHEMA, LEASE, PRIORITY_CLASS, PRIORITY_LEVEL,
    RUNTIME_CLASS,
};
pub use core::{COMPONENT_STATUS, CONFIG_MAP, EVENT, NAMESPACE, RESOURCE_QUOTA, SECRET, SERVICE_ACCOUNT};
pub use network::{
    ENDPOINT_SLICE, ENDPOINTS, INGRESS, INGRESS_CLASS, IP_ADDRESS, NETWORK_POLICY, SERVICE, SERVICE_CIDR,
};
pub use node::NODE;
pub use pod::{POD, POD_TEMPLATE};
pub use rbac::BINDING;
pub use resource::{AGED, RESOURCE_CLAIM, RESOURCE_SLICE};
pub use storage::{
    CSI_DRIVER, CSI_NODE, CSI_STORAGE_CAPACITY, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, STORAGE_CLASS,
    VOLUME_ATTACHMENT, VOLUME_ATTRIBUTES_CLASS,
};
pub use workload::{
    CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET,
};

/// A column of `kubectl get`, as the Table API announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: Cow<'static, str>,
    /// `name` for the first column, else mostly empty.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

impl Column {
    pub const fn new(name: &'static str, kind: &'static str) -> Column {
        Column {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed(kind),
            format: Cow::Borrowed(""),
            description: Cow::Borrowed(""),
            priority: 0,
        }
    }

    /// A column that `-o wide` adds.
    pub const fn wide(name: &'static str) -> Column {
        let mut column = Column::new(name, "string");
        column.priority = 1;
        column
    }

    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format, "description": self.description,
            "priority": self.priority,
        })
    }
}

pub trait Print: Send + Sync {
    /// The default is NAME and CREATED AT, as for any object.
    fn columns(&self) -> &[Column] {
        &NAME_AND_AGE
    }

    /// A row's cells, one a column. `now` is for ages.
    fn cells(&self, obj: &Value, _now: Now) -> Vec<Value> {
        let created = object::text(obj, &["metadata", "creationTimestamp"]);
        vec![Value::String(object::name(obj).to_owned()), Value::String(created.to_owned())]
    }

    /// What the row says about the object beside its cells: a Pod that is done.
    fn condition(&self, _obj: &Value) -> Option<Value> {
        None
    }
}

/// A kind that prints as any object does.
#[derive(Debug)]
pub struct Plain;

impl Print for Plain {}

/// As `meta/v1`'s default table convertor prints any object.
pub static NAME_AND_AGE: [Column; 2] = [NAME, Column::new("Created At", "date")];

/// The first column of nearly every kind.
pub(crate) const NAME: Column = {
    let mut column = Column::new("Name", "string");
    std::mem::forget(std::mem::replace(&mut column.format, Cow::Borrowed("name")));
    column
};

/// The age of nearly every kind.
pub(crate) const AGE: Column = text("Age");

pub(crate) const fn text(name: &'static str) -> Column {
    Column::new(name, "string")
}

pub(crate) const fn integer(name: &'static str) -> Column {
    Column::new(name, "integer")
}

pub(crate) const fn boolean(name: &'static str) -> Column {
    Column::new(name, "boolean")
}

/// A kind that prints by a list of columns and a function.
#[derive(Debug)]
pub struct Columns {
    columns: &'static [Column],
    cells: fn(&Value, Now) -> Vec<Value>,
}

impl Print for Columns {
    fn columns(&self) -> &[Column] {
        self.columns
    }

    fn cells(&self, obj: &Value, now: Now) -> Vec<Value> {
        (self.cells)(obj, now)
    }
}
