//! The Service `kube-dns` and its endpoint, by which Pods find the DNS server.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Error;

const NAMESPACE: &str = "kube-system";
/// The name that everyone knows, whatever server is behind it.
const NAME: &str = "kube-dns";
const PORT: u16 = 53;

/// Have the objects say that DNS at `service_ip` is served at `server`.
pub(crate) async fn announce(
    client: &Client,
    service_ip: Ipv4Addr,
    server: (Ipv4Addr, u16),
) -> Result<(), Error> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    ensure(&services, &service(service_ip)).await?;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    ensure(&slices, &slice(server)).await
}

/// Make the object that is there say this, or create it. In this order: creating first would be refused for the address
/// that the object itself holds, before its name is looked at.
async fn ensure<K>(api: &Api<K>, object: &Value) -> Result<(), Error>
where
    K: Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let parsed: K = serde_json::from_value(object.clone())
        .map_err(|error| Error::Api(Box::new(kube::Error::SerdeError(error))))?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let done = match api.patch(name, &PatchParams::default(), &Patch::Merge(object)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            api.create(&PostParams::default(), &parsed).await
        }
        other => other,
    };
    done.map(drop).map_err(|error| Error::Api(Box::new(error)))
}

fn service(ip: Ipv4Addr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": NAME,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": ip.to_string(),
            "ports": [
                {"name": "dns", "port": PORT, "protocol": "UDP", "targetPort": PORT},
                {"name": "dns-tcp", "port": PORT, "protocol": "TCP", "targetPort": PORT},
            ],
        },
    })
}

fn slice((ip, port): (Ipv4Addr, u16)) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": NAME,
                "kubernetes.io/service-name": NAME,
                "endpointslice.kubernetes.io/managed-by": "coracle",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip.to_string()], "conditions": {"ready": true}}],
        "ports": [
            {"name": "dns", "port": port, "protocol": "UDP"},
            {"name": "dns-tcp", "port": port, "protocol": "TCP"},
        ],
    })
}
