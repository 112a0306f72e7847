//! A cluster for one test: started, waited for, asked, stopped and checked for a clean end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::machine::{Machine, Process};
use crate::{Answer, PATIENCE, eventually, paths, stopwatch};

/// Lines of the program's log that a failed test shows.
const LOG_TAIL: usize = 60;
const NODE_NAME: &str = "node-1";

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The control plane alone, on this machine itself: needs no root.
    pub api_only: bool,
    /// Objects in memory. A cluster that is to be killed and started again needs them on disk.
    pub ephemeral: bool,
    /// Listen again where the first start did, so that containers that ran on find the API.
    pub same_port: bool,
    /// Further flags of `coracle up`.
    pub flags: Vec<String>,
}

#[derive(Debug)]
pub struct Cluster {
    process: Option<Process>,
    options: Options,
    /// 0: whichever is free.
    port: u16,
    dir: TempDir,
    // Last: what it holds is killed when it is dropped.
    machine: Machine,
}

impl Cluster {
    /// With a node, in namespaces of its own.
    pub fn start(options: Options) -> Cluster {
        let machine = if options.api_only { Machine::this() } else { Machine::own() };
        let dir = tempfile::Builder::new().prefix("coracle-test-").tempdir().expect("a temporary directory");
        let mut cluster = Cluster { process: None, options, port: 0, dir, machine };
        cluster.up();
        cluster
    }

    pub fn node() -> Cluster {
        Cluster::start(Options { ephemeral: true, ..Options::default() })
    }

    pub fn api_only() -> Cluster {
        Cluster::start(Options { api_only: true, ephemeral: true, ..Options::default() })
    }

    /// Start the program on this cluster's data and wait until it says that it is ready.
    pub fn up(&mut self) {
        self.begin();
        self.await_ready();
    }

    /// Start the program, and leave it to it how far it gets.
    pub fn begin(&mut self) {
        assert!(self.process.is_none(), "the cluster runs already");
        let mut command = self.machine.command(if self.options.api_only {
            PathBuf::from("setpriv")
        } else {
            paths::coracle()
        });
        if self.options.api_only {
            command.args(["--pdeathsig", "KILL"]).arg(paths::coracle());
        }
        command.args(["up", "--port", &self.port.to_string(), "--node-name", NODE_NAME]);
        command.arg("--data-dir").arg(self.data_dir()).arg("--kubeconfig").arg(self.kubeconfig());
        let switches = [("--api-only", self.options.api_only), ("--ephemeral", self.options.ephemeral)];
        command.args(switches.iter().filter(|(_, on)| *on).map(|(flag, _)| flag)).args(&self.options.flags);
        let log = |name| File::options().create(true).append(true).open(self.dir.path().join(name));
        File::create(self.dir.path().join("out")).expect("the directory can be written");
        command.stdin(Stdio::null());
        command.stdout(log("out").expect("the directory can be written"));
        command.stderr(log("log").expect("the directory can be written"));
        self.process = Some(self.machine.spawn(command));
    }

    fn await_ready(&mut self) {
        let out = self.dir.path().join("out");
        let process = self.process.as_mut().expect("it was just started");
        let said = eventually("the cluster is ready", || {
            let said = std::fs::read_to_string(&out).unwrap_or_default();
            if let Some(status) = process.try_wait() {
                let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("coracle up ended with {status}: {said}{log}");
            }
            if said.contains("is ready") { Ok(said) } else { Err(said) }
        });
        if self.options.same_port {
            let port = said.split("https://127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
            self.port = port.and_then(|text| text.parse().ok()).expect("the first line names the address");
        }
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A scratch directory that goes with the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The program's PID, seen from outside.
    pub fn pid(&self) -> nix::unistd::Pid {
        self.process.as_ref().expect("the cluster runs").pid()
    }

    /// What the program has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The stock kubectl as the admin, to be run or completed.
    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = self.machine.command(paths::kubectl());
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args);
        // No discovery cache of another cluster, none left in the home directory.
        command.env("KUBECACHEDIR", self.dir.path().join("cache")).stdin(Stdio::null());
        command
    }

    pub fn kubectl(&self, args: &[&str]) -> Answer {
        Answer::of(self.kubectl_command(args))
    }

    /// `kubectl ARGS -f -` with `manifest` on standard input.
    pub fn kubectl_input(&self, args: &[&str], manifest: &str) -> Answer {
        let mut command = self.kubectl_command(args);
        command.args(["-f", "-"]);
        Answer::of_input(command, manifest)
    }

    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_input(&["apply"], manifest).ok()
    }

    /// A command in a container of a Pod, by stock kubectl.
    pub fn exec(&self, pod: &str, container: &str, command: &[&str]) -> Answer {
        let args = [&["exec", pod, "-c", container, "--"], command].concat();
        self.kubectl(&args)
    }

    /// Wait for the Pod's phase Running with all containers ready.
    #[track_caller]
    pub fn await_ready_pod(&self, name: &str) {
        let wait = ["wait", "--for=condition=Ready", "--timeout=60s"];
        let answer = self.kubectl(&[&wait[..], &[&format!("pod/{name}")]].concat());
        assert!(answer.success(), "{answer:#?}\n{}", self.kubectl(&["describe", "pod", name]).stdout);
    }

    /// SIGKILL: what a power cut or the kernel's out-of-memory killer does to the program.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the cluster runs");
        process.signal(Signal::SIGKILL);
        process.wait();
    }

    /// SIGTERM alone, without waiting for what comes of it.
    pub fn ask_to_stop(&self) {
        self.process.as_ref().expect("the cluster runs").signal(Signal::SIGTERM);
    }

    /// SIGTERM, and the exit status within [`PATIENCE`].
    pub fn stop(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::SIGTERM);
        let start = stopwatch();
        while start.elapsed() < PATIENCE {
            if let Some(status) = process.try_wait() {
                return if status.success() { Ok(()) } else { Err(format!("ended with {status}")) };
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        process.signal(Signal::SIGKILL);
        process.wait();
        Err(format!("did not end within {PATIENCE:?} of SIGTERM"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- the last of the cluster's log\n{}\n---", tail.join("\n"));
        }
        let stopped = self.stop();
        if !std::thread::panicking() {
            assert!(stopped.is_ok(), "unclean end: {stopped:?}\n{}", self.log());
        }
    }
}
