//! Attacks on the connection itself, each beside another client that must not notice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_clock::Clock;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::Service;

use super::denials::root;
use crate::World;

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

/// What has not happened by then never will, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client beside an attack waits for one small answer at most. Undisturbed it takes milliseconds; the attacker
/// and the server share two cores with it here.
const UNHARMED: Duration = Duration::from_secs(5);

impl World {
    /// A connection that speaks `protocol` (`h2`, `http/1.1`) and shows no credential.
    async fn connect(&self, protocol: &str) -> Tls {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.pki.ca_der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("kubernetes").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
    }

    /// One request over HTTP/1.1 on a connection of its own: the code, and whether the server closed the connection.
    pub(super) async fn remote(&self, request: Request<String>) -> u16 {
        let mut tls = self.connect("http/1.1").await;
        let (parts, body) = request.into_parts();
        let mut text = format!("{} {} HTTP/1.1\r\nhost: kubernetes\r\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            text += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        tls.write_all(text.as_bytes()).await.unwrap();
        code_of(&answer(&mut tls).await)
    }

    /// Somebody else asks for the version again and again, each time on a new connection, until `attack` is over.
    pub(super) async fn beside<T>(&self, attack: impl Future<Output = T>) -> T {
        let others = async {
            loop {
                let asked = self.remote(Request::get("/version").body(String::new()).unwrap());
                let code = Clock::system().timeout(UNHARMED, asked).await;
                assert_eq!(code, Some(200), "another client was harmed");
                Clock::system().sleep(Duration::from_millis(50)).await;
            }
        };
        let clock = Clock::system();
        let attack = clock.timeout(PATIENCE, attack);
        tokio::select! {
            done = attack => done.expect("the attack ends"),
            () = others => unreachable!("they ask for ever"),
        }
    }
}

/// The head of an answer.
async fn answer(tls: &mut Tls) -> String {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut chunk = [0; 4096];
        match tls.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(n) => seen.extend_from_slice(&chunk[..n]),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

fn code_of(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// Everything until the other side closes.
async fn rest(tls: &mut Tls) -> Vec<u8> {
    let mut seen = Vec::new();
    let _ = tls.read_to_end(&mut seen).await;
    seen
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
/// No frame has it: to read until the connection is closed.
const NEVER: u8 = 0xff;
const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A text in HPACK: its length in seven bits and as many more as it takes.
fn text(value: &str) -> Vec<u8> {
    let mut out = vec![value.len().min(0x7f) as u8];
    if let Some(mut more) = value.len().checked_sub(0x7f) {
        while more >= 0x80 {
            out.push(more as u8 | 0x80);
            more >>= 7;
        }
        out.push(more as u8);
    }
    [out, value.as_bytes().to_vec()].concat()
}

/// `GET path` in HPACK: two static fields, two literals.
fn get(path: &str) -> Vec<u8> {
    [vec![0x82, 0x87], vec![0x04], text(path), vec![0x01], text("kubernetes")].concat()
}

/// The same by who shows this token.
fn get_with(token: &str, path: &str) -> Vec<u8> {
    [get(path), vec![0x00], text("authorization"), text(&format!("Bearer {token}"))].concat()
}

/// `POST path`, in the same way.
fn post_with(token: &str, path: &str) -> Vec<u8> {
    let path = [vec![0x83, 0x87, 0x04], text(path), vec![0x01], text("kubernetes")].concat();
    [path, vec![0x00], text("authorization"), text(&format!("Bearer {token}"))].concat()
}

/// A connection of HTTP/2 that has told its settings.
async fn opened(world: &World) -> Tls {
    let mut tls = world.connect("h2").await;
    tls.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    tls.flush().await.unwrap();
    tls
}

/// The frames that come until `last`, or the connection's end. Pings are answered.
async fn frames_until(tls: &mut Tls, last: u8) -> Vec<(u8, u32, Vec<u8>)> {
    let mut out = Vec::new();
    loop {
        let mut head = [0; 9];
        if tls.read_exact(&mut head).await.is_err() {
            return out;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if tls.read_exact(&mut payload).await.is_err() {
            return out;
        }
        let (kind, flags) = (head[3], head[4]);
        if kind == PING && flags & ACK == 0 {
            let _ = tls.write_all(&frame(PING, ACK, 0, &payload)).await;
            let _ = tls.flush().await;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        out.push((kind, stream, payload));
        if kind == last {
            return out;
        }
    }
}

/// Writes what `piece` makes until there is enough of it or the server has closed the connection; how many it took.
async fn flood(tls: Tls, most: u32, piece: impl Fn(u32) -> Vec<u8>) -> u32 {
    const TOGETHER: u32 = 100;
    let (mut read, mut write) = tokio::io::split(tls);
    // Whoever does not read what comes back cannot be told of the end, and stops the server's writes.
    let reading = tokio::spawn(async move {
        let mut sink = vec![0; 1 << 16];
        while let Ok(1..) = read.read(&mut sink).await {}
    });
    let mut sent = 0;
    while sent < most && !reading.is_finished() {
        let pieces: Vec<u8> = (sent..sent + TOGETHER).flat_map(&piece).collect();
        if write.write_all(&pieces).await.is_err() || write.flush().await.is_err() {
            break;
        }
        sent += TOGETHER;
    }
    reading.abort();
    sent
}

const FLOOD: u32 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn row_7_rapid_resets_end_the_connection() {
    let world = World::start().await;
    world.account(&world.admin().await, "default").await;
    let token = token(&world).await;
    let attack = async {
        let tls = opened(&world).await;
        flood(tls, FLOOD, |n| {
            let stream = 2 * n + 1;
            let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_with(&token, "/api/v1/pods"));
            [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .await
    };
    let sent = world.beside(attack).await;
    assert!(sent < FLOOD, "a hundred thousand resets were taken");
}

/// CVE-2025-8671: the client breaks a rule of the stream, so that it is the server that resets it.
#[tokio::test(flavor = "multi_thread")]
async fn row_7_resets_that_the_server_is_made_to_send_end_the_connection() {
    let world = World::start().await;
    world.account(&world.admin().await, "default").await;
    let token = token(&world).await;
    let attack = async {
        let tls = opened(&world).await;
        flood(tls, FLOOD, |n| {
            let stream = 2 * n + 1;
            let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_with(&token, "/api/v1/pods"));
            [headers, frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes())].concat()
        })
        .await
    };
    let sent = world.beside(attack).await;
    assert!(sent < FLOOD, "a hundred thousand resets were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_endless_continuations_end_the_connection() {
    let world = World::start().await;
    let attack = async {
        let mut tls = opened(&world).await;
        tls.write_all(&frame(HEADERS, END_STREAM, 1, &get("/"))).await.unwrap();
        // A literal that is not indexed: the header `x: y`.
        flood(tls, FLOOD, |_| frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(200))).await
    };
    assert!(world.beside(attack).await < FLOOD, "a header block has no end");
}

/// One indexed field of 4 kB, named half a million times: 2 GB of headers.
#[tokio::test(flavor = "multi_thread")]
async fn row_7_a_header_bomb_is_refused() {
    let world = World::start().await;
    let attack = async {
        let mut tls = opened(&world).await;
        let value = [b'v'; 4000];
        let length = [0x7f, 0xa1, 0x1e];
        let first = [&get("/version"), [0x40, 1, b'x'].as_slice(), &length, &value].concat();
        tls.write_all(&frame(HEADERS, END_STREAM, 1, &first)).await.unwrap();
        for _ in 0..40 {
            if tls.write_all(&frame(CONTINUATION, 0, 1, &[0xbe; 12_000])).await.is_err() {
                return true;
            }
        }
        let _ = tls.write_all(&frame(CONTINUATION, END_HEADERS, 1, &[])).await;
        // Refused as a stream (431 or a reset) or with the whole connection, but never served.
        let frames = frames_until(&mut tls, GOAWAY).await;
        !frames
            .iter()
            .any(|(kind, stream, payload)| *kind == HEADERS && *stream == 1 && payload.first() == Some(&0x88))
    };
    assert!(world.beside(attack).await, "the bomb was served");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_settings_and_pings_harm_nobody() {
    let world = World::start().await;
    let attack = async {
        let settings =
            flood(opened(&world).await, FLOOD, |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]));
        let pings = flood(opened(&world).await, FLOOD, |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes()));
        tokio::join!(settings, pings)
    };
    world.beside(attack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_a_connection_has_a_hundred_streams() {
    let world = World::start().await;
    let mut tls = opened(&world).await;
    let frames = frames_until(&mut tls, SETTINGS).await;
    let settings = &frames.last().unwrap().2;
    let limits: Vec<u32> = settings
        .chunks_exact(6)
        .filter(|s| u16::from_be_bytes([s[0], s[1]]) == MAX_CONCURRENT_STREAMS)
        .map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]))
        .collect();
    assert_eq!(limits, [100]);
}

/// As the reference since CVE-2023-44487: who shows no good credential gets one request a connection.
#[tokio::test(flavor = "multi_thread")]
async fn row_7_strangers_get_one_request_a_connection() {
    let world = World::start().await;
    for headers in [get("/version"), get("/api/v1/pods"), get_with("x", "/api/v1/pods")] {
        let mut tls = opened(&world).await;
        tls.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers)).await.unwrap();
        let frames =
            Clock::system().timeout(PATIENCE, frames_until(&mut tls, GOAWAY)).await.expect("a GOAWAY");
        assert_eq!(frames.last().unwrap().0, GOAWAY);
        let closed = Clock::system().timeout(PATIENCE, frames_until(&mut tls, NEVER)).await;
        assert!(closed.is_some(), "and the connection is closed");
    }
}

/// Who does not hear the GOAWAY, and asks on.
#[tokio::test(flavor = "multi_thread")]
async fn row_7_strangers_who_ask_on_are_cut() {
    let world = World::start().await;
    let attack = async {
        let ask = |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &get("/version"));
        flood(opened(&world).await, FLOOD, ask).await
    };
    assert!(world.beside(attack).await < FLOOD, "a hundred thousand requests of a stranger were taken");
}

/// Who has shown a good credential keeps the connection.
#[tokio::test(flavor = "multi_thread")]
async fn row_7_known_clients_keep_their_connection() {
    let world = World::start().await;
    world.account(&world.admin().await, "default").await;
    let token = token(&world).await;
    let mut tls = opened(&world).await;
    for n in 0..10 {
        let headers = get_with(&token, "/api/v1/namespaces");
        tls.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &headers)).await.unwrap();
        let frames =
            Clock::system().timeout(PATIENCE, frames_until(&mut tls, HEADERS)).await.expect("an answer");
        assert!(frames.iter().all(|(kind, ..)| *kind != GOAWAY));
        assert_eq!(frames.last().unwrap().2[0], 0x88, "200, as HPACK says it");
    }
}

/// The request's headers never end.
#[tokio::test]
async fn row_8_slow_headers_are_cut_after_32_seconds() {
    let world = World::start().await;
    let mut tls = world.connect("http/1.1").await;
    tls.write_all(b"GET /version HTTP/1.1\r\nhost: kubernetes\r\nx: ").await.unwrap();
    tls.flush().await.unwrap();
    Clock::system().sleep(Duration::from_millis(100)).await;
    // From here on time passes as fast as nothing happens.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let end = rest(&mut tls).await;
    let took = began.elapsed();
    assert!((31..=33).contains(&took.as_secs()), "{took:?}");
    assert!(end.is_empty() || code_of(&String::from_utf8_lossy(&end)) == 408, "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn row_8_a_slow_body_is_cut_after_a_minute() {
    let world = World::start().await;
    let drops = futures::stream::unfold((), |()| async {
        Clock::system().sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(b" "))), ()))
    });
    let request = Request::post("/api/v1/namespaces").body(StreamBody::new(Box::pin(drops))).unwrap();
    let began = tokio::time::Instant::now();
    let answer = world.server.local(root()).call(request).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 60);
    assert_eq!(answer.status(), 504);
    let status: Value =
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(status["message"], "Timeout: request did not complete within the allotted timeout");
    assert_eq!(status["reason"], "Timeout");
}

/// Bodies that come a byte at a time, on connections of their own and as streams of one.
#[tokio::test(flavor = "multi_thread")]
async fn row_8_slow_bodies_harm_nobody() {
    const SLOW: u32 = 100;
    let world = World::start().await;
    world.account(&world.admin().await, "default").await;
    let token = token(&world).await;
    let attack = async {
        let head = format!(
            "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: kubernetes\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{{"
        );
        let mut alone = Vec::new();
        for _ in 0..SLOW {
            let mut tls = world.connect("http/1.1").await;
            tls.write_all(head.as_bytes()).await.unwrap();
            alone.push(tls);
        }
        let mut together = opened(&world).await;
        let streams = (0..SLOW).map(|n| 2 * n + 1);
        for stream in streams.clone() {
            let headers = post_with(&token, "/api/v1/namespaces/default/configmaps");
            together.write_all(&frame(HEADERS, END_HEADERS, stream, &headers)).await.unwrap();
        }
        for _ in 0..10 {
            for tls in &mut alone {
                // Whoever has been refused is told so, and not read any more.
                let _ = tls.write_all(b" ").await;
                let _ = tls.flush().await;
            }
            for stream in streams.clone() {
                let _ = together.write_all(&frame(DATA, 0, stream, b" ")).await;
            }
            let _ = together.flush().await;
            Clock::system().sleep(Duration::from_millis(200)).await;
        }
    };
    world.beside(attack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_8_idle_connections_harm_nobody() {
    let world = World::start().await;
    let attack = async {
        let mut idle = Vec::new();
        for n in 0..300 {
            let mut tls = world.connect(if n % 2 == 0 { "h2" } else { "http/1.1" }).await;
            let start: &[u8] = if n % 2 == 0 { PREFACE } else { b"POST /api/v1/pods HTTP/1.1\r\n" };
            tls.write_all(&start[..n % start.len()]).await.unwrap();
            idle.push(tls);
        }
        // Some do not even begin to speak TLS.
        for _ in 0..100 {
            idle.push(world.connect("h2").await);
            TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
        }
        Clock::system().sleep(Duration::from_millis(500)).await;
    };
    world.beside(attack).await;
}

/// Two readings of where one request ends and the next begins: refused, and the connection with it.
#[tokio::test(flavor = "multi_thread")]
async fn row_9_smuggled_requests_are_not_answered() {
    let world = World::start().await;
    let inner = "GET /healthz HTTP/1.1\r\nhost: kubernetes\r\n\r\n";
    let length = inner.len();
    let heads = [
        format!("content-length: 0\r\ncontent-length: {length}\r\n"),
        format!("content-length: {length}, 0\r\n"),
        format!("content-length: +{length}\r\n"),
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        "transfer-encoding: gzip, chunked, gzip\r\n".to_owned(),
        "x: y\r\n obs-fold: z\r\n".to_owned(),
        "x : y\r\n".to_owned(),
        "host: other\r\nx\0y: z\r\n".to_owned(),
        "x: y\nz\r\n\r\r\n".to_owned(),
    ];
    for head in heads {
        let mut tls = world.connect("http/1.1").await;
        let request = format!("POST /version HTTP/1.1\r\nhost: kubernetes\r\n{head}\r\n{inner}{inner}");
        tls.write_all(request.as_bytes()).await.unwrap();
        let said = Clock::system().timeout(Duration::from_secs(3), rest(&mut tls)).await;
        let said = String::from_utf8_lossy(&said.expect("the connection is closed")).into_owned();
        let answers = said.matches("HTTP/1.1 ").count();
        assert!(answers <= 1 && !said.contains("HTTP/1.1 200"), "{head:?}: {said}");
    }
}

/// A kubelet that answers every connection with `answer`; what it was sent, the bytes after the request apart.
async fn false_kubelet(
    tls: Arc<rustls::ServerConfig>,
    answer: &'static str,
) -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let theirs = seen.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = TlsAcceptor::from(tls.clone()).accept(tcp).await else { continue };
            let mut request = Vec::new();
            while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                let mut chunk = [0; 1024];
                match tls.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&chunk[..n]),
                }
            }
            theirs.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let _ = tls.write_all(answer.as_bytes()).await;
            let _ = tls.flush().await;
            let mut more = Vec::new();
            let _ = Clock::system().timeout(Duration::from_secs(2), tls.read_to_end(&mut more)).await;
            if !more.is_empty() {
                theirs.lock().unwrap().push(format!("afterwards: {}", String::from_utf8_lossy(&more)));
            }
        }
    });
    (port, seen)
}

/// A Pod on a node whose kubelet is at `port`.
async fn pod_behind(world: &World, port: u16) {
    world.account(&world.admin().await, "default").await;
    let node = json!({"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    for (path, body) in [("/api/v1/nodes", node), ("/api/v1/namespaces/default/pods", pod)] {
        let (code, said) = world.by(&root(), "POST", path, &body.to_string()).await;
        assert_eq!(code, 201, "{said}");
    }
}

/// An admin's token, for requests over the wire.
async fn token(world: &World) -> String {
    super::denials::grant(
        world,
        "system:serviceaccount:default:default",
        &json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]),
    )
    .await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (_, answer) = world.by(&root(), "POST", path, r#"{"spec":{}}"#).await;
    answer["status"]["token"].as_str().unwrap().to_owned()
}

const REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
const REDIRECT: &str =
    "HTTP/1.1 302 Found\r\nlocation: https://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n";

/// An upgrade by the admin over the wire, and a second request behind it in the same breath.
async fn upgrade_and_more(world: &World, path: &str) -> String {
    let token = token(world).await;
    let mut tls = world.connect("http/1.1").await;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: kubernetes\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         sec-websocket-protocol: v5.channel.k8s.io\r\ncontent-length: 0\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nhost: kubelet\r\nconnection: close\r\n\r\n"
    );
    tls.write_all(request.as_bytes()).await.unwrap();
    let said = Clock::system().timeout(PATIENCE, rest(&mut tls)).await.expect("the connection is closed");
    String::from_utf8_lossy(&said).into_owned()
}

/// CVE-2018-1002105.
#[tokio::test(flavor = "multi_thread")]
async fn row_1_a_refused_upgrade_leaves_no_way_to_the_kubelet() {
    let world = World::start().await;
    let tls = world.pki.kubelet_server_config("n", &["127.0.0.1".parse().unwrap()]).unwrap();
    let (port, seen) = false_kubelet(tls, REFUSAL).await;
    pod_behind(&world, port).await;
    for sub in ["exec?command=id", "attach", "portforward"] {
        let path = format!("/api/v1/namespaces/default/pods/p/{sub}");
        // The role is there after the first round.
        world
            .by(
                &root(),
                "DELETE",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/of-system:serviceaccount:default:default",
                "",
            )
            .await;
        world.by(&root(), "DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/of-system:serviceaccount:default:default", "").await;
        let said = upgrade_and_more(&world, &path).await;
        assert_eq!(code_of(&said), 403, "{said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
        Clock::system().sleep(Duration::from_millis(200)).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(!seen[0].contains("smuggled") && !seen[0].to_lowercase().contains("bearer"), "{seen:?}");
    }
}

/// CVE-2018-1002102, CVE-2020-8559: a kubelet that sends the API server elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn row_2_redirects_of_a_kubelet_are_neither_followed_nor_handed_on() {
    let world = World::start().await;
    let tls = world.pki.kubelet_server_config("n", &["127.0.0.1".parse().unwrap()]).unwrap();
    let (port, seen) = false_kubelet(tls, REDIRECT).await;
    pod_behind(&world, port).await;
    let said = upgrade_and_more(&world, "/api/v1/namespaces/default/pods/p/exec?command=id").await;
    assert_eq!(code_of(&said), 500, "{said}");
    assert!(said.contains("redirect") && !said.contains("169.254"), "{said}");
    for path in ["/api/v1/nodes/n/proxy/metrics", "/api/v1/namespaces/default/pods/p/log"] {
        let request = Request::get(path).body(http_body_util::Full::new(Bytes::new())).unwrap();
        let answer = world.server.local(root()).call(request).await.unwrap();
        assert!(answer.headers().get("location").is_none(), "{path}: {:?}", answer.headers());
        assert_ne!(answer.status(), 200, "{path}");
    }
    assert!(seen.lock().unwrap().iter().all(|r| !r.to_lowercase().contains("bearer")));
}

/// A Node object can name any address; what is there must prove to be that cluster's kubelet before it is sent a thing.
#[tokio::test(flavor = "multi_thread")]
async fn row_3_only_a_kubelet_of_this_cluster_is_spoken_to() {
    let world = World::start().await;
    let other = World::start().await;
    let foreign = other.pki.kubelet_server_config("n", &["127.0.0.1".parse().unwrap()]).unwrap();
    let (port, seen) = false_kubelet(foreign, REFUSAL).await;
    pod_behind(&world, port).await;
    for path in ["/api/v1/nodes/n/proxy/metrics", "/api/v1/namespaces/default/pods/p/log"] {
        let (code, status) = world.by(&root(), "GET", path, "").await;
        let said = status["message"].as_str().unwrap_or_default();
        assert!(code == 500 && said.contains("error dialing backend"), "{code} {status}");
    }
    assert!(seen.lock().unwrap().is_empty(), "nothing was sent");
    // Neither scheme nor port can be put into the name, and Pods and Services are not proxied to at all.
    for name in ["https:n:443", "http:n:80", "n:6443", "127.0.0.1"] {
        let (code, _) = world.by(&root(), "GET", &format!("/api/v1/nodes/{name}/proxy/"), "").await;
        assert_eq!(code, 404, "{name}");
    }
    for path in ["pods/p/proxy/", "services/kubernetes/proxy/", "services/https:kubernetes:443/proxy/"] {
        let (code, _) = world.by(&root(), "GET", &format!("/api/v1/namespaces/default/{path}"), "").await;
        assert_eq!(code, 503, "{path}");
    }
}
