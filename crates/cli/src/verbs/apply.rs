//! `apply -f`: make the cluster say what the manifests say, remembering what was applied.

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::Cx;
use crate::Error;
use crate::args::{dry_run, filename, flag, many, option, output, switch, text};
use crate::connect::Connection;
use crate::discovery::{Discovery, Resource};
use crate::manifest::{self, Manifest};
use crate::output::{self, Format};
use crate::rest::{Call, MERGE_PATCH};
use crate::three_way::{self, LAST_APPLIED};

const MANAGER: &str = "kubectl-client-side-apply";
/// An apply that loses a race reads the object again; more losses than this are no race.
const TRIES_MAX: usize = 5;

pub(super) fn args(command: Command) -> Command {
    command
        .arg(filename())
        .arg(switch("recursive", "Process directories recursively").short('R'))
        .arg(dry_run())
        .arg(output())
        .arg(switch("server-side", "Let the server merge, with field ownership"))
        .arg(switch("force-conflicts", "With --server-side: take fields from other managers"))
        .arg(option("field-manager", "Name under which fields are owned"))
        .arg(
            option("validate", "strict, warn or ignore")
                .num_args(0..=1)
                .default_missing_value("strict")
                .require_equals(true),
        )
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    let apply = Apply {
        connection: cx.connect().await?,
        asked_namespace: cx.globals.namespace.clone(),
        dry_run: DryRun::parse(text(&m, "dry-run").as_deref())?,
        server_side: flag(&m, "server-side"),
        force: flag(&m, "force-conflicts"),
        manager: text(&m, "field-manager"),
        validation: validation(text(&m, "validate").as_deref())?,
        format: text(&m, "output").map(|o| Format::parse(Some(&o))).transpose()?,
    };
    let manifests = manifest::read_all(&many(&m, "filename"), flag(&m, "recursive"))?;
    let discovery = Discovery::fetch(&apply.connection.client).await?;
    let mut code = 0;
    for manifest in &manifests {
        // One bad manifest does not keep the others from being applied.
        if let Err(error) = apply.one(&discovery, manifest).await {
            match &error {
                Error::Server { .. } => {
                    eprintln!(
                        "Error from server{}: error when applying \"{}\": {}",
                        reason(&error),
                        manifest.source,
                        message(&error)
                    );
                }
                other => eprintln!("{other}"),
            }
            code = 1;
        }
    }
    Ok(code)
}

fn reason(e: &Error) -> String {
    match e {
        Error::Server { reason, .. } if !reason.is_empty() => format!(" ({reason})"),
        _ => String::new(),
    }
}

fn message(e: &Error) -> &str {
    match e {
        Error::Server { message, .. } | Error::Local(message) => message,
        Error::Exit(_) => "",
    }
}

/// What `--validate` means to the server's `fieldValidation`.
pub(super) fn validation(text: Option<&str>) -> Result<&'static str, Error> {
    match text.unwrap_or("strict") {
        "strict" | "true" => Ok("Strict"),
        "warn" => Ok("Warn"),
        "ignore" | "false" => Ok("Ignore"),
        other => Err(Error::local(format!(
            "invalid - validate option \"{other}\"; must be one of: strict (or true), warn, ignore (or false)"
        ))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DryRun {
    None,
    Client,
    Server,
}

impl DryRun {
    pub(super) fn parse(text: Option<&str>) -> Result<DryRun, Error> {
        match text.unwrap_or("none") {
            "none" => Ok(DryRun::None),
            "client" => Ok(DryRun::Client),
            "server" => Ok(DryRun::Server),
            other => Err(Error::local(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }

    /// What kubectl says after `created`.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }

    pub(super) fn parameter(self) -> Option<&'static str> {
        (self == DryRun::Server).then_some("All")
    }
}

struct Apply {
    connection: Connection,
    asked_namespace: Option<String>,
    dry_run: DryRun,
    server_side: bool,
    force: bool,
    manager: Option<String>,
    validation: &'static str,
    format: Option<Format>,
}

impl Apply {
    async fn one(&self, discovery: &Discovery, manifest: &Manifest) -> Result<(), Error> {
        let resource = discovery.by_kind(manifest.api_version(), manifest.kind())?;
        if manifest.name().is_empty() {
            return Err(Error::local(format!(
                "error when creating \"{}\": resource name may not be empty",
                manifest.source
            )));
        }
        let namespace = manifest.namespace(self.asked_namespace.as_deref(), &self.connection.namespace)?;
        let (object, verbed) = if self.server_side {
            (self.on_server(resource, manifest, &namespace).await?, "serverside-applied")
        } else {
            self.on_client(resource, manifest, &namespace).await?
        };
        match &self.format {
            Some(format) => {
                let name = |_: &Value| format!("{}/{}", resource.shown(), manifest.name());
                print!("{}", output::print(format, &object, name)?);
            }
            None => println!("{}/{} {verbed}{}", resource.shown(), manifest.name(), self.dry_run.suffix()),
        }
        Ok(())
    }

    async fn on_server(
        &self,
        resource: &Resource,
        manifest: &Manifest,
        namespace: &str,
    ) -> Result<Value, Error> {
        let manager = self.manager.clone().unwrap_or_else(|| "kubectl".to_owned());
        Call::new(Method::PATCH, resource.object_path(namespace, manifest.name()))
            .query("fieldManager", manager)
            .query("fieldValidation", self.validation)
            .maybe("force", self.force.then_some("true"))
            .maybe("dryRun", self.dry_run.parameter())
            .body("application/apply-patch+yaml", manifest.object.to_string().into_bytes())
            .value(&self.connection.client)
            .await
    }

    async fn on_client(
        &self,
        resource: &Resource,
        manifest: &Manifest,
        namespace: &str,
    ) -> Result<(Value, &'static str), Error> {
        let wanted = annotated(&manifest.object);
        for _ in 0..TRIES_MAX {
            let path = resource.object_path(namespace, manifest.name());
            let live = match Call::get(path).value(&self.connection.client).await {
                Ok(live) => live,
                Err(e) if e.is_not_found() => match self.create(resource, &wanted, namespace).await {
                    Err(Error::Server { code: 409, .. }) => continue,
                    other => return Ok((other?, "created")),
                },
                Err(e) => return Err(e),
            };
            match self.change(resource, manifest, &wanted, &live, namespace).await {
                Err(Error::Server { code: 409, .. }) => {}
                other => return other,
            }
        }
        Err(Error::local(format!("{}/{} keeps changing, gave up", resource.shown(), manifest.name())))
    }

    async fn create(&self, resource: &Resource, wanted: &Value, namespace: &str) -> Result<Value, Error> {
        if self.dry_run == DryRun::Client {
            return Ok(wanted.clone());
        }
        Call::new(Method::POST, resource.path(Some(namespace)))
            .query("fieldManager", self.manager.clone().unwrap_or_else(|| MANAGER.to_owned()))
            .query("fieldValidation", self.validation)
            .maybe("dryRun", self.dry_run.parameter())
            .json(wanted)
            .value(&self.connection.client)
            .await
    }

    async fn change(
        &self,
        resource: &Resource,
        manifest: &Manifest,
        wanted: &Value,
        live: &Value,
        namespace: &str,
    ) -> Result<(Value, &'static str), Error> {
        let last = live["metadata"]["annotations"][LAST_APPLIED].as_str();
        let last: Option<Value> = last.and_then(|text| serde_json::from_str(text).ok());
        if last.is_none() && !live["metadata"]["annotations"][LAST_APPLIED].is_string() {
            eprintln!(
                "Warning: resource {}/{} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. \
                 kubectl apply should only be used on resources created declaratively by either kubectl create \
                 --save-config or kubectl apply. The missing annotation will be patched automatically.",
                resource.plural,
                manifest.name()
            );
        }
        let Some(patch) = three_way::patch(last.as_ref(), wanted, live) else {
            return Ok((live.clone(), "unchanged"));
        };
        if self.dry_run == DryRun::Client {
            return Ok((wanted.clone(), "configured"));
        }
        let patched = Call::new(Method::PATCH, resource.object_path(namespace, manifest.name()))
            .query("fieldManager", self.manager.clone().unwrap_or_else(|| MANAGER.to_owned()))
            .query("fieldValidation", self.validation)
            .maybe("dryRun", self.dry_run.parameter())
            .body(MERGE_PATCH, patch.to_string().into_bytes())
            .value(&self.connection.client)
            .await?;
        Ok((patched, "configured"))
    }
}

/// The manifest with itself in its annotation, as kubectl writes it.
fn annotated(object: &Value) -> Value {
    let mut remembered = object.clone();
    let annotations = &mut remembered["metadata"]["annotations"];
    match annotations.as_object_mut() {
        Some(map) => drop(map.remove(LAST_APPLIED)),
        None => *annotations = Value::Object(serde_json::Map::new()),
    }
    let mut out = remembered.clone();
    out["metadata"]["annotations"][LAST_APPLIED] = Value::String(format!("{remembered}\n"));
    out
}
