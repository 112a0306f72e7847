//! Writing the admin's kubeconfig: whole or not at all, for its owner alone.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let mut name = path.file_name().with_context(|| format!("{shown} is no file name"))?.to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(|| format!("cannot write the kubeconfig {shown}"))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write the kubeconfig {shown}"))?;
    std::fs::rename(&fresh, path).with_context(|| format!("cannot write the kubeconfig {shown}"))
}
