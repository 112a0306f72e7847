//! What all parts of one kubelet share.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_clock::Clock;
use coracle_runtime::Runtime;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::runtime::reflector::Store;

use crate::objects::Objects;
use crate::pod::{dns, spec};
use crate::probes::check::Target;
use crate::recorder::Recorder;
use crate::volumes::{self, Memory, Tokens};

/// The directory of the Pods below the kubelet's root.
pub(crate) const PODS: &str = "pods";

pub(crate) struct Shared {
    pub(crate) client: kube::Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Clock,
    pub(crate) node_name: String,
    pub(crate) host_ip: String,
    pub(crate) root_dir: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) resolv_conf: PathBuf,
    pub(crate) cluster: dns::Cluster,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) tokens: Tokens,
    pub(crate) recorder: Recorder,
    pub(crate) services: Store<Service>,
    pub(crate) memory: Memory,
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    pub(crate) memory_bytes: u64,
    /// The Pods of the node with the status that the kubelet last computed, by UID.
    pub(crate) pods: Mutex<HashMap<String, Arc<Pod>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node_name", &self.node_name).finish_non_exhaustive()
    }
}

/// The name that the reference gives to the directory of a Pod's logs.
pub(crate) fn log_directory_name(namespace: &str, name: &str, uid: &str) -> String {
    format!("{namespace}_{name}_{uid}")
}

impl Shared {
    pub(crate) fn services(&self) -> Vec<Service> {
        self.services.state().iter().map(|service| Service::clone(service)).collect()
    }

    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join(PODS).join(uid)
    }

    pub(crate) fn log_directory(&self, pod: &Pod) -> PathBuf {
        self.log_dir.join(log_directory_name(spec::namespace(pod), spec::name(pod), spec::uid(pod)))
    }

    pub(crate) fn target(&self, container_id: &str, pod_ip: &str, container: Container) -> Target {
        Target {
            container_id: container_id.to_owned(),
            pod_ip: pod_ip.to_owned(),
            container,
            runtime: Arc::clone(&self.runtime),
            clock: self.clock.clone(),
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remember(&self, pod: &Pod, status: PodStatus) {
        let mut pod = pod.clone();
        pod.status = Some(status);
        self.table().insert(spec::uid(&pod).to_owned(), Arc::new(pod));
    }

    pub(crate) fn forget(&self, pod: &Pod) {
        self.table().remove(spec::uid(pod));
    }

    pub(crate) fn find_pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let table = self.table();
        let mut found: Vec<&Arc<Pod>> = table
            .values()
            .filter(|pod| spec::namespace(pod) == namespace && spec::name(pod) == name)
            .collect();
        found.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|at| at.0));
        found.last().map(|pod| Arc::clone(pod))
    }

    pub(crate) fn all_pods(&self) -> Vec<Arc<Pod>> {
        self.table().values().cloned().collect()
    }

    /// Removes a Pod's directory and its logs.
    pub(crate) async fn clean_up(&self, uid: &str, logs: &Path) {
        self.tokens.forget(uid);
        self.clean_up_directory(uid);
        if let Err(error) = tokio::fs::remove_dir_all(logs).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove logs");
        }
    }

    pub(crate) fn clean_up_directory(&self, uid: &str) {
        if let Err(error) = volumes::tear_down(&self.pod_dir(uid)) {
            tracing::warn!(uid, %error, "cannot remove the directory of a Pod");
        }
    }
}
