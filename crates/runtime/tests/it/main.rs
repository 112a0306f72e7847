//! Real containers from a busybox image made here. Needs root; says so and passes where there is none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod image;
mod pulls;
mod registry;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coracle_clock::Clock;
use coracle_runtime::embedded::{Config, Embedded, Limits};
use coracle_runtime::{
    AttachRequest, ContainerConfig, ContainerState, Error, ExecRequest, Filter, Mount, NoNetwork, Resources,
    Runtime, SandboxConfig, SandboxState, SecurityContext, TerminalSize,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime in a directory of its own, which leaves nothing behind.
struct Bed {
    dir: tempfile::TempDir,
    runtime: Embedded,
    cgroup: String,
}

fn may_run(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    let busybox = image::busybox().is_some();
    if !root || !busybox {
        eprintln!("{test}: skipped, needs {}", if root { "a static busybox in /bin" } else { "root" });
    }
    root && busybox
}

fn shim() -> Vec<OsString> {
    // Beside this test: target/PROFILE/deps/it-… and target/PROFILE/examples/shim.
    let deps = std::env::current_exe().unwrap();
    let shim = deps.parent().unwrap().parent().unwrap().join("examples/shim");
    assert!(shim.exists(), "{shim:?} is built with the tests");
    vec![shim.into()]
}

impl Bed {
    async fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let unique = dir.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        let cgroup = format!("coracle-test-{unique}");
        let runtime = Embedded::new(config(dir.path(), &cgroup)).await.unwrap();
        runtime.import_image(&image::archive(dir.path())).await.unwrap();
        Bed { dir, runtime, cgroup }
    }

    async fn sandbox(&self) -> String {
        self.sandbox_with(SandboxConfig::default()).await
    }

    async fn sandbox_with(&self, config: SandboxConfig) -> String {
        let log_directory = self.dir.path().join("logs");
        let defaults = SandboxConfig {
            name: "pod".into(),
            namespace: "default".into(),
            hostname: "pod".into(),
            log_directory,
            ..config
        };
        self.runtime.run_sandbox(defaults).await.unwrap()
    }

    async fn started(&self, sandbox: &str, script: &str) -> String {
        self.started_with(sandbox, script, ContainerConfig::default()).await
    }

    async fn started_with(&self, sandbox: &str, script: &str, config: ContainerConfig) -> String {
        let id = self.created_with(sandbox, script, config).await;
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    async fn created_with(&self, sandbox: &str, script: &str, config: ContainerConfig) -> String {
        let log_path = if config.log_path == Path::new("") { "main/0.log".into() } else { config.log_path };
        let config = ContainerConfig {
            name: "main".into(),
            image: "busybox:test".into(),
            command: ["/bin/sh", "-c", script].map(Into::into).into(),
            log_path,
            ..config
        };
        self.runtime.create_container(sandbox, config).await.unwrap()
    }

    async fn exit_code(&self, container: &str) -> i32 {
        let mut events = self.runtime.events();
        let clock = Clock::system();
        let waited = clock.timeout(PATIENCE, async {
            loop {
                let status = self.runtime.container_status(container).await.unwrap();
                if status.state == ContainerState::Exited {
                    return status.exit_code;
                }
                let _ = events.recv().await;
            }
        });
        waited.await.expect("the container ends")
    }

    /// What a script prints, each line with its stream.
    async fn output(&self, script: &str, config: ContainerConfig) -> Vec<String> {
        let sandbox = self.sandbox().await;
        let container = self.started_with(&sandbox, script, config).await;
        self.exit_code(&container).await;
        let lines = self.log(&container).await;
        self.runtime.remove_sandbox(&sandbox).await.unwrap();
        fs::remove_dir_all(self.dir.path().join("logs")).unwrap();
        lines
    }

    async fn log(&self, container: &str) -> Vec<String> {
        let path = self.runtime.container_status(container).await.unwrap().log_path;
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    async fn exec(&self, container: &str, script: &str) -> String {
        let command = ["/bin/sh", "-c", script].map(String::from);
        let output = self.runtime.exec_sync(container, &command, PATIENCE).await.unwrap();
        assert_eq!((output.exit_code, String::from_utf8_lossy(&output.stderr).as_ref()), (0, ""));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Ends everything and looks for what should not be there.
    async fn close(self) {
        self.runtime.remove_all().await.unwrap();
        let own = self.dir.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&own), "mounts are left:\n{mounts}");
        let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            // The pause process has its shim's command line.
            command.contains(&own).then_some(command)
        });
        assert_eq!(processes.collect::<Vec<_>>(), Vec::<String>::new(), "processes are left");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = hierarchy.path().join(&self.cgroup);
            assert!(!group.exists(), "{group:?} is left");
        }
        let state = fs::read_dir(self.dir.path().join("state")).unwrap().count();
        let containers = fs::read_dir(self.dir.path().join("root/containers")).map_or(0, Iterator::count);
        assert_eq!((state, containers), (0, 0));
    }
}

fn config(dir: &Path, cgroup: &str) -> Config {
    Config {
        state_dir: dir.join("state"),
        root_dir: dir.join("root"),
        shim: shim(),
        network: Arc::new(NoNetwork),
        clock: Clock::system(),
        cgroup_parent: cgroup.into(),
        host_image: true,
        plain_http_loopback: true,
        limits: Limits::default(),
    }
}

#[tokio::test]
async fn a_container_runs_logs_and_exits() {
    if !may_run("a_container_runs_logs_and_exits") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "echo out; echo err >&2; echo $FROM; exit 7").await;
    assert_eq!(bed.exit_code(&container).await, 7);
    let status = bed.runtime.container_status(&container).await.unwrap();
    assert_eq!((status.reason.as_str(), status.pid), ("Error", 0));
    let mut log = bed.log(&container).await;
    log.sort();
    assert_eq!(log, ["stderr F err", "stdout F image", "stdout F out"]);
    bed.close().await;
}

#[tokio::test]
async fn exec_has_streams_and_an_exit_code() {
    if !may_run("exec_has_streams_and_an_exit_code") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "sleep 1000").await;
    let command = ["sh", "-c", "cat; echo oops >&2; exit 3"].map(String::from).into();
    let request = ExecRequest { command, stdin: true, stdout: true, stderr: true, tty: false };
    let mut session = bed.runtime.exec(&container, request).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    session.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str(), session.exit.await.unwrap()), ("hello", "oops\n", 3));
    let missing = bed.runtime.exec_sync(&container, &["nothing".into()], PATIENCE).await.unwrap_err();
    assert_eq!(missing.to_string(), "exec: \"nothing\": executable file not found in $PATH");
    let slow =
        bed.runtime.exec_sync(&container, &["sleep".into(), "1000".into()], Duration::from_millis(300)).await;
    assert!(matches!(slow, Err(Error::Timeout(_))), "{slow:?}");
    bed.close().await;
}

#[tokio::test]
async fn exec_with_a_terminal() {
    if !may_run("exec_with_a_terminal") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "sleep 1000").await;
    let command = ["sh", "-c", "read line; tty; stty size; exit 5"].map(String::from).into();
    let request = ExecRequest { command, stdin: true, stdout: true, stderr: false, tty: true };
    let mut session = bed.runtime.exec(&container, request).await.unwrap();
    session.resize.send(TerminalSize { width: 123, height: 45 }).await.unwrap();
    tokio::task::yield_now().await;
    session.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    let mut out = String::new();
    session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "go\r\n/dev/pts/0\r\n45 123\r\n");
    assert_eq!(session.exit.await.unwrap(), 5);
    bed.close().await;
}

#[tokio::test]
async fn dropping_an_exec_kills_its_process() {
    if !may_run("dropping_an_exec_kills_its_process") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "sleep 1000").await;
    let command = ["sh", "-c", "echo $$; sleep 2000"].map(String::from).into();
    let request = ExecRequest { command, stdin: false, stdout: true, stderr: true, tty: false };
    let mut session = bed.runtime.exec(&container, request).await.unwrap();
    let mut line = [0; 2];
    session.stdout.as_mut().unwrap().read_exact(&mut line).await.unwrap();
    drop(session);
    let pid = String::from_utf8_lossy(&line).trim().to_owned();
    let gone = format!("while kill -0 {pid} 2>/dev/null; do :; done; echo gone");
    assert_eq!(bed.exec(&container, &gone).await, "gone");
    bed.close().await;
}

#[tokio::test]
async fn stopping_gives_grace() {
    if !may_run("stopping_gives_grace") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let polite =
        bed.started(&sandbox, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done").await;
    while bed.log(&polite).await.is_empty() {
        tokio::task::yield_now().await;
    }
    bed.runtime.stop_container(&polite, PATIENCE).await.unwrap();
    assert_eq!(bed.exit_code(&polite).await, 0);
    assert_eq!(bed.log(&polite).await, ["stdout F up", "stdout F bye"]);
    let config = ContainerConfig { log_path: "deaf/0.log".into(), ..Default::default() };
    let deaf = bed.started_with(&sandbox, "trap '' TERM; while :; do sleep 1; done", config).await;
    bed.runtime.stop_container(&deaf, Duration::from_millis(200)).await.unwrap();
    assert_eq!(bed.exit_code(&deaf).await, 137);
    bed.runtime.stop_container(&deaf, PATIENCE).await.unwrap();
    bed.runtime.remove_container(&deaf).await.unwrap();
    bed.runtime.remove_container(&deaf).await.unwrap();
    bed.close().await;
}

#[tokio::test]
async fn a_later_agent_takes_over() {
    if !may_run("a_later_agent_takes_over") {
        return;
    }
    let mut bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "trap 'exit 9' TERM; echo one; while :; do sleep 0.05; done").await;
    let before = bed.runtime.container_status(&container).await.unwrap();
    bed.runtime = Embedded::new(config(bed.dir.path(), &bed.cgroup)).await.unwrap();
    let after = bed.runtime.container_status(&container).await.unwrap();
    assert_eq!((after.state, after.pid), (ContainerState::Running, before.pid));
    assert_eq!(bed.runtime.sandbox_status(&sandbox).await.unwrap().state, SandboxState::Ready);
    assert_eq!(bed.exec(&container, "echo still here").await, "still here");
    bed.runtime.stop_container(&container, PATIENCE).await.unwrap();
    bed.runtime = Embedded::new(config(bed.dir.path(), &bed.cgroup)).await.unwrap();
    assert_eq!(bed.runtime.container_status(&container).await.unwrap().exit_code, 9);
    bed.close().await;
}

#[tokio::test]
async fn a_killed_shim_takes_its_containers_along() {
    if !may_run("a_killed_shim_takes_its_containers_along") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "sleep 1000").await;
    let pid = bed.runtime.container_status(&container).await.unwrap().pid;
    let shim = fs::read(bed.dir.path().join("state").join(&sandbox).join("shim.json")).unwrap();
    let shim: serde_json::Value = serde_json::from_slice(&shim).unwrap();
    let shim = i32::try_from(shim["shim_pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(bed.exit_code(&container).await, 137);
    let status = bed.runtime.container_status(&container).await.unwrap();
    assert_eq!(status.reason, "ContainerStatusUnknown");
    let program =
        fs::read_link(format!("/proc/{pid}/exe")).map_or(String::new(), |path| path.display().to_string());
    assert!(!program.contains("busybox"), "{program} still runs");
    assert_eq!(bed.runtime.sandbox_status(&sandbox).await.unwrap().state, SandboxState::NotReady);
    bed.close().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    if !may_run("what_cannot_be_started_says_why") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    for (program, why) in [
        ("no-such", "exec: \"no-such\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        let config = ContainerConfig {
            image: "busybox:test".into(),
            command: vec![program.into()],
            log_path: "0.log".into(),
            ..Default::default()
        };
        let container = bed.runtime.create_container(&sandbox, config).await.unwrap();
        let error = bed.runtime.start_container(&container).await.unwrap_err();
        assert!(matches!(&error, Error::Start(message) if message == why), "{error}");
        let status = bed.runtime.container_status(&container).await.unwrap();
        assert_eq!(
            (status.state, status.exit_code, status.reason.as_str()),
            (ContainerState::Exited, 128, "StartError")
        );
        assert_eq!(status.message, why);
    }
    let config = ContainerConfig { image: "absent".into(), ..Default::default() };
    let error = bed.runtime.create_container(&sandbox, config).await.unwrap_err();
    assert!(matches!(error, Error::ImageNotPresent(_)), "{error}");
    bed.close().await;
}

#[tokio::test]
async fn a_container_is_confined() {
    if !may_run("a_container_is_confined") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let container = bed.started(&sandbox, "sleep 1000").await;
    let status = "grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd|CapInh|CapAmb):' /proc/1/status | tr -d '\\t'";
    let first = bed.exec(&container, status).await;
    let own = bed.exec(&container, &status.replace("/proc/1", "/proc/self")).await;
    assert_eq!(first, own, "an exec has what the container has");
    assert!(first.contains("Seccomp:2") && first.contains("CapEff:00000000a80425fb"), "{first}");
    assert_eq!(bed.exec(&container, "unshare -m true 2>/dev/null || echo no").await, "no");
    assert_eq!(bed.exec(&container, "mount -t tmpfs none /tmp 2>/dev/null || echo no").await, "no");
    assert_eq!(bed.exec(&container, "cat /proc/timer_list /proc/keys 2>/dev/null | wc -c").await, "0");
    assert_eq!(bed.exec(&container, "(echo 1 > /proc/sys/kernel/panic) 2>/dev/null || echo no").await, "no");
    assert_eq!(bed.exec(&container, "(echo x > /sys/fs/cgroup/memory/x) 2>/dev/null || echo no").await, "no");
    assert_eq!(
        bed.exec(&container, "mknod /tmp/disk b 254 0 && (head -c1 /tmp/disk) 2>/dev/null || echo no").await,
        "no"
    );
    assert_eq!(bed.exec(&container, "ls /proc/self/fd | wc -l").await, "4");
    assert_eq!(bed.exec(&container, "ls /").await.replace('\n', " "), "bin dev etc proc root sys tmp");
    bed.close().await;
}

#[tokio::test]
async fn security_contexts_are_followed() {
    if !may_run("security_contexts_are_followed") {
        return;
    }
    let bed = Bed::new().await;
    let with = |security| ContainerConfig { security, ..Default::default() };
    let security = SecurityContext {
        run_as_user: Some(1000),
        run_as_group: Some(2000),
        supplemental_groups: vec![3000],
        no_new_privileges: true,
        drop_capabilities: vec!["ALL".into()],
        read_only_rootfs: true,
        ..Default::default()
    };
    let script = "id; grep -E 'NoNewPrivs|CapBnd' /proc/self/status; touch /x 2>/dev/null || echo read-only; echo ok > /dev/stdout";
    let lines = bed.output(script, with(security)).await;
    let expected = [
        "stdout F uid=1000 gid=2000 groups=2000,3000",
        "stdout F NoNewPrivs:\t1",
        "stdout F CapBnd:\t0000000000000000",
        "stdout F read-only",
        "stdout F ok",
    ];
    let expected_bnd_first = [expected[0], expected[2], expected[1], expected[3], expected[4]];
    assert!(lines == expected || lines == expected_bnd_first, "{lines:?}");
    let security = SecurityContext { privileged: true, ..Default::default() };
    let script = "mount -t tmpfs none /tmp && echo mounted; grep Seccomp: /proc/self/status";
    assert_eq!(bed.output(script, with(security)).await, ["stdout F mounted", "stdout F Seccomp:\t0"]);
    bed.close().await;
}

#[tokio::test]
async fn volumes_are_mounted() {
    if !may_run("volumes_are_mounted") {
        return;
    }
    let bed = Bed::new().await;
    let volume = bed.dir.path().join("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    fs::write(volume.join("sub/file"), "content\n").unwrap();
    let mount = |container: &str, sub_path: Option<&str>, readonly| Mount {
        host_path: volume.clone(),
        container_path: container.into(),
        sub_path: sub_path.map(Into::into),
        readonly,
        ..Default::default()
    };
    let mounts = vec![
        mount("/data/inner", Some("new/deep"), false),
        mount("/data", None, false),
        mount("/only", Some("sub/file"), true),
    ];
    let script =
        "cat /only /data/sub/file; touch /data/inner/made; (echo x > /only) 2>/dev/null || echo read-only";
    let lines = bed.output(script, ContainerConfig { mounts, ..Default::default() }).await;
    assert_eq!(lines, ["stdout F content", "stdout F content", "stdout F read-only"]);
    assert!(volume.join("new/deep/made").exists());
    bed.close().await;
}

#[tokio::test]
async fn limits_hold_and_oom_is_told() {
    if !may_run("limits_hold_and_oom_is_told") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    let resources = Resources { memory_limit: Some(16 << 20), cpu_shares: Some(512), ..Default::default() };
    let config = ContainerConfig { resources, ..Default::default() };
    let container =
        bed.started_with(&sandbox, "dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?", config).await;
    assert_eq!(bed.exit_code(&container).await, 137);
    let status = bed.runtime.container_status(&container).await.unwrap();
    assert_eq!(status.reason, "OOMKilled");
    let config = ContainerConfig { log_path: "1.log".into(), ..Default::default() };
    let idle = bed.started_with(&sandbox, "sleep 1000", config).await;
    let stats = bed.runtime.container_stats(&idle).await.unwrap();
    assert!(stats.memory_usage > 0 && stats.cpu_nanos > 0, "{stats:?}");
    bed.close().await;
}

#[tokio::test]
async fn containers_of_a_pod_share_what_they_should() {
    if !may_run("containers_of_a_pod_share_what_they_should") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox =
        bed.sandbox_with(SandboxConfig { share_process_namespace: true, ..Default::default() }).await;
    let one = bed.started(&sandbox, "echo shared > /dev/shm/x; nc -l -p 8080 -e echo hi & sleep 1000").await;
    let config = ContainerConfig { log_path: "two.log".into(), ..Default::default() };
    let two = bed.started_with(&sandbox, "sleep 1000", config).await;
    assert_eq!(bed.exec(&two, "hostname; cat /etc/hostname").await, "pod\npod");
    assert_eq!(bed.exec(&two, "until test -s /dev/shm/x; do :; done; cat /dev/shm/x").await, "shared");
    assert_eq!(bed.exec(&two, "cat /proc/1/comm").await, "pause");
    let mut forwarded = loop {
        match bed.runtime.port_forward(&sandbox, 8080).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let mut text = String::new();
    forwarded.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hi\n");
    let (first, second) =
        (bed.runtime.container_status(&one).await, bed.runtime.container_status(&two).await);
    assert_ne!(first.unwrap().pid, second.unwrap().pid);
    bed.runtime.stop_container(&one, Duration::ZERO).await.unwrap();
    assert_eq!(bed.exec(&two, "ps | grep -c '[s]leep 1000'").await, "1");
    bed.close().await;
}

#[tokio::test]
async fn attaching_reads_and_writes() {
    if !may_run("attaching_reads_and_writes") {
        return;
    }
    let bed = Bed::new().await;
    let sandbox = bed.sandbox().await;
    for (tty, expected, logged) in
        [(false, "got hi\n", "stdout F got hi"), (true, "hi\r\ngot hi\r\n", "stdout F got hi")]
    {
        let log_path = format!("{tty}.log").into();
        let config = ContainerConfig { stdin: true, stdin_once: true, tty, ..Default::default() };
        let script = "read line; echo got $line; read line; exit 4";
        let id = bed.created_with(&sandbox, script, ContainerConfig { log_path, ..config }).await;
        bed.runtime.start_container(&id).await.unwrap();
        let request = AttachRequest { stdin: true, stdout: true, stderr: true };
        let mut session = bed.runtime.attach(&id, request).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"hi\n").await.unwrap();
        let mut text = vec![0; expected.len()];
        session.stdout.as_mut().unwrap().read_exact(&mut text).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&text), expected);
        stdin.write_all(b"\n").await.unwrap();
        assert_eq!(session.exit.await.unwrap(), 4);
        let log = bed.log(&id).await;
        assert!(log.contains(&logged.to_owned()), "{log:?}");
        bed.runtime.remove_container(&id).await.unwrap();
    }
    bed.close().await;
}

#[tokio::test]
async fn the_host_image_runs() {
    if !may_run("the_host_image_runs") {
        return;
    }
    let bed = Bed::new().await;
    let script = "bash -c 'echo $HOME; ls -A ~; touch /usr/x 2>/dev/null || echo read-only; cat /etc/shadow 2>/dev/null || echo none'";
    let config = ContainerConfig {
        image: "coracle.local/host".into(),
        command: ["/bin/sh", "-c", script].map(Into::into).into(),
        log_path: "0.log".into(),
        ..Default::default()
    };
    let sandbox = bed.sandbox().await;
    let container = bed.runtime.create_container(&sandbox, config).await.unwrap();
    bed.runtime.start_container(&container).await.unwrap();
    bed.exit_code(&container).await;
    assert_eq!(bed.log(&container).await, ["stdout F /root", "stdout F read-only", "stdout F none"]);
    let config = ContainerConfig {
        image: "coracle.local/host".into(),
        log_path: "1.log".into(),
        ..Default::default()
    };
    let default = bed.runtime.create_container(&sandbox, config).await.unwrap();
    bed.runtime.start_container(&default).await.unwrap();
    while !bed.exec(&default, "ps ax 2>/dev/null || ls /proc").await.contains("sleep infinity") {}
    bed.runtime.stop_container(&default, PATIENCE).await.unwrap();
    bed.close().await;
}

#[tokio::test]
async fn starting_is_fast() {
    if !may_run("starting_is_fast") {
        return;
    }
    let bed = Bed::new().await;
    let clock = Clock::system();
    let mut times = Vec::new();
    for number in 0..5 {
        let begin = clock.elapsed();
        let sandbox = bed.sandbox().await;
        let config = ContainerConfig { log_path: format!("{number}.log").into(), ..Default::default() };
        bed.started_with(&sandbox, "sleep 1000", config).await;
        times.push(clock.elapsed() - begin);
    }
    times.sort();
    eprintln!("sandbox and container: {times:?}");
    // The product's aim is 150 ms; a loaded machine with a debug build gets more.
    assert!(times[2] < Duration::from_secs(1), "{times:?}");
    assert_eq!(bed.runtime.list_sandboxes(&Filter::default()).await.unwrap().len(), 5);
    bed.close().await;
}
