//! That every ClusterIP is an IPAddress of its Service, and every IPAddress of a Service its ClusterIP: what writes keep so
//! is mended where somebody edits IPAddresses by hand, and made where Services are older than they.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use coracle_api::{Kind, Status, object};
use coracle_clock::Clock;
use coracle_store::{Error, Event, Expect, Op, Txn, Version, Watch};
use jiff::Timestamp;

use super::cluster_ips::{self, GROUP, PLURAL};
use crate::bootstrap;
use crate::registry::{self, decode_stored, key, versions, write};
use crate::server::Core;

/// An IPAddress may be there for so long before its Service is: as the reference waits for the writes of other servers.
const GRACE: Duration = Duration::from_secs(60);
/// What the store cannot do now is tried again so much later.
const RETRY: Duration = Duration::from_secs(10);
/// How many events are looked at together.
const BATCH: usize = 256;

/// Look at everything once, before anybody is given an address.
pub(crate) async fn run(core: &Core) -> Result<(), Status> {
    look_at_all(core).await.map(drop)
}

/// Look at what changes, until the server stops.
pub(crate) fn start(core: &Arc<Core>) {
    let (stopping, clock) = (core.stopping.clone(), core.clock.clone());
    // Weak: a server that nobody holds any more, and its store, must go without having been stopped.
    let keeping = keep(Arc::downgrade(core), clock);
    tokio::spawn(async move { stopping.run_until_cancelled(keeping).await });
}

async fn keep(core: Weak<Core>, clock: Clock) {
    loop {
        let watch = {
            let Some(core) = core.upgrade() else { return };
            let Ok(kind) = core.builtin(GROUP, PLURAL) else { return };
            let Ok(watch) = core.store.watch(&registry::prefix(&kind, ""), core.store.revision()) else {
                return;
            };
            match look_at_all(&core).await {
                Ok(early) => Ok((watch, early)),
                Err(status) => Err(status),
            }
        };
        match watch {
            // Everything is read anew where the watch fell behind.
            Ok((mut watch, early)) => match follow(&core, &mut watch, early, &clock).await {
                Error::Slow => {}
                _ => return,
            },
            Err(status) => {
                tracing::warn!(%status, "the addresses of Services were not looked at");
                clock.sleep(RETRY).await;
            }
        }
    }
}

/// The addresses that are to be looked at again, and when.
type Later = BTreeMap<Ipv4Addr, Timestamp>;

async fn follow(core: &Weak<Core>, watch: &mut Watch, mut later: Later, clock: &Clock) -> Error {
    loop {
        let first = later.values().min().map(|at| at.duration_since(clock.now()));
        let pause = first.map_or(Duration::MAX / 4, |left| Duration::try_from(left).unwrap_or_default());
        let events = tokio::select! {
            events = watch.next_batch(BATCH) => match events {
                Ok(events) => events,
                Err(error) => return error,
            },
            () = clock.sleep(pause) => Vec::new(),
        };
        let Some(core) = core.upgrade() else { return Error::Closed };
        let now = clock.now();
        later.extend(events.iter().filter_map(|event| Some((concerned(&core, event)?, now))));
        let due: Vec<Ipv4Addr> = later.iter().filter(|(_, at)| **at <= now).map(|(ip, _)| *ip).collect();
        for ip in due {
            later.remove(&ip);
            match look_at(&core, ip, None).await {
                Ok(None) => {}
                Ok(Some(again)) => drop(later.insert(ip, again)),
                Err(status) => {
                    tracing::warn!(%status, %ip, "the address of a Service was not mended");
                    later.insert(ip, now + RETRY);
                }
            }
        }
    }
}

/// The address of an event that may leave something to mend: not that of a Service which took it along.
fn concerned(core: &Core, event: &Event) -> Option<Ipv4Addr> {
    let ip = address(&event.key)?;
    let (None, Some(gone)) = (&event.now, &event.prev) else { return Some(ip) };
    let object = serde_json::from_slice(&gone.json).ok()?;
    let (namespace, name) = cluster_ips::parent(&object)?;
    let had = core.stored("", "services", namespace, name)?;
    (cluster_ip(&had) == Some(ip)).then_some(ip)
}

fn address(key: &str) -> Option<Ipv4Addr> {
    key.rsplit('/').next()?.parse().ok()
}

/// A Service as its key names it.
#[derive(Debug)]
struct Service {
    namespace: String,
    name: String,
}

async fn look_at_all(core: &Core) -> Result<Later, Status> {
    let services = core.builtin("", "services")?;
    let addresses = core.builtin(GROUP, PLURAL)?;
    let state = core.store.snapshot();
    let mut later = Later::new();
    for version in state.range(&registry::prefix(&services, ""), None) {
        if let Some(ip) = cluster_ip(&version) {
            look_at(core, ip, service(&version)).await?;
        }
    }
    for version in state.range(&registry::prefix(&addresses, ""), None) {
        let Some(ip) = address(&version.key) else { continue };
        if let Some(again) = look_at(core, ip, None).await? {
            later.insert(ip, again);
        }
    }
    Ok(later)
}

/// The address that a stored Service has; it is one of the facts that the store keeps beside the bytes.
fn cluster_ip(service: &Version) -> Option<Ipv4Addr> {
    service.meta.field("spec.clusterIP")?.parse().ok()
}

fn service(version: &Version) -> Option<Service> {
    let mut parts = version.key.rsplit('/');
    let (name, namespace) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(Service { namespace, name })
}

/// What is wrong with an address.
enum Step {
    Nothing,
    /// The Service of this key has it, and no IPAddress says so rightly.
    Make(Service),
    /// No Service has it.
    Remove,
    /// Perhaps none has it yet.
    LookAgain(Timestamp),
}

/// Mend one address; `owner` is a Service that has it, if one is known. Says when to look again.
async fn look_at(core: &Core, ip: Ipv4Addr, owner: Option<Service>) -> Result<Option<Timestamp>, Status> {
    let kind = core.builtin(GROUP, PLURAL)?;
    let stored = core.store.snapshot().get(&key(&kind, "", &ip.to_string()));
    let step = match &stored {
        Some(version) => judge(core, &kind, ip, version, owner)?,
        None => owner.or_else(|| owner_of(core, ip)).map_or(Step::Nothing, Step::Make),
    };
    let txn = match step {
        Step::Nothing => return Ok(None),
        Step::LookAgain(at) => return Ok(Some(at)),
        Step::Make(service) => {
            tracing::warn!(%ip, ?service, "the ClusterIP is not allocated; repairing");
            making(core, &kind, ip, &service, stored.as_deref())?
        }
        Step::Remove => {
            tracing::warn!(%ip, "the IPAddress is of no Service; cleaning up");
            let Some(version) = stored.as_deref() else { return Ok(None) };
            let removal = cluster_ips::removal(core, &kind, version, &decode_stored(&kind, version)?);
            let checks = vec![(version.key.clone(), Expect::Revision(version.revision))];
            Txn { checks, ops: removal.into_iter().collect() }
        }
    };
    match core.store.commit(txn).await {
        // Who was faster has caused an event of their own.
        Ok(_) | Err(Error::Conflict { .. }) => Ok(None),
        Err(other) => Err(versions::store_failed(other)),
    }
}

/// An IPAddress for the Service, in the place of what is there.
fn making(
    core: &Core,
    kind: &Kind,
    ip: Ipv4Addr,
    service: &Service,
    stored: Option<&Version>,
) -> Result<Txn, Status> {
    let made = bootstrap::born(core, kind, cluster_ips::wanted(ip, &service.namespace, &service.name))?;
    let key: Arc<str> = key(kind, "", &ip.to_string()).into();
    let expect = stored.map_or(Expect::Absent, |v| Expect::Revision(v.revision));
    Ok(Txn { checks: vec![(key.clone(), expect)], ops: vec![Op::Put(key, write::draft(kind, &made))] })
}

fn judge(
    core: &Core,
    kind: &Kind,
    ip: Ipv4Addr,
    stored: &Version,
    owner: Option<Service>,
) -> Result<Step, Status> {
    let object = decode_stored(kind, stored)?;
    let services = core.builtin("", "services")?;
    let state = core.store.snapshot();
    let parent = cluster_ips::parent(&object)
        .and_then(|(namespace, name)| state.get(&key(&services, namespace, name)))
        .filter(|service| cluster_ip(service) == Some(ip));
    Ok(match (parent, owner.or_else(|| unlabelled(core, ip, stored))) {
        // Of two Services with one address, the first one keeps it.
        (Some(_), _) if cluster_ips::is_labelled(stored) => Step::Nothing,
        (Some(parent), _) => service(&parent).map_or(Step::Nothing, Step::Make),
        (None, Some(owner)) => Step::Make(owner),
        (None, None) if !cluster_ips::is_managed(stored) || object::is_deleting(&object) => Step::Nothing,
        (None, None) => {
            let born: Option<Timestamp> =
                object::text(&object, &["metadata", "creationTimestamp"]).parse().ok();
            let until = born.and_then(|born| born.checked_add(GRACE).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
            if until > core.clock.now() { Step::LookAgain(until) } else { Step::Remove }
        }
    })
}

/// Somebody took the labels off, and perhaps the parent, too.
fn unlabelled(core: &Core, ip: Ipv4Addr, stored: &Version) -> Option<Service> {
    if cluster_ips::is_labelled(stored) { None } else { owner_of(core, ip) }
}

/// The Service with this address, looked for among all: only where something is wrong.
fn owner_of(core: &Core, ip: Ipv4Addr) -> Option<Service> {
    let services = core.builtin("", "services").ok()?;
    let state = core.store.snapshot();
    let prefix = registry::prefix(&services, "");
    let found = state.range(&prefix, None).find(|service| cluster_ip(service) == Some(ip))?;
    service(&found)
}
