//! `describe`: one object in words, with its events. Pods, Nodes and the like get the layout people know; any other kind
//! is described by its own fields.

mod pod;

use clap::{ArgMatches, Command};
use kube::Client;
use serde_json::Value;

use super::Cx;
use crate::args::{all_namespaces, flag, many, selector, switch, text, words};
use crate::discovery::{Discovery, Resource, targets};
use crate::output;
use crate::rest::Call;
use crate::{Error, duration};

pub(super) fn args(command: Command) -> Command {
    command
        .arg(words("words", "TYPE [NAME…] or TYPE/NAME…"))
        .arg(all_namespaces())
        .arg(selector())
        .arg(switch("no-events", "Leave the events out"))
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let connection = cx.connect().await?;
    let discovery = Discovery::fetch(&connection.client).await?;
    let now = cx.clock.now().as_second();
    let mut texts = Vec::new();
    for target in targets(&discovery, &many(&m, "words"))? {
        let namespace = (!flag(&m, "all-namespaces")).then_some(connection.namespace.as_str());
        let objects = match &target.name {
            Some(name) => {
                let path = target.resource.object_path(&connection.namespace, name);
                vec![Call::get(path).value(&connection.client).await?]
            }
            None => {
                let list =
                    Call::get(target.resource.path(namespace)).maybe("labelSelector", text(&m, "selector"));
                let list = list.value(&connection.client).await?;
                list["items"].as_array().cloned().unwrap_or_default()
            }
        };
        for object in objects {
            let mut page = Page::default();
            describe(&target.resource, &object, now, &mut page);
            if !flag(&m, "no-events") {
                let events = events(&connection.client, &target.resource, &object).await?;
                page.events(&events, now);
            }
            texts.push(page.text());
        }
    }
    if texts.is_empty() {
        eprintln!("No resources found in {} namespace.", connection.namespace);
    }
    print!("{}", texts.join("\n\n"));
    Ok(0)
}

fn describe(resource: &Resource, object: &Value, now: i64, page: &mut Page) {
    page.head(resource, object);
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod::describe(object, now, page),
        _ => page.fields(object),
    }
}

async fn events(client: &Client, resource: &Resource, object: &Value) -> Result<Vec<Value>, Error> {
    let metadata = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_owned();
    let path = match metadata("namespace") {
        namespace if resource.namespaced => format!("/api/v1/namespaces/{namespace}/events"),
        _ => "/api/v1/events".to_owned(),
    };
    let selector = format!("involvedObject.name={},involvedObject.uid={}", metadata("name"), metadata("uid"));
    let listed = Call::get(path).query("fieldSelector", selector).value(client).await;
    match listed {
        Ok(list) => Ok(list["items"].as_array().cloned().unwrap_or_default()),
        // Whoever may read the object need not be allowed to read events.
        Err(Error::Server { code: 403, .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Lines of `Key: value`, indented, with the values in one column a block.
#[derive(Debug, Default)]
pub(super) struct Page {
    lines: Vec<(usize, String, String)>,
    tail: String,
}

impl Page {
    pub(super) fn line(&mut self, depth: usize, key: &str, value: impl Into<String>) {
        self.lines.push((depth, format!("{key}:"), value.into()));
    }

    fn head(&mut self, resource: &Resource, object: &Value) {
        let metadata = &object["metadata"];
        self.line(0, "Name", metadata["name"].as_str().unwrap_or(""));
        if resource.namespaced {
            self.line(0, "Namespace", metadata["namespace"].as_str().unwrap_or(""));
        }
        if resource.kind != "Pod" {
            self.pairs(0, "Labels", &metadata["labels"], "=");
            self.pairs(0, "Annotations", &metadata["annotations"], ": ");
        }
    }

    /// A map, one pair a line under the first.
    pub(super) fn pairs(&mut self, depth: usize, key: &str, map: &Value, separator: &str) {
        let pairs: Vec<String> = map
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(k, _)| k.as_str() != crate::three_way::LAST_APPLIED)
            .map(|(k, v)| {
                format!("{k}{separator}{}", v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            })
            .collect();
        let mut lines = pairs.into_iter();
        self.line(depth, key, lines.next().unwrap_or_else(|| "<none>".to_owned()));
        for line in lines {
            self.lines.push((depth, String::new(), line));
        }
    }

    /// Every field but what the head has shown.
    fn fields(&mut self, object: &Value) {
        for (key, value) in object.as_object().into_iter().flatten() {
            match key.as_str() {
                "metadata" => {
                    let created = value["creationTimestamp"].as_str().unwrap_or("");
                    self.line(0, "CreationTimestamp", created);
                }
                "data" if object["kind"] == "Secret" => self.secret_data(value),
                _ => self.value(0, &title(key), value),
            }
        }
    }

    /// A Secret's values are counted, never shown.
    fn secret_data(&mut self, data: &Value) {
        self.line(0, "Data", "");
        for (key, value) in data.as_object().into_iter().flatten() {
            let encoded = value.as_str().unwrap_or("");
            let padding = encoded.bytes().rev().take_while(|b| *b == b'=').count();
            let length = (encoded.len() / 4 * 3).saturating_sub(padding);
            self.line(1, key, format!("{length} bytes"));
        }
    }

    fn value(&mut self, depth: usize, key: &str, value: &Value) {
        match value {
            Value::Object(map) => {
                self.line(depth, key, if map.is_empty() { "<none>" } else { "" });
                for (key, value) in map {
                    self.value(depth + 1, &title(key), value);
                }
            }
            Value::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => {
                let shown: Vec<String> = items.iter().map(plain).collect();
                self.line(depth, key, shown.join(", "));
            }
            Value::Array(items) => {
                self.line(depth, key, "");
                for item in items {
                    for (key, value) in item.as_object().into_iter().flatten() {
                        self.value(depth + 1, &title(key), value);
                    }
                }
            }
            other => self.line(depth, key, plain(other)),
        }
    }

    fn events(&mut self, events: &[Value], now: i64) {
        if events.is_empty() {
            self.line(0, "Events", "<none>");
            return;
        }
        let mut rows = vec![
            ["Type", "Reason", "Age", "From", "Message"].map(str::to_owned).to_vec(),
            ["----", "------", "----", "----", "-------"].map(str::to_owned).to_vec(),
        ];
        rows.extend(events.iter().map(|e| event_row(e, now)));
        for row in &mut rows {
            row[0].insert_str(0, "  ");
        }
        self.tail = format!("Events:\n{}", output::align(&rows));
    }

    fn text(&self) -> String {
        let mut out = String::new();
        // Values line up within one depth of the page.
        let width = |depth: usize| {
            let keys = self
                .lines
                .iter()
                .filter(|(d, _, v)| *d == depth && !v.is_empty())
                .map(|(_, k, _)| k.chars().count());
            keys.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..8).map(width).collect();
        for (depth, key, value) in &self.lines {
            let line = if value.is_empty() {
                key.clone()
            } else {
                format!("{key:<width$}  {value}", width = widths.get(*depth).copied().unwrap_or(0))
            };
            out.push_str(&format!("{}{line}\n", "  ".repeat(*depth)));
        }
        out + &self.tail
    }
}

fn event_row(event: &Value, now: i64) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let last = event["lastTimestamp"].as_str().or_else(|| event["eventTime"].as_str());
    let first = event["firstTimestamp"].as_str().or(last);
    let age = |t: Option<&str>| t.map_or_else(|| "<unknown>".to_owned(), |t| since(t, now));
    let count = event["count"].as_i64().unwrap_or(1);
    let seen = if count > 1 { format!("{} (x{count} over {})", age(last), age(first)) } else { age(first) };
    let from = event["source"]["component"]
        .as_str()
        .filter(|c| !c.is_empty())
        .or_else(|| event["reportingComponent"].as_str());
    vec![
        text(&event["type"]),
        text(&event["reason"]),
        seen,
        from.unwrap_or("").to_owned(),
        text(&event["message"]),
    ]
}

/// The time since an RFC 3339 time, as an age.
pub(super) fn since(time: &str, now: i64) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(then) => duration::human(now - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

/// `imagePullSecrets` → `Image Pull Secrets`.
fn title(key: &str) -> String {
    let mut out = String::new();
    for (i, c) in key.chars().enumerate() {
        if i == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && !out.ends_with(|p: char| p.is_uppercase()) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}
