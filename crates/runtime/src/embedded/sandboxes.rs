//! Sandboxes, as the agent sees them: made with a shim each, watched, taken over after a restart.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::cgroup::wait_for_end;
use super::containers::Container;
use super::protocol::{self, Reply, Request};
use super::record::{self, SandboxRecord, ShimRecord};
use super::{Embedded, make_private, new_id};
use crate::{Error, EventKind, PodAddress, Result, SandboxConfig, SandboxState, SandboxStatus};

/// POSIX shared memory of a Pod: the kubelet's and containerd's default.
const SHM_OPTIONS: &str = "mode=1777,size=65536k";

#[derive(Clone, Debug)]
pub(super) struct Sandbox {
    pub(super) record: SandboxRecord,
    pub(super) dir: PathBuf,
    pub(super) pause_pid: i32,
    pub(super) state: SandboxState,
}

impl Sandbox {
    pub(super) fn status(&self) -> SandboxStatus {
        let config = &self.record.config;
        SandboxStatus {
            id: self.record.id.clone(),
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            uid: config.uid.clone(),
            attempt: config.attempt,
            state: self.state,
            created_at: self.record.created_at,
            address: self.record.address.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        }
    }

    pub(super) fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pause_pid))
    }
}

/// Speak to a sandbox's shim.
pub(super) fn connect(dir: &Path) -> std::io::Result<UnixStream> {
    use std::os::fd::AsRawFd;
    // A socket's address may have 107 bytes; through a descriptor, any directory is near.
    let dir = fs::File::open(dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), record::SOCKET))
}

/// One request, one answer.
pub(super) fn ask(dir: &Path, request: &Request) -> Result<()> {
    let failed = |error| Error::io("speak to the sandbox's shim", error);
    let stream = connect(dir).map_err(failed)?;
    protocol::send(&stream, request, &[]).map_err(failed)?;
    match protocol::receive::<Reply>(&stream).map_err(failed)?.0 {
        Reply::Failed { message } => Err(Error::Start(message)),
        _ => Ok(()),
    }
}

/// Have the shim end what it runs and then itself, and wait until it has: its process and its place in a control group
/// are gone then.
fn shut_down(dir: &Path) {
    let shim = record::read::<ShimRecord>(dir, record::SHIM);
    // A shim that does not answer is not there, and its process id may be another's by now.
    if let (Ok(()), Ok(shim)) = (ask(dir, &Request::Shutdown), shim) {
        wait_for_end(shim.shim_pid);
    }
}

impl Embedded {
    pub(super) fn sandbox(&self, id: &str) -> Result<Sandbox> {
        let found = self.state().sandboxes.get(id).cloned();
        found.ok_or_else(|| Error::NotFound { what: "sandbox", id: id.into() })
    }

    pub(super) async fn make_sandbox(&self, config: SandboxConfig) -> Result<String> {
        let id = new_id()?;
        let dir = self.inner.config.state_dir.join(&id);
        let parent = self.inner.config.cgroup_parent.clone();
        let record = SandboxRecord {
            id: id.clone(),
            cgroup: format!("{parent}/{id}"),
            shims_cgroup: format!("{parent}/shims"),
            created_at: self.inner.config.clock.now(),
            config,
            address: PodAddress::default(),
            hierarchy: self.inner.hierarchy.clone(),
        };
        let begun = self.blocking({
            let (dir, record) = (dir.clone(), record.clone());
            move |this| this.begin(&dir, record)
        });
        let made = match begun.await {
            Ok(sandbox) => self.connect_network(sandbox).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(sandbox) => {
                self.watch(&sandbox.dir, &id).await?;
                self.state().sandboxes.insert(id.clone(), sandbox);
                self.say(&id, None, EventKind::Started);
                Ok(id)
            }
            Err(error) => {
                self.clear(&record, &dir).await;
                let _ = fs::remove_dir_all(&dir);
                Err(error)
            }
        }
    }

    /// Files, control group and shim.
    fn begin(&self, dir: &Path, record: SandboxRecord) -> Result<Sandbox> {
        let failed = |doing: &'static str| move |error: std::io::Error| Error::io(doing, error);
        make_private(dir)?;
        let config = &record.config;
        fs::create_dir_all(&config.log_directory).map_err(failed("make log directory"))?;
        fs::write(dir.join("resolv.conf"), resolv_conf(config)).map_err(failed("write resolv.conf"))?;
        fs::write(dir.join("hostname"), format!("{}\n", config.hostname))
            .map_err(failed("write hostname"))?;
        if !config.host_ipc {
            let shm = dir.join("shm");
            fs::create_dir(&shm).map_err(failed("make shm"))?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
            mount(Some("shm"), &shm, Some("tmpfs"), flags, Some(SHM_OPTIONS))
                .map_err(|error| Error::io("mount shm", error))?;
        }
        self.inner
            .hierarchy
            .create(&record.cgroup, &config.resources)
            .map_err(failed("make control group"))?;
        record::write(dir, record::SANDBOX, &record).map_err(failed("write sandbox.json"))?;
        self.inner.program.start(dir).map_err(failed("start shim"))?;
        let shim: ShimRecord = record::read(dir, record::SHIM).map_err(failed("read shim.json"))?;
        Ok(Sandbox { record, dir: dir.into(), pause_pid: shim.pause_pid, state: SandboxState::Ready })
    }

    async fn connect_network(&self, mut sandbox: Sandbox) -> Result<Sandbox> {
        if sandbox.record.config.host_network {
            return Ok(sandbox);
        }
        let attached = self.inner.config.network.attach(&sandbox.record.id, &sandbox.netns()).await;
        sandbox.record.address =
            attached.map_err(|error| Error::Internal(format!("Pod network: {error}")))?;
        record::write(&sandbox.dir, record::SANDBOX, &sandbox.record)
            .map_err(|error| Error::io("write sandbox.json", error))?;
        Ok(sandbox)
    }

    /// Follow what the shim has to say, until it is gone.
    async fn watch(&self, dir: &Path, id: &str) -> Result<()> {
        let failed = |error| Error::io("watch shim", error);
        let stream = connect(dir).map_err(failed)?;
        protocol::send(&stream, &Request::Watch, &[]).map_err(failed)?;
        stream.set_nonblocking(true).map_err(failed)?;
        let mut stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
        protocol::receive_async::<Reply>(&mut stream).await.map_err(failed)?;
        let (weak, id) = (std::sync::Arc::downgrade(&self.inner), id.to_owned());
        tokio::spawn(async move {
            loop {
                let said = protocol::receive_async::<Reply>(&mut stream).await;
                let Some(inner) = weak.upgrade() else { return };
                let this = Embedded { inner };
                match said {
                    Ok(Reply::Changed { container }) => this.refresh(&container),
                    Ok(_) => {}
                    Err(_) => return this.shim_gone(&id).await,
                }
            }
        });
        Ok(())
    }

    /// A shim ends when it is told to, when its sandbox's processes are gone, or when somebody kills it.
    async fn shim_gone(&self, id: &str) {
        let Ok(sandbox) = self.sandbox(id) else { return };
        let was_ready = self.mark_not_ready(id);
        self.clear(&sandbox.record, &sandbox.dir).await;
        self.refresh_all_of(id, true);
        if was_ready {
            self.say(id, None, EventKind::Stopped);
        }
    }

    fn mark_not_ready(&self, id: &str) -> bool {
        let mut state = self.state();
        let Some(sandbox) = state.sandboxes.get_mut(id) else { return false };
        std::mem::replace(&mut sandbox.state, SandboxState::NotReady) == SandboxState::Ready
    }

    /// Leave no process, network, mount or control group of a sandbox.
    async fn clear(&self, record: &SandboxRecord, dir: &Path) {
        let (hierarchy, cgroup, dir_) = (self.inner.hierarchy.clone(), record.cgroup.clone(), dir.to_owned());
        let cleared = self.blocking(move |_| {
            shut_down(&dir_);
            hierarchy.kill(&cgroup);
            hierarchy.remove(&cgroup);
            // Not mounted is fine.
            let _ = umount2(&dir_.join("shm"), MntFlags::MNT_DETACH);
            Ok(())
        });
        if let Err(error) = cleared.await {
            tracing::warn!(%error, sandbox = record.id, "clear sandbox");
        }
        if !record.config.host_network
            && let Err(error) = self.inner.config.network.detach(&record.id).await
        {
            tracing::warn!(%error, sandbox = record.id, "detach from the Pod network");
        }
    }

    pub(super) async fn end_sandbox(&self, id: &str) -> Result<()> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        if sandbox.state == SandboxState::NotReady {
            return Ok(());
        }
        self.clear(&sandbox.record, &sandbox.dir).await;
        self.refresh_all_of(id, true);
        if self.mark_not_ready(id) {
            self.say(id, None, EventKind::Stopped);
        }
        Ok(())
    }

    pub(super) async fn forget_sandbox(&self, id: &str) -> Result<()> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        self.end_sandbox(id).await?;
        let containers: Vec<Container> = {
            let mut state = self.state();
            state.sandboxes.remove(id);
            state
                .containers
                .extract_if(.., |_, container| container.record.sandbox_id == id)
                .map(|(_, c)| c)
                .collect()
        };
        self.blocking(move |_| {
            for container in containers {
                let _ = fs::remove_dir_all(&container.writable);
            }
            fs::remove_dir_all(&sandbox.dir).map_err(|error| Error::io("remove sandbox", error))
        })
        .await?;
        self.say(id, None, EventKind::Deleted);
        Ok(())
    }

    /// Take over what an earlier agent has left.
    pub(super) async fn adopt(&self) -> Result<()> {
        let dirs =
            fs::read_dir(&self.inner.config.state_dir).map_err(|error| Error::io("list sandboxes", error))?;
        for dir in dirs.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let Ok(record) = record::read::<SandboxRecord>(&dir, record::SANDBOX) else {
                // Killed before the sandbox was anything: there is no shim yet.
                let _ = umount2(&dir.join("shm"), MntFlags::MNT_DETACH);
                let _ = fs::remove_dir_all(&dir);
                continue;
            };
            self.adopt_sandbox(record, dir).await;
        }
        Ok(())
    }

    async fn adopt_sandbox(&self, record: SandboxRecord, dir: PathBuf) {
        let id = record.id.clone();
        let pause_pid = record::read::<ShimRecord>(&dir, record::SHIM).map_or(0, |shim| shim.pause_pid);
        // First watch, then read: what changes in between is seen.
        let alive = self.watch(&dir, &id).await.is_ok();
        let mut sandbox = Sandbox { record, dir, pause_pid, state: SandboxState::NotReady };
        if alive && !sandbox.record.address.ips.is_empty() {
            sandbox.state = SandboxState::Ready;
        } else if alive && let Ok(connected) = self.connect_network(sandbox.clone()).await {
            // Killed before its network was finished.
            sandbox = Sandbox { state: SandboxState::Ready, ..connected };
        } else {
            self.clear(&sandbox.record, &sandbox.dir).await;
        }
        let gone = sandbox.state == SandboxState::NotReady;
        self.adopt_containers(&sandbox);
        self.state().sandboxes.insert(id.clone(), sandbox);
        self.refresh_all_of(&id, gone);
    }
}

fn resolv_conf(config: &SandboxConfig) -> String {
    let dns = &config.dns;
    if *dns == crate::Dns::default() {
        return fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::Dns;

    #[test]
    fn resolv_conf_is_in_the_order_that_the_kubelets_is() {
        let strings = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        let dns = Dns {
            servers: strings(&["10.96.0.10"]),
            searches: strings(&["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]),
            options: strings(&["ndots:5"]),
        };
        expect![[r#"
            search default.svc.cluster.local svc.cluster.local cluster.local
            nameserver 10.96.0.10
            options ndots:5
        "#]]
        .assert_eq(&resolv_conf(&SandboxConfig { dns, ..SandboxConfig::default() }));
    }
}
