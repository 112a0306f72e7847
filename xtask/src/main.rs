//! Regenerates the data files of the tree from registry packages: `cargo run -p xtask -- schema`.

#![forbid(unsafe_code)]

mod schema;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match std::env::args().nth(1).as_deref() {
        Some("schema") => schema::regenerate(&root),
        _ => bail!("usage: cargo run -p xtask -- schema"),
    }
}
