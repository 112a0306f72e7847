//! Containers, as the agent sees them: their records, and what becomes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::protocol::Request;
use super::record::{self, ContainerRecord, Launch, RunRecord, container_dir};
use super::sandboxes::{Sandbox, ask};
use super::spec::{self, Accounts, Plan};
use super::{Embedded, internal, make_private, new_id};
use crate::{ContainerConfig, ContainerState, ContainerStatus, Error, EventKind, Result, SandboxState};

#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) record: ContainerRecord,
    pub(super) run: RunRecord,
    /// Its shim has gone without saying how it ended.
    pub(super) lost: bool,
    pub(super) dir: PathBuf,
    pub(super) writable: PathBuf,
}

impl Container {
    fn state(&self) -> ContainerState {
        if self.run.finished_at.is_some() || self.lost {
            ContainerState::Exited
        } else if self.run.started_at.is_some() {
            ContainerState::Running
        } else {
            ContainerState::Created
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
        let (record, run) = (&self.record, &self.run);
        let state = self.state();
        ContainerStatus {
            id: record.id.clone(),
            sandbox_id: record.sandbox_id.clone(),
            name: record.config.name.clone(),
            attempt: record.config.attempt,
            state,
            created_at: record.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            exit_code: run.exit_code,
            reason: run.reason.clone(),
            message: run.message.clone(),
            image: record.config.image.clone(),
            image_ref: record.image_ref.clone(),
            pid: if state == ContainerState::Running { run.pid } else { 0 },
            log_path: record.log_path.clone(),
            labels: record.config.labels.clone(),
            annotations: record.config.annotations.clone(),
            mounts: record.config.mounts.clone(),
        }
    }
}

impl Embedded {
    pub(super) fn container<T>(&self, id: &str, get: impl FnOnce(&Container) -> T) -> Result<T> {
        let state = self.state();
        let found = state.containers.get(id).map(get);
        found.ok_or_else(|| Error::NotFound { what: "container", id: id.into() })
    }

    pub(super) fn make_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        let sandbox = self.sandbox(sandbox_id)?;
        if sandbox.state != SandboxState::Ready {
            return Err(Error::State { what: "sandbox", id: sandbox_id.into(), state: "not ready".into() });
        }
        let id = new_id()?;
        let dir = container_dir(&sandbox.dir, &id);
        let writable = self.inner.images.containers_dir().join(&id);
        match self.write_container(&sandbox, &id, &dir, &writable, config) {
            Ok(record) => {
                let container = Container { record, run: RunRecord::default(), lost: false, dir, writable };
                self.state().containers.insert(id.clone(), container);
                self.say(sandbox_id, Some(&id), EventKind::Created);
                Ok(id)
            }
            Err(error) => {
                let _ = fs::remove_dir_all(&dir);
                let _ = fs::remove_dir_all(&writable);
                Err(error)
            }
        }
    }

    fn write_container(
        &self,
        sandbox: &Sandbox,
        id: &str,
        dir: &Path,
        writable: &Path,
        config: ContainerConfig,
    ) -> Result<ContainerRecord> {
        let images = &self.inner.images;
        let usable = images.usable(&config.image).map_err(internal)?;
        let image = usable.ok_or_else(|| Error::ImageNotPresent(config.image.clone()))?;
        make_private(writable)?;
        if !images.claim(&image, id).map_err(internal)? {
            return Err(Error::ImageNotPresent(config.image.clone()));
        }
        let layers_dir = images.layers_dir();
        let layer_dirs: Vec<PathBuf> = image.layers.iter().map(|layer| layers_dir.join(layer)).collect();
        let accounts = Accounts::read(layer_dirs.iter().map(PathBuf::as_path));
        let cgroup = format!("{}/{id}", sandbox.record.cgroup);
        let planned = spec::plan(&Plan {
            sandbox: &sandbox.record.config,
            container: &config,
            image: &image.config,
            accounts: &accounts,
            hierarchy: &self.inner.hierarchy,
            cgroup: &format!("/{cgroup}"),
            pause_pid: sandbox.pause_pid,
            sandbox_dir: &sandbox.dir,
            bundle: dir,
            binds: &image.binds,
            available: spec::available_capabilities(),
        })
        .map_err(Error::Config)?;
        let log_path = sandbox.record.config.log_directory.join(&config.log_path);
        let user = &planned.spec["process"]["user"];
        let id_of = |name: &str| user[name].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        let launch = Launch {
            layers_dir,
            layers: image.layers.clone(),
            cwd: planned.spec["process"]["cwd"].as_str().unwrap_or("/").into(),
            writable: writable.into(),
            staged: planned.staged,
            log_path: log_path.clone(),
            tty: config.tty,
            stdin: config.stdin,
            stdin_once: config.stdin_once,
            uid: id_of("uid"),
            gid: id_of("gid"),
            cgroup: cgroup.clone(),
            oom_score_adj: config.resources.oom_score_adj.unwrap_or(0),
        };
        let image_config = image.config.config().as_ref();
        let from_image = image_config.and_then(|config| config.stop_signal().clone());
        let record = ContainerRecord {
            id: id.into(),
            sandbox_id: sandbox.record.id.clone(),
            stop_signal: stop_signal(config.stop_signal.as_ref().or(from_image.as_ref()))?,
            config,
            created_at: self.inner.config.clock.now(),
            image_ref: image.image_ref,
            log_path,
            cgroup,
        };
        make_private(dir)?;
        let failed = |error| Error::io("write container", error);
        record::write(dir, record::SPEC, &planned.spec).map_err(failed)?;
        record::write(dir, record::LAUNCH, &launch).map_err(failed)?;
        // Last: a container without it was never finished.
        record::write(dir, record::CONTAINER, &record).map_err(failed)?;
        Ok(record)
    }

    pub(super) fn launch_container(&self, id: &str) -> Result<()> {
        let (sandbox_id, state) = self.container(id, |c| (c.record.sandbox_id.clone(), c.state()))?;
        if state != ContainerState::Created {
            let state = format!("{state:?}").to_lowercase();
            return Err(Error::State { what: "container", id: id.into(), state });
        }
        let sandbox = self.sandbox(&sandbox_id)?;
        let started = ask(&sandbox.dir, &Request::Start { container: id.into() });
        self.refresh(id);
        started
    }

    /// Read what the shim has recorded, and tell about what is new in it.
    pub(super) fn refresh(&self, id: &str) {
        let Ok(dir) = self.container(id, |container| container.dir.clone()) else { return };
        let Ok(run) = record::read::<RunRecord>(&dir, record::RUN) else { return };
        let mut events = Vec::new();
        let sandbox_id = {
            let mut state = self.state();
            let Some(container) = state.containers.get_mut(id) else { return };
            // Two readers may come in the wrong order; what has ended does not run again.
            if container.run.finished_at.is_some() || container.run == run {
                return;
            }
            if container.run.started_at.is_none() && run.started_at.is_some() {
                events.push(EventKind::Started);
            }
            if run.finished_at.is_some() {
                events.push(EventKind::Stopped);
            }
            container.run = run;
            container.record.sandbox_id.clone()
        };
        for kind in events {
            self.say(&sandbox_id, Some(id), kind);
        }
    }

    /// `gone`: there is no shim any more; whatever has not ended by its word has ended without one.
    pub(super) fn refresh_all_of(&self, sandbox_id: &str, gone: bool) {
        let of_sandbox = |container: &&Container| container.record.sandbox_id == sandbox_id;
        let ids: Vec<String> = self
            .state()
            .containers
            .values()
            .filter(of_sandbox)
            .map(|container| container.record.id.clone())
            .collect();
        for id in ids {
            self.refresh(&id);
            let now = self.inner.config.clock.now();
            let lost = gone && {
                let mut state = self.state();
                match state.containers.get_mut(&id) {
                    Some(container) if container.state() != ContainerState::Exited => {
                        container.lost = true;
                        let run = &mut container.run;
                        run.finished_at = Some(now);
                        run.exit_code = 137;
                        run.reason = "ContainerStatusUnknown".into();
                        run.message = "the container's shim ended before the container did".into();
                        // So that a later agent says the same.
                        let _ = record::write(&container.dir, record::RUN, &container.run);
                        true
                    }
                    _ => false,
                }
            };
            if lost {
                self.say(sandbox_id, Some(&id), EventKind::Stopped);
            }
        }
    }

    pub(super) fn adopt_containers(&self, sandbox: &Sandbox) {
        for dir in
            fs::read_dir(sandbox.dir.join("c")).into_iter().flatten().flatten().map(|entry| entry.path())
        {
            let name = dir.file_name().unwrap_or_default().to_owned();
            let writable = self.inner.images.containers_dir().join(&name);
            match record::read::<ContainerRecord>(&dir, record::CONTAINER) {
                Ok(record) => {
                    let container =
                        Container { record, run: RunRecord::default(), lost: false, dir, writable };
                    self.state().containers.insert(container.record.id.clone(), container);
                }
                Err(_) => {
                    let _ = fs::remove_dir_all(&dir);
                    let _ = fs::remove_dir_all(&writable);
                }
            }
        }
    }

    fn signal(&self, id: &str, signal: i32) -> Result<()> {
        let sandbox_id = self.container(id, |container| container.record.sandbox_id.clone())?;
        ask(&self.sandbox(&sandbox_id)?.dir, &Request::Signal { container: id.into(), signal })
    }

    async fn send_signal(&self, id: &str, signal: i32) -> Result<()> {
        let id = id.to_owned();
        self.blocking(move |this| this.signal(&id, signal)).await
    }

    /// Until the container does not run.
    async fn ended(&self, id: &str) {
        let mut changed = self.inner.changed.subscribe();
        while self.container(id, Container::state).is_ok_and(|state| state == ContainerState::Running) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) async fn end_container(&self, id: &str, grace: Duration) -> Result<()> {
        let Ok((state, stop_signal)) = self.container(id, |c| (c.state(), c.record.stop_signal)) else {
            return Ok(());
        };
        if state != ContainerState::Running {
            return Ok(());
        }
        if !grace.is_zero() {
            self.send_signal(id, stop_signal).await?;
            if self.inner.config.clock.timeout(grace, self.ended(id)).await.is_some() {
                return Ok(());
            }
        }
        self.send_signal(id, Signal::SIGKILL as i32).await?;
        self.ended(id).await;
        Ok(())
    }

    pub(super) async fn forget_container(&self, id: &str) -> Result<()> {
        self.end_container(id, Duration::ZERO).await?;
        let Some(container) = self.state().containers.remove(id) else { return Ok(()) };
        let sandbox_id = container.record.sandbox_id.clone();
        self.blocking(move |_| {
            for dir in [&container.dir, &container.writable] {
                match fs::remove_dir_all(dir) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io("remove container", error));
                    }
                    _ => {}
                }
            }
            Ok(())
        })
        .await?;
        self.say(&sandbox_id, Some(id), EventKind::Deleted);
        Ok(())
    }
}

/// `SIGTERM`, `TERM`, `15`
fn stop_signal(name: Option<&String>) -> Result<i32> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Signal::SIGTERM as i32) };
    if let Ok(number) = name.parse::<i32>() {
        return Ok(number);
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let signal = full.parse::<Signal>();
    signal.map(|signal| signal as i32).map_err(|_| Error::Config(format!("unknown stop signal {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_have_three_spellings() {
        for name in ["SIGQUIT", "quit", "3"] {
            assert_eq!(stop_signal(Some(&name.to_owned())).unwrap(), 3);
        }
        assert_eq!(stop_signal(None).unwrap(), 15);
        assert!(stop_signal(Some(&"SIGWHAT".to_owned())).is_err());
    }
}
