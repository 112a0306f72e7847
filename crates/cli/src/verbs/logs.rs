//! `logs`: what a container wrote.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use futures::StreamExt;
use http_body_util::BodyStream;

use super::Cx;
use crate::args::{flag, option, switch, text};
use crate::rest::Call;
use crate::{Error, duration};

pub(super) fn args(command: Command) -> Command {
    command
        .arg(Arg::new("pod").help("POD or pod/POD").required(true))
        .arg(Arg::new("container-word").help("Container name"))
        .arg(option("container", "Container name").short('c'))
        .arg(switch("all-containers", "All containers, one after another"))
        .arg(switch("follow", "Stream the log").short('f'))
        .arg(switch("previous", "The log of the container's previous run").short('p'))
        .arg(switch("timestamps", "Begin each line with its time"))
        .arg(switch("prefix", "Begin each line with the Pod and the container"))
        .arg(option("tail", "Lines of recent log to show; -1 shows all").allow_hyphen_values(true))
        .arg(option("since", "Only what is newer than this, such as 5s or 2m"))
        .arg(option("since-time", "Only what is newer than this time (RFC 3339)"))
        .arg(option("limit-bytes", "At most this many bytes"))
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let pod = text(&m, "pod").unwrap_or_default();
    let name = pod.split_once('/').map_or(pod.as_str(), |(_, name)| name).to_owned();
    let connection = cx.connect().await?;
    let path = format!("/api/v1/namespaces/{}/pods/{}", connection.namespace, crate::rest::encode(&name));
    let asked = text(&m, "container").or_else(|| text(&m, "container-word"));
    let containers = match asked {
        Some(container) => vec![container],
        None => {
            let pod = Call::get(path.clone()).value(&connection.client).await?;
            let of = |key: &str| {
                pod["spec"][key]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|c| c["name"].as_str().map(str::to_owned))
                    .collect::<Vec<_>>()
            };
            let names = of("containers");
            if flag(&m, "all-containers") {
                of("initContainers").into_iter().chain(names).collect()
            } else {
                let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
                    .as_str()
                    .map(str::to_owned);
                let first = default.clone().or_else(|| names.first().cloned()).unwrap_or_default();
                if names.len() > 1 && default.is_none() {
                    eprintln!("Defaulted container \"{first}\" out of: {}", names.join(", "));
                }
                vec![first]
            }
        }
    };
    for container in containers {
        let prefix = if flag(&m, "prefix") { format!("[pod/{name}/{container}] ") } else { String::new() };
        let response = call(&m, &path, &container)?.stream(&connection.client).await?;
        copy(response, &prefix).await?;
    }
    Ok(0)
}

fn call<'a>(m: &ArgMatches, path: &str, container: &str) -> Result<Call<'a>, Error> {
    let since = match text(m, "since") {
        Some(asked) => {
            let since = duration::parse(&asked)
                .ok_or_else(|| Error::local(format!("invalid argument \"{asked}\" for \"--since\" flag")))?;
            Some(since.as_secs().max(1).to_string())
        }
        None => None,
    };
    let switch = |name: &str| flag(m, name).then_some("true");
    Ok(Call::get(format!("{path}/log"))
        .accept("*/*")
        .query("container", container)
        .maybe("follow", switch("follow"))
        .maybe("previous", switch("previous"))
        .maybe("timestamps", switch("timestamps"))
        .maybe("tailLines", text(m, "tail").filter(|n| n != "-1"))
        .maybe("sinceSeconds", since)
        .maybe("sinceTime", text(m, "since-time"))
        .maybe("limitBytes", text(m, "limit-bytes")))
}

async fn copy(response: http::Response<kube::client::Body>, prefix: &str) -> Result<(), Error> {
    let mut body = BodyStream::new(response.into_body());
    let mut stdout = std::io::stdout();
    let mut at_line_start = true;
    while let Some(frame) = body.next().await {
        let Ok(data) = frame.map_err(|e| Error::local(e.to_string()))?.into_data() else { continue };
        if prefix.is_empty() {
            stdout.write_all(&data)?;
        } else {
            for line in data.split_inclusive(|b| *b == b'\n') {
                if at_line_start {
                    stdout.write_all(prefix.as_bytes())?;
                }
                stdout.write_all(line)?;
                at_line_start = line.ends_with(b"\n");
            }
        }
        stdout.flush()?;
    }
    Ok(())
}
