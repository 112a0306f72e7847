//! The store in an etcd cluster, which any number of API servers share.
//!
//! etcd orders and keeps the transactions; reads are served from an index that one watch feeds. So that a read sees what
//! any server has acknowledged before it, it first learns etcd's revision and waits until the index is there.

mod client;
mod commit;
mod compact;
mod feed;
mod lease;
mod point;
mod record;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_clock::Clock;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::commit::Shared;
use crate::{Committed, Error, MetaOf, OpenError, Snapshot, Txn};
use client::{Client, Failure};
use feed::Feed;
use lease::Leases;
use point::Points;
use record::Names;
use wire::Header;

/// How to reach an etcd cluster, and where in it the objects are.
#[derive(Clone)]
pub struct EtcdOptions {
    /// `http://…` or `https://…`, of one cluster.
    pub endpoints: Vec<String>,
    /// Keys are `PREFIX/pods/NAMESPACE/NAME`.
    pub prefix: String,
    /// PEM: who may have signed the members' certificates.
    pub ca: Option<Vec<u8>>,
    /// PEM: our certificate and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// How often etcd's history is cut off, by one of all servers; zero for never by us.
    pub compaction: Duration,
}

impl Default for EtcdOptions {
    fn default() -> EtcdOptions {
        EtcdOptions {
            endpoints: Vec::new(),
            prefix: EtcdOptions::PREFIX.into(),
            ca: None,
            identity: None,
            compaction: EtcdOptions::COMPACTION,
        }
    }
}

impl EtcdOptions {
    /// Where kube-apiserver keeps its objects.
    pub const PREFIX: &str = "/registry";
    /// kube-apiserver's interval: no continue token and no watch is promised to live longer.
    pub const COMPACTION: Duration = Duration::from_secs(300);
}

impl std::fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (endpoints, prefix) = (&self.endpoints, &self.prefix);
        f.debug_struct("EtcdOptions")
            .field("endpoints", endpoints)
            .field("prefix", prefix)
            .finish_non_exhaustive()
    }
}

/// The cluster, and how our objects are read from it.
struct Remote {
    client: Client,
    names: Names,
    meta: MetaOf,
}

impl Remote {
    /// etcd's revision, which no write that was acknowledged before this call exceeds, and whose it is.
    async fn now(&self) -> Result<Header, Failure> {
        self.client.now(self.names.sign("")).await
    }
}

/// What all parts of the engine stand on.
struct Ground {
    remote: Remote,
    shared: Arc<Shared>,
    points: Points,
    leases: Leases,
    signing: tokio::sync::Mutex<()>,
    foreign: Mutex<BTreeMap<Arc<str>, String>>,
    /// Why etcd is not followed at the moment.
    trouble: Mutex<Option<Arc<str>>>,
    stopped: watch::Sender<bool>,
}

impl Ground {
    fn revision(&self) -> u64 {
        self.shared.index().revision
    }

    fn snapshot(&self) -> Snapshot {
        self.shared.index().snapshot()
    }

    fn trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why.map(Into::into);
    }

    fn health(&self) -> Result<(), Error> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map_or(Ok(()), |why| Err(Error::Unavailable(why)))
    }

    fn closed(&self) -> Result<(), Error> {
        if *self.stopped.borrow() { Err(Error::Closed) } else { Ok(()) }
    }
}

pub(crate) struct Etcd {
    ground: Arc<Ground>,
    tasks: Vec<AbortHandle>,
}

impl Etcd {
    /// Read what is there and follow it from then on, on the caller's runtime.
    pub(crate) async fn start(
        options: &EtcdOptions,
        meta: MetaOf,
        clock: Clock,
    ) -> Result<(Etcd, Arc<Shared>), OpenError> {
        let failed = |reason: String| OpenError::Etcd { endpoints: options.endpoints.join(","), reason };
        let client = Client::new(options).map_err(failed)?;
        let remote = Remote { client, names: Names::new(&options.prefix), meta };
        let header = remote.now().await.map_err(|e| failed(e.to_string()))?;
        let listed = feed::list(&remote).await.map_err(|e| failed(e.to_string()))?;
        if let Some((key, looks)) = listed.foreign.first_key_value() {
            return Err(failed(format!(
                "{} values under {} are not ours, such as {key}: {looks}. Choose another prefix",
                listed.foreign.len(),
                options.prefix
            )));
        }
        let shared = Arc::new(Shared::new(listed.revision, listed.root.clone(), clock));
        let (points, waiters) = Points::new();
        let ground = Arc::new(Ground {
            remote,
            shared: shared.clone(),
            points,
            leases: Leases::default(),
            signing: tokio::sync::Mutex::default(),
            foreign: Mutex::default(),
            trouble: Mutex::default(),
            stopped: watch::Sender::new(false),
        });
        let feed = Feed {
            ground: ground.clone(),
            root: listed.root,
            revision: listed.revision,
            cluster: header.cluster_id,
        };
        // Confirmed before the first write: etcd tells a watch that starts late only every 100 ms.
        let first = feed.open().await.map_err(|end| failed(end.to_string()))?;
        let mut tasks = vec![
            tokio::spawn(feed.run(first)).abort_handle(),
            tokio::spawn(point::answer(ground.clone(), waiters)).abort_handle(),
        ];
        if !options.compaction.is_zero() {
            tasks.push(tokio::spawn(compact::run(ground.clone(), options.compaction)).abort_handle());
        }
        Ok((Etcd { ground, tasks }, shared))
    }

    pub(crate) async fn commit(&self, txn: Txn) -> Result<Committed, Error> {
        self.ground.commit(&txn).await
    }

    pub(crate) async fn sync(&self) -> Result<(), Error> {
        self.ground.closed()?;
        self.ground.sync().await
    }

    pub(crate) fn health(&self) -> Result<(), Error> {
        self.ground.health()
    }

    pub(crate) fn stop(&self) {
        self.ground.stopped.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        self.ground.shared.topics().close();
    }
}

fn revision_of(header: Option<&Header>) -> u64 {
    header.and_then(|header| u64::try_from(header.revision).ok()).unwrap_or(0)
}
