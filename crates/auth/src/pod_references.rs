//! The objects that a Pod names, and that its node must therefore be able to read.

use coracle_api::object::{items, name, text};
use serde_json::Value;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
/// Volume sources with a `secretRef` in the Pod's namespace.
const WITH_SECRET_REF: [&str; 8] =
    ["cephfs", "rbd", "flexVolume", "cinder", "iscsi", "scaleIO", "storageos", "csi"];

fn volumes(pod: &Value) -> &[Value] {
    items(pod, &["spec", "volumes"])
}

fn named(list: Vec<&str>) -> impl Iterator<Item = String> {
    list.into_iter().filter(|n| !n.is_empty()).map(str::to_owned)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    CONTAINERS.iter().flat_map(|list| items(pod, &["spec", list]))
}

/// Names in the environment: `key` of `valueFrom`, `from` of `envFrom`.
fn from_environment<'a>(pod: &'a Value, key: &str, from: &str) -> Vec<&'a str> {
    let mut out = Vec::new();
    for container in containers(pod) {
        out.extend(items(container, &["env"]).iter().map(|e| text(e, &["valueFrom", key, "name"])));
        out.extend(items(container, &["envFrom"]).iter().map(|e| text(e, &[from, "name"])));
    }
    out
}

fn projected<'a>(pod: &'a Value, source: &str) -> Vec<&'a str> {
    let sources = volumes(pod).iter().flat_map(|v| items(v, &["projected", "sources"]));
    sources.map(|s| text(s, &[source, "name"])).collect()
}

pub(crate) fn secrets(pod: &Value) -> impl Iterator<Item = String> {
    let mut out = from_environment(pod, "secretKeyRef", "secretRef");
    out.extend(items(pod, &["spec", "imagePullSecrets"]).iter().map(|s| text(s, &["name"])));
    out.extend(projected(pod, "secret"));
    for volume in volumes(pod) {
        out.push(text(volume, &["secret", "secretName"]));
        out.push(text(volume, &["azureFile", "secretName"]));
        out.push(text(volume, &["csi", "nodePublishSecretRef", "name"]));
        out.extend(WITH_SECRET_REF.iter().map(|source| text(volume, &[source, "secretRef", "name"])));
    }
    named(out)
}

pub(crate) fn config_maps(pod: &Value) -> impl Iterator<Item = String> {
    let mut out = from_environment(pod, "configMapKeyRef", "configMapRef");
    out.extend(projected(pod, "configMap"));
    out.extend(volumes(pod).iter().map(|v| text(v, &["configMap", "name"])));
    named(out)
}

/// Claims by name, and those that ephemeral volumes make.
pub(crate) fn claims(pod: &Value) -> impl Iterator<Item = String> {
    let pod_name = name(pod);
    let of_volume = |volume: &Value| {
        let claim = text(volume, &["persistentVolumeClaim", "claimName"]);
        if !claim.is_empty() {
            return Some(claim.to_owned());
        }
        volume.get("ephemeral").map(|_| format!("{pod_name}-{}", text(volume, &["name"])))
    };
    volumes(pod).iter().filter_map(of_volume).collect::<Vec<_>>().into_iter()
}

pub(crate) fn resource_claims(pod: &Value) -> impl Iterator<Item = String> {
    let name = |v: &'_ Value| text(v, &["resourceClaimName"]).to_owned();
    let spec = items(pod, &["spec", "resourceClaims"]).iter().map(name);
    let made = items(pod, &["status", "resourceClaimStatuses"]).iter().map(name);
    spec.chain(made).filter(|n| !n.is_empty()).collect::<Vec<_>>().into_iter()
}

/// Whether a PersistentVolume needs this Secret on the node. Most sources name its namespace; the claim's is meant
/// where they do not.
pub(crate) fn volume_secret(volume: &Value, claim_namespace: &str, secret: &str) -> bool {
    let spec = &volume["spec"];
    let sources = WITH_SECRET_REF.iter().map(|source| &spec[*source]["secretRef"]);
    let csi = ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];
    sources.chain(csi.iter().map(|key| &spec["csi"][*key])).any(|reference| {
        let namespace = text(reference, &["namespace"]);
        text(reference, &["name"]) == secret && (namespace.is_empty() || namespace == claim_namespace)
    }) || text(spec, &["azureFile", "secretName"]) == secret
}
