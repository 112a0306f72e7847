//! `/portForward` over a WebSocket: for each port a channel of data and one of errors.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_runtime::{Duplex, Runtime};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, Message};

/// Read from a connection at a time.
const CHUNK: usize = 32 * 1024;
/// Messages that may wait for a slow client.
const QUEUE: usize = 16;
/// Channels are numbered by one byte and two belong to a port; 255 closes channels.
pub(crate) const MAX_PORTS: usize = 127;

fn data_channel(index: usize) -> u8 {
    u8::try_from(index * 2).unwrap_or(u8::MAX)
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::binary(bytes)
}

/// Carries the ports of a sandbox until the client goes or every connection has ended.
pub(crate) async fn forward<S>(socket: S, runtime: Arc<dyn Runtime>, sandbox: String, ports: Vec<u16>)
where
    S: Stream<Item = tungstenite::Result<Message>>
        + Sink<Message, Error = tungstenite::Error>
        + Send
        + 'static,
{
    let (mut sink, mut source) = socket.split();
    let (out, mut messages) = mpsc::channel(QUEUE);
    let mut writers: BTreeMap<u8, WriteHalf<Box<dyn Duplex>>> = BTreeMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    let greeting: Vec<Message> = ports
        .iter()
        .enumerate()
        .flat_map(|(index, port)| {
            let channel = data_channel(index);
            [message(channel, &port.to_le_bytes()), message(channel + 1, &port.to_le_bytes())]
        })
        .collect();
    tasks.spawn(async move {
        for greeting in greeting {
            if sink.send(greeting).await.is_err() {
                return;
            }
        }
        while let Some(message) = messages.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    for (index, port) in ports.into_iter().enumerate() {
        let channel = data_channel(index);
        match runtime.port_forward(&sandbox, port).await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                writers.insert(channel, writer);
                tasks.spawn(copy_out(channel, reader, out.clone()));
            }
            Err(error) => {
                let text = format!("error forwarding port {port} to pod {sandbox}: {error}");
                let _ = out.send(message(channel + 1, text.as_bytes())).await;
            }
        }
    }
    drop(out);
    let feed = async {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(data) = message
                && let Some((channel, bytes)) = data.split_first()
                && let Some(writer) = writers.get_mut(channel)
                && writer.write_all(bytes).await.is_err()
            {
                writers.remove(channel);
            }
        }
    };
    // All tasks are over once every connection has ended and what came from them is sent.
    let carried = async { while tasks.join_next().await.is_some() {} };
    tokio::select! { () = feed => {} () = carried => {} }
}

async fn copy_out(channel: u8, mut reader: ReadHalf<Box<dyn Duplex>>, out: mpsc::Sender<Message>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read) = reader.read(&mut buffer).await {
        if read == 0 || out.send(message(channel, &buffer[..read])).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_clock::Clock;
    use coracle_runtime::SandboxConfig;
    use coracle_runtime::fake::Fake;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn each_port_has_a_channel_of_data() {
        let fake = Fake::new(Clock::system());
        let sandbox = fake.run_sandbox(SandboxConfig::default()).await.unwrap();
        let (near, far) = tokio::io::duplex(4096);
        let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        tokio::spawn(forward(server, Arc::new(fake), sandbox, vec![80, 8080]));
        let mut next = async || client.next().await.unwrap().unwrap().into_data().to_vec();
        assert_eq!(next().await, [0, 80, 0]);
        assert_eq!(next().await, [1, 80, 0]);
        assert_eq!(next().await, [2, 0x90, 0x1f]);
        assert_eq!(next().await, [3, 0x90, 0x1f]);
        client.send(Message::binary(b"\x02ping".to_vec())).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().into_data().to_vec(), b"\x02ping");
    }
}
