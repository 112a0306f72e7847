//! `create`: from manifests, or a kind and words.

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::Cx;
use super::apply::{DryRun, validation};
use crate::args::{dry_run, filename, list, many, option, output, text};
use crate::connect::Connection;
use crate::discovery::Discovery;
use crate::manifest::{self, Manifest};
use crate::output::{self, Format};
use crate::rest::Call;
use crate::{Error, create, duration};

const MANAGER: &str = "kubectl-create";

/// A kind that can be made from words: its names on the command line, its flags, its maker.
struct Maker {
    names: &'static [&'static str],
    about: &'static str,
    args: fn(Command) -> Command,
    make: fn(&ArgMatches) -> Result<Value, Error>,
}

const MAKERS: &[Maker] = &[
    Maker { names: &["namespace", "ns"], about: "Create a namespace", args: |c| c, make: create::namespace },
    Maker {
        names: &["serviceaccount", "sa"],
        about: "Create a service account",
        args: |c| c,
        make: create::service_account,
    },
    Maker {
        names: &["role"],
        about: "Create a role with a single rule",
        args: role_args,
        make: |m| create::role(m, "Role"),
    },
    Maker {
        names: &["clusterrole"],
        about: "Create a cluster role",
        args: |c| role_args(c).arg(list("non-resource-url", "A URL that the rule applies to")),
        make: |m| create::role(m, "ClusterRole"),
    },
    Maker {
        names: &["rolebinding"],
        about: "Create a role binding",
        args: |c| binding_args(c).arg(option("role", "Role this RoleBinding should reference")),
        make: |m| create::binding(m, "RoleBinding"),
    },
    Maker {
        names: &["clusterrolebinding"],
        about: "Create a cluster role binding",
        args: binding_args,
        make: |m| create::binding(m, "ClusterRoleBinding"),
    },
    Maker {
        names: &["configmap", "cm"],
        about: "Create a config map",
        args: data_args,
        make: create::config_map,
    },
];

fn role_args(command: Command) -> Command {
    command
        .arg(list("verb", "Verb that applies to the resources contained in the rule"))
        .arg(list("resource", "Resource that the rule applies to"))
        .arg(list("resource-name", "Resource in the white list that the rule applies to"))
}

fn binding_args(command: Command) -> Command {
    command
        .arg(option("clusterrole", "ClusterRole this binding should reference"))
        .arg(list("serviceaccount", "Service account to bind, as <namespace>:<name>"))
        .arg(list("group", "Group to bind"))
}

fn data_args(command: Command) -> Command {
    command
        .arg(list("from-literal", "A key and its value: key=value"))
        .arg(list("from-file", "A file, or key=file, or a directory of files"))
        .arg(list("from-env-file", "A file of key=value lines"))
}

pub(super) fn args(command: Command) -> Command {
    let common = |c: Command| {
        c.arg(dry_run())
            .arg(output())
            .arg(option("validate", "strict, warn or ignore"))
            .arg(option("field-manager", "Name under which fields are owned"))
    };
    let named = |c: Command| common(c).arg(Arg::new("name").help("The object's name"));
    let mut command = common(command).arg(filename()).args_conflicts_with_subcommands(true);
    for maker in MAKERS {
        let sub = Command::new(maker.names[0]).about(maker.about).visible_aliases(&maker.names[1..]);
        command = command.subcommand(named((maker.args)(sub)));
    }
    let secret = |name: &'static str, about: &'static str| named(Command::new(name).about(about));
    command
        .subcommand(
            Command::new("secret")
                .about("Create a secret using a specified subcommand")
                .subcommand_required(true)
                .subcommand(
                    data_args(secret("generic", "From a file, directory or literal value"))
                        .arg(option("type", "The secret's type")),
                )
                .subcommand(
                    secret("tls", "From a certificate and its key")
                        .arg(option("cert", "PEM certificate file"))
                        .arg(option("key", "PEM key file")),
                )
                .subcommand(
                    secret("docker-registry", "For use with a registry")
                        .arg(option("docker-server", "The registry's address"))
                        .arg(option("docker-username", "User name"))
                        .arg(option("docker-password", "Password"))
                        .arg(option("docker-email", "Mail address")),
                ),
        )
        .subcommand(
            Command::new("token")
                .about("Request a service account token")
                .arg(Arg::new("name").help("The service account's name"))
                .arg(list("audience", "Audience of the token; may be repeated"))
                .arg(option("duration", "Requested lifetime of the token"))
                .arg(option(
                    "bound-object-kind",
                    "Kind of an object to bind the token to: Pod, Secret or Node",
                ))
                .arg(option("bound-object-name", "Name of an object to bind the token to"))
                .arg(option("bound-object-uid", "UID of an object to bind the token to"))
                .arg(output()),
        )
}

pub(super) async fn run(cx: Cx, m: ArgMatches) -> Result<i32, Error> {
    match m.subcommand() {
        None => from_files(&cx, &m).await,
        Some(("token", sub)) => token(&cx, sub).await,
        Some(("secret", secret)) => {
            let Some((kind, sub)) = secret.subcommand() else { return Ok(1) };
            from_words(&cx, sub, create::secret(sub, kind)?).await
        }
        Some((name, sub)) => {
            let maker = MAKERS.iter().find(|maker| maker.names[0] == name);
            let maker = maker.ok_or_else(|| Error::local(format!("unknown command \"{name}\"")))?;
            from_words(&cx, sub, (maker.make)(sub)?).await
        }
    }
}

async fn from_files(cx: &Cx, m: &ArgMatches) -> Result<i32, Error> {
    let manifests = manifest::read_all(&many(m, "filename"), false)?;
    let connection = cx.connect().await?;
    let discovery = Discovery::fetch(&connection.client).await?;
    let mut code = 0;
    for manifest in &manifests {
        if let Err(error) = one(cx, m, &connection, &discovery, manifest).await {
            match &error {
                Error::Server { reason, message, .. } => eprintln!(
                    "Error from server ({reason}): error when creating \"{}\": {message}",
                    manifest.source
                ),
                other => eprintln!("{other}"),
            }
            code = 1;
        }
    }
    Ok(code)
}

async fn from_words(cx: &Cx, m: &ArgMatches, object: Value) -> Result<i32, Error> {
    let mut cx = cx.clone();
    if object["roleRef"].is_object() {
        // Of a binding, `--user` is a subject, not the kubeconfig's user.
        cx.globals.user = None;
    }
    let connection = cx.connect().await?;
    let manifest = Manifest { object, source: "command line".to_owned() };
    let discovery = Discovery::fetch(&connection.client).await?;
    one(&cx, m, &connection, &discovery, &manifest).await?;
    Ok(0)
}

async fn one(
    cx: &Cx,
    m: &ArgMatches,
    connection: &Connection,
    discovery: &Discovery,
    manifest: &Manifest,
) -> Result<(), Error> {
    let resource = discovery.by_kind(manifest.api_version(), manifest.kind())?;
    let namespace = manifest.namespace(cx.globals.namespace.as_deref(), &connection.namespace)?;
    let dry = DryRun::parse(text(m, "dry-run").as_deref())?;
    let created = if dry == DryRun::Client {
        let mut object = manifest.object.clone();
        if resource.namespaced && cx.globals.namespace.is_some() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object
    } else {
        Call::new(Method::POST, resource.path(Some(&namespace)))
            .query("fieldManager", text(m, "field-manager").unwrap_or_else(|| MANAGER.to_owned()))
            .query("fieldValidation", validation(text(m, "validate").as_deref())?)
            .maybe("dryRun", dry.parameter())
            .json(&manifest.object)
            .value(&connection.client)
            .await?
    };
    let name = created["metadata"]["name"].as_str().unwrap_or("").to_owned();
    match text(m, "output") {
        Some(format) => {
            let format = Format::parse(Some(&format))?;
            print!("{}", output::print(&format, &created, |_| format!("{}/{name}", resource.shown()))?);
        }
        None => println!("{}/{name} created{}", resource.shown(), dry.suffix()),
    }
    Ok(())
}

async fn token(cx: &Cx, m: &ArgMatches) -> Result<i32, Error> {
    let name = create::name(m)?;
    let mut spec = json!({});
    let audiences = many(m, "audience");
    if !audiences.is_empty() {
        spec["audiences"] = json!(audiences);
    }
    if let Some(asked) = text(m, "duration") {
        let lifetime = duration::parse(&asked)
            .ok_or_else(|| Error::local(format!("invalid argument \"{asked}\" for \"--duration\" flag")))?;
        spec["expirationSeconds"] = json!(lifetime.as_secs());
    }
    if let Some(kind) = text(m, "bound-object-kind") {
        let bound = text(m, "bound-object-name").ok_or_else(|| {
            Error::local("--bound-object-name is required if --bound-object-kind is provided")
        })?;
        spec["boundObjectRef"] = json!({"kind": kind, "apiVersion": "v1", "name": bound});
        if let Some(uid) = text(m, "bound-object-uid") {
            spec["boundObjectRef"]["uid"] = json!(uid);
        }
    }
    let connection = cx.connect().await?;
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{}/token",
        connection.namespace,
        crate::rest::encode(&name)
    );
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer = Call::new(Method::POST, path).json(&request).value(&connection.client).await?;
    match text(m, "output") {
        Some(format) => {
            let format = Format::parse(Some(&format))?;
            print!("{}", output::print(&format, &answer, |_| format!("serviceaccount/{name}"))?);
        }
        None => println!("{}", answer["status"]["token"].as_str().unwrap_or("")),
    }
    Ok(0)
}
