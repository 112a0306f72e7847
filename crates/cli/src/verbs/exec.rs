//! `exec`: a command in a running container, with the user's terminal if asked; and the streams that `run -it` shares.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Cx;
use crate::args::{flag, many, option, switch, text};
use crate::{Error, terminal};

/// The window's size is looked at this often; a drag of a window's edge is slower than this to a human eye.
const RESIZE_POLL: Duration = Duration::from_millis(250);
/// How long `run -i` waits for the container to start.
const START_POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    pub stdin: bool,
    pub tty: bool,
    pub quiet: bool,
}

pub(super) fn args(command: Command) -> Command {
    command
        .arg(Arg::new("pod").help("POD or pod/POD").required(true))
        .arg(option("container", "Container name").short('c'))
        .arg(switch("stdin", "Pass stdin to the container").short('i'))
        .arg(switch("tty", "Stdin is a terminal").short('t'))
        .arg(switch("quiet", "Only print output from the remote session").short('q'))
        // With or without `--`; kubectl before 1.29 took both.
        .arg(
            Arg::new("words")
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_name("COMMAND"),
        )
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let pod = text(&m, "pod").unwrap_or_default();
    let name = match pod.split_once('/') {
        Some(("pod" | "pods" | "po", name)) => name.to_owned(),
        Some((kind, _)) => return Err(Error::local(format!("cannot exec into a {kind}: name a pod"))),
        None => pod,
    };
    let mut words = many(&m, "words");
    if words.first().is_some_and(|w| w == "--") {
        words.remove(0);
    }
    if words.is_empty() {
        return Err(Error::local("you must specify at least one command for the container"));
    }
    let streams = Streams { stdin: flag(&m, "stdin"), tty: flag(&m, "tty"), quiet: flag(&m, "quiet") };
    let container = chosen_container(&cx, &name, text(&m, "container"), streams.quiet).await?;
    let streams = with_real_terminal(streams);
    let connection = cx.connect().await?;
    let pods: Api<Pod> = Api::namespaced(connection.client, &connection.namespace);
    let params = params(streams).container(container);
    let process = pods.exec(&name, words, &params).await.map_err(|e| refused(&e))?;
    session(&cx, process, streams).await
}

/// kubectl asks the Pod for its default container, and says which it took where there are several.
async fn chosen_container(cx: &Cx, name: &str, asked: Option<String>, quiet: bool) -> Result<String, Error> {
    if let Some(container) = asked {
        return Ok(container);
    }
    let connection = cx.connect().await?;
    let path = format!("/api/v1/namespaces/{}/pods/{}", connection.namespace, crate::rest::encode(name));
    let pod = crate::rest::Call::get(path).value(&connection.client).await?;
    let names: Vec<&str> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .collect();
    if let Some(default) = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str()
    {
        return Ok(default.to_owned());
    }
    let first = names.first().copied().unwrap_or("");
    if names.len() > 1 && !quiet {
        eprintln!("Defaulted container \"{first}\" out of: {}", names.join(", "));
    }
    Ok(first.to_owned())
}

fn with_real_terminal(mut streams: Streams) -> Streams {
    if streams.tty && !(streams.stdin && terminal::stdin_is_terminal()) {
        if streams.stdin {
            eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        streams.tty = false;
    }
    streams
}

fn params(streams: Streams) -> AttachParams {
    AttachParams::default().stdin(streams.stdin).stdout(true).stderr(!streams.tty).tty(streams.tty)
}

/// Attach to a Pod's first container as soon as it runs (or has run).
pub(super) async fn attach(cx: &Cx, name: &str, streams: Streams) -> Result<i32, Error> {
    let connection = cx.connect().await?;
    let path = format!("/api/v1/namespaces/{}/pods/{name}", connection.namespace);
    loop {
        let pod = crate::rest::Call::get(path.clone()).value(&connection.client).await?;
        match pod["status"]["phase"].as_str() {
            Some("Running") => break,
            Some("Succeeded" | "Failed") => {
                let log = crate::rest::Call::get(format!("{path}/log")).text(&connection.client).await?;
                print!("{log}");
                let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"];
                return Ok(state.as_i64().and_then(|c| i32::try_from(c).ok()).unwrap_or(1));
            }
            _ => cx.clock.sleep(START_POLL).await,
        }
    }
    let streams = with_real_terminal(streams);
    let pods: Api<Pod> = Api::namespaced(connection.client, &connection.namespace);
    let process = pods.attach(name, &params(streams)).await.map_err(|e| refused(&e))?;
    session(cx, process, streams).await
}

/// Join the user's streams with the container's until the command ends; its exit code.
async fn session(cx: &Cx, mut process: AttachedProcess, streams: Streams) -> Result<i32, Error> {
    let raw = if streams.tty { terminal::Raw::enter() } else { None };
    let status = process.take_status();
    if let Some(mut sizes) = process.terminal_size() {
        let clock = cx.clock.clone();
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let now = terminal::size();
                if let Some(size) = now.as_ref().filter(|s| last != Some((s.width, s.height))) {
                    last = Some((size.width, size.height));
                    let size = kube::api::TerminalSize { width: size.width, height: size.height };
                    if sizes.send(size).await.is_err() {
                        return;
                    }
                }
                clock.sleep(RESIZE_POLL).await;
            }
        });
    }
    if let Some(writer) = process.stdin() {
        tokio::spawn(feed(writer));
    }
    let out = process.stdout().map(|r| tokio::spawn(drain(r, tokio::io::stdout())));
    let err = process.stderr().map(|r| tokio::spawn(drain(r, tokio::io::stderr())));
    for copier in [out, err].into_iter().flatten() {
        let _ = copier.await;
    }
    let ended = match status {
        Some(status) => status.await,
        None => None,
    };
    drop(raw);
    Ok(exit_code(ended.as_ref()))
}

async fn feed(mut writer: impl AsyncWrite + Unpin) {
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut writer).await;
    let _ = writer.shutdown().await;
}

async fn drain(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(n) = tokio::io::AsyncReadExt::read(&mut from, &mut buffer).await {
        if n == 0 || to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

/// The remote command's own code; what could not be run at all is an error of ours.
fn exit_code(status: Option<&Status>) -> i32 {
    let Some(status) = status else { return 0 };
    if status.status.as_deref() == Some("Success") {
        return 0;
    }
    let causes = status.details.as_ref().and_then(|d| d.causes.as_ref());
    let code = causes.into_iter().flatten().find(|c| c.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|c| c.message.as_ref()).and_then(|m| m.parse().ok()) {
        Some(code) => {
            eprintln!("command terminated with exit code {code}");
            code
        }
        None => {
            eprintln!("error: {}", status.message.as_deref().unwrap_or("the command could not be run"));
            1
        }
    }
}

fn refused(error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => Error::Server {
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
        },
        other => Error::local(other.to_string()),
    }
}
