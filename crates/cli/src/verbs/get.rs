//! `get`: lists, objects and watches, in every output format.

use clap::{ArgMatches, Command};
use futures::StreamExt;
use http_body_util::BodyStream;
use kube::Client;
use serde_json::{Value, json};

use super::Cx;
use crate::Error;
use crate::args::{all_namespaces, filename, flag, many, option, output, selector, switch, text, words};
use crate::connect::Connection;
use crate::discovery::{Discovery, Resource, Target, targets};
use crate::manifest;
use crate::output::{self, Format, Table};
use crate::rest::{Call, TABLE};

/// Objects a page of a list, as kubectl asks for them.
const CHUNK: &str = "500";

pub(super) fn args(command: Command) -> Command {
    command
        .arg(words("words", "TYPE [NAME…] or TYPE/NAME…"))
        .arg(all_namespaces())
        .arg(selector())
        .arg(option("field-selector", "Field selector"))
        .arg(switch("watch", "After the list, watch for changes").short('w'))
        .arg(switch("watch-only", "Watch for changes without listing first"))
        .arg(output())
        .arg(switch("no-headers", "Leave the header line out"))
        .arg(switch("show-labels", "Show labels as the last column"))
        .arg(switch("show-managed-fields", "Keep managedFields in JSON and YAML"))
        .arg(switch("ignore-not-found", "A missing object is no error"))
        .arg(filename())
}

struct Get {
    connection: Connection,
    format: Format,
    all_namespaces: bool,
    labels: Option<String>,
    fields: Option<String>,
    headers: bool,
    show_labels: bool,
    managed_fields: bool,
    ignore_not_found: bool,
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let get = Get {
        connection: cx.connect().await?,
        format: Format::parse(text(&m, "output").as_deref())?,
        all_namespaces: flag(&m, "all-namespaces"),
        labels: text(&m, "selector"),
        fields: text(&m, "field-selector"),
        headers: !flag(&m, "no-headers"),
        show_labels: flag(&m, "show-labels"),
        managed_fields: flag(&m, "show-managed-fields"),
        ignore_not_found: flag(&m, "ignore-not-found"),
    };
    let discovery = Discovery::fetch(&get.connection.client).await?;
    let files = many(&m, "filename");
    let targets = if files.is_empty() {
        targets(&discovery, &many(&m, "words"))?
    } else {
        from_files(&discovery, &files)?
    };
    if flag(&m, "watch") || flag(&m, "watch-only") {
        let [target] = targets.as_slice() else {
            return Err(Error::local("you may only specify a single resource type"));
        };
        return get.watch(target, flag(&m, "watch-only")).await;
    }
    if get.format.is_table() { get.tables(&targets).await } else { get.objects(&targets).await }
}

fn from_files(discovery: &Discovery, files: &[String]) -> Result<Vec<Target>, Error> {
    let manifests = manifest::read_all(files, false)?;
    let target = |m: &manifest::Manifest| {
        let resource = discovery.by_kind(m.api_version(), m.kind())?.clone();
        Ok(Target { resource, name: Some(m.name().to_owned()) })
    };
    manifests.iter().map(target).collect()
}

impl Get {
    fn path(&self, target: &Target) -> String {
        let namespace = (!self.all_namespaces).then_some(self.connection.namespace.as_str());
        match &target.name {
            Some(name) => target.resource.object_path(&self.connection.namespace, name),
            None => target.resource.path(namespace),
        }
    }

    fn call(&self, target: &Target) -> Call<'_> {
        let call = Call::get(self.path(target));
        if target.name.is_some() {
            return call;
        }
        call.maybe("labelSelector", self.labels.clone()).maybe("fieldSelector", self.fields.clone())
    }

    fn client(&self) -> &Client {
        &self.connection.client
    }

    async fn tables(&self, targets: &[Target]) -> Result<i32, Error> {
        let several = targets.iter().any(|t| t.resource != targets[0].resource);
        let (mut printed, mut failed) = (0, None);
        let mut by_resource: Vec<(&Resource, Value)> = Vec::new();
        for target in targets {
            let table = match self.table(target).await {
                Ok(table) => table,
                Err(e) if e.is_not_found() && self.ignore_not_found => continue,
                Err(e) if targets.len() > 1 => {
                    eprintln!("{e}");
                    failed = Some(1);
                    continue;
                }
                Err(e) => return Err(e),
            };
            match by_resource.last_mut() {
                Some((resource, all)) if **resource == target.resource => extend(all, &table),
                _ => by_resource.push((&target.resource, table)),
            }
        }
        for (resource, table) in &by_resource {
            if table["rows"].as_array().is_none_or(Vec::is_empty) {
                continue;
            }
            if printed > 0 {
                println!();
            }
            printed += 1;
            print!("{}", self.table_printer(resource, several).render(table));
        }
        if printed == 0 && failed.is_none() && !self.ignore_not_found {
            self.say_nothing_found(&targets[0]);
        }
        Ok(failed.unwrap_or(0))
    }

    fn say_nothing_found(&self, target: &Target) {
        if self.all_namespaces || !target.resource.namespaced {
            eprintln!("No resources found");
        } else {
            eprintln!("No resources found in {} namespace.", self.connection.namespace);
        }
    }

    fn table_printer(&self, resource: &Resource, several: bool) -> Table {
        Table {
            wide: matches!(self.format, Format::Table { wide: true }),
            namespaces: self.all_namespaces && resource.namespaced,
            labels: self.show_labels,
            headers: self.headers,
            prefix: several.then(|| resource.shown()),
            ..Table::default()
        }
    }

    /// All pages of a list as one table.
    async fn table(&self, target: &Target) -> Result<Value, Error> {
        let mut whole = Value::Null;
        let mut next: Option<String> = None;
        loop {
            let mut call = self.call(target).accept(TABLE);
            if target.name.is_none() {
                call = call.query("limit", CHUNK).maybe("continue", next.take());
            }
            let page = call.value(self.client()).await?;
            next = page["metadata"]["continue"].as_str().filter(|c| !c.is_empty()).map(str::to_owned);
            if whole.is_null() {
                whole = page;
            } else {
                extend(&mut whole, &page);
            }
            if next.is_none() {
                return Ok(whole);
            }
        }
    }

    async fn objects(&self, targets: &[Target]) -> Result<i32, Error> {
        let mut found = Vec::new();
        for target in targets {
            match self.call(target).value(self.client()).await {
                Ok(object) => found.push((target, object)),
                Err(e) if e.is_not_found() && self.ignore_not_found => {}
                Err(e) => return Err(e),
            }
        }
        let single = found.len() == 1 && found[0].0.name.is_some();
        let mut items: Vec<Value> = Vec::new();
        for (target, object) in &found {
            for item in output::items(object) {
                items.push(self.complete(item.clone(), target));
            }
        }
        if items.is_empty() && single {
            return Ok(0);
        }
        let whole = if single {
            items.remove(0)
        } else {
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        };
        let shown = |o: &Value| shown(o, &found);
        print!("{}", output::print(&self.format, &whole, shown)?);
        Ok(0)
    }

    /// List items come without their type; kubectl prints it.
    fn complete(&self, mut object: Value, target: &Target) -> Value {
        if !self.managed_fields
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("managedFields");
        }
        if let Value::Object(map) = &mut object {
            map.insert("apiVersion".into(), json!(target.resource.api_version()));
            map.insert("kind".into(), json!(target.resource.kind));
        }
        object
    }

    async fn watch(&self, target: &Target, only: bool) -> Result<i32, Error> {
        let accept = if self.format.is_table() { TABLE } else { crate::rest::JSON };
        let mut table = self.table_printer(&target.resource, false);
        let list = self.call(target).accept(accept).value(self.client()).await?;
        if !only {
            self.print_watched(target, &list, &mut table)?;
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned();
        let call = match &target.name {
            Some(name) => Call::get(target.resource.path(Some(&self.connection.namespace)))
                .query("fieldSelector", format!("metadata.name={name}")),
            None => self.call(target),
        };
        let call = call.accept(accept).query("watch", "true").query("resourceVersion", version);
        let response = call.stream(self.client()).await?;
        let mut body = BodyStream::new(response.into_body());
        let mut buffer = Vec::new();
        while let Some(frame) = body.next().await {
            let Ok(data) = frame.map_err(|e| Error::local(e.to_string()))?.into_data() else { continue };
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
                match event["type"].as_str() {
                    Some("BOOKMARK") => {}
                    Some("ERROR") => {
                        return Err(Error::local(
                            event["object"]["message"].as_str().unwrap_or("watch failed"),
                        ));
                    }
                    _ => self.print_watched(target, &event["object"], &mut table)?,
                }
            }
        }
        Ok(0)
    }

    fn print_watched(&self, target: &Target, object: &Value, table: &mut Table) -> Result<(), Error> {
        use std::io::Write;
        let text = if self.format.is_table() {
            if object["rows"].as_array().is_none_or(Vec::is_empty) {
                return Ok(());
            }
            table.render(object)
        } else {
            let mut out = String::new();
            for item in output::items(object) {
                let item = self.complete(item.clone(), target);
                out.push_str(&output::print(&self.format, &item, |o| {
                    format!("{}/{}", target.resource.shown(), o["metadata"]["name"].as_str().unwrap_or(""))
                })?);
            }
            out
        };
        let mut stdout = std::io::stdout();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }
}

fn extend(table: &mut Value, more: &Value) {
    if let (Some(rows), Some(more)) = (table["rows"].as_array_mut(), more["rows"].as_array()) {
        rows.extend(more.iter().cloned());
    }
}

fn shown(object: &Value, found: &[(&Target, Value)]) -> String {
    let kind = object["kind"].as_str().unwrap_or("");
    let resource = found.iter().map(|(t, _)| &t.resource).find(|r| r.kind == kind);
    let name = object["metadata"]["name"].as_str().unwrap_or("");
    format!("{}/{name}", resource.map_or_else(|| kind.to_lowercase(), Resource::shown))
}
