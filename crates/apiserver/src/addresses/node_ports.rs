//! The node ports of Services: known from the store, held by a write until the store has it.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_api::field::{Errors, Path};
use coracle_api::kinds::core::service::needs_health_check;
use coracle_api::{Status, object};
use coracle_store::{Event, Observer};
use imbl::HashMap;
use rand::Rng;
use serde_json::{Value, json};

/// What is taken. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct NodePorts {
    range: RangeInclusive<u16>,
    taken: Arc<Mutex<Held>>,
}

/// How many hold each port: two for the moment in which a write has it and the store does, too, or in which two Services
/// change places. A persistent map: a copy costs nothing.
#[derive(Clone, Debug, Default)]
struct Held(HashMap<u16, u32>);

impl Held {
    fn contains(&self, port: u16) -> bool {
        self.0.contains_key(&port)
    }

    fn hold(&mut self, port: u16) {
        *self.0.entry(port).or_insert(0) += 1;
    }

    /// Hold what nobody holds.
    fn take(&mut self, port: u16) -> bool {
        let free = !self.contains(port);
        if free {
            self.hold(port);
        }
        free
    }

    fn release(&mut self, port: u16) {
        match self.0.get_mut(&port) {
            Some(holders) if *holders > 1 => *holders -= 1,
            _ => drop(self.0.remove(&port)),
        }
    }
}

/// What one write took, until it has happened, and the store says what is taken, or has not.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    from: Option<NodePorts>,
    ports: Vec<u16>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let Some(from) = &self.from else { return };
        let mut taken = from.taken();
        self.ports.iter().for_each(|port| taken.release(*port));
    }
}

impl NodePorts {
    pub(super) fn new(range: RangeInclusive<u16>) -> NodePorts {
        NodePorts { range, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Held> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is taken here, for a cluster that begins as this one is.
    pub(super) fn fork(&self) -> NodePorts {
        NodePorts { range: self.range.clone(), taken: Arc::new(Mutex::new(self.taken().clone())) }
    }

    /// Keeps what is taken as the store has it, where that covers the Services.
    pub(super) fn observer(&self) -> Observer {
        let this = self.clone();
        Box::new(move |event: &Event| this.apply(event))
    }

    fn apply(&self, event: &Event) {
        let read = |v: &Option<Arc<coracle_store::Version>>| -> Value {
            v.as_ref().and_then(|v| serde_json::from_slice(&v.json).ok()).unwrap_or(Value::Null)
        };
        let (before, after) = (read(&event.prev), read(&event.now));
        let mut taken = self.taken();
        ports_of(&before).into_iter().for_each(|port| taken.release(port));
        ports_of(&after).into_iter().for_each(|port| taken.hold(port));
    }

    /// Give the Service the ports that it needs and `old` does not have.
    pub(super) fn fill(&self, obj: &mut Value, old: &Value) -> Result<Reserved, Status> {
        let mut reserved = Reserved { from: Some(self.clone()), ports: Vec::new() };
        let mut errs = Errors::default();
        self.fill_ports(obj, old, &mut reserved, &mut errs);
        if !errs.is_empty() {
            return Err(Status::invalid("", "Service", object::name(obj), &errs));
        }
        self.fill_health_check(obj, old, &mut reserved)?;
        Ok(reserved)
    }

    fn fill_ports(&self, obj: &mut Value, old: &Value, reserved: &mut Reserved, errs: &mut Errors) {
        let held = ports_of(old);
        let kind = object::text(obj, &["spec", "type"]).to_owned();
        let allocates = object::at(obj, &["spec", "allocateLoadBalancerNodePorts"]).as_bool() != Some(false);
        let needs = kind == "NodePort" || (kind == "LoadBalancer" && allocates);
        // Of a new Service, what is one port in two protocols is one on the node, too.
        let mut paired: Vec<(u64, u16)> = Vec::new();
        if old.is_null() {
            paired.extend(object::items(obj, &["spec", "ports"]).iter().filter_map(numbers));
        }
        let mut mine: Vec<u16> = Vec::new();
        let ports = object::map_at_mut(obj, &["spec"]).get_mut("ports").and_then(Value::as_array_mut);
        for (i, port) in ports.into_iter().flatten().enumerate() {
            let at = Path::new("spec.ports").index(i).child("nodePort");
            let number = port["port"].as_u64().unwrap_or_default();
            let pair = paired.iter().find(|(port, _)| *port == number).map(|(_, node)| *node);
            let taken = match numbers(port).map(|(_, node)| node).or(pair.filter(|_| needs)) {
                Some(p) if held.contains(&p) || mine.contains(&p) => Some(p),
                Some(p) => self.take_port(p, &at, reserved, errs),
                None if needs => self.take_any_port(&at, reserved, errs),
                None => None,
            };
            if let Some(p) = taken {
                mine.push(p);
                if old.is_null() {
                    paired.push((number, p));
                }
                object::map_mut(port).insert("nodePort".into(), json!(p));
            }
        }
    }

    fn take_port(&self, p: u16, at: &Path, reserved: &mut Reserved, errs: &mut Errors) -> Option<u16> {
        if !self.range.contains(&p) {
            let words = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.range.start(),
                self.range.end()
            );
            errs.invalid(at, &json!(p), words);
            return None;
        }
        if !self.taken().take(p) {
            errs.invalid(at, &json!(p), "provided port is already allocated");
            return None;
        }
        reserved.ports.push(p);
        Some(p)
    }

    fn take_any_port(&self, at: &Path, reserved: &mut Reserved, errs: &mut Errors) -> Option<u16> {
        let start = rand::rng().random_range(self.range.clone());
        let mut taken = self.taken();
        let mut candidates = (start..=*self.range.end()).chain(*self.range.start()..start);
        let found = candidates.find(|p| !taken.contains(*p));
        match found {
            Some(p) => {
                taken.hold(p);
                reserved.ports.push(p);
            }
            None => errs.internal(at, "failed to allocate a nodePort: range is full"),
        }
        found
    }

    /// Where load balancers ask whether this node has endpoints.
    fn fill_health_check(&self, obj: &mut Value, old: &Value, reserved: &mut Reserved) -> Result<(), Status> {
        if !needs_health_check(object::at(obj, &["spec"])) {
            return Ok(());
        }
        let asked = object::at(obj, &["spec", "healthCheckNodePort"]).as_u64();
        let asked = asked.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
        let at = Path::new("spec.healthCheckNodePort");
        let mut errs = Errors::default();
        let port = match asked {
            Some(p) if ports_of(old).contains(&p) => Some(p),
            Some(p) => self.take_port(p, &at, reserved, &mut errs),
            None => self.take_any_port(&at, reserved, &mut errs),
        };
        let Some(port) = port else {
            let asked = asked.map(|p| format!("requested HealthCheck NodePort {p}"));
            let what = asked.unwrap_or_else(|| "a HealthCheck NodePort 0".into());
            let why = errs.0.first().map(|e| e.detail.clone()).unwrap_or_default();
            return Err(Status::internal(format!("failed to allocate {what}: {why}")));
        };
        object::map_at_mut(obj, &["spec"]).insert("healthCheckNodePort".into(), json!(port));
        Ok(())
    }
}

/// The port, and the one on the node that is asked for.
fn numbers(port: &Value) -> Option<(u64, u16)> {
    let node = port["nodePort"].as_u64().and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0)?;
    Some((port["port"].as_u64()?, node))
}

fn ports_of(service: &Value) -> Vec<u16> {
    let of_ports = object::items(service, &["spec", "ports"]).iter().filter_map(|p| p["nodePort"].as_u64());
    let health = object::at(service, &["spec", "healthCheckNodePort"]).as_u64();
    of_ports.chain(health).filter_map(|p| u16::try_from(p).ok()).filter(|p| *p > 0).collect()
}
