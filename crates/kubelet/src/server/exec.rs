//! `/exec` and `/attach`: the streams of a process, each on a channel of one WebSocket.

use std::time::Duration;

use coracle_clock::Clock;
use coracle_runtime::{Reader, Session, TerminalSize, Writer};
use futures::{Sink, SinkExt, Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use super::websocket::Protocol;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Says, since v5, that a channel of the sender is at its end.
const CLOSE: u8 = 255;

/// Read from a process at a time.
const CHUNK: usize = 32 * 1024;
/// Messages that may wait for a slow client before the process has to.
const QUEUE: usize = 16;
/// A process that has ended can have children that keep its output open: they are not waited for longer than this.
const DRAIN: Duration = Duration::from_secs(2);
/// A client has this long to take the last messages.
const FAREWELL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Exec,
    Attach,
}

/// What the error channel says at the end.
pub(crate) fn exit_status(
    outcome: &coracle_runtime::Result<i32>,
    purpose: Purpose,
    command: &[String],
) -> Value {
    match outcome {
        Err(error) => {
            let what = match purpose {
                Purpose::Exec => "executing command in container",
                Purpose::Attach => "attaching to container",
            };
            let message = format!("error {what}: {error}");
            json!({"metadata": {}, "status": "Failure", "message": format!("Internal error occurred: {message}"),
                "reason": "InternalError", "details": {"causes": [{"message": message}]}, "code": 500})
        }
        Ok(code) if *code != 0 && purpose == Purpose::Exec => {
            let command = command.join(" ");
            let message = format!(
                "command terminated with non-zero exit code: error executing command [{command}], exit code {code}"
            );
            let causes = json!([{"reason": "ExitCode", "message": code.to_string()}]);
            json!({"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode",
                "details": {"causes": causes}})
        }
        Ok(_) => json!({"metadata": {}, "status": "Success"}),
    }
}

/// Connects a process with a client until one of them ends.
pub async fn connect<S>(
    socket: S,
    protocol: Protocol,
    session: Session,
    purpose: Purpose,
    command: Vec<String>,
    clock: Clock,
) where
    S: Stream<Item = tungstenite::Result<Message>>
        + Sink<Message, Error = tungstenite::Error>
        + Send
        + 'static,
{
    let (sink, source) = socket.split();
    let (out, messages) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write(sink, messages));
    let Session { stdin, stdout, stderr, resize, exit } = session;
    // Tells the client that the connection stands.
    let first = if stdout.is_some() {
        STDOUT
    } else if stderr.is_some() {
        STDERR
    } else {
        ERROR
    };
    let _ = out.send(Message::binary(vec![first])).await;
    let outputs = [stdout.map(|reader| (STDOUT, reader)), stderr.map(|reader| (STDERR, reader))];
    let copies: Vec<_> =
        outputs.into_iter().flatten().map(|(id, reader)| copy_out(id, reader, out.clone())).collect();
    let copied = futures::future::join_all(copies);
    let input = copy_in(source, stdin, resize, protocol);
    tokio::pin!(copied, input, exit);
    let (mut outcome, mut drained) = (None, false);
    while outcome.is_none() {
        tokio::select! {
            code = &mut exit => outcome = Some(code),
            _ = &mut copied, if !drained => drained = true,
            // The client has gone: dropping the session ends an exec's process.
            () = &mut input => return,
        }
    }
    if !drained {
        let _ = clock.timeout(DRAIN, &mut copied).await;
    }
    let outcome = outcome.unwrap_or(Ok(0));
    let status = exit_status(&outcome, purpose, &command).to_string();
    let _ = out.send(message(ERROR, status.as_bytes())).await;
    // A close without a code counts as a failure with gorilla's WebSocket, and so with kubectl.
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
    let _ = out.send(Message::Close(Some(goodbye))).await;
    drop(out);
    let _ = clock.timeout(FAREWELL, writer).await;
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::binary(bytes)
}

async fn write(
    mut sink: impl Sink<Message, Error = tungstenite::Error> + Unpin,
    mut messages: mpsc::Receiver<Message>,
) {
    while let Some(message) = messages.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

async fn copy_out(channel: u8, mut reader: Reader, out: mpsc::Sender<Message>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read) = reader.read(&mut buffer).await {
        if read == 0 || out.send(message(channel, &buffer[..read])).await.is_err() {
            return;
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

async fn copy_in(
    mut source: impl Stream<Item = tungstenite::Result<Message>> + Unpin,
    mut stdin: Option<Writer>,
    resize: mpsc::Sender<TerminalSize>,
    protocol: Protocol,
) {
    while let Some(Ok(message)) = source.next().await {
        let data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            _ => continue,
        };
        match data.split_first() {
            Some((&STDIN, bytes)) => feed(&mut stdin, bytes).await,
            Some((&RESIZE, bytes)) => {
                if let Ok(Size { width, height }) = serde_json::from_slice(bytes) {
                    // A process that has ended needs no size.
                    let _ = resize.send(TerminalSize { width, height }).await;
                }
            }
            Some((&CLOSE, [STDIN])) if protocol == Protocol::V5 => {
                if let Some(mut writer) = stdin.take() {
                    let _ = writer.shutdown().await;
                }
            }
            _ => {}
        }
    }
}

/// A process that does not read any more loses what comes.
async fn feed(stdin: &mut Option<Writer>, bytes: &[u8]) {
    let Some(writer) = stdin else { return };
    if writer.write_all(bytes).await.is_err() || writer.flush().await.is_err() {
        *stdin = None;
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use futures::FutureExt;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[test]
    fn statuses_are_those_of_the_reference() {
        let command = ["sh".to_owned(), "-c".to_owned()];
        expect![[r#"{"metadata":{},"status":"Success"}"#]]
            .assert_eq(&exit_status(&Ok(0), Purpose::Exec, &command).to_string());
        expect![[r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: error executing command [sh -c], exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#]]
            .assert_eq(&exit_status(&Ok(3), Purpose::Exec, &command).to_string());
    }

    /// A process that repeats its input in capitals and ends with its input.
    fn shouting() -> (Session, mpsc::Receiver<TerminalSize>) {
        let (stdin, mut theirs) = tokio::io::duplex(64);
        let (mut write, stdout) = tokio::io::duplex(64);
        let (resize, sizes) = mpsc::channel(4);
        let exit = async move {
            let mut input = Vec::new();
            theirs.read_to_end(&mut input).await.unwrap();
            write.write_all(&input.to_ascii_uppercase()).await.unwrap();
            Ok(7)
        };
        let session = Session {
            stdin: Some(Box::new(stdin)),
            stdout: Some(Box::new(stdout)),
            stderr: None,
            resize,
            exit: exit.boxed(),
        };
        (session, sizes)
    }

    #[tokio::test]
    async fn streams_are_carried_and_the_status_comes_last() {
        let (near, far) = tokio::io::duplex(4096);
        let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let (session, mut sizes) = shouting();
        let command = vec!["cat".to_owned()];
        tokio::spawn(connect(server, Protocol::V5, session, Purpose::Exec, command, Clock::system()));
        client.send(Message::binary(b"\x04{\"Width\":80,\"Height\":24}".to_vec())).await.unwrap();
        client.send(Message::binary(b"\x00hello".to_vec())).await.unwrap();
        client.send(Message::binary(vec![CLOSE, STDIN])).await.unwrap();
        let mut seen = String::new();
        let end = loop {
            match client.next().await {
                Some(Ok(Message::Binary(data))) => {
                    seen += &format!("{}:{}\n", data[0], String::from_utf8_lossy(&data[1..]));
                }
                other => break other,
            }
        };
        assert!(
            matches!(end, Some(Ok(Message::Close(Some(CloseFrame { code: CloseCode::Normal, .. }))))),
            "{end:?}"
        );
        expect![[r#"
            1:
            1:HELLO
            3:{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: error executing command [cat], exit code 7","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}
        "#]]
        .assert_eq(&seen);
        assert_eq!(sizes.recv().await, Some(TerminalSize { width: 80, height: 24 }));
    }
}
