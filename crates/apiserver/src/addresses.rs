//! The addresses and ports of Services: handed out together with the write that needs them, known from the store.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_api::field::{Errors, Path};
use coracle_api::{Kind, Status, object};
use coracle_store::{Event, Observer};
use imbl::HashMap;
use rand::Rng;
use serde_json::{Value, json};

use crate::server::Cidr;

/// Where Services are stored.
pub(crate) const PREFIX: &str = "/registry/services/";

/// What is taken. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    cidr: Cidr,
    ports: RangeInclusive<u16>,
    taken: Arc<Mutex<Taken>>,
}

/// How many hold each address and port: two for the moment in which a write has them and the store does, too, or in which
/// two Services change places. Persistent maps: a copy costs nothing.
#[derive(Clone, Debug, Default)]
struct Taken {
    addresses: Held<Ipv4Addr>,
    ports: Held<u16>,
}

#[derive(Clone, Debug)]
struct Held<T>(HashMap<T, u32>);

impl<T> Default for Held<T> {
    fn default() -> Held<T> {
        Held(HashMap::new())
    }
}

impl<T: Copy + Eq + std::hash::Hash> Held<T> {
    fn contains(&self, what: &T) -> bool {
        self.0.contains_key(what)
    }

    fn hold(&mut self, what: T) {
        *self.0.entry(what).or_insert(0) += 1;
    }

    /// Hold what nobody holds.
    fn take(&mut self, what: T) -> bool {
        let free = !self.contains(&what);
        if free {
            self.hold(what);
        }
        free
    }

    fn release(&mut self, what: &T) {
        match self.0.get_mut(what) {
            Some(holders) if *holders > 1 => *holders -= 1,
            _ => drop(self.0.remove(what)),
        }
    }
}

/// What one write took, until it has happened, and the store says what is taken, or has not.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    from: Option<Addresses>,
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let Some(from) = &self.from else { return };
        let mut taken = from.taken();
        self.addresses.iter().for_each(|a| taken.addresses.release(a));
        self.ports.iter().for_each(|p| taken.ports.release(p));
    }
}

impl Addresses {
    pub(crate) fn new(cidr: Cidr, ports: RangeInclusive<u16>) -> Addresses {
        let addresses = Addresses { cidr, ports, taken: Arc::default() };
        // The first address is the API server's own.
        addresses.taken().addresses.hold(addresses.first());
        addresses
    }

    /// The ClusterIP of the Service `kubernetes`.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.base).wrapping_add(1))
    }

    /// How many addresses the network has.
    fn size(&self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.cidr.bits.clamp(1, 32))).unwrap_or(u32::MAX)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is taken here, for a cluster that begins as this one is.
    pub(crate) fn fork(&self) -> Addresses {
        let taken = Arc::new(Mutex::new(self.taken().clone()));
        Addresses { cidr: self.cidr, ports: self.ports.clone(), taken }
    }

    /// Keeps what is taken as the store has it, where that covers [`PREFIX`].
    pub(crate) fn observer(&self) -> Observer {
        let this = self.clone();
        Box::new(move |event: &Event| this.apply(event))
    }

    fn apply(&self, event: &Event) {
        let read = |v: &Option<Arc<coracle_store::Version>>| -> Value {
            v.as_ref().and_then(|v| serde_json::from_slice(&v.json).ok()).unwrap_or(Value::Null)
        };
        let (before, after) = (read(&event.prev), read(&event.now));
        let first = self.first();
        let mut taken = self.taken();
        for a in addresses_of(&before).into_iter().filter(|a| *a != first) {
            taken.addresses.release(&a);
        }
        ports_of(&before).iter().for_each(|p| taken.ports.release(p));
        addresses_of(&after).into_iter().filter(|a| *a != first).for_each(|a| taken.addresses.hold(a));
        ports_of(&after).into_iter().for_each(|p| taken.ports.hold(p));
    }

    pub(crate) fn for_create(&self, kind: &Kind, obj: &mut Value) -> Result<Reserved, Status> {
        if !is_service(kind) {
            return Ok(Reserved::default());
        }
        let mut reserved = self.reserve();
        self.fill(obj, &Value::Null, &mut reserved)?;
        Ok(reserved)
    }

    pub(crate) fn for_update(&self, kind: &Kind, obj: &mut Value, old: &Value) -> Result<Reserved, Status> {
        if !is_service(kind) {
            return Ok(Reserved::default());
        }
        let mut reserved = self.reserve();
        self.fill(obj, old, &mut reserved)?;
        Ok(reserved)
    }

    fn reserve(&self) -> Reserved {
        Reserved { from: Some(self.clone()), addresses: Vec::new(), ports: Vec::new() }
    }

    fn fill(&self, obj: &mut Value, old: &Value, reserved: &mut Reserved) -> Result<(), Status> {
        let mut errs = Errors::default();
        self.fill_address(obj, old, reserved, &mut errs);
        self.fill_ports(obj, old, reserved, &mut errs);
        if errs.is_empty() { Ok(()) } else { Err(Status::invalid("", "Service", object::name(obj), &errs)) }
    }

    fn fill_address(&self, obj: &mut Value, old: &Value, reserved: &mut Reserved, errs: &mut Errors) {
        let kind = object::text(obj, &["spec", "type"]).to_owned();
        let spec = object::map_at_mut(obj, &["spec"]);
        if kind == "ExternalName" {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.shift_remove(key);
            }
            return;
        }
        let asked = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
        if asked == "None" {
            spec.insert("clusterIPs".into(), json!(["None"]));
            set_headless_families(spec);
            return;
        }
        let held = addresses_of(old);
        let address = match asked.parse::<Ipv4Addr>() {
            Ok(a) if held.contains(&a) => Some(a),
            Ok(a) => self.take_address(a, reserved, errs),
            Err(_) => self.take_any_address(reserved, errs),
        };
        let Some(address) = address else { return };
        spec.insert("clusterIP".into(), json!(address.to_string()));
        spec.insert("clusterIPs".into(), json!([address.to_string()]));
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
    }

    fn take_address(&self, a: Ipv4Addr, reserved: &mut Reserved, errs: &mut Errors) -> Option<Ipv4Addr> {
        let mut refuse = |why: String| {
            let words = format!("failed to allocate IP {a}: {why}");
            errs.invalid(&Path::new("spec.clusterIPs"), &json!([a.to_string()]), words);
            None
        };
        let offset = u32::from(a).wrapping_sub(u32::from(self.cidr.base));
        if offset == 0 || offset >= self.size() - 1 {
            return refuse(format!(
                "the provided IP ({a}) is not in the valid range. The range of valid IPs is {}/{}",
                self.cidr.base, self.cidr.bits
            ));
        }
        if !self.taken().addresses.take(a) {
            return refuse("provided IP is already allocated".into());
        }
        reserved.addresses.push(a);
        Some(a)
    }

    fn take_any_address(&self, reserved: &mut Reserved, errs: &mut Errors) -> Option<Ipv4Addr> {
        // The low part is left to those who choose their own address, as in the reference.
        let low = (self.size() / 16).clamp(16, 256).min(self.size() / 2);
        let high = self.size() - 1;
        let start = rand::rng().random_range(low..high);
        let mut taken = self.taken();
        let found = (start..high)
            .chain(1..start)
            .map(|offset| Ipv4Addr::from(u32::from(self.cidr.base) + offset))
            .find(|a| !taken.addresses.contains(a));
        match found {
            Some(a) => {
                taken.addresses.hold(a);
                reserved.addresses.push(a);
            }
            None => {
                errs.internal(&Path::new("spec.clusterIPs"), "failed to allocate a serviceIP: range is full")
            }
        }
        found
    }

    fn fill_ports(&self, obj: &mut Value, old: &Value, reserved: &mut Reserved, errs: &mut Errors) {
        let held = ports_of(old);
        let kind = object::text(obj, &["spec", "type"]).to_owned();
        let allocates = object::at(obj, &["spec", "allocateLoadBalancerNodePorts"]).as_bool() != Some(false);
        let needs = kind == "NodePort" || (kind == "LoadBalancer" && allocates);
        let mut mine: Vec<u16> = Vec::new();
        let ports = object::map_at_mut(obj, &["spec"]).get_mut("ports").and_then(Value::as_array_mut);
        for (i, port) in ports.into_iter().flatten().enumerate() {
            let asked = port.get("nodePort").and_then(Value::as_u64).and_then(|p| u16::try_from(p).ok());
            let at = Path::new("spec.ports").index(i).child("nodePort");
            let taken = match asked.filter(|p| *p > 0) {
                Some(p) if held.contains(&p) || mine.contains(&p) => Some(p),
                Some(p) => self.take_port(p, &at, reserved, errs),
                None if needs => self.take_any_port(&at, reserved, errs),
                None => None,
            };
            if let Some(p) = taken {
                mine.push(p);
                object::map_mut(port).insert("nodePort".into(), json!(p));
            }
        }
    }

    fn take_port(&self, p: u16, at: &Path, reserved: &mut Reserved, errs: &mut Errors) -> Option<u16> {
        if !self.ports.contains(&p) {
            let words = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.ports.start(),
                self.ports.end()
            );
            errs.invalid(at, &json!(p), words);
            return None;
        }
        if !self.taken().ports.take(p) {
            errs.invalid(at, &json!(p), "provided port is already allocated");
            return None;
        }
        reserved.ports.push(p);
        Some(p)
    }

    fn take_any_port(&self, at: &Path, reserved: &mut Reserved, errs: &mut Errors) -> Option<u16> {
        let start = rand::rng().random_range(self.ports.clone());
        let mut taken = self.taken();
        let mut candidates = (start..=*self.ports.end()).chain(*self.ports.start()..start);
        let found = candidates.find(|p| !taken.ports.contains(p));
        match found {
            Some(p) => {
                taken.ports.hold(p);
                reserved.ports.push(p);
            }
            None => errs.internal(at, "failed to allocate a nodePort: range is full"),
        }
        found
    }
}

/// A headless Service without a selector may be backed by anything, so both families are announced, as the reference does.
fn set_headless_families(spec: &mut serde_json::Map<String, Value>) {
    let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|s| !s.is_empty());
    let (families, policy) = if selects {
        (json!(["IPv4"]), "SingleStack")
    } else {
        (json!(["IPv4", "IPv6"]), "RequireDualStack")
    };
    spec.entry("ipFamilies").or_insert(families);
    spec.entry("ipFamilyPolicy").or_insert_with(|| json!(policy));
}

pub(crate) fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Service"
}

fn addresses_of(service: &Value) -> Vec<Ipv4Addr> {
    let list = object::items(service, &["spec", "clusterIPs"]).iter().filter_map(Value::as_str);
    list.chain([object::text(service, &["spec", "clusterIP"])]).filter_map(|a| a.parse().ok()).collect()
}

fn ports_of(service: &Value) -> Vec<u16> {
    let of_ports = object::items(service, &["spec", "ports"]).iter().filter_map(|p| p["nodePort"].as_u64());
    let health = object::at(service, &["spec", "healthCheckNodePort"]).as_u64();
    of_ports.chain(health).filter_map(|p| u16::try_from(p).ok()).filter(|p| *p > 0).collect()
}
