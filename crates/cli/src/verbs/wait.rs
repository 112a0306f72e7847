//! `wait --for=…`: until objects are gone, have a condition, or have a value.

use std::time::Duration;

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::Cx;
use crate::args::{all_namespaces, flag, many, option, selector, switch, text, words};
use crate::discovery::{Discovery, targets};
use crate::jsonpath::Template;
use crate::rest::Call;
use crate::{Error, duration};

/// How often the objects are looked at.
const POLL: Duration = Duration::from_millis(50);
/// kubectl's own default for `--timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn args(command: Command) -> Command {
    command
        .arg(words("words", "TYPE NAME… or TYPE/NAME…"))
        .arg(option("for", "create, delete, condition=NAME[=VALUE] or jsonpath=PATH[=VALUE]").required(true))
        .arg(option("timeout", "Give up after this long; 30s unless told"))
        .arg(selector())
        .arg(switch("all", "All resources of the type"))
        .arg(all_namespaces())
}

enum For {
    Create,
    Delete,
    Condition(String, String),
    Path(Template, Option<String>),
}

impl For {
    fn parse(text: &str) -> Result<For, Error> {
        match text.split_once('=') {
            None if text == "delete" => Ok(For::Delete),
            None if text == "create" => Ok(For::Create),
            Some(("condition", rest)) => {
                let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
                Ok(For::Condition(name.to_lowercase(), value.to_lowercase()))
            }
            Some(("jsonpath", rest)) => {
                let end = rest.rfind('}').map_or(rest.len(), |i| i + 1);
                let value = rest[end..].strip_prefix('=').map(str::to_owned);
                Ok(For::Path(Template::parse(rest[..end].trim_matches('\''))?, value))
            }
            _ => Err(Error::local(format!("unrecognized condition: \"{text}\""))),
        }
    }

    fn is_met(&self, live: Option<&Value>) -> Result<bool, Error> {
        Ok(match (self, live) {
            (For::Delete, live) => live.is_none(),
            (_, None) => false,
            (For::Create, Some(_)) => true,
            (For::Condition(name, value), Some(live)) => {
                let same = |a: &Value, b: &str| a.as_str().is_some_and(|a| a.to_lowercase() == b);
                let conditions = live["status"]["conditions"].as_array();
                conditions.into_iter().flatten().any(|c| same(&c["type"], name) && same(&c["status"], value))
            }
            (For::Path(path, value), Some(live)) => {
                let found = path.render(live)?;
                value.as_ref().map_or(!found.is_empty(), |value| found == *value)
            }
        })
    }
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let wanted = For::parse(&text(&m, "for").unwrap_or_default())?;
    let timeout = match text(&m, "timeout") {
        Some(t) => duration::parse(&t)
            .ok_or_else(|| Error::local(format!("invalid argument \"{t}\" for \"--timeout\" flag")))?,
        None => TIMEOUT,
    };
    let connection = cx.connect().await?;
    let discovery = Discovery::fetch(&connection.client).await?;
    let begun = cx.clock.elapsed();
    for target in targets(&discovery, &many(&m, "words"))? {
        let namespace = (!flag(&m, "all-namespaces")).then_some(connection.namespace.as_str());
        let paths = match &target.name {
            Some(name) => vec![(name.clone(), target.resource.object_path(&connection.namespace, name))],
            None => {
                let list =
                    Call::get(target.resource.path(namespace)).maybe("labelSelector", text(&m, "selector"));
                let list = list.value(&connection.client).await?;
                let items = list["items"].as_array().into_iter().flatten();
                items
                    .map(|o| {
                        let text = |key: &str| o["metadata"][key].as_str().unwrap_or("").to_owned();
                        (text("name"), target.resource.object_path(&text("namespace"), &text("name")))
                    })
                    .collect()
            }
        };
        if paths.is_empty() && !matches!(wanted, For::Delete) {
            return Err(Error::local("no matching resources found"));
        }
        for (name, path) in paths {
            loop {
                let live = match Call::get(path.clone()).value(&connection.client).await {
                    Ok(live) => Some(live),
                    Err(e) if e.is_not_found() && matches!(wanted, For::Delete | For::Create) => None,
                    Err(e) => return Err(e),
                };
                if wanted.is_met(live.as_ref())? {
                    break;
                }
                if cx.clock.elapsed().saturating_sub(begun) > timeout {
                    return Err(Error::local(format!(
                        "timed out waiting for the condition on {}/{name}",
                        target.resource.plural
                    )));
                }
                cx.clock.sleep(POLL).await;
            }
            println!("{}/{name} condition met", target.resource.shown());
        }
    }
    Ok(0)
}
