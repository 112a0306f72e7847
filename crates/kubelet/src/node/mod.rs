//! The Node object: registered at the start, kept alive by a lease and by its status.

pub(crate) mod machine;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::Shared;
use crate::recorder::Kind;
use machine::{Machine, Pressure};

/// What a client reads as the version of the node agent.
pub const VERSION: &str = "v1.36.0+coracle";
/// Renewals of the lease, and looks at the machine: four fit into the lease's life, as in the reference.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u32 = 40;
/// An unchanged status is still written this often.
const STATUS_PERIOD: Duration = Duration::from_secs(300);
/// Between tries to register.
const RETRY: Duration = Duration::from_millis(200);
const LEASES: &str = "kube-node-lease";
/// The reference reports this many images at most, so that the object stays small.
const MAX_IMAGES: usize = 50;

/// What the Node says that does not change while the kubelet runs.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) machine: Machine,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
    pub(crate) pod_cidr: Option<String>,
    pub(crate) max_pods: u32,
    pub(crate) port: u16,
}

pub(crate) struct Registration {
    shared: Arc<Shared>,
    identity: Identity,
    /// The conditions as last written, with the time of their last change.
    conditions: Vec<Value>,
}

impl Registration {
    pub(crate) fn new(shared: Arc<Shared>, identity: Identity) -> Registration {
        Registration { shared, identity, conditions: Vec::new() }
    }

    /// Registers the node and reports it ready; tries until that is done.
    pub(crate) async fn register(&mut self) {
        loop {
            match self.try_register().await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "cannot register the node"),
            }
            self.shared.clock.sleep(RETRY).await;
        }
        let name = &self.shared.node_name;
        for (reason, message) in [
            ("Starting", "Starting kubelet.".to_owned()),
            ("NodeReady", format!("Node {name} status is now: NodeReady")),
        ] {
            self.shared.recorder.node(name, Kind::Normal, reason, message);
        }
    }

    async fn try_register(&mut self) -> kube::Result<()> {
        let api: Api<Node> = Api::all(self.shared.client.clone());
        let status = self.status().await;
        let mut node = self.object();
        node["status"] = status.clone();
        let typed: Node = serde_json::from_value(node.clone()).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &typed).await {
            Err(kube::Error::Api(error)) if error.code == 409 => {
                let labels = json!({"metadata": {"labels": node["metadata"]["labels"]}});
                api.patch(&self.shared.node_name, &PatchParams::default(), &Patch::Merge(&labels)).await?;
            }
            other => drop(other?),
        }
        self.write_status(&status).await?;
        self.renew_lease().await
    }

    fn object(&self) -> Value {
        let name = &self.shared.node_name;
        let architecture = self.identity.machine.architecture;
        let mut labels = json!({
            "beta.kubernetes.io/arch": architecture,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
        });
        for (key, value) in &self.identity.labels {
            labels[key] = json!(value);
        }
        let spec = match &self.identity.pod_cidr {
            Some(cidr) => json!({"podCIDR": cidr, "podCIDRs": [cidr]}),
            None => json!({}),
        };
        let annotations = json!({"volumes.kubernetes.io/controller-managed-attach-detach": "true"});
        json!({"metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": spec})
    }

    async fn status(&mut self) -> Value {
        let Identity { machine, max_pods, port, .. } = &self.identity;
        let (node, runtime) = (&self.shared.node_name, &self.shared.runtime);
        let resources = resources(machine, *max_pods);
        let mut images = runtime.list_images().await.unwrap_or_default();
        images.sort_by_key(|image| std::cmp::Reverse(image.size));
        images.truncate(MAX_IMAGES);
        let names = |image: &coracle_runtime::Image| [image.digests.clone(), image.tags.clone()].concat();
        let images: Vec<Value> =
            images.iter().map(|image| json!({"names": names(image), "sizeBytes": image.size})).collect();
        let status = json!({
            "addresses": [
                {"type": "InternalIP", "address": self.shared.host_ip},
                {"type": "Hostname", "address": node},
            ],
            "capacity": resources,
            "allocatable": resources,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "images": images,
            "nodeInfo": {
                "architecture": machine.architecture,
                "bootID": machine.boot_id,
                "containerRuntimeVersion": runtime.version(),
                "kernelVersion": machine.kernel,
                "kubeProxyVersion": "",
                "kubeletVersion": VERSION,
                "machineID": machine.machine_id,
                "operatingSystem": "linux",
                "osImage": machine.os_image,
                "systemUUID": machine.system_uuid,
            },
        });
        self.with_conditions(status)
    }

    fn with_conditions(&mut self, mut status: Value) -> Value {
        let now = self.shared.clock.now_rfc3339();
        let mut conditions = conditions(machine::pressure(&self.shared.root_dir));
        for condition in &mut conditions {
            let same =
                |old: &&Value| old["type"] == condition["type"] && old["status"] == condition["status"];
            let since = self.conditions.iter().find(same).map(|old| old["lastTransitionTime"].clone());
            condition["lastHeartbeatTime"] = json!(now);
            condition["lastTransitionTime"] = since.unwrap_or_else(|| json!(now));
        }
        self.conditions.clone_from(&conditions);
        status["conditions"] = Value::Array(conditions);
        status
    }

    async fn write_status(&self, status: &Value) -> kube::Result<()> {
        let api: Api<Node> = Api::all(self.shared.client.clone());
        let patch = json!({"status": status});
        api.patch_status(&self.shared.node_name, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
        Ok(())
    }

    async fn renew_lease(&self) -> kube::Result<()> {
        let name = &self.shared.node_name;
        let api: Api<Lease> = Api::namespaced(self.shared.client.clone(), LEASES);
        let renewal = json!({"spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": self.shared.clock.now_micro(),
        }});
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&renewal)).await {
            Err(kube::Error::Api(error)) if error.code == 404 => {}
            other => return other.map(drop),
        }
        let node = Api::<Node>::all(self.shared.client.clone()).get(name).await?;
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.metadata.uid});
        let mut lease = renewal;
        lease["metadata"] = json!({"name": name, "namespace": LEASES, "ownerReferences": [owner]});
        let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
        api.create(&PostParams::default(), &lease).await.map(drop)
    }

    /// Whether the API shows this status: the node controller overwrites it after a silence, and a restored snapshot does.
    async fn is_shown(&self, status: &Value) -> bool {
        match Api::<Node>::all(self.shared.client.clone()).get(&self.shared.node_name).await {
            Ok(node) => serde_json::to_value(node.status).is_ok_and(|shown| says(&shown, status)),
            Err(kube::Error::Api(error)) if error.code == 404 => false,
            // An API that does not answer takes no status either.
            Err(_) => true,
        }
    }

    /// Keeps the node alive for ever.
    pub(crate) async fn keep_alive(mut self) {
        let mut written = self.shared.clock.elapsed();
        let mut before = strip_heartbeat(&self.status().await);
        loop {
            self.shared.clock.sleep(HEARTBEAT).await;
            if let Err(error) = self.renew_lease().await {
                tracing::warn!(%error, "cannot renew the node's lease");
            }
            let status = self.status().await;
            let now = strip_heartbeat(&status);
            let is_due = now != before || self.shared.clock.elapsed() - written >= STATUS_PERIOD;
            if !is_due && self.is_shown(&status).await {
                continue;
            }
            match self.write_status(&status).await {
                Ok(()) => (written, before) = (self.shared.clock.elapsed(), now),
                Err(kube::Error::Api(error)) if error.code == 404 => self.register().await,
                Err(error) => tracing::warn!(%error, "cannot write the node's status"),
            }
        }
    }
}

/// Whether `shown` says what clients and controllers go by: where the node is, and how it is.
fn says(shown: &Value, status: &Value) -> bool {
    let state = |of: &Value, kind: &Value| {
        let all = of["conditions"].as_array().into_iter().flatten();
        all.filter(|condition| condition["type"] == *kind).map(|c| c["status"].clone()).next()
    };
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    ["addresses", "daemonEndpoints"].iter().all(|key| shown[key] == status[key])
        && conditions.all(|c| state(shown, &c["type"]).as_ref() == Some(&c["status"]))
}

fn strip_heartbeat(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastHeartbeatTime"] = Value::Null;
    }
    status
}

pub(crate) fn resources(machine: &Machine, max_pods: u32) -> Value {
    json!({
        "cpu": machine.cpus.to_string(),
        "ephemeral-storage": format!("{}Ki", machine.disk_bytes / 1024),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": format!("{}Ki", machine.memory_bytes / 1024),
        "pods": max_pods.to_string(),
    })
}

fn conditions(pressure: Pressure) -> Vec<Value> {
    let condition = |kind: &str, bad: bool, reasons: [&str; 2], messages: [&str; 2]| {
        let which = usize::from(bad);
        let status = if bad { "True" } else { "False" };
        json!({"type": kind, "status": status, "reason": reasons[which], "message": messages[which]})
    };
    vec![
        condition(
            "MemoryPressure",
            pressure.memory,
            ["KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"],
            ["kubelet has sufficient memory available", "kubelet has insufficient memory available"],
        ),
        condition(
            "DiskPressure",
            pressure.disk,
            ["KubeletHasNoDiskPressure", "KubeletHasDiskPressure"],
            ["kubelet has no disk pressure", "kubelet has disk pressure"],
        ),
        condition(
            "PIDPressure",
            pressure.pids,
            ["KubeletHasSufficientPID", "KubeletHasInsufficientPID"],
            ["kubelet has sufficient PID available", "kubelet has insufficient PID available"],
        ),
        json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}),
    ]
}
