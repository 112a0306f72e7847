//! The Service `kubernetes`: the name and address under which Pods find this server.

use std::net::Ipv4Addr;

use coracle_api::{Status, object};
use coracle_store::{Expect, Txn};
use serde_json::{Value, json};

use crate::bootstrap;
use crate::registry::{key, versions, write};
use crate::server::Core;

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";
/// The port that clients are told in KUBERNETES_SERVICE_PORT.
const PORT: u16 = 443;
/// How often the server's own objects are tried again when somebody edits them at that moment.
const TRIES: usize = 16;

/// Make the Service where it is missing, and have its endpoints name this server.
pub(crate) async fn keep(core: &Core) -> Result<(), Status> {
    // At once: the store writes them in one group, and a start waits for the disk once less.
    tokio::try_join!(keep_service(core), keep_endpoints(core), keep_slice(core)).map(|_| ())
}

async fn keep_service(core: &Core) -> Result<(), Status> {
    if core.stored("", "services", NAMESPACE, NAME).is_some() {
        return Ok(());
    }
    put(core, "", "services", |_| Some(service(core))).await
}

async fn keep_endpoints(core: &Core) -> Result<(), Status> {
    let Some((address, port)) = core.advertise else { return Ok(()) };
    put(core, "", "endpoints", |_| Some(endpoints(&[address], port))).await
}

async fn keep_slice(core: &Core) -> Result<(), Status> {
    let Some((address, port)) = core.advertise else { return Ok(()) };
    put(core, "discovery.k8s.io", "endpointslices", |_| Some(slice(&[address], port))).await
}

/// Take this server out of the endpoints, so that nobody is sent to an address where nothing listens.
pub(crate) async fn withdraw(core: &Core) {
    let Some((_, port)) = core.advertise else { return };
    for (group, plural, value) in
        [("", "endpoints", endpoints(&[], port)), ("discovery.k8s.io", "endpointslices", slice(&[], port))]
    {
        if let Err(status) = put(core, group, plural, |old| old.map(|_| value.clone())).await {
            tracing::warn!("cannot withdraw {plural} of the Service kubernetes: {status}");
        }
    }
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

fn endpoints(addresses: &[Ipv4Addr], port: u16) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|a| json!({"ip": a.to_string()})).collect();
    let mut out = json!({
        "kind": "Endpoints", "apiVersion": "v1",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            // Our EndpointSlice is kept by hand; no controller may mirror these into another.
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
    });
    if !addresses.is_empty() {
        let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
        out["subsets"] = json!([{"addresses": addresses, "ports": ports}]);
    }
    out
}

fn slice(addresses: &[Ipv4Addr], port: u16) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|a| json!({"addresses": [a.to_string()], "conditions": {"ready": true}}))
        .collect();
    json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    })
}

/// Write what `wanted` makes of the old object; metadata that is there stays.
async fn put(
    core: &Core,
    group: &str,
    plural: &str,
    wanted: impl Fn(Option<&Value>) -> Option<Value>,
) -> Result<(), Status> {
    let kind = core.builtin(group, plural)?;
    let key = key(&kind, NAMESPACE, NAME);
    for _ in 0..TRIES {
        let current = core.store.snapshot().get(&key);
        let old: Option<Value> = current.as_ref().and_then(|v| serde_json::from_slice(&v.json).ok());
        let Some(mut obj) = wanted(old.as_ref()) else { return Ok(()) };
        obj = bootstrap::born(core, &kind, obj)?;
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
