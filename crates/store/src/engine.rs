//! What orders transactions and keeps them. However it does, what it commits becomes visible by `Shared::publish`.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::commit::{QUEUE, Request, Shared, Work, Writer};
use crate::etcd::Etcd;
use crate::index::Root;
use crate::log::Log;
use crate::{Committed, Error, Snapshot, Txn};

pub(crate) enum Engine {
    Local(Local),
    Etcd(Etcd),
}

impl Engine {
    pub(crate) async fn commit(&self, txn: Txn) -> Result<Committed, Error> {
        match self {
            Engine::Local(local) => local.request(Work::Txn(txn)).await,
            Engine::Etcd(etcd) => etcd.commit(txn).await,
        }
    }

    /// See [`crate::Store::restore`].
    pub(crate) async fn restore(&self, state: Snapshot) -> Result<Committed, Error> {
        match self {
            Engine::Local(local) => local.request(Work::Restore(state)).await,
            // etcd does not take as much in one transaction, and other servers' clients would see it half done.
            Engine::Etcd(_) => {
                Err(Error::Refused("etcd is restored by its own snapshots (etcdctl snapshot)".into()))
            }
        }
    }

    /// Wait until the index shows what anybody was told before this call. Of a log of our own it always does.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        match self {
            Engine::Local(_) => Ok(()),
            Engine::Etcd(etcd) => etcd.sync().await,
        }
    }

    pub(crate) fn health(&self) -> Result<(), Error> {
        match self {
            Engine::Local(_) => Ok(()),
            Engine::Etcd(etcd) => etcd.health(),
        }
    }

    /// Finish what was asked for and end the watches. May block.
    pub(crate) fn stop(&self) {
        match self {
            Engine::Local(local) => local.stop(),
            Engine::Etcd(etcd) => etcd.stop(),
        }
    }
}

/// One writer thread and a log: the only process that writes.
pub(crate) struct Local {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Local {
    pub(crate) fn start(log: Box<dyn Log>, revision: u64, root: Root, shared: Arc<Shared>) -> Local {
        let (requests, queue) = mpsc::channel(QUEUE);
        let writer = Writer { shared, log, root, revision };
        let thread = std::thread::Builder::new().name("store".into());
        let writer = thread.spawn(move || writer.run(queue)).expect("a thread can be started");
        Local { requests: Mutex::new(Some(requests)), writer: Mutex::new(Some(writer)) }
    }

    async fn request(&self, work: Work) -> Result<Committed, Error> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        requests.send(Request { work, reply }).await.map_err(|_| Error::Closed)?;
        drop(requests);
        answer.await.map_err(|_| Error::Closed)?
    }

    fn stop(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer.filter(|w| w.thread().id() != std::thread::current().id()) {
            // A writer that panicked has closed its end; its callers got `Error::Closed`.
            let _ = writer.join();
        }
    }
}
