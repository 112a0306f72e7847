//! `delete`: by name, file or selector, and wait until it is gone.

use std::time::Duration;

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::Cx;
use crate::Error;
use crate::args::{all_namespaces, filename, flag, many, option, output, selector, switch, text, words};
use crate::connect::Connection;
use crate::discovery::{Discovery, Resource, targets};
use crate::duration;
use crate::manifest;
use crate::rest::Call;

/// How often a deleted object is looked for until it is gone.
const POLL: Duration = Duration::from_millis(50);

pub(super) fn args(command: Command) -> Command {
    command
        .arg(words("words", "TYPE NAME… or TYPE/NAME…"))
        .arg(filename())
        .arg(selector())
        .arg(option("field-selector", "Field selector"))
        .arg(all_namespaces())
        .arg(switch("all", "Delete all resources of the type in the namespace"))
        .arg(
            option("grace-period", "Seconds the resource gets to end; negative is its own default")
                .allow_hyphen_values(true),
        )
        .arg(switch("now", "The same as --grace-period=1"))
        .arg(switch("force", "With --grace-period=0: do not wait for confirmation"))
        .arg(switch("ignore-not-found", "A missing object is no error"))
        .arg(
            option("cascade", "background, orphan or foreground")
                .num_args(0..=1)
                .default_missing_value("background")
                .require_equals(true),
        )
        .arg(
            option("wait", "Wait until the object is gone")
                .num_args(0..=1)
                .default_missing_value("true")
                .require_equals(true),
        )
        .arg(option("timeout", "Give up waiting after this long"))
        .arg(output())
}

struct Delete {
    connection: Connection,
    cx: Cx,
    options: Value,
    force: bool,
    wait: bool,
    timeout: Option<Duration>,
    ignore_not_found: bool,
    names_only: bool,
}

struct Doomed {
    resource: Resource,
    namespace: String,
    name: String,
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let connection = cx.connect().await?;
    let force = flag(&m, "force");
    let delete = Delete {
        options: options(&m, force)?,
        force,
        wait: text(&m, "wait").as_deref() != Some("false") && !force,
        timeout: text(&m, "timeout").and_then(|t| duration::parse(&t)),
        ignore_not_found: flag(&m, "ignore-not-found") || flag(&m, "all") || text(&m, "selector").is_some(),
        names_only: text(&m, "output").as_deref() == Some("name"),
        connection,
        cx,
    };
    let discovery = Discovery::fetch(&delete.connection.client).await?;
    let doomed = delete.find(&discovery, &m).await?;
    if doomed.is_empty() {
        println!("No resources found");
    }
    if force && delete.options["gracePeriodSeconds"] == 0 {
        eprintln!(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. \
             The resource may continue to run on the cluster indefinitely."
        );
    }
    let mut code = 0;
    let mut waiting = Vec::new();
    for one in &doomed {
        match delete.one(one).await {
            Ok(Some(uid)) => waiting.push((one, uid)),
            Ok(None) => {}
            Err(error) => {
                eprintln!("{error}");
                code = 1;
            }
        }
    }
    if delete.wait {
        for (one, uid) in waiting {
            delete.until_gone(one, &uid).await?;
        }
    }
    Ok(code)
}

fn options(m: &ArgMatches, force: bool) -> Result<Value, Error> {
    let policy = match text(m, "cascade").as_deref().unwrap_or("background") {
        "background" | "true" => "Background",
        "orphan" | "false" => "Orphan",
        "foreground" => "Foreground",
        other => {
            return Err(Error::local(format!(
                "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
            )));
        }
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    let asked = match text(m, "grace-period") {
        Some(text) => text
            .parse::<i64>()
            .map_err(|_| Error::local(format!("invalid argument \"{text}\" for \"--grace-period\" flag")))?,
        None => -1,
    };
    let grace = if flag(m, "now") {
        1
    } else if asked < 0 && force {
        0
    } else {
        asked
    };
    if grace >= 0 {
        options["gracePeriodSeconds"] = json!(grace);
    }
    Ok(options)
}

impl Delete {
    async fn find(&self, discovery: &Discovery, m: &ArgMatches) -> Result<Vec<Doomed>, Error> {
        let files = many(m, "filename");
        if !files.is_empty() {
            let manifests = manifest::read_all(&files, false)?;
            let each = manifests.iter().map(|manifest| {
                Ok(Doomed {
                    resource: discovery.by_kind(manifest.api_version(), manifest.kind())?.clone(),
                    namespace: manifest
                        .namespace(self.cx.globals.namespace.as_deref(), &self.connection.namespace)?,
                    name: manifest.name().to_owned(),
                })
            });
            return each.collect();
        }
        let mut doomed = Vec::new();
        for target in targets(discovery, &many(m, "words"))? {
            match target.name {
                Some(name) => {
                    let namespace = self.connection.namespace.clone();
                    doomed.push(Doomed { resource: target.resource, namespace, name });
                }
                None => doomed.extend(self.selected(target.resource, m).await?),
            }
        }
        Ok(doomed)
    }

    async fn selected(&self, resource: Resource, m: &ArgMatches) -> Result<Vec<Doomed>, Error> {
        let (labels, fields) = (text(m, "selector"), text(m, "field-selector"));
        if labels.is_none() && fields.is_none() && !flag(m, "all") {
            return Err(Error::local("resource(s) were provided, but no name was specified"));
        }
        let namespace = (!flag(m, "all-namespaces")).then_some(self.connection.namespace.as_str());
        let list =
            Call::get(resource.path(namespace)).maybe("labelSelector", labels).maybe("fieldSelector", fields);
        let list = list.value(&self.connection.client).await?;
        let items = list["items"].as_array().into_iter().flatten();
        let named = items.map(|o| Doomed {
            resource: resource.clone(),
            namespace: o["metadata"]["namespace"].as_str().unwrap_or("").to_owned(),
            name: o["metadata"]["name"].as_str().unwrap_or("").to_owned(),
        });
        Ok(named.collect())
    }

    /// The uid to wait for.
    async fn one(&self, one: &Doomed) -> Result<Option<String>, Error> {
        let path = one.resource.object_path(&one.namespace, &one.name);
        let call = Call::new(Method::DELETE, path).json(&self.options);
        let answer = match call.value(&self.connection.client).await {
            Ok(answer) => answer,
            Err(e) if e.is_not_found() && self.ignore_not_found => return Ok(None),
            Err(e) => return Err(e),
        };
        if self.names_only {
            println!("{}/{}", one.resource.shown(), one.name);
        } else {
            let verbed = if self.force { "force deleted" } else { "deleted" };
            let place = if one.resource.namespaced {
                format!(" from {} namespace", one.namespace)
            } else {
                String::new()
            };
            println!("{} \"{}\" {verbed}{place}", one.resource.shown(), one.name);
        }
        let uid = answer["metadata"]["uid"].as_str().or_else(|| answer["details"]["uid"].as_str());
        Ok(uid.map(str::to_owned))
    }

    async fn until_gone(&self, one: &Doomed, uid: &str) -> Result<(), Error> {
        let begun = self.cx.clock.elapsed();
        loop {
            let path = one.resource.object_path(&one.namespace, &one.name);
            match Call::get(path).value(&self.connection.client).await {
                Ok(live) if live["metadata"]["uid"] == uid => {}
                Ok(_) => return Ok(()),
                Err(e) if e.is_not_found() => return Ok(()),
                // Whoever may delete but not get cannot watch it go.
                Err(Error::Server { code: 403, .. }) => return Ok(()),
                Err(e) => return Err(e),
            }
            if self.timeout.is_some_and(|t| self.cx.clock.elapsed().saturating_sub(begun) > t) {
                return Err(Error::local(format!(
                    "timed out waiting for the condition on {}/{}",
                    one.resource.plural, one.name
                )));
            }
            self.cx.clock.sleep(POLL).await;
        }
    }
}
