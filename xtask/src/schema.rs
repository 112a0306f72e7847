//! The facts of the Kubernetes API, from three sources: OpenAPI definitions (a PyPI wheel), protobuf field numbers and
//! the order of Go's structs (the crate `k8s-pb`; for newer fields `xtask/data/numbers.txt`), and what only Go's struct
//! tags say (`xtask/data/go.txt`).

mod definitions;
mod facts;
mod go;
mod messages;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The wheel's newest version still carries this folder.
const DEFINITIONS: &str = "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json";

pub(crate) fn regenerate(root: &Path) -> Result<()> {
    let scratch = root.join("target/xtask-schema");
    let definitions = definitions::read(&download_definitions(&scratch)?)?;
    let messages = messages::Messages::new(k8s_pb_source(root)?, &root.join("xtask/data/numbers.txt"))?;
    let go = go::Notes::read(&root.join("xtask/data/go.txt"))?;
    let roots = root_definitions(root)?;
    let text = facts::write(&definitions, messages, &go, &roots)?;
    let out = root.join("crates/api/data/facts.txt");
    std::fs::create_dir_all(out.parent().context("the file has a folder")?)?;
    std::fs::write(&out, &text)?;
    println!("{}: {} bytes", out.display(), text.len());
    Ok(())
}

fn download_definitions(scratch: &Path) -> Result<PathBuf> {
    let file = scratch.join(DEFINITIONS);
    if file.exists() {
        return Ok(file);
    }
    std::fs::create_dir_all(scratch)?;
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", "kubernetes-validate"];
    run(Command::new("python3").current_dir(scratch).args(pip))?;
    let wheel = std::fs::read_dir(scratch)?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "whl"))
        .context("pip brought no wheel")?;
    run(Command::new("python3").current_dir(scratch).args(["-m", "zipfile", "-e"]).arg(wheel).arg("."))?;
    Ok(file)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn k8s_pb_source(root: &Path) -> Result<PathBuf> {
    let out =
        Command::new(env!("CARGO")).current_dir(root).args(["metadata", "--format-version=1"]).output()?;
    let metadata: Value = serde_json::from_slice(&out.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has packages")?;
    let manifest = packages
        .iter()
        .find(|p| p["name"] == "k8s-pb")
        .and_then(|p| p["manifest_path"].as_str())
        .context("k8s-pb is a dependency")?;
    Ok(Path::new(manifest).with_file_name("src"))
}

/// The definitions that the table of kinds names, their lists, and the bodies of subresources and deletions.
fn root_definitions(root: &Path) -> Result<Vec<String>> {
    let table = std::fs::read_to_string(root.join("crates/api/src/kinds.rs"))?;
    let mut out: Vec<String> = ["io.k8s.api.policy.v1.Eviction", "io.k8s.api.authentication.v1.TokenRequest"]
        .map(String::from)
        .into();
    out.push("io.k8s.api.autoscaling.v1.Scale".into());
    let mut package = "";
    for line in table.lines() {
        let quoted: Vec<&str> = line.split('"').collect();
        if let [_, _, _, _, " in ", found, " {"] = quoted.as_slice().get(..7).unwrap_or(&quoted) {
            package = found;
        }
        if let ["        Namespaced " | "        Cluster ", kind, ..] = quoted.as_slice() {
            out.extend([format!("{package}.{kind}"), format!("{package}.{kind}List")]);
        }
    }
    Ok(out)
}
