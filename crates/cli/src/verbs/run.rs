//! `run`: one Pod from an image.

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::Cx;
use super::apply::DryRun;
use super::exec::{Streams, attach};
use crate::Error;
use crate::args::{command_words, dry_run, flag, list, many, option, output, switch, text};
use crate::output::{self, Format};
use crate::rest::Call;

pub(super) fn args(command: Command) -> Command {
    command
        .arg(Arg::new("name").help("The Pod's name").required(true))
        .arg(option("image", "The image for the container to run").required(true))
        .arg(option("image-pull-policy", "Always, IfNotPresent or Never"))
        .arg(option("restart", "Always, OnFailure or Never").default_value("Always"))
        .arg(list("env", "An environment variable: KEY=value"))
        .arg(list("labels", "Comma separated labels: key=value").short('l'))
        .arg(option("port", "The port that this container exposes"))
        .arg(switch("command", "Use the words after -- as the command, not as arguments"))
        .arg(option("overrides", "JSON that is merged over the generated object"))
        .arg(switch("stdin", "Keep standard input open").short('i'))
        .arg(switch("tty", "Allocate a terminal").short('t'))
        .arg(switch("rm", "Delete the Pod after it has exited"))
        .arg(switch("attach", "Attach to the Pod when it has started"))
        .arg(switch("quiet", "Say only what the container says").short('q'))
        .arg(dry_run())
        .arg(output())
        .arg(command_words())
}

fn pod(m: &ArgMatches) -> Result<Value, Error> {
    let name = text(m, "name").unwrap_or_default();
    let mut container = json!({"name": name, "image": text(m, "image")});
    let words = many(m, "command-words");
    if !words.is_empty() {
        container[if flag(m, "command") { "command" } else { "args" }] = json!(words);
    }
    if let Some(policy) = text(m, "image-pull-policy") {
        container["imagePullPolicy"] = json!(policy);
    }
    if let Some(port) = text(m, "port") {
        let port: u16 = port.parse().map_err(|_| Error::local(format!("invalid port \"{port}\"")))?;
        container["ports"] = json!([{"containerPort": port}]);
    }
    let mut env = Vec::new();
    for pair in many(m, "env") {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| Error::local(format!("invalid env: {pair}")))?;
        env.push(json!({"name": key, "value": value}));
    }
    if !env.is_empty() {
        container["env"] = json!(env);
    }
    for (flag_name, field) in [("stdin", "stdin"), ("tty", "tty")] {
        if flag(m, flag_name) {
            container[field] = json!(true);
        }
    }
    if flag(m, "stdin") && !flag(m, "tty") {
        container["stdinOnce"] = json!(true);
    }
    let mut labels = json!({"run": name});
    let given = many(m, "labels");
    if !given.is_empty() {
        labels = json!({});
        for pair in given.iter().flat_map(|l| l.split(',')) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| Error::local(format!("unexpected label: {pair}")))?;
            labels[key] = json!(value);
        }
    }
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container], "restartPolicy": text(m, "restart")}});
    if let Some(overrides) = text(m, "overrides") {
        let overrides = serde_json::from_str(&overrides)
            .map_err(|e| Error::local(format!("invalid --overrides: {e}")))?;
        merge(&mut pod, &overrides);
    }
    Ok(pod)
}

/// A JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            target.as_object_mut().map(|map| map.remove(key));
        } else {
            merge(&mut target[key.as_str()], change);
        }
    }
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let pod = pod(&m)?;
    let name = text(&m, "name").unwrap_or_default();
    let dry = DryRun::parse(text(&m, "dry-run").as_deref())?;
    let attached = flag(&m, "attach") || flag(&m, "stdin");
    if flag(&m, "rm") && !attached {
        return Err(Error::local("--rm should only be used for attached containers"));
    }
    let created = if dry == DryRun::Client {
        pod
    } else {
        let connection = cx.connect().await?;
        Call::new(Method::POST, format!("/api/v1/namespaces/{}/pods", connection.namespace))
            .query("fieldManager", "kubectl-run")
            .maybe("dryRun", dry.parameter())
            .json(&pod)
            .value(&connection.client)
            .await?
    };
    if let Some(format) = text(&m, "output") {
        let format = Format::parse(Some(&format))?;
        print!("{}", output::print(&format, &created, |_| format!("pod/{name}"))?);
    } else if !attached {
        println!("pod/{name} created{}", dry.suffix());
    }
    if !attached || dry != DryRun::None {
        return Ok(0);
    }
    let streams = Streams { stdin: flag(&m, "stdin"), tty: flag(&m, "tty"), quiet: flag(&m, "quiet") };
    let code = attach(&cx, &name, streams).await;
    if flag(&m, "rm") {
        let connection = cx.connect().await?;
        Call::new(Method::DELETE, format!("/api/v1/namespaces/{}/pods/{name}", connection.namespace))
            .value(&connection.client)
            .await?;
        println!("pod \"{name}\" deleted from {} namespace", connection.namespace);
    }
    code
}
