//! Network namespaces for tests: the machine under test, Pods on it, and the world outside.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use coracle_clock::Clock;
use coracle_net::proxy::{Protocol, ServicePort};
use coracle_net::{Config, Network};

/// Far more than a connection on one machine needs.
const PATIENCE: Duration = Duration::from_secs(3);

/// Run `test` as on a machine of its own, whose uplink leads to [`outside`]. The namespace goes with its last thread.
pub fn machine<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        // Its address detection would change what is compared while it is compared.
        for scope in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub fn ip(args: &str) -> String {
    output("ip", args)
}

pub fn output(program: &str, args: &str) -> String {
    let output = Command::new(program).args(args.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A place in the network: a thread in its own namespace that does what it is told.
pub struct Place {
    pub netns: PathBuf,
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Place {
    pub fn new() -> Place {
        let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, path) = mpsc::channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let thread = nix::unistd::gettid();
            ready.send(format!("/proc/{}/task/{thread}/ns/net", std::process::id())).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        Place { netns: path.recv().unwrap().into(), jobs }
    }

    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.jobs.send(Box::new(move || drop(done.send(job())))).unwrap();
        result.recv().unwrap()
    }

    /// Answer on TCP and UDP `port` with `name` and the caller's address.
    pub fn serve(&self, name: &'static str, port: u16) {
        self.run(move || serve(name, port));
    }

    pub fn ask(&self, to: impl Into<SocketAddr>) -> Result<String, std::io::ErrorKind> {
        let to = to.into();
        self.run(move || ask(to))
    }

    pub fn ask_udp(&self, to: impl Into<SocketAddr>) -> Result<String, std::io::ErrorKind> {
        let to = to.into();
        self.run(move || ask_udp(to))
    }
}

pub fn serve(name: &'static str, port: u16) {
    let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let peer = stream.peer_addr().unwrap().ip();
            let _ = write!(stream, "{name} from {peer}");
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 8];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("{name} from {}", peer.ip()).as_bytes(), peer);
        }
    });
}

pub fn ask(to: SocketAddr) -> Result<String, std::io::ErrorKind> {
    let attempt = || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    attempt().map_err(|error| error.kind())
}

pub fn ask_udp(to: SocketAddr) -> Result<String, std::io::ErrorKind> {
    let attempt = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"?")?;
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
    };
    attempt().map_err(|error: std::io::Error| error.kind())
}

/// The world behind the machine's uplink: 192.0.2.1, which knows no way to Pods.
pub fn outside() -> Place {
    let outside = Place::new();
    ip("link add uplink type veth peer name world");
    let name = format!("coracle-test-{}", nix::unistd::gettid());
    ip(&format!("netns attach {name} {}", thread_of(&outside)));
    ip(&format!("link set world netns {name}"));
    ip(&format!("netns del {name}"));
    ip("address add 192.0.2.2/24 dev uplink");
    ip("link set uplink up");
    ip("route add default via 192.0.2.1");
    outside.run(|| {
        ip("link set lo up");
        ip("address add 192.0.2.1/24 dev world");
        ip("link set world up");
    });
    while !ip("-o link show uplink").contains("state UP") {
        std::thread::yield_now();
    }
    outside
}

fn thread_of(place: &Place) -> String {
    place.netns.to_string_lossy().split('/').nth(4).unwrap().to_owned()
}

pub fn config(cluster_id: &str) -> Config {
    Config {
        cluster_id: cluster_id.into(),
        pod_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
        clock: Clock::system(),
        upstreams: vec![],
        state_dir: None,
    }
}

pub async fn pod(network: &Network, name: &'static str) -> (Place, Ipv4Addr) {
    let place = Place::new();
    let address = network.attach(name, &place.netns).await.unwrap();
    place.serve(name, 8080);
    (place, address.ip)
}

/// A Service at 10.96.0.`n`:80, and on node port 30000 + `n`.
pub fn service(n: u8, protocol: Protocol, endpoints: &[Ipv4Addr]) -> ServicePort {
    ServicePort {
        namespace: "ns".into(),
        service: format!("s{n}"),
        protocol,
        cluster_ips: vec![Ipv4Addr::new(10, 96, 0, n)],
        port: 80,
        node_port: Some(30000 + u16::from(n)),
        sticky: false,
        endpoints: endpoints.iter().map(|ip| (*ip, 8080)).collect(),
    }
}

pub fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    (ip.into(), port).into()
}

/// All that a cluster could leave behind.
pub fn traces() -> String {
    let switches: String = std::fs::read_dir("/proc/sys/net/ipv4/conf")
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path().join("forwarding");
            format!("{} {}", path.display(), std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    [ip("-o link"), ip("-o address"), ip("route show table all"), output("nft", "list ruleset"), switches]
        .join("--\n")
}
