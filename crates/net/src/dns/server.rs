//! The DNS server: takes questions by UDP and TCP, answers them or passes them on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::{Edns, Header, HeaderCounts, Message, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

use super::upstream::{Transport, Upstream};
use super::{Records, Reply, answer};
use crate::Error;

const PORT: u16 = 53;
/// A TCP connection that asks nothing is closed after this: the value RFC 7766 suggests is "a few seconds".
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers waiting for a slow TCP client; more are not needed, since clients ask one or two things at a time.
const TCP_ANSWERS: usize = 16;
/// Questions passed on at a time; each holds a socket, of which a process has 1,024 at least.
const PASSED_ON: usize = 256;
/// The largest UDP answer to a client that takes large ones: the size that is not fragmented, agreed on DNS Flag Day 2020.
const UDP_SIZE: u16 = 1232;

pub(crate) struct Server {
    running: hickory_server::Server<Handler>,
    records: Arc<RwLock<Arc<Records>>>,
    port: u16,
}

impl Server {
    /// Listen at the gateway, on the usual port or, where the machine has that one taken, on another: clients come
    /// through the DNS Service, which leads to either.
    pub(crate) async fn start(
        gateway: Ipv4Addr,
        records: Records,
        upstream: Upstream,
    ) -> Result<Server, Error> {
        let usual = bind((gateway, PORT).into()).await;
        let sockets = match usual {
            Ok(sockets) => sockets,
            Err(_) => bind((gateway, 0).into()).await.map_err(Error::Dns)?,
        };
        Server::serve(sockets, records, upstream).map_err(Error::Dns)
    }

    fn serve(
        (udp, tcp): (UdpSocket, TcpListener),
        records: Records,
        upstream: Upstream,
    ) -> std::io::Result<Server> {
        let port = udp.local_addr()?.port();
        let records = Arc::new(RwLock::new(Arc::new(records)));
        let passed_on = Arc::new(Semaphore::new(PASSED_ON));
        let mut running =
            hickory_server::Server::new(Handler { records: records.clone(), upstream, passed_on });
        running.register_socket(udp);
        running.register_listener(tcp, TCP_IDLE, TCP_ANSWERS);
        Ok(Server { running, records, port })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn update(&self, records: Records) {
        *self.records.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(records);
    }

    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.running.shutdown_gracefully().await {
            tracing::warn!(%error, "the DNS server did not stop cleanly");
        }
    }
}

async fn bind(at: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let tcp = TcpListener::bind(at).await?;
    let udp = UdpSocket::bind(tcp.local_addr()?).await?;
    Ok((udp, tcp))
}

struct Handler {
    records: Arc<RwLock<Arc<Records>>>,
    upstream: Upstream,
    passed_on: Arc<Semaphore>,
}

/// All that a response says.
struct Response {
    metadata: Metadata,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut to: R,
    ) -> ResponseInfo {
        let response = self.respond(request).await;
        let mut builder = MessageResponseBuilder::from_message_request(request);
        let edns = request.edns.as_ref().map(answering_edns);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let Response { metadata, answers, authorities, additionals } = &response;
        let message = builder.build(*metadata, answers, authorities, [], additionals);
        match to.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a DNS client went away");
                ResponseInfo::from(Header { metadata: *metadata, counts: HeaderCounts::default() })
            }
        }
    }
}

impl Handler {
    async fn respond(&self, request: &Request) -> Response {
        let bare = |code| bare(request, code);
        if request.metadata.op_code != OpCode::Query {
            return bare(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return bare(ResponseCode::FormErr) };
        let (name, kind) = (info.query.original().name().clone(), info.query.query_type());
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner).clone();
        match answer(&records, &name, kind) {
            Some(reply) => self.own(request, &records, reply, kind).await,
            None => self.pass_on(request).await.unwrap_or_else(|| bare(ResponseCode::ServFail)),
        }
    }

    async fn own(&self, request: &Request, records: &Records, reply: Reply, kind: RecordType) -> Response {
        let mut response = bare(request, reply.code);
        response.metadata.authoritative = true;
        response.answers = reply.answers;
        take_turns(&mut response.answers, request.metadata.id);
        response.additionals = reply.additionals;
        response.authorities.extend(reply.soa);
        if let Some(name) = reply.follow {
            // Stub resolvers do not follow aliases by themselves.
            let rest = match answer(records, &name, kind) {
                Some(reply) => reply.answers,
                None => {
                    let _turn = self.passed_on.acquire().await;
                    let said = self.upstream.lookup(request.metadata.id, name, kind).await;
                    said.map(|said| said.answers).unwrap_or_default()
                }
            };
            response.answers.extend(rest);
        }
        response
    }

    async fn pass_on(&self, request: &Request) -> Option<Response> {
        if self.upstream.servers.is_empty() {
            return None;
        }
        let transport = if request.protocol() == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        let _turn = self.passed_on.acquire().await;
        let said = self.upstream.ask(request.as_slice(), transport).await?;
        let Message { metadata, answers, authorities, additionals, .. } = said;
        let mut response = bare(request, metadata.response_code);
        response.metadata.truncation = metadata.truncation;
        response.metadata.authentic_data = metadata.authentic_data;
        Some(Response { answers, authorities, additionals, ..response })
    }
}

fn bare(request: &Request, code: ResponseCode) -> Response {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = code;
    metadata.recursion_available = true;
    Response { metadata, answers: vec![], authorities: vec![], additionals: vec![] }
}

fn answering_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload().clamp(512, UDP_SIZE));
    edns.set_version(0);
    edns
}

/// Most clients try the first address first: each gets another first one.
fn take_turns(answers: &mut [Record], turn: u16) {
    if answers.len() > 1 && answers.iter().all(|record| record.record_type() == RecordType::A) {
        answers.rotate_left(usize::from(turn) % answers.len());
    }
}

#[cfg(test)]
mod tests {
    use coracle_clock::Clock;
    use hickory_proto::rr::Name;
    use serde_json::json;

    use super::*;
    use crate::dns::Zone;
    use crate::proxy::fixtures::{service, slice};

    async fn server(domain: &str, upstream: Vec<SocketAddr>) -> (Server, SocketAddr) {
        let mut domain = Name::from_ascii(domain).unwrap();
        domain.set_fqdn(true);
        let zone = Zone { domain, dns_ip: [10, 96, 0, 10].into(), ranges: vec![] };
        let many: Vec<_> = (1..=100).map(|n| json!({"addresses": [format!("10.244.0.{n}")]})).collect();
        let services = [
            service("web", json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]})),
            service("many", json!({"clusterIP": "None"})),
            service("far", json!({"type": "ExternalName", "externalName": "web.ns.svc.other.test"})),
            service("near", json!({"type": "ExternalName", "externalName": "web.ns.svc.cluster.local"})),
        ];
        let slices = [slice("many", json!([]), json!(many))];
        let (services, slices): (Vec<_>, Vec<_>) = (services.iter().collect(), slices.iter().collect());
        let records = Records::new(zone, 1, &services, &slices);
        let sockets = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let upstream = Upstream { servers: upstream, clock: Clock::system() };
        let server = Server::serve(sockets, records, upstream).unwrap();
        let at = ([127, 0, 0, 1], server.port()).into();
        (server, at)
    }

    async fn ask(at: SocketAddr, transport: Transport, kind: RecordType, name: &str) -> String {
        let client = Upstream { servers: vec![at], clock: Clock::system() };
        let said = client.lookup_by(transport, 7, Name::from_ascii(name).unwrap(), kind).await.unwrap();
        let answers: Vec<_> =
            said.answers.iter().map(|r| format!(" {} {}", r.record_type(), r.data)).collect();
        let cut = if said.metadata.truncation { " cut" } else { "" };
        let own = if said.metadata.authoritative { " own" } else { "" };
        format!("{:?}{own}{cut}{}", said.metadata.response_code, answers.concat())
    }

    #[tokio::test]
    async fn questions_are_answered_or_passed_on() {
        let (other, other_at) = server("other.test", vec![]).await;
        let (own, at) = server("cluster.local", vec![other_at]).await;
        for transport in [Transport::Udp, Transport::Tcp] {
            let ask = |name: &'static str| ask(at, transport, RecordType::A, name);
            assert_eq!(ask("web.ns.svc.cluster.local.").await, "NoError own A 10.96.0.7");
            assert_eq!(ask("nothing.ns.svc.cluster.local.").await, "NXDomain own");
            assert_eq!(ask("web.ns.svc.other.test.").await, "NoError A 10.96.0.7");
            assert_eq!(ask("nothing.ns.svc.other.test.").await, "NXDomain");
            let far = "NoError own CNAME web.ns.svc.other.test. A 10.96.0.7";
            assert_eq!(ask("far.ns.svc.cluster.local.").await, far);
            let near = "NoError own CNAME web.ns.svc.cluster.local. A 10.96.0.7";
            assert_eq!(ask("near.ns.svc.cluster.local.").await, near);
            // The other server has nobody to ask: it says so at once.
            assert_eq!(ask("example.com.").await, "ServFail");
        }
        own.stop().await;
        other.stop().await;
    }

    #[tokio::test]
    async fn what_does_not_fit_a_datagram_is_cut_and_whole_by_tcp() {
        let (server, at) = server("cluster.local", vec![]).await;
        let name = "many.ns.svc.cluster.local.";
        let by_udp = ask(at, Transport::Udp, RecordType::A, name).await;
        assert!(by_udp.starts_with("NoError own cut"), "{by_udp}");
        let by_tcp = ask(at, Transport::Tcp, RecordType::A, name).await;
        assert_eq!(by_tcp.matches(" A ").count(), 100);
        server.stop().await;
    }
}
