//! `coracle image …`: what the node on this machine can run without a registry.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, Subcommand};
use coracle_clock::Clock;

use coracle_runtime::Runtime;

use crate::data_dir::DataDir;
use crate::node;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The cluster's data directory, as given to `coracle up`
    #[arg(long, env = "CORACLE_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take in an OCI layout (directory or tar) or a `docker save` archive
    #[command(visible_alias = "load")]
    Import {
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// What is there
    #[command(visible_alias = "ls")]
    List,
    /// Forget an image
    #[command(visible_alias = "rm")]
    Remove {
        #[arg(required = true)]
        images: Vec<String>,
    },
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    crate::install_crypto();
    if !nix::unistd::geteuid().is_root() {
        bail!("images are unpacked as root: run this with sudo");
    }
    let data_dir = DataDir::open(&args.data_dir.unwrap_or_else(DataDir::default_path))?;
    let images = node::images(&data_dir, &Clock::system()).await?;
    match args.verb {
        Verb::Import { archives } => {
            for archive in archives {
                let names = images.import_image(&archive).await;
                for name in names.with_context(|| format!("cannot import {}", archive.display()))? {
                    println!("imported {name}");
                }
            }
        }
        Verb::List => {
            for image in images.list_images().await? {
                println!("{}", image.tags.first().unwrap_or(&image.id));
            }
        }
        Verb::Remove { images: names } => {
            for name in names {
                images.remove_image(&name).await.with_context(|| format!("cannot remove {name}"))?;
                println!("removed {name}");
            }
        }
    }
    Ok(())
}
