//! WebSocket frames of a client of exec: whatever they are, they come to an end; and sound ones bring the process the
//! bytes of its own channel in order, and nothing else.

#![no_main]

use std::sync::LazyLock;

use coracle_clock::Clock;
use coracle_fuzz::{records, stretched};
use coracle_kubelet::streams::{Protocol, Purpose, connect};
use coracle_runtime::Session;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"));

const STDIN: u8 = 0;
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const PING: u8 = 9;
const LAST: u8 = 0x80;
const MASKED: u8 = 0x80;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    match data.split_first() {
        Some((b'!', raw)) => drop(RUNTIME.block_on(input_of(raw.to_vec()))),
        _ => {
            let (sent, wanted) = messages(&data);
            assert_eq!(RUNTIME.block_on(input_of(sent)), wanted);
        }
    }
});

/// What a process gets of what its client sends.
async fn input_of(sent: Vec<u8>) -> Vec<u8> {
    // Room for all of it, so that nobody waits for anybody.
    let room = sent.len() + 1024;
    let (mut client, server) = tokio::io::duplex(room);
    let (stdin, mut process) = tokio::io::duplex(room);
    let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
    let (resize, mut sizes) = mpsc::channel(1);
    let session = Session {
        stdin: Some(Box::new(stdin)),
        stdout: None,
        stderr: None,
        resize,
        exit: Box::pin(std::future::pending()),
    };
    let served = connect(server, Protocol::V5, session, Purpose::Exec, Vec::new(), Clock::system());
    let talk = async {
        client.write_all(&sent).await.expect("it is taken");
        client.shutdown().await.expect("it is told");
        // What is said back is taken, too.
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let resized = async { while sizes.recv().await.is_some() {} };
    tokio::join!(served, talk, resized);
    let mut input = Vec::new();
    process.read_to_end(&mut input).await.expect("its end");
    input
}

/// The records as messages in frames, some in two pieces with a ping between them, and what of them is for stdin.
fn messages(data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut wanted, mut is_open) = (Vec::new(), Vec::new(), true);
    for record in records(data) {
        match record {
            [STDIN, rest @ ..] if is_open => wanted.extend_from_slice(rest),
            [0xff, STDIN] => is_open = false,
            _ => {}
        }
        if record.len() % 3 == 1 {
            let (first, second) = record.split_at(record.len() / 2);
            frame(&mut sent, BINARY, first);
            frame(&mut sent, LAST | PING, b"?");
            frame(&mut sent, LAST | CONTINUATION, second);
        } else {
            frame(&mut sent, LAST | BINARY, record);
        }
    }
    (sent, wanted)
}

/// A frame of a client's, masked with zeros.
fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.push(kind);
    match payload.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        medium @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend_from_slice(payload);
}
