//! Calls to the members of an etcd cluster: which member is asked, how long, and what a failure means.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_clock::Clock;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::EtcdOptions;
use super::wire::{
    CompactionRequest, CompactionResponse, Header, LeaseGrantRequest, LeaseGrantResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest,
    WatchResponse,
};

/// A member that does not take a connection within this is passed over: a local network answers within 1 ms, one
/// between continents within 300.
const CONNECT: Duration = Duration::from_secs(2);
/// A write waits this long. etcd itself gives up after 7 s (5 s and two elections), and its own words are better.
const WRITE: Duration = Duration::from_secs(10);
/// A read that one member has not answered by then is asked of the next.
const READ: Duration = Duration::from_secs(3);
/// A read is given up after this, whoever was asked: about two elections of a leader.
const READ_ALL: Duration = Duration::from_secs(10);
/// Between two rounds over all members.
const PAUSE: Duration = Duration::from_millis(100);
/// A silent connection is probed every 10 s (etcd hangs up on clients that do so more often than every 5) and taken
/// for dead 5 s later.
const PROBE: Duration = Duration::from_secs(10);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No member was reached: nothing has happened.
    #[error("{0}")]
    NotSent(String),
    /// The request was sent; whether it was done is not known.
    #[error("{0}")]
    Unknown(String),
    /// etcd said no: nothing has happened.
    #[error("{}", .0.message())]
    Refused(Status),
}

impl Failure {
    fn of(member: &str, status: Status) -> Failure {
        match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Failure::Refused(status),
            _ if never_connected(&status) => Failure::NotSent(format!("{member}: {}", innermost(&status))),
            _ => Failure::Unknown(format!("{member}: {}", innermost(&status))),
        }
    }
}

fn never_connected(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The layers around it only say "transport error".
fn innermost(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        words = error.to_string();
        cause = error.source();
    }
    words
}

#[derive(Debug)]
struct Member {
    url: String,
    channel: Channel,
}

#[derive(Debug)]
pub(super) struct Client {
    members: Vec<Member>,
    /// The member that is asked, counted on from every failure.
    turn: AtomicUsize,
    /// etcd lives in real time, whatever the clock of the cluster says.
    pub(super) clock: Clock,
}

impl Client {
    pub(super) fn new(options: &EtcdOptions) -> Result<Client, String> {
        let mut members = Vec::new();
        for url in &options.endpoints {
            let endpoint = endpoint(url, options).map_err(|e| {
                let why = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
                format!("{url}: {e}{why}")
            })?;
            members.push(Member { url: url.clone(), channel: endpoint.connect_lazy() });
        }
        if members.is_empty() {
            return Err("no endpoint is given".into());
        }
        Ok(Client { members, turn: AtomicUsize::new(0), clock: Clock::system() })
    }

    fn member(&self) -> (usize, &Member) {
        let turn = self.turn.load(Ordering::Relaxed);
        (turn, &self.members[turn % self.members.len()])
    }

    /// Ask another member from now on, unless somebody has said so already.
    fn pass_over(&self, turn: usize) {
        let _ = self.turn.compare_exchange(turn, turn + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn call<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        within: Duration,
    ) -> (usize, Result<A, Failure>)
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let (turn, member) = self.member();
        let mut grpc = grpc(member);
        let asked = async {
            // Only the buffer in front of the connection is asked here: nothing has been sent.
            grpc.ready().await.map_err(|e| Failure::NotSent(format!("{}: {e}", member.url)))?;
            let path = PathAndQuery::from_static(path);
            let answer = grpc.unary(led(request), path, ProstCodec::default()).await;
            answer.map(tonic::Response::into_inner).map_err(|status| Failure::of(&member.url, status))
        };
        let answer = self.clock.timeout(within, asked).await.unwrap_or_else(|| {
            Err(Failure::Unknown(format!("{}: no answer within {} s", member.url, within.as_secs())))
        });
        if matches!(answer, Err(Failure::NotSent(_) | Failure::Unknown(_))) {
            self.pass_over(turn);
        }
        (turn, answer)
    }

    /// Once over all members for somebody who takes the request, and no further: it may have been done.
    async fn write<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut left = self.members.len();
        loop {
            left -= 1;
            match self.call(path, request.clone(), WRITE).await.1 {
                Err(Failure::NotSent(_)) if left > 0 => {}
                answer => return answer,
            }
        }
    }

    /// From member to member until one answers.
    async fn read<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let ends = self.clock.elapsed() + READ_ALL;
        loop {
            match self.call(path, request.clone(), READ).await {
                (_, Ok(answer)) => return Ok(answer),
                (_, Err(refused @ Failure::Refused(_))) => return Err(refused),
                (_, Err(failure)) if self.clock.elapsed() + PAUSE >= ends => return Err(failure),
                (turn, Err(_)) if (turn + 1) % self.members.len() == 0 => self.clock.sleep(PAUSE).await,
                (_, Err(_)) => {}
            }
        }
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        self.read("/etcdserverpb.KV/Range", request).await
    }

    /// etcd's revision, and whose it is. What any member acknowledged before the call is in it.
    pub(super) async fn now(&self, key: Bytes) -> Result<Header, Failure> {
        let request = RangeRequest { key, limit: 1, ..RangeRequest::default() };
        Ok(self.range(request).await?.header.unwrap_or_default())
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Failure> {
        self.write("/etcdserverpb.KV/Txn", request).await
    }

    pub(super) async fn put(&self, key: Bytes, value: Bytes) -> Result<PutResponse, Failure> {
        self.write("/etcdserverpb.KV/Put", PutRequest { key, value, lease: 0 }).await
    }

    pub(super) async fn compact(&self, revision: i64) -> Result<CompactionResponse, Failure> {
        self.write("/etcdserverpb.KV/Compact", CompactionRequest { revision }).await
    }

    pub(super) async fn grant(&self, seconds: i64) -> Result<LeaseGrantResponse, Failure> {
        self.write("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl: seconds }).await
    }

    pub(super) async fn watch(&self, create: WatchCreateRequest) -> Result<Watching, Failure> {
        let (turn, member) = self.member();
        let opened = self.clock.timeout(READ, open(member, create)).await.unwrap_or_else(|| {
            Err(Failure::Unknown(format!("{}: no answer within {} s", member.url, READ.as_secs())))
        });
        if opened.is_err() {
            self.pass_over(turn);
        }
        Ok(Watching { responses: opened?, turn, url: member.url.clone() })
    }

    /// The next message of a watch; `None` where its member has closed it.
    pub(super) async fn next(&self, watching: &mut Watching) -> Result<Option<WatchResponse>, Failure> {
        let next = watching.responses.message().await;
        if !matches!(next, Ok(Some(_))) {
            self.pass_over(watching.turn);
        }
        next.map_err(|status| Failure::of(&watching.url, status))
    }

    /// A member that no longer serves a watch is passed over.
    pub(super) fn leave(&self, watching: &Watching) {
        self.pass_over(watching.turn);
    }
}

/// A watch that a member serves.
#[derive(Debug)]
pub(super) struct Watching {
    responses: Streaming<WatchResponse>,
    turn: usize,
    url: String,
}

fn grpc(member: &Member) -> Grpc<Channel> {
    // An answer is as large as etcd makes it: a page of the largest objects exceeds the 4 MiB that is the default.
    Grpc::new(member.channel.clone()).max_decoding_message_size(usize::MAX)
}

/// Served only by a member that has a leader: one that is cut off from the others says so instead of keeping silent.
fn led<Q>(request: Q) -> tonic::Request<Q> {
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    request
}

async fn open(member: &Member, create: WatchCreateRequest) -> Result<Streaming<WatchResponse>, Failure> {
    use futures::StreamExt;
    let mut grpc = grpc(member);
    grpc.ready().await.map_err(|e| Failure::NotSent(format!("{}: {e}", member.url)))?;
    // The watch lives as long as this side stays open.
    let asked =
        futures::stream::iter([WatchRequest { create: Some(create) }]).chain(futures::stream::pending());
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let opened = grpc.streaming(led(asked), path, ProstCodec::default()).await;
    opened.map(tonic::Response::into_inner).map_err(|status| Failure::of(&member.url, status))
}

fn endpoint(url: &str, options: &EtcdOptions) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PROBE)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .keep_alive_while_idle(true);
    if !url.starts_with("https:") {
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new();
    if let Some(ca) = &options.ca {
        tls = tls.ca_certificate(Certificate::from_pem(ca));
    }
    if let Some((certificate, key)) = &options.identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    endpoint.tls_config(tls)
}
