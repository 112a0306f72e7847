//! The addresses and ports of Services: handed out in the write that needs them.

mod cluster_ips;
mod node_ports;
pub(crate) mod repair;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use coracle_api::{Kind, Status};
use coracle_store::{Observer, Op, Txn};
use serde_json::Value;

use crate::server::{Cidr, Core};
use node_ports::{NodePorts, Reserved};

/// Where Services are stored.
pub(crate) const PREFIX: &str = "/registry/services/";

/// How often an address is looked for that nobody else takes meanwhile.
pub(crate) const TRIES: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// What the ServiceCIDR `kubernetes` is made with.
    cidr: Cidr,
    ports: NodePorts,
}

/// What a Service is given by one write.
#[derive(Debug, Default)]
pub(crate) struct Allotted {
    /// Its IPAddresses, to be stored and removed in the transaction that stores it.
    pub along: Txn,
    /// Whether the address was chosen here, so that another does as well.
    is_chosen: bool,
    /// Until the store says so itself.
    _ports: Reserved,
}

impl Addresses {
    pub(crate) fn new(cidr: Cidr, ports: RangeInclusive<u16>) -> Addresses {
        Addresses { cidr, ports: NodePorts::new(ports) }
    }

    pub(crate) fn cidr(&self) -> Cidr {
        self.cidr
    }

    /// The ClusterIP of the Service `kubernetes`.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.base).wrapping_add(1))
    }

    /// What is taken here, for a cluster that begins as this one is.
    pub(crate) fn fork(&self) -> Addresses {
        Addresses { cidr: self.cidr, ports: self.ports.fork() }
    }

    /// Keeps what is taken as the store has it, where that covers [`PREFIX`].
    pub(crate) fn observer(&self) -> Observer {
        self.ports.observer()
    }

    pub(crate) fn for_create(
        &self,
        core: &Core,
        kind: &Kind,
        obj: &mut Value,
        dry_run: bool,
    ) -> Result<Allotted, Status> {
        self.for_update(core, kind, obj, &Value::Null, dry_run)
    }

    pub(crate) fn for_update(
        &self,
        core: &Core,
        kind: &Kind,
        obj: &mut Value,
        old: &Value,
        dry_run: bool,
    ) -> Result<Allotted, Status> {
        if !is_service(kind) {
            return Ok(Allotted::default());
        }
        let (along, is_chosen) = cluster_ips::fill(core, obj, old, dry_run)?;
        Ok(Allotted { along, is_chosen, _ports: self.ports.fill(obj, old)? })
    }

    /// Somebody else got the address first: choose another, or refuse the one that was asked for.
    pub(crate) fn again(&self, core: &Core, obj: &mut Value, allotted: &mut Allotted) -> Result<(), Status> {
        if allotted.is_chosen {
            cluster_ips::clear(obj);
        }
        (allotted.along, allotted.is_chosen) = cluster_ips::fill(core, obj, &Value::Null, false)?;
        Ok(())
    }

    /// What goes with an object that goes.
    pub(crate) fn released(&self, core: &Core, kind: &Kind, old: &Value) -> Result<Vec<Op>, Status> {
        if is_service(kind) { cluster_ips::released(core, old, &Value::Null) } else { Ok(Vec::new()) }
    }

    /// The IPAddress of the Service `kubernetes`, where nobody has it.
    pub(crate) fn for_kubernetes(&self, core: &Core, service: &Value) -> Result<Txn, Status> {
        cluster_ips::claim(core, self.first(), service)
    }
}

fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Service"
}
