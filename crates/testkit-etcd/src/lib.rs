//! Real etcd clusters for tests: on free loopback ports, in a temporary directory, gone with the test.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A member that does not serve by then never will, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a member that does not serve yet.
const GLANCE: Duration = Duration::from_millis(10);

/// How a cluster is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many members there are; 0 is 1.
    pub members: usize,
    /// Speak TLS: PEM files of the authority that clients must be signed by, the members' certificate and its key.
    pub tls: Option<(PathBuf, PathBuf, PathBuf)>,
    /// Wait for the disk, as a cluster that must survive a power cut does.
    pub fsync: bool,
}

/// A running etcd cluster. Its processes die with the thread that started them, however the test ends.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    options: Options,
    dir: TempDir,
}

#[derive(Debug)]
struct Member {
    client: SocketAddr,
    peer: SocketAddr,
    process: Option<Child>,
}

impl Etcd {
    /// One member that does not wait for its disk: for tests that leave it running.
    pub fn start() -> Etcd {
        Etcd::start_with(Options::default())
    }

    pub fn start_with(options: Options) -> Etcd {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let count = options.members.max(1);
        // All are bound before any is let go, so that no address is given out twice.
        let free: Vec<TcpListener> = (0..2 * count)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"))
            .collect();
        let mut addresses = free.iter().map(|l| l.local_addr().expect("a bound socket has an address"));
        let mut members = Vec::new();
        while let (Some(client), Some(peer)) = (addresses.next(), addresses.next()) {
            members.push(Member { client, peer, process: None });
        }
        drop(free);
        let mut etcd = Etcd { members, options, dir };
        for member in 0..count {
            etcd.launch(member);
        }
        for member in 0..count {
            etcd.wait(member);
        }
        etcd
    }

    /// Where clients reach the members.
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        self.members.iter().map(|m| format!("{scheme}://{}", m.client)).collect()
    }

    /// `kill -9`. What it has acknowledged stays on disk.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut process) = self.members[member].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Start a killed member again and wait until it serves.
    pub fn restart(&mut self, member: usize) {
        self.kill(member);
        self.launch(member);
        self.wait(member);
    }

    /// Have a killed member start empty.
    pub fn forget(&mut self, member: usize) {
        assert!(self.members[member].process.is_none(), "the member runs");
        std::fs::remove_dir_all(self.data(member)).expect("the member's data can be removed");
    }

    /// Let a member neither answer nor break its connections off, until it is thawed.
    pub fn freeze(&self, member: usize) {
        self.signal(member, "-STOP");
        // Its other threads go on until each has been interrupted.
        let process = self.members[member].process.as_ref().expect("the member runs");
        let tasks = format!("/proc/{}/task", process.id());
        let are_stopped = || {
            let tasks = std::fs::read_dir(&tasks).into_iter().flatten().flatten();
            tasks
                .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
                .all(|stat| stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T')))
        };
        while !are_stopped() {
            std::thread::sleep(GLANCE);
        }
    }

    pub fn thaw(&self, member: usize) {
        self.signal(member, "-CONT");
    }

    fn signal(&self, member: usize, signal: &str) {
        let process = self.members[member].process.as_ref().expect("the member runs");
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    fn data(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("m{number}"))
    }

    fn launch(&mut self, number: usize) {
        let member = &self.members[number];
        let cluster: Vec<String> =
            self.members.iter().enumerate().map(|(n, m)| format!("m{n}=http://{}", m.peer)).collect();
        let log = std::fs::File::options().append(true).create(true).open(self.log(number));
        let log = log.expect("a log can be written");
        let client = self.endpoints().swap_remove(number);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program())
            .args(["--name", &format!("m{number}")])
            .arg("--data-dir")
            .arg(self.data(number))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &format!("http://{}", member.peer)])
            .args(["--initial-advertise-peer-urls", &format!("http://{}", member.peer)])
            .args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"])
            // The store's own tests write values of 4 MiB; etcd takes 1.5 unless told otherwise.
            .args(["--max-request-bytes", "33554432"]);
        if self.members.len() == 1 {
            // Alone, nobody is waited for but oneself.
            command.args(["--heartbeat-interval", "10", "--election-timeout", "100"]);
        }
        if !self.options.fsync {
            command.arg("--unsafe-no-fsync");
        }
        if let Some((authority, certificate, key)) = &self.options.tls {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
        }
        let errors = log.try_clone().expect("a file has two handles");
        let process = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        self.members[number].process = Some(process.expect("setpriv of util-linux is installed"));
    }

    fn wait(&mut self, number: usize) {
        let mut waited = Duration::ZERO;
        while !self.serves(number) {
            let ended = self.members[number].process.as_mut().and_then(|p| p.try_wait().ok().flatten());
            assert!(
                ended.is_none() && waited < PATIENCE,
                "etcd does not serve (apt-get install etcd-server?):\n{}",
                std::fs::read_to_string(self.log(number)).unwrap_or_default()
            );
            std::thread::sleep(GLANCE);
            waited += GLANCE;
        }
    }

    /// Over TLS a port that is open has to do.
    fn serves(&self, number: usize) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.members[number].client) else { return false };
        if self.options.tls.is_some() {
            return true;
        }
        let mut answer = String::new();
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.contains(r#""health":"true""#)
    }

    fn log(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("m{number}.log"))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in 0..self.members.len() {
            self.kill(member);
        }
    }
}

/// The one on the PATH, which may be newer, or the one that `./dev test` has unpacked from Debian's package.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|file| file.is_file());
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/etcd/usr/bin/etcd");
    on_path.unwrap_or(unpacked)
}
