//! The Service `kubernetes`: the name and address under which Pods find this server.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use coracle_api::{Status, object};
use coracle_store::{Expect, Txn};
use serde_json::{Value, json};

use crate::bootstrap;
use crate::peers;
use crate::registry::{key, versions, write};
use crate::server::Core;

/// The addresses of API servers, by the port that they listen on.
type Servers = BTreeMap<u16, Vec<Ipv4Addr>>;

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";
/// The port that clients are told in KUBERNETES_SERVICE_PORT.
const PORT: u16 = 443;
/// How often the server's own objects are tried again when somebody edits them at that moment.
const TRIES: usize = 16;

/// Make the Service where it is missing, and have its endpoints name this server and those that share its store.
pub(crate) async fn keep(core: &Core) -> Result<(), Status> {
    if core.store.is_shared() {
        peers::announce(core).await?;
    }
    let servers = servers(core, core.advertise);
    // At once: the store writes them in one group, and a start waits for the disk once less.
    tokio::try_join!(keep_service(core), keep_endpoints(core, &servers), keep_slices(core, &servers))
        .map(|_| ())
}

/// Take this server out of the endpoints, so that nobody is sent to an address where nothing listens.
pub(crate) async fn withdraw(core: &Core) {
    if core.store.is_shared()
        && let Err(status) = peers::leave(core).await
    {
        tracing::warn!("cannot take back that this server is there: {status}");
    }
    let servers = servers(core, None);
    let kept = tokio::try_join!(keep_endpoints(core, &servers), keep_slices(core, &servers));
    if let Err(status) = kept {
        tracing::warn!("cannot withdraw from the endpoints of the Service kubernetes: {status}");
    }
}

/// Where the cluster's servers are, by port: `own` alone unless others share the store.
fn servers(core: &Core, own: Option<(Ipv4Addr, u16)>) -> Servers {
    let mut servers = Servers::new();
    let found = if core.store.is_shared() { peers::present(core) } else { own.into_iter().collect() };
    for (address, port) in found {
        servers.entry(port).or_default().push(address);
    }
    servers
}

async fn keep_service(core: &Core) -> Result<(), Status> {
    if core.stored("", "services", NAMESPACE, NAME).is_some() {
        return Ok(());
    }
    let kind = core.builtin("", "services")?;
    let service = bootstrap::born(core, &kind, service(core))?;
    let mut txn = Txn::create(key(&kind, NAMESPACE, NAME), write::draft(&kind, &service));
    let address = core.addresses.for_kubernetes(core, &service)?;
    // Whose it is otherwise the repair of addresses looks into.
    if address.checks.iter().all(|(key, _)| core.store.snapshot().get(key).is_none()) {
        txn.checks.extend(address.checks);
        txn.ops.extend(address.ops);
    }
    match core.store.commit(txn).await {
        // Another server was faster.
        Ok(_) | Err(coracle_store::Error::Conflict { .. }) => Ok(()),
        Err(other) => Err(versions::store_failed(other)),
    }
}

async fn keep_endpoints(core: &Core, servers: &Servers) -> Result<(), Status> {
    if core.advertise.is_none() {
        return Ok(());
    }
    put(core, "", "endpoints", NAME, endpoints(servers)).await
}

/// One slice for each port, the first under the name that all know.
async fn keep_slices(core: &Core, servers: &Servers) -> Result<(), Status> {
    let Some((_, own_port)) = core.advertise else { return Ok(()) };
    let (group, plural) = ("discovery.k8s.io", "endpointslices");
    let mut wanted: Vec<Value> =
        servers.iter().map(|(port, all)| slice(&format!("{NAME}-{port}"), all, *port)).collect();
    match wanted.first_mut() {
        Some(first) => first["metadata"]["name"] = json!(NAME),
        None => wanted.push(slice(NAME, &[], own_port)),
    }
    for slice in &wanted {
        put(core, group, plural, object::name(slice), slice.clone()).await?;
    }
    let kind = core.builtin(group, plural)?;
    let prefix = key(&kind, NAMESPACE, &format!("{NAME}-"));
    let others = core.store.snapshot();
    for old in others.range(&key(&kind, NAMESPACE, ""), None).filter(|v| v.key.starts_with(&prefix)) {
        let ours = old.meta.label("kubernetes.io/service-name") == Some(NAME);
        let is_wanted = wanted.iter().any(|w| old.key.ends_with(&format!("/{}", object::name(w))));
        if ours && !is_wanted {
            let gone = core.store.commit(Txn::delete(old.key.clone(), Expect::Any)).await;
            gone.map_err(versions::store_failed)?;
        }
    }
    Ok(())
}

fn service(core: &Core) -> Value {
    let address = core.addresses.first().to_string();
    let target = core.advertise.map_or(PORT, |(_, port)| port);
    json!({
        "kind": "Service", "apiVersion": "v1",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": PORT, "targetPort": target}],
            "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
        },
    })
}

fn endpoints(servers: &Servers) -> Value {
    let mut out = json!({
        "kind": "Endpoints", "apiVersion": "v1",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            // Our EndpointSlice is kept by hand; no controller may mirror these into another.
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
    });
    let subset = |(port, addresses): (&u16, &Vec<Ipv4Addr>)| {
        let addresses: Vec<Value> = addresses.iter().map(|a| json!({"ip": a.to_string()})).collect();
        json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
    };
    if !servers.is_empty() {
        out["subsets"] = servers.iter().map(subset).collect();
    }
    out
}

fn slice(name: &str, addresses: &[Ipv4Addr], port: u16) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|a| json!({"addresses": [a.to_string()], "conditions": {"ready": true}}))
        .collect();
    json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    })
}

/// Write `wanted`; metadata that is there stays.
async fn put(core: &Core, group: &str, plural: &str, name: &str, wanted: Value) -> Result<(), Status> {
    let kind = core.builtin(group, plural)?;
    let key = key(&kind, NAMESPACE, name);
    for _ in 0..TRIES {
        let current = core.store.snapshot().get(&key);
        let old: Option<Value> = current.as_ref().and_then(|v| serde_json::from_slice(&v.json).ok());
        let mut obj = bootstrap::born(core, &kind, wanted.clone())?;
        if let Some(old) = &old {
            obj["metadata"] = object::metadata(old).clone();
        }
        if old.as_ref() == Some(&obj) {
            return Ok(());
        }
        let expect = current.map_or(Expect::Absent, |v| Expect::Revision(v.revision));
        match core.store.commit(Txn::put(key.as_str(), expect, write::draft(&kind, &obj))).await {
            Ok(_) => return Ok(()),
            Err(coracle_store::Error::Conflict { .. }) => continue,
            Err(other) => return Err(versions::store_failed(other)),
        }
    }
    Err(Status::internal(format!("{plural} of the Service kubernetes change too often")))
}
