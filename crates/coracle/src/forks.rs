//! Forks: second clusters in this process, each from the state of its parent at one moment, each with an endpoint.
//!
//! A fork shares with its parent all that neither changes: objects, policy, certificates, keys. It is a control plane
//! without a node. Until somebody writes to it, it is its parent's state of that moment and nothing in it moves; its
//! controllers and its scheduler start with the first write, since only then there is something for them to do that the
//! parent's would not have done, and a fork that is only read stays as small as it began.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_api::Status;
use coracle_apiserver::{Fork, ForkConfig, Server};
use coracle_auth::pki::Pki;
use coracle_auth::tokens;
use coracle_clock::Clock;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{boot, kubeconfig};

/// Forks of one cluster at a time. Each has a listener, and processes may have 1024 files open by default.
const FORKS_MAX: usize = 500;

/// What every fork of a family is made from.
#[derive(Clone)]
pub(crate) struct Stock {
    pub pki: Arc<Pki>,
    pub tokens: tokens::Config,
    pub clock: Clock,
}

/// The forks of one cluster.
pub(crate) struct Forks {
    stock: Stock,
    /// The parent's; those of forks are next to it.
    kubeconfig: PathBuf,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// `None` while one is being made.
    by_name: BTreeMap<String, Option<Branch>>,
    /// No more are made.
    closed: bool,
}

fn stopping() -> Status {
    Status::service_unavailable("the cluster is stopping")
}

/// One fork, running.
struct Branch {
    told: Fork,
    server: Server,
    serving: JoinHandle<()>,
    /// Waits for the first write, then runs what a control plane runs.
    working: JoinHandle<()>,
    forks: Arc<Forks>,
}

impl fmt::Debug for Forks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forks").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

impl Forks {
    pub(crate) fn new(stock: Stock, kubeconfig: &Path) -> Arc<Forks> {
        Arc::new(Forks { stock, kubeconfig: kubeconfig.to_owned(), all: Mutex::default() })
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take a name, so that two who want it do not both begin.
    fn reserve(&self, name: Option<String>) -> Result<Reserved<'_>, Status> {
        let mut all = self.all();
        if all.closed {
            return Err(stopping());
        }
        let all = &mut all.by_name;
        let name = name.unwrap_or_else(|| {
            (1..).map(|n| format!("fork-{n}")).find(|n| !all.contains_key(n)).expect("numbers do not end")
        });
        if all.contains_key(&name) {
            return Err(Status::already_exists(Fork::RESOURCE, &name));
        }
        if all.len() >= FORKS_MAX {
            let why = format!("there are {FORKS_MAX} forks already: delete one first");
            return Err(Status::conflict(Fork::RESOURCE, &name, &why));
        }
        all.insert(name.clone(), None);
        Ok(Reserved { forks: self, name })
    }

    async fn make(&self, parent: &Server, name: &str) -> anyhow::Result<Branch> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut file = self.kubeconfig.file_name().unwrap_or_default().to_owned();
        file.push(format!("-{name}"));
        let kubeconfig = self.kubeconfig.with_file_name(file);
        let forks = Forks::new(self.stock.clone(), &kubeconfig);
        let config = ForkConfig { address: (Ipv4Addr::LOCALHOST, address.port()), forks: forks.clone() };
        let server = parent.fork(config);
        self.write_kubeconfig(&kubeconfig, name, address)?;
        let told = Fork {
            name: name.to_owned(),
            server: format!("https://{address}"),
            kubeconfig,
            revision: server.store().revision(),
            created: self.stock.clock.now_rfc3339(),
        };
        let working = tokio::spawn(work(server.clone(), self.stock.clone(), told.revision));
        let serving = boot::serve(&server, listener);
        Ok(Branch { told, server, serving, working, forks })
    }

    fn write_kubeconfig(&self, path: &Path, name: &str, address: SocketAddr) -> anyhow::Result<()> {
        let pki = &self.stock.pki;
        let context = format!("{}-{name}", boot::CONTEXT);
        kubeconfig::write(path, &pki.kubeconfig(&context, &format!("https://{address}"), pki.admin()))
    }

    /// End every fork, and theirs.
    pub(crate) async fn stop(&self) {
        let all: Vec<Branch> = {
            let mut all = self.all();
            all.closed = true;
            std::mem::take(&mut all.by_name).into_values().flatten().collect()
        };
        futures::future::join_all(all.into_iter().map(Branch::stop)).await;
    }
}

/// Controllers and scheduler, from the first write on, until dropped.
async fn work(server: Server, stock: Stock, since: u64) {
    server.store().wait_past(since).await;
    let Stock { pki, tokens, clock } = stock;
    let controllers = boot::start_controllers(&server, &pki, tokens, &clock, boot::Nodes::Records, None);
    let scheduler = boot::start_scheduler(&server, &clock, None);
    server.tell_of("controller-manager", controllers.health());
    server.tell_of("scheduler", scheduler.health());
    std::future::pending::<()>().await;
}

/// A name that is nobody's yet: given back unless something was made of it.
struct Reserved<'a> {
    forks: &'a Forks,
    name: String,
}

impl Reserved<'_> {
    /// The fork is there, unless all were ended meanwhile.
    fn fill(self, branch: Branch) -> Result<(), Branch> {
        match self.forks.all().by_name.get_mut(&self.name) {
            Some(slot) => *slot = Some(branch),
            None => return Err(branch),
        }
        Ok(())
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let all = &mut self.forks.all().by_name;
        if all.get(&self.name).is_some_and(Option::is_none) {
            all.remove(&self.name);
        }
    }
}

impl Branch {
    fn stop(self) -> BoxFuture<'static, ()> {
        async move {
            self.working.abort();
            let _ = self.working.await;
            self.forks.stop().await;
            self.server.stop().await;
            let _ = self.serving.await;
            self.server.store().close().await;
            // Where it is gone already, all is well.
            let _ = std::fs::remove_file(&self.told.kubeconfig);
        }
        .boxed()
    }
}

impl coracle_apiserver::Forks for Forks {
    fn create(&self, parent: Server, name: Option<String>) -> BoxFuture<'_, Result<Fork, Status>> {
        async move {
            let reserved = self.reserve(name)?;
            let made = self.make(&parent, &reserved.name).await;
            let branch = made.map_err(|e| Status::internal(format!("cannot make the fork: {e:#}")))?;
            let told = branch.told.clone();
            if let Err(branch) = reserved.fill(branch) {
                branch.stop().await;
                return Err(stopping());
            }
            Ok(told)
        }
        .boxed()
    }

    fn list(&self) -> Vec<Fork> {
        self.all().by_name.values().flatten().map(|branch| branch.told.clone()).collect()
    }

    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), Status>> {
        let taken = {
            let all = &mut self.all().by_name;
            let there = all.get(name).is_some_and(Option::is_some);
            there.then(|| all.remove(name)).flatten().flatten()
        };
        let missing = taken.is_none().then(|| Status::not_found(Fork::RESOURCE, name));
        async move {
            if let Some(branch) = taken {
                branch.stop().await;
            }
            missing.map_or(Ok(()), Err)
        }
        .boxed()
    }
}
