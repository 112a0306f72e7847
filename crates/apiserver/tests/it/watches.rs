//! Many watches on few connections: all hear of everything, in order, and a reader that stalls harms itself alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_clock::Clock;
use futures::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{World, map};

const WATCH: &str = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=";
/// As many streams as the server lets one connection have.
const STREAMS: usize = 100;

impl World {
    async fn tls(&self, protocol: &str, receive_buffer: Option<u32>) -> TlsStream<TcpStream> {
        let admin = self.pki.admin();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pki.ca_pem().as_bytes()).unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_slice(admin.certificate_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(admin.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let tcp = socket.connect(([127, 0, 0, 1], self.port).into()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
    }

    async fn http2(&self) -> SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.tls("h2", None).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

async fn watch(sender: &SendRequest<Empty<Bytes>>, since: &str) -> Incoming {
    let mut sender = sender.clone();
    sender.ready().await.unwrap();
    let request = Request::get(format!("https://localhost{WATCH}{since}")).body(Empty::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// The values of `data.k` of the next `n` events.
async fn told(mut body: Incoming, n: usize) -> Vec<String> {
    let (mut seen, mut pending) = (Vec::new(), Vec::new());
    while seen.len() < n {
        pending.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        while let Some(end) = pending.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap();
            seen.push(event["object"]["data"]["k"].as_str().unwrap_or_default().to_owned());
        }
    }
    seen
}

async fn patch(maps: &Api<ConfigMap>, value: &str) {
    let patch = Patch::Merge(json!({"data": {"k": value}}));
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watches_hear_of_every_update_in_order() {
    const CONNECTIONS: usize = 10;
    const UPDATES: usize = 20;
    let world = World::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.admin().await, "default");
    let since = maps.create(&PostParams::default(), &map("a", "first")).await.unwrap();
    let since = since.metadata.resource_version.unwrap();
    let mut readers = Vec::new();
    for _ in 0..CONNECTIONS {
        let sender = world.http2().await;
        for body in join_all((0..STREAMS).map(|_| watch(&sender, &since))).await {
            readers.push(tokio::spawn(told(body, UPDATES)));
        }
    }
    let sent: Vec<String> = (0..UPDATES).map(|n| n.to_string()).collect();
    for value in &sent {
        patch(&maps, value).await;
    }
    let all = Clock::system().timeout(Duration::from_secs(60), join_all(readers)).await;
    let all = all.expect("every watch hears of every update");
    assert_eq!(all.len(), CONNECTIONS * STREAMS);
    for seen in all {
        assert_eq!(seen.unwrap(), sent);
    }
}

/// Over HTTP/1.1, so that nothing but TCP stands between the server's writes and the client that does not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_is_cut_and_the_others_go_on() {
    const UPDATES: usize = 40;
    let world = World::start_with(|config| config.stalled_watch = Duration::from_secs(1)).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.admin().await, "default");
    let since = maps.create(&PostParams::default(), &map("a", "first")).await.unwrap();
    let since = since.metadata.resource_version.unwrap();
    let mut stalled = world.tls("http/1.1", Some(16 * 1024)).await;
    let request = format!("GET {WATCH}{since} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stalled.write_all(request.as_bytes()).await.unwrap();
    let other = tokio::spawn(told(watch(&world.http2().await, &since).await, UPDATES));
    // More than the kernel holds for a reader: its window closes long before the end.
    let sent: Vec<String> = (0..UPDATES).map(|n| format!("{n}-{}", "x".repeat(500_000))).collect();
    for value in &sent {
        patch(&maps, value).await;
    }
    let heard = Clock::system().timeout(Duration::from_secs(60), other).await;
    assert!(heard.expect("the other reader hears of all").unwrap() == sent);
    // Once the server has given up, what is read is less than was sent, and then the connection is gone.
    Clock::system().sleep(Duration::from_secs(4)).await;
    let mut got = Vec::new();
    let end = Clock::system().timeout(Duration::from_secs(30), stalled.read_to_end(&mut got)).await;
    end.expect("the connection has ended").unwrap_err();
    assert!(got.len() < UPDATES * 500_000, "{} bytes", got.len());
}
