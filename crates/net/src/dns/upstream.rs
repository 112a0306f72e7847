//! Asking the machine's own name servers about names outside of the cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coracle_clock::Clock;
use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the servers that its stub stands for.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
const PORT: u16 = 53;
/// Stub resolvers give up after 5 s; two servers can be tried in that time.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that a UDP answer can have.
const DATAGRAM: usize = 65_535;

/// The name servers of this machine. A local stub is only named when nothing says what is behind it.
pub fn host_resolvers() -> Vec<SocketAddr> {
    let read = |path| std::fs::read_to_string(path).map(|text| name_servers(&text)).unwrap_or_default();
    let named = read(RESOLV_CONF);
    let behind =
        if named.iter().all(|server| server.ip().is_loopback()) { read(RESOLVED_CONF) } else { vec![] };
    if behind.is_empty() { named } else { behind }
}

fn name_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().map(str::split_whitespace);
    let named = lines.filter_map(|mut words| (words.next()? == "nameserver").then_some(words.next()?));
    named.filter_map(|server| Some(SocketAddr::new(server.parse::<IpAddr>().ok()?, PORT))).collect()
}

/// Ask `servers`, but never `own`, the address we answer on: that would go round in circles.
pub(crate) fn upstream(servers: &[SocketAddr], clock: &Clock, own: Ipv4Addr) -> Upstream {
    let servers = servers.iter().filter(|server| server.ip() != own).copied().collect();
    Upstream { servers, clock: clock.clone() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) clock: Clock,
}

impl Upstream {
    /// What upstream says to `query`, as it came; `None` if no server answers in time, at once if there is none.
    pub(super) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Message> {
        for server in &self.servers {
            let exchange = async {
                match transport {
                    Transport::Udp => over_udp(*server, query).await,
                    Transport::Tcp => over_tcp(*server, query).await,
                }
            };
            match self.clock.timeout(PATIENCE, exchange).await {
                Some(Ok(answer)) => return Some(answer),
                Some(Err(error)) => tracing::debug!(%server, %error, "name server failed"),
                None => tracing::debug!(%server, "name server is silent"),
            }
        }
        None
    }

    /// The records of a name that an alias leads to.
    pub(super) async fn lookup(&self, id: u16, name: Name, kind: RecordType) -> Option<Message> {
        let said = self.lookup_by(Transport::Udp, id, name.clone(), kind).await?;
        if said.metadata.truncation {
            self.lookup_by(Transport::Tcp, id, name, kind).await
        } else {
            Some(said)
        }
    }

    pub(super) async fn lookup_by(
        &self,
        transport: Transport,
        id: u16,
        name: Name,
        kind: RecordType,
    ) -> Option<Message> {
        let mut query = Message::query();
        query.metadata.id = id;
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name, kind));
        self.ask(&query.to_vec().ok()?, transport).await
    }
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Message> {
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    // A new port each time: who cannot see the query cannot guess where the answer belongs.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if let Ok(answer) = check(query, &buffer[..len]) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(query.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    check(query, &answer)
}

/// The answer, if it is one to this query.
fn check(query: &[u8], answer: &[u8]) -> std::io::Result<Message> {
    let asked = Message::from_vec(query).map_err(std::io::Error::other)?;
    let said = Message::from_vec(answer).map_err(std::io::Error::other)?;
    let fits = said.metadata.message_type == MessageType::Response
        && said.metadata.id == asked.metadata.id
        && (said.queries.is_empty() || said.queries == asked.queries);
    if fits { Ok(said) } else { Err(std::io::Error::other("an answer to another question")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read() {
        let text = "# comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver  2001:db8::1\nnameserver\nnameserver x\n";
        let servers: Vec<_> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }
}
