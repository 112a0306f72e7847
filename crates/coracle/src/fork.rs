//! `coracle fork`: second clusters from the present state of a running one.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use coracle_api::codec::yaml;
use coracle_clock::Clock;
use http::Method;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::control::{self, Target};
use crate::kubeconfig;

/// A fork shares with its parent everything that neither has changed, certificates and keys included: whoever may do
/// something in the parent may do it in the fork. It is a control plane without a node: its Pods are records, nothing
/// runs in them, and they go at once when deleted. Until it is first written to, nothing in it moves. It ends with
/// `coracle fork delete`, or with its parent.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make one; its admin's kubeconfig is put next to that of its parent
    Create {
        /// A DNS label [default: the first free of fork-1, fork-2, …]
        name: Option<String>,
        /// Write a kubeconfig for it with the credential that this command uses, too
        #[arg(long, value_name = "FILE")]
        write_kubeconfig: Option<PathBuf>,
        #[command(flatten)]
        how: How,
    },
    /// Show those that there are
    List {
        #[command(flatten)]
        how: How,
    },
    /// End one, and its own forks
    Delete {
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, ClapArgs)]
struct How {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.verb {
        Verb::Create { name, write_kubeconfig, how } => create(name, write_kubeconfig, &how).await,
        Verb::List { how } => list(&how).await,
        Verb::Delete { name, target } => {
            target.connect().await?.ask(Method::DELETE, &format!("forks/{name}"), control::empty()).await?;
            println!("fork {name} deleted");
            Ok(())
        }
    }
}

async fn create(name: Option<String>, write_kubeconfig: Option<PathBuf>, how: &How) -> anyhow::Result<()> {
    let mut control = how.target.connect().await?;
    let clock = Clock::system();
    let fork = control.ask(Method::POST, "forks", control::json(&json!({"name": name}))).await?;
    let took = clock.elapsed().as_millis();
    let text = |key: &str| fork[key].as_str().unwrap_or_default().to_owned();
    let mut written = text("kubeconfig");
    if let Some(path) = write_kubeconfig {
        kubeconfig::write(&path, &pointed_at(&how.target, &text("server"), &text("name"))?)?;
        written = path.display().to_string();
    }
    if how.json {
        println!("{fork:#}");
    } else {
        println!(
            "fork {} is ready at {} after {took} ms, kubeconfig {written}",
            text("name"),
            text("server")
        );
    }
    Ok(())
}

async fn list(how: &How) -> anyhow::Result<()> {
    let answer = how.target.connect().await?.ask(Method::GET, "forks", control::empty()).await?;
    if how.json {
        println!("{answer:#}");
        return Ok(());
    }
    println!("{:<20} {:<26} {:<10} {:<21} KUBECONFIG", "NAME", "SERVER", "REVISION", "CREATED");
    for fork in answer["forks"].as_array().into_iter().flatten() {
        let text = |key: &str| fork[key].as_str().unwrap_or_default();
        println!(
            "{:<20} {:<26} {:<10} {:<21} {}",
            text("name"),
            text("server"),
            fork["revision"].to_string(),
            text("created"),
            text("kubeconfig")
        );
    }
    Ok(())
}

/// The kubeconfig in use, with nothing but its context in it, and that at another server.
fn pointed_at(target: &Target, server: &str, fork: &str) -> anyhow::Result<String> {
    let all = target.kubeconfig()?;
    let wanted = target.context(&all)?;
    let name = format!("{wanted}-{fork}");
    let context = all.contexts.into_iter().find(|c| c.name == wanted);
    let mut context = context.with_context(|| format!("the kubeconfig has no context {wanted}"))?;
    let inner = context.context.get_or_insert_default();
    let mut cluster = all.clusters.into_iter().find(|c| c.name == inner.cluster);
    let mut user = all.auth_infos.into_iter().find(|u| Some(&u.name) == inner.user.as_ref());
    inner.cluster.clone_from(&name);
    inner.user = user.is_some().then(|| name.clone());
    context.name.clone_from(&name);
    if let Some(cluster) = &mut cluster {
        cluster.name.clone_from(&name);
        cluster.cluster.get_or_insert_default().server = Some(server.to_owned());
    }
    if let Some(user) = &mut user {
        user.name.clone_from(&name);
    }
    let pointed = Kubeconfig {
        api_version: Some("v1".to_owned()),
        kind: Some("Config".to_owned()),
        clusters: cluster.into_iter().collect(),
        auth_infos: user.into_iter().collect(),
        contexts: vec![context],
        current_context: Some(name),
        ..Kubeconfig::default()
    };
    let value: Value = serde_json::to_value(pointed).context("cannot write a kubeconfig")?;
    Ok(yaml::encode(&value))
}
