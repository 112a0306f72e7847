//! Where a cluster runs: on this machine, or in network, mount and PID namespaces of its own.
//!
//! The namespaces are held by a shell that reaps orphans, as PID 1 must. When it goes, whatever a failed test has left
//! behind goes with it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Answer;

/// Loopback up, then wait; `wait4` for the sleeps reaps orphans too.
const INIT: &str = "ip link set lo up && mount --make-rprivate / && echo up && while :; do sleep 0.2; done";

#[derive(Debug)]
pub struct Machine {
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    unshare: Child,
    init: u32,
}

/// A program started on a machine, known by its PID here, outside.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
}

impl Machine {
    /// This machine itself.
    pub fn this() -> Machine {
        Machine { holder: None }
    }

    /// Namespaces of its own. Needs root.
    pub fn own() -> Machine {
        // The death signal is for a test that is killed: it cannot clean up.
        let mut unshare = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"])
            .args(["--mount-proc", "--kill-child", "sh", "-c", INIT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv and unshare (util-linux) can be run");
        let mut line = String::new();
        let stdout = unshare.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the namespaces' shell answers");
        assert_eq!(line, "up\n", "cannot make namespaces");
        let init = only_child(unshare.id()).expect("unshare has forked");
        Machine { holder: Some(Holder { unshare, init }) }
    }

    /// A command on this machine, to be completed and run.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        match &self.holder {
            None => Command::new(program),
            Some(holder) => {
                let mut command = Command::new("nsenter");
                command
                    .arg("--target")
                    .arg(holder.init.to_string())
                    .args(["--net", "--mount", "--pid", "--"]);
                command.arg(program);
                command
            }
        }
    }

    /// Start `command`, which [`Machine::command`] has given.
    pub fn spawn(&self, mut command: Command) -> Process {
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let pid = match self.holder {
            None => child.id(),
            Some(_) => crate::eventually("nsenter forks", || only_child(child.id()).ok_or("no child".into())),
        };
        Process { child, pid: Pid::from_raw(pid.cast_signed()) }
    }

    pub fn sh(&self, script: &str) -> Answer {
        let mut command = self.command("sh");
        command.arg("-c").arg(script);
        Answer::of(command)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            let _ = holder.unshare.kill();
            let _ = holder.unshare.wait();
        }
    }
}

impl Process {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself; the caller learns that from `wait`.
        let _ = kill(self.pid, signal);
    }

    /// Whether it still runs, or how it ended: nsenter passes the status on.
    pub fn try_wait(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }
}

fn only_child(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// All of what a cluster might leave on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub links: BTreeSet<String>,
    pub addresses: BTreeSet<String>,
    pub routes: BTreeSet<String>,
    pub namespaces: BTreeSet<String>,
    pub nft: BTreeSet<String>,
    pub mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<String>,
    pub processes: BTreeSet<String>,
}

impl Snapshot {
    /// `cgroup` is part of the names of the control groups to look for: they are in no namespace.
    pub fn of(machine: &Machine, cgroup: &str) -> Snapshot {
        let lines = |script: &str| machine.sh(script).ok().lines().map(|l| l.trim().to_owned()).collect();
        Snapshot {
            links: lines("ip -o link show | cut -d: -f2"),
            addresses: lines("ip -o addr show | awk '{print $2, $4}'"),
            routes: lines("ip route show table all; ip rule show"),
            namespaces: lines("ip netns list"),
            nft: lines("nft list ruleset"),
            mounts: lines("cut -d' ' -f2,3 /proc/mounts"),
            cgroups: lines(&format!("find /sys/fs/cgroup -type d -name '*{cgroup}*' -prune")),
            // The names, since the shell that asks has a PID of its own each time. Zombies count: nobody reaped them.
            processes: lines("ps -e -o comm= | grep -vxE 'sh|ps|grep|sleep|nsenter' || true"),
        }
    }
}
