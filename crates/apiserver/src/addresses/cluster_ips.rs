//! The ClusterIPs of Services: each is an IPAddress, stored and removed in the transaction that stores its Service, so that
//! servers which share a store never give one out twice.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use coracle_api::cidr::Cidr;
use coracle_api::field::{Errors, Path};
use coracle_api::{Kind, Status, object};
use coracle_store::{Op, Snapshot, Txn, Version};
use rand::Rng;
use serde_json::{Map, Value, json};

use crate::bootstrap;
use crate::options::DeleteOptions;
use crate::registry::{self, decode_stored, delete, key, write};
use crate::server::Core;

pub(super) const GROUP: &str = "networking.k8s.io";
pub(super) const PLURAL: &str = "ipaddresses";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGER: &str = "ipallocator.k8s.io";
/// The family of a cluster that has but one.
const IPV4: &str = "IPv4";

/// What is stored and removed along with the Service, and whether its address was chosen here.
type Filled = (Txn, bool);

/// Fill in the families and the address of a Service; `old` is null of a new one.
pub(super) fn fill(core: &Core, obj: &mut Value, old: &Value, dry_run: bool) -> Result<Filled, Status> {
    if object::text(obj, &["spec", "type"]) == "ExternalName" {
        clear(obj);
        let spec = object::map_at_mut(obj, &["spec"]);
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            spec.shift_remove(key);
        }
        let ops = released(core, old, obj)?;
        return Ok((Txn { ops, ..Txn::default() }, false));
    }
    fill_families(obj, old)?;
    let asked = object::text(obj, &["spec", "clusterIP"]).to_owned();
    if asked == "None" {
        object::map_at_mut(obj, &["spec"]).insert("clusterIPs".into(), json!(["None"]));
        return Ok(Filled::default());
    }
    let wish = asked.parse::<Ipv4Addr>().ok();
    if wish.is_some_and(|ip| addresses_of(old).contains(&ip)) {
        return Ok(Filled::default());
    }
    let address = match wish {
        Some(ip) => asked_for(core, ip, dry_run).map_err(|why| refused(obj, &asked, &why))?,
        None => any(core, dry_run)?,
    };
    let spec = object::map_at_mut(obj, &["spec"]);
    spec.insert("clusterIP".into(), json!(address.to_string()));
    spec.insert("clusterIPs".into(), json!([address.to_string()]));
    let along = if dry_run { Txn::default() } else { claim(core, address, obj)? };
    Ok((along, wish.is_none()))
}

/// Take the address away again.
pub(super) fn clear(obj: &mut Value) {
    let spec = object::map_at_mut(obj, &["spec"]);
    for key in ["clusterIP", "clusterIPs"] {
        spec.shift_remove(key);
    }
}

fn refused(obj: &Value, asked: &str, why: &str) -> Status {
    let mut errs = Errors::default();
    let shown = object::at(obj, &["spec", "clusterIPs"]);
    errs.invalid(&Path::new("spec.clusterIPs"), shown, format!("failed to allocate IP {asked}: {why}"));
    invalid(obj, &errs)
}

fn invalid(obj: &Value, errs: &Errors) -> Status {
    Status::invalid("", "Service", object::name(obj), errs)
}

/// As the reference's allocator, in a cluster of one family.
fn fill_families(obj: &mut Value, old: &Value) -> Result<(), Status> {
    let mut errs = Errors::default();
    let is_update = !old.is_null();
    let before = object::at(old, &["spec"]);
    let spec = object::map_at_mut(obj, &["spec"]);
    let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
    let open = headless && spec.get("selector").and_then(Value::as_object).is_none_or(Map::is_empty);
    let inherited = before.get("ipFamilyPolicy").filter(|p| !p.is_null()).cloned();
    let policy = spec.entry("ipFamilyPolicy").or_insert_with(|| match inherited {
        Some(policy) => policy,
        // Whatever it leads to may have either family.
        None if open => json!("RequireDualStack"),
        None => json!("SingleStack"),
    });
    let policy = policy.as_str().unwrap_or_default().to_owned();
    let mut families: Vec<Value> = list(spec, "ipFamilies");
    if is_update && policy == "SingleStack" && before.get("ipFamilies") == spec.get("ipFamilies") {
        families.truncate(1);
    }
    let addresses = list(spec, "clusterIPs");
    let at = Path::new("spec");
    if policy == "SingleStack" {
        for (several, what) in [(&addresses, "cluster IPs"), (&families, "IP families")] {
            if several.len() > 1 {
                let words = format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                );
                errs.invalid(&at.child("ipFamilyPolicy"), &json!(policy), words);
            }
        }
    }
    for (i, address) in addresses.iter().enumerate().take_while(|(_, a)| **a != "None") {
        let is_v6 = address.as_str().is_some_and(|a| a.contains(':'));
        if i >= families.len() && is_v6 {
            let shown = Value::from(addresses.clone());
            errs.invalid(&at.child("clusterIPs").index(i), &shown, "IPv6 is not configured on this cluster");
        } else if i >= families.len() {
            families.push(json!(IPV4));
        }
    }
    if errs.is_empty() && !open {
        configured(&policy, &families, &mut errs);
    }
    if families.is_empty() {
        families.push(json!(IPV4));
    }
    if open && families.len() < 2 && policy != "SingleStack" {
        let other = if families[0] == IPV4 { "IPv6" } else { IPV4 };
        families.push(json!(other));
    }
    spec.insert("ipFamilies".into(), Value::from(families));
    if errs.is_empty() { Ok(()) } else { Err(invalid(obj, &errs)) }
}

fn configured(policy: &str, families: &[Value], errs: &mut Errors) {
    let at = Path::new("spec");
    if policy == "RequireDualStack" {
        let words = "this cluster is not configured for dual-stack services";
        errs.invalid(&at.child("ipFamilyPolicy"), &json!(policy), words);
    }
    for (i, family) in families.iter().enumerate().filter(|(_, family)| **family != IPV4) {
        errs.invalid(&at.child("ipFamilies").index(i), family, "not configured on this cluster");
    }
}

fn list(spec: &Map<String, Value>, key: &str) -> Vec<Value> {
    spec.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The address that the user asks for, or why not.
fn asked_for(core: &Core, ip: Ipv4Addr, dry_run: bool) -> Result<Ipv4Addr, String> {
    let ranges = ranges(core).map_err(|status| status.message)?;
    let is_within = ranges.iter().any(|range| range.can_give(IpAddr::V4(ip)));
    if dry_run {
        // Nothing is looked up then, the reference's allocator has it.
        return match ranges.first() {
            Some(range) if !is_within => Err(format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}"
            )),
            _ => Ok(ip),
        };
    }
    if !is_within {
        return Err("the provided network does not match the current range".into());
    }
    let kind = core.builtin(GROUP, PLURAL).map_err(|status| status.message)?;
    match core.store.snapshot().get(&key(&kind, "", &ip.to_string())) {
        Some(_) => Err("provided IP is already allocated".into()),
        None => Ok(ip),
    }
}

/// An address that nobody has, from the first ServiceCIDR with one.
fn any(core: &Core, dry_run: bool) -> Result<Ipv4Addr, Status> {
    let ranges = ranges(core)?;
    let mut v4 = ranges.iter().filter_map(|range| match range.address {
        IpAddr::V4(base) => Some((base, range.bits)),
        IpAddr::V6(_) => None,
    });
    let full = || Status::internal("failed to allocate a serviceIP: range is full");
    if dry_run {
        // As the reference answers: any would do, and looking for a free one is not worth the work.
        return v4.next().map(|(base, _)| base).ok_or_else(full);
    }
    let kind = core.builtin(GROUP, PLURAL)?;
    let state = core.store.snapshot();
    v4.find_map(|(base, bits)| free(&kind, &state, base, bits)).ok_or_else(full)
}

fn free(kind: &Kind, state: &Snapshot, base: Ipv4Addr, bits: u8) -> Option<Ipv4Addr> {
    let size = 1u32.checked_shl(32 - u32::from(bits)).unwrap_or(u32::MAX);
    // The network's address and the broadcast address are nobody's.
    let (first, end) = (1, size.saturating_sub(1));
    if end <= first {
        return None;
    }
    // The low part is left to those who choose their own address, as in the reference.
    let low = (size / 16).clamp(16, 256).min(size / 2).max(first);
    let start = rand::rng().random_range(low..end);
    let prefix = registry::prefix(kind, "");
    (start..end)
        .chain(low..start)
        .chain(first..low)
        .map(|offset| Ipv4Addr::from(u32::from(base) + offset))
        .find(|ip| state.get(&format!("{prefix}{ip}")).is_none())
}

/// The networks of the ServiceCIDRs that are ready.
fn ranges(core: &Core) -> Result<Vec<Cidr>, Status> {
    let all = core.objects(GROUP, "servicecidrs", "")?;
    let ready = all.iter().filter(|cidr| is_ready(cidr) && !object::is_deleting(cidr));
    let texts = ready.flat_map(|cidr| object::items(cidr, &["spec", "cidrs"])).filter_map(Value::as_str);
    Ok(texts.filter_map(|text| text.parse().ok()).collect())
}

/// Who says nothing is ready: its controller may not be running.
fn is_ready(cidr: &Value) -> bool {
    let conditions = object::items(cidr, &["status", "conditions"]);
    conditions.iter().find(|c| c["type"] == "Ready").is_none_or(|ready| ready["status"] == "True")
}

/// The transaction's part that makes the IPAddress of `service`.
pub(super) fn claim(core: &Core, ip: Ipv4Addr, service: &Value) -> Result<Txn, Status> {
    let kind = core.builtin(GROUP, PLURAL)?;
    let made = bootstrap::born(core, &kind, wanted(ip, object::namespace(service), object::name(service)))?;
    Ok(Txn::create(key(&kind, "", &ip.to_string()), write::draft(&kind, &made)))
}

/// The IPAddress of a Service.
pub(super) fn wanted(ip: Ipv4Addr, namespace: &str, name: &str) -> Value {
    json!({
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": ip.to_string(), "labels": {FAMILY: IPV4, MANAGED_BY: MANAGER}},
        "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": name}},
    })
}

/// Whether an IPAddress carries what [`wanted`] puts on it.
pub(super) fn is_labelled(address: &Version) -> bool {
    address.meta.label(FAMILY) == Some(IPV4) && is_managed(address)
}

pub(super) fn is_managed(address: &Version) -> bool {
    address.meta.label(MANAGED_BY) == Some(MANAGER)
}

/// Namespace and name of the Service that an IPAddress is for.
pub(super) fn parent(address: &Value) -> Option<(&str, &str)> {
    let parent = object::at(address, &["spec", "parentRef"]);
    let is_service = object::text(parent, &["group"]).is_empty() && parent["resource"] == "services";
    is_service.then(|| (object::text(parent, &["namespace"]), object::text(parent, &["name"])))
}

/// The removal of the IPAddresses that `old` has and `new` no longer.
pub(super) fn released(core: &Core, old: &Value, new: &Value) -> Result<Vec<Op>, Status> {
    let kept = addresses_of(new);
    let kind = core.builtin(GROUP, PLURAL)?;
    let state = core.store.snapshot();
    let mut ops = Vec::new();
    for ip in addresses_of(old).into_iter().filter(|ip| !kept.contains(ip)) {
        let Some(version) = state.get(&key(&kind, "", &ip.to_string())) else { continue };
        let address = decode_stored(&kind, &version)?;
        if parent(&address) == Some((object::namespace(old), object::name(old))) {
            ops.extend(removal(core, &kind, &version, &address));
        }
    }
    Ok(ops)
}

/// What deletes an IPAddress: nothing where its finalizers keep it already.
pub(super) fn removal(core: &Core, kind: &Kind, version: &Version, address: &Value) -> Option<Op> {
    let key: Arc<str> = version.key.clone();
    match delete::plan(kind, address, &DeleteOptions::default(), core.clock.now()) {
        delete::Plan::Wait => None,
        delete::Plan::Mark(marked) => Some(Op::Put(key, write::draft(kind, &marked))),
        delete::Plan::Remove => Some(Op::Delete(key)),
    }
}

fn addresses_of(service: &Value) -> Vec<Ipv4Addr> {
    let list = object::items(service, &["spec", "clusterIPs"]).iter().filter_map(Value::as_str);
    let mut all: Vec<Ipv4Addr> =
        list.chain([object::text(service, &["spec", "clusterIP"])]).filter_map(|a| a.parse().ok()).collect();
    all.dedup();
    all
}
