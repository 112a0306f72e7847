//! `coracle snapshot` and `coracle reset`: the state of a running cluster, saved, kept and brought back.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args as ClapArgs, Subcommand};
use coracle_store::{Decoder, Header};
use futures::stream;
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use tower::BoxError;

use crate::control::{self, Control, Target};

/// A file is read and sent in pieces of this size.
const PIECE: usize = 64 << 10;

/// A snapshot is all of a cluster's objects as they were at one revision, Secrets among them: keep its file to yourself.
/// It holds no keys: brought back in the same cluster, tokens and certificates stay good; in another one, objects keep
/// their UIDs, and what the first cluster has signed is not good there. To bring one back is one write: watches go on
/// and see the difference, revisions go on from where they are, and the node stops and starts Pods as that asks for.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write the present state to a file, with a checksum, whole or not at all
    Save {
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Make a file's state the present one; a file that is not whole changes nothing
    Restore {
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Keep the present state in the cluster's memory, for `coracle reset`; a name that is taken is taken over
    Keep {
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show those that are kept in memory
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Drop one that is kept in memory
    Delete {
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ResetArgs {
    /// What `coracle snapshot keep` called it
    name: String,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.verb {
        Verb::Save { file, target } => save(&file, &mut target.connect().await?).await,
        Verb::Restore { file, target } => restore(&file, &mut target.connect().await?).await,
        Verb::Keep { name, target } => {
            let path = format!("snapshots/{name}");
            let kept = target.connect().await?.ask(Method::PUT, &path, control::empty()).await?;
            println!("snapshot {name} kept: {} objects at revision {}", kept["objects"], kept["revision"]);
            Ok(())
        }
        Verb::List { json, target } => list(json, &mut target.connect().await?).await,
        Verb::Delete { name, target } => {
            let path = format!("snapshots/{name}");
            target.connect().await?.ask(Method::DELETE, &path, control::empty()).await?;
            println!("snapshot {name} deleted");
            Ok(())
        }
    }
}

pub(crate) async fn reset(args: ResetArgs) -> anyhow::Result<()> {
    let ResetArgs { name, target } = args;
    let path = format!("snapshots/{name}/restore");
    let done = target.connect().await?.ask(Method::POST, &path, control::empty()).await?;
    tell(&format!("reset to {name}"), &done);
    Ok(())
}

fn tell(what: &str, done: &Value) {
    let [created, changed, deleted] = ["created", "changed", "deleted"].map(|key| &done[key]);
    let revision = &done["revision"];
    println!(
        "{what}: {created} objects created, {changed} changed, {deleted} deleted, now at revision {revision}"
    );
}

async fn list(json: bool, control: &mut Control) -> anyhow::Result<()> {
    let answer = control.ask(Method::GET, "snapshots", control::empty()).await?;
    if json {
        println!("{answer:#}");
        return Ok(());
    }
    println!("{:<20} {:<10} {:<10} CREATED", "NAME", "REVISION", "OBJECTS");
    for snapshot in answer["snapshots"].as_array().into_iter().flatten() {
        let text = |key: &str| snapshot[key].as_str().unwrap_or_default();
        let [revision, objects] = ["revision", "objects"].map(|key| snapshot[key].to_string());
        println!("{:<20} {revision:<10} {objects:<10} {}", text("name"), text("created"));
    }
    Ok(())
}

async fn save(path: &Path, control: &mut Control) -> anyhow::Result<()> {
    let shown = path.display();
    let mut body = control.call(Method::GET, "snapshot", control::empty()).await?.into_body();
    let mut fresh = Fresh::create(path).with_context(|| format!("cannot write {shown}"))?;
    // Read as it is written: what is not whole never gets the file's name.
    let mut check = Decoder::verifier();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the cluster broke off")?;
        if let Ok(piece) = frame.into_data() {
            check.feed(&piece).context("what the cluster sent is no good")?;
            fresh.file.write_all(&piece).with_context(|| format!("cannot write {shown}"))?;
        }
    }
    let (header, _) = check.finish().context("what the cluster sent is no good")?;
    fresh.keep(path).with_context(|| format!("cannot write {shown}"))?;
    println!("{shown}: {} objects at revision {}", header.objects, header.revision);
    Ok(())
}

/// A file in the making, next to where it is to be. Gone unless kept.
struct Fresh {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Fresh {
    fn create(path: &Path) -> anyhow::Result<Fresh> {
        let mut name = path.file_name().context("it is no file name")?.to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let fresh = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        Ok(Fresh { file, path: fresh, kept: false })
    }

    fn keep(mut self, path: &Path) -> anyhow::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, path)?;
        self.kept = true;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(parent)?.sync_all()?)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.kept {
            // What is left over is told by its name; there is nothing more to be done about it here.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn restore(path: &Path, control: &mut Control) -> anyhow::Result<()> {
    let shown = path.display();
    check(path).with_context(|| format!("cannot restore {shown}"))?;
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let body = StreamBody::new(stream::iter(Pieces(file))).boxed_unsync();
    let done = control.ask(Method::PUT, "snapshot", body).await?;
    tell(&format!("{shown} restored"), &done);
    if done["sameCluster"] == false {
        eprintln!(
            "warning: the snapshot is of another cluster: tokens and certificates that it issued are not good here"
        );
    }
    Ok(())
}

/// Refuse a file before the cluster is asked to read it.
fn check(path: &Path) -> anyhow::Result<Header> {
    let mut check = Decoder::verifier();
    for piece in Pieces(File::open(path)?) {
        let piece = piece.map_err(|error| anyhow::anyhow!("{error}"))?;
        if let Ok(data) = piece.into_data() {
            check.feed(&data)?;
        }
    }
    match check.finish() {
        Ok((header, _)) => Ok(header),
        Err(error) => bail!(error),
    }
}

/// The file's content, piece by piece.
struct Pieces(File);

impl Iterator for Pieces {
    type Item = Result<Frame<Bytes>, BoxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = vec![0; PIECE];
        match self.0.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(Frame::data(piece.into())))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}
