//! A [`Runtime`] in memory, for tests of the kubelet: nothing runs, the test says what happens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use coracle_clock::Clock;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc, watch};

use crate::{
    AttachRequest, ContainerConfig, ContainerState, ContainerStatus, Credentials, Duplex, Error, Event,
    EventKind, ExecOutput, ExecRequest, Filter, Image, PodAddress, PullError, Result, Runtime, SandboxConfig,
    SandboxState, SandboxStatus, Session, Stats,
};

/// Events a slow receiver may fall behind by; tests make few.
const EVENTS: usize = 1024;
/// Buffer of a fake stream.
const STREAM: usize = 64 * 1024;

type OnExec = dyn Fn(&ContainerStatus, &[String]) -> ExecOutput + Send + Sync;

/// Starts with no image on the node; every pull succeeds unless [`Fake::fail_pull`] says otherwise.
#[derive(Clone)]
pub struct Fake {
    clock: Clock,
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Event>,
    changed: watch::Sender<()>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

#[derive(Default)]
struct State {
    next: u64,
    sandboxes: BTreeMap<String, SandboxStatus>,
    sandbox_configs: HashMap<String, SandboxConfig>,
    containers: BTreeMap<String, ContainerStatus>,
    configs: HashMap<String, ContainerConfig>,
    images: BTreeMap<String, Image>,
    pull_errors: HashMap<String, PullError>,
    start_errors: HashMap<String, String>,
    ignore_stop: BTreeSet<String>,
    on_exec: Option<Arc<OnExec>>,
    calls: Vec<String>,
}

impl Fake {
    pub fn new(clock: Clock) -> Fake {
        let state = Arc::new(Mutex::new(State::default()));
        Fake { clock, state, events: broadcast::channel(EVENTS).0, changed: watch::channel(()).0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, sandbox_id: &str, container_id: Option<&str>, kind: EventKind) {
        let event = Event { sandbox_id: sandbox_id.into(), container_id: container_id.map(Into::into), kind };
        // No receiver is fine.
        let _ = self.events.send(event);
        self.changed.send_replace(());
    }

    /// What was called, in order: `verb argument`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Put an image on the node.
    pub fn add_image(&self, name: &str) {
        let image = fake_image(name);
        self.state().images.insert(name.into(), image);
    }

    /// Pulls of `name` fail with `error` (`None`: succeed again).
    pub fn fail_pull(&self, name: &str, error: Option<PullError>) {
        let errors = &mut self.state().pull_errors;
        match error {
            Some(error) => errors.insert(name.into(), error),
            None => errors.remove(name),
        };
    }

    /// Starting a container of this name (in the Pod) fails with `message`.
    pub fn fail_start(&self, container_name: &str, message: &str) {
        self.state().start_errors.insert(container_name.into(), message.into());
    }

    /// Containers of this name (in the Pod) do not react to their stop signal: only the end of the grace ends them.
    pub fn ignore_stop(&self, container_name: &str) {
        self.state().ignore_stop.insert(container_name.into());
    }

    /// What `exec` and `exec_sync` answer; without it, exit code 0 and no output.
    pub fn on_exec(
        &self,
        answer: impl Fn(&ContainerStatus, &[String]) -> ExecOutput + Send + Sync + 'static,
    ) {
        self.state().on_exec = Some(Arc::new(answer));
    }

    /// The newest container of this name (in the Pod).
    pub fn find(&self, container_name: &str) -> Option<ContainerStatus> {
        let state = self.state();
        state.containers.values().filter(|c| c.name == container_name).max_by_key(|c| c.attempt).cloned()
    }

    /// What a container was made from.
    pub fn config(&self, container_id: &str) -> Option<ContainerConfig> {
        self.state().configs.get(container_id).cloned()
    }

    /// What a sandbox was made from.
    pub fn sandbox_config(&self, sandbox_id: &str) -> Option<SandboxConfig> {
        self.state().sandbox_configs.get(sandbox_id).cloned()
    }

    /// The container's process ends by itself. Does nothing when it is not running.
    pub fn exit(&self, container_id: &str, exit_code: i32) {
        let reason = if exit_code == 0 { "Completed" } else { "Error" };
        self.exit_because(container_id, exit_code, reason);
    }

    /// Like [`Fake::exit`], with the reason of the status, such as `OOMKilled`.
    pub fn exit_because(&self, container_id: &str, exit_code: i32, reason: &str) {
        let now = self.clock.now();
        let sandbox = {
            let mut state = self.state();
            match state.containers.get_mut(container_id) {
                Some(container) if container.state != ContainerState::Exited => {
                    container.state = ContainerState::Exited;
                    container.finished_at = Some(now);
                    container.exit_code = exit_code;
                    container.reason = reason.into();
                    container.pid = 0;
                    container.sandbox_id.clone()
                }
                _ => return,
            }
        };
        self.say(&sandbox, Some(container_id), EventKind::Stopped);
    }

    fn id(&self) -> String {
        let mut state = self.state();
        state.next += 1;
        format!("{:064x}", state.next)
    }

    fn call(&self, verb: &str, what: &str) {
        self.state().calls.push(format!("{verb} {what}"));
    }

    fn container(&self, id: &str) -> Result<ContainerStatus> {
        let found = self.state().containers.get(id).cloned();
        found.ok_or_else(|| Error::NotFound { what: "container", id: id.into() })
    }

    fn answer(&self, container_id: &str, command: &[String]) -> Result<ExecOutput> {
        let container = self.container(container_id)?;
        if container.state != ContainerState::Running {
            let state = format!("{:?}", container.state).to_lowercase();
            return Err(Error::State { what: "container", id: container_id.into(), state });
        }
        let on_exec = self.state().on_exec.clone();
        Ok(on_exec.map(|answer| answer(&container, command)).unwrap_or_default())
    }

    async fn exited(&self, container_id: &str) -> Result<i32> {
        let mut changed = self.changed.subscribe();
        loop {
            let container = self.container(container_id)?;
            if container.state == ContainerState::Exited {
                return Ok(container.exit_code);
            }
            changed.changed().await.map_err(|e| Error::io("wait for exit", e))?;
        }
    }
}

fn fake_image(name: &str) -> Image {
    let sum: u64 = name.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let digest = format!("sha256:{sum:064x}");
    let repository = name.split('@').next().unwrap_or(name);
    Image {
        id: digest.clone(),
        tags: vec![name.into()],
        digests: vec![format!("{repository}@{digest}")],
        size: 1,
        uid: None,
        username: String::new(),
    }
}

#[async_trait]
impl Runtime for Fake {
    fn version(&self) -> String {
        "fake://1.0".into()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn run_sandbox(&self, config: SandboxConfig) -> Result<String> {
        let id = self.id();
        self.call("run_sandbox", &config.name);
        let octet = u8::try_from(self.state().next % 250).unwrap_or(0) + 2;
        let ips = if config.host_network { vec![] } else { vec![IpAddr::from([10, 244, 0, octet])] };
        let status = SandboxStatus {
            id: id.clone(),
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            uid: config.uid.clone(),
            attempt: config.attempt,
            state: SandboxState::Ready,
            created_at: self.clock.now(),
            address: PodAddress { ips },
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        };
        let mut state = self.state();
        state.sandboxes.insert(id.clone(), status);
        state.sandbox_configs.insert(id.clone(), config);
        drop(state);
        self.say(&id, None, EventKind::Started);
        Ok(id)
    }

    async fn stop_sandbox(&self, sandbox_id: &str) -> Result<()> {
        self.call("stop_sandbox", sandbox_id);
        let running: Vec<String> = {
            let mut state = self.state();
            let Some(sandbox) = state.sandboxes.get_mut(sandbox_id) else { return Ok(()) };
            sandbox.state = SandboxState::NotReady;
            state.containers.values().filter(|c| c.sandbox_id == sandbox_id).map(|c| c.id.clone()).collect()
        };
        for container in running {
            self.exit(&container, 137);
        }
        self.say(sandbox_id, None, EventKind::Stopped);
        Ok(())
    }

    async fn remove_sandbox(&self, sandbox_id: &str) -> Result<()> {
        self.stop_sandbox(sandbox_id).await?;
        self.call("remove_sandbox", sandbox_id);
        let mut state = self.state();
        state.containers.retain(|_, container| container.sandbox_id != sandbox_id);
        state.sandboxes.remove(sandbox_id);
        drop(state);
        self.say(sandbox_id, None, EventKind::Deleted);
        Ok(())
    }

    async fn sandbox_status(&self, sandbox_id: &str) -> Result<SandboxStatus> {
        let found = self.state().sandboxes.get(sandbox_id).cloned();
        found.ok_or_else(|| Error::NotFound { what: "sandbox", id: sandbox_id.into() })
    }

    async fn list_sandboxes(&self, filter: &Filter) -> Result<Vec<SandboxStatus>> {
        let state = self.state();
        Ok(state.sandboxes.values().filter(|s| filter.matches(&s.id, &s.id, &s.labels)).cloned().collect())
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        self.call("create_container", &config.name);
        let sandbox = self.sandbox_status(sandbox_id).await?;
        if sandbox.state != SandboxState::Ready {
            return Err(Error::State { what: "sandbox", id: sandbox_id.into(), state: "not ready".into() });
        }
        let image = self.image_status(&config.image).await?;
        let image = image.ok_or_else(|| Error::ImageNotPresent(config.image.clone()))?;
        let id = self.id();
        let mut state = self.state();
        let log_directory = state.sandbox_configs.get(sandbox_id).map(|c| c.log_directory.clone());
        let status = ContainerStatus {
            id: id.clone(),
            sandbox_id: sandbox_id.into(),
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created,
            created_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: config.image.clone(),
            image_ref: image.digests.first().unwrap_or(&image.id).clone(),
            pid: 0,
            log_path: log_directory.unwrap_or_default().join(&config.log_path),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
        };
        state.containers.insert(id.clone(), status);
        state.configs.insert(id.clone(), config);
        drop(state);
        self.say(sandbox_id, Some(&id), EventKind::Created);
        Ok(id)
    }

    async fn start_container(&self, container_id: &str) -> Result<()> {
        let container = self.container(container_id)?;
        self.call("start_container", &container.name);
        let error = self.state().start_errors.get(&container.name).cloned();
        if let Some(message) = error {
            self.exit_because(container_id, 128, "StartError");
            return Err(Error::Start(message));
        }
        let now = self.clock.now();
        if let Some(container) = self.state().containers.get_mut(container_id) {
            container.state = ContainerState::Running;
            container.started_at = Some(now);
            container.pid = 4242;
        }
        self.say(&container.sandbox_id, Some(container_id), EventKind::Started);
        Ok(())
    }

    async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<()> {
        let Ok(container) = self.container(container_id) else { return Ok(()) };
        self.call("stop_container", &container.name);
        let deaf = self.state().ignore_stop.contains(&container.name);
        if !deaf {
            self.exit(container_id, 143);
        } else if self.clock.timeout(grace, self.exited(container_id)).await.is_none() {
            self.exit(container_id, 137);
        }
        Ok(())
    }

    async fn remove_container(&self, container_id: &str) -> Result<()> {
        let Ok(container) = self.container(container_id) else { return Ok(()) };
        self.call("remove_container", &container.name);
        self.exit(container_id, 137);
        self.state().containers.remove(container_id);
        self.say(&container.sandbox_id, Some(container_id), EventKind::Deleted);
        Ok(())
    }

    async fn container_status(&self, container_id: &str) -> Result<ContainerStatus> {
        self.container(container_id)
    }

    async fn list_containers(&self, filter: &Filter) -> Result<Vec<ContainerStatus>> {
        let state = self.state();
        let wanted = state.containers.values().filter(|c| filter.matches(&c.id, &c.sandbox_id, &c.labels));
        Ok(wanted.cloned().collect())
    }

    async fn container_stats(&self, container_id: &str) -> Result<Stats> {
        self.container(container_id).map(|_| Stats::default())
    }

    async fn exec(&self, container_id: &str, request: ExecRequest) -> Result<Session> {
        self.call("exec", &request.command.join(" "));
        let output = self.answer(container_id, &request.command)?;
        let exit_code = output.exit_code;
        let (stdin, mut unread) = tokio::io::duplex(STREAM);
        tokio::spawn(async move { tokio::io::copy(&mut unread, &mut tokio::io::sink()).await });
        Ok(Session {
            stdin: request.stdin.then(|| Box::new(stdin) as _),
            stdout: request.stdout.then(|| Box::new(std::io::Cursor::new(output.stdout)) as _),
            stderr: (request.stderr && !request.tty)
                .then(|| Box::new(std::io::Cursor::new(output.stderr)) as _),
            resize: mpsc::channel(1).0,
            exit: async move { Ok(exit_code) }.boxed(),
        })
    }

    async fn exec_sync(
        &self,
        container_id: &str,
        command: &[String],
        _timeout: Duration,
    ) -> Result<ExecOutput> {
        self.call("exec_sync", &command.join(" "));
        self.answer(container_id, command)
    }

    /// An attached fake container sends its input back until it exits.
    async fn attach(&self, container_id: &str, request: AttachRequest) -> Result<Session> {
        self.container(container_id)?;
        let (near, mut far) = tokio::io::duplex(STREAM);
        let (stdout, stdin) = tokio::io::split(near);
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = far.read(&mut buffer).await {
                if far.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
        });
        let (this, id) = (self.clone(), container_id.to_owned());
        Ok(Session {
            stdin: request.stdin.then(|| Box::new(stdin) as _),
            stdout: request.stdout.then(|| Box::new(stdout) as _),
            stderr: None,
            resize: mpsc::channel(1).0,
            exit: async move { this.exited(&id).await }.boxed(),
        })
    }

    /// The fake port sends back what it gets.
    async fn port_forward(&self, sandbox_id: &str, _port: u16) -> Result<Box<dyn Duplex>> {
        self.sandbox_status(sandbox_id).await?;
        let (near, far) = tokio::io::duplex(STREAM);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(far);
            tokio::io::copy(&mut read, &mut write).await
        });
        Ok(Box::new(near))
    }

    async fn pull_image(&self, image: &str, _: Option<&Credentials>) -> Result<String, PullError> {
        self.call("pull_image", image);
        let error = self.state().pull_errors.get(image).cloned();
        if let Some(error) = error {
            return Err(error);
        }
        self.add_image(image);
        Ok(fake_image(image).id)
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        let state = self.state();
        let by_id = || state.images.values().find(|i| i.id == image || i.digests.iter().any(|d| d == image));
        Ok(state.images.get(image).or_else(by_id).cloned())
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        Ok(self.state().images.values().cloned().collect())
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        self.call("remove_image", image);
        self.state().images.retain(|name, found| name != image && found.id != image);
        Ok(())
    }

    async fn import_image(&self, archive: &Path) -> Result<Vec<String>> {
        let name = archive.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.add_image(&name);
        Ok(vec![name])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn running(fake: &Fake) -> (String, String) {
        fake.add_image("busybox");
        let sandbox =
            fake.run_sandbox(SandboxConfig { name: "p".into(), ..Default::default() }).await.unwrap();
        let config = ContainerConfig { name: "c".into(), image: "busybox".into(), ..Default::default() };
        let container = fake.create_container(&sandbox, config).await.unwrap();
        fake.start_container(&container).await.unwrap();
        (sandbox, container)
    }

    #[tokio::test]
    async fn a_container_runs_until_told_to_exit() {
        let fake = Fake::new(Clock::system());
        let mut events = fake.events();
        let (sandbox, container) = running(&fake).await;
        assert_eq!(fake.container_status(&container).await.unwrap().state, ContainerState::Running);
        fake.exit(&container, 3);
        let status = fake.container_status(&container).await.unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 3));
        let mut kinds = Vec::new();
        while let Ok(event) = events.try_recv() {
            kinds.push(event.kind);
        }
        assert_eq!(kinds, [EventKind::Started, EventKind::Created, EventKind::Started, EventKind::Stopped]);
        fake.remove_sandbox(&sandbox).await.unwrap();
        assert!(fake.list_containers(&Filter::default()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_deaf_container_uses_up_its_grace() {
        let clock = Clock::stepped(jiff::Timestamp::UNIX_EPOCH);
        let fake = Fake::new(clock.clone());
        let (_, container) = running(&fake).await;
        fake.ignore_stop("c");
        let stop = tokio::spawn({
            let (fake, container) = (fake.clone(), container.clone());
            async move { fake.stop_container(&container, Duration::from_secs(30)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(30));
        stop.await.unwrap().unwrap();
        assert_eq!(fake.container_status(&container).await.unwrap().exit_code, 137);
    }
}
