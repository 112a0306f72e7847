//! A kubelet may write only what belongs to its own node.

use coracle_api::Status;
use coracle_auth::node_restriction::{self, Operation as Op, Write};
use serde_json::Value;

use super::{Admit, Operation, Plugin};

pub(crate) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let null = Value::Null;
        let write = Write {
            operation: match admit.operation {
                Operation::Create => Op::Create,
                Operation::Update => Op::Update,
                Operation::Delete => Op::Delete,
                Operation::Connect => return Ok(()),
            },
            group: &admit.resource.group,
            resource: &admit.resource.plural,
            subresource: admit.sub.map_or("", |s| s.name()),
            namespace: admit.namespace,
            name: admit.name,
            object: obj.unwrap_or(&null),
            old: admit.old.unwrap_or(&null),
        };
        node_restriction::check(admit.user, &write, &admit.core.authorizer)
    }
}
