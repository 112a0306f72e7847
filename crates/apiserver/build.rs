//! Packs what the comments of the crate `k8s-openapi` say about the API's definitions and their fields, for `kubectl explain`.
//!
//! Its feature `schemars` has the same as code, which would make the program 10 % larger; packed it is a third of a megabyte.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

const CRATE: &str = "k8s-openapi";
/// The folder of the API's version in it.
const VERSION: &str = "src/v1_36";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let mut files = Vec::new();
    rust_files(&source().join(VERSION), &mut files);
    files.sort();
    let mut said = String::new();
    for file in files {
        definition(&fs::read_to_string(&file).expect("a source file is text"), &mut said);
    }
    assert!(!said.is_empty(), "{CRATE} says nothing");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names it")).join("prose");
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(said.as_bytes()).expect("memory takes it");
    fs::write(out, packed.finish().expect("memory takes it")).expect("the folder can be written to");
}

/// Where cargo keeps the crate's source: among those of its registries, or where the build was told to take it from.
fn source() -> PathBuf {
    let folder = format!("{CRATE}-{}", locked_version());
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registries = home.map(|home| home.join("registry/src"));
    let registries = registries.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    registries
        .map(|registry| registry.path().join(&folder))
        .find(|source| source.is_dir())
        .or_else(told_by_cargo)
        .unwrap_or_else(|| {
            panic!("the source of {folder} is in no registry of cargo's: `cargo fetch` brings it")
        })
}

/// The version that is built.
fn locked_version() -> String {
    let lock = fs::read_to_string("../../Cargo.lock").expect("the workspace has a lock file");
    let name = format!("name = \"{CRATE}\"");
    let mut after = lock.lines().skip_while(|line| *line != name);
    let version = after.nth(1).and_then(|line| line.strip_prefix("version = \""));
    version.expect("a locked package has a version").trim_end_matches('"').to_owned()
}

/// By cargo itself. It wants every package of the lock file at hand, as vendoring has them; a build fetches fewer.
fn told_by_cargo() -> Option<PathBuf> {
    let ask = ["metadata", "--format-version=1", "--locked", "--offline"];
    let answer = Command::new(std::env::var_os("CARGO")?).args(ask).output().ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).ok()?;
    let ours = answer["packages"].as_array()?.iter().find(|package| package["name"] == CRATE)?;
    Some(Path::new(ours["manifest_path"].as_str()?).parent()?.to_owned())
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// A line for the definition that a file has, and one for each of its fields: `definition TAB field TAB text`.
fn definition(source: &str, out: &mut String) {
    let mut lines = source.lines();
    let Some(name) = lines.next().and_then(|line| line.strip_prefix("// Generated from definition ")) else {
        return;
    };
    let names = wire_names(source);
    let mut comment = Vec::new();
    let mut is_inside = false;
    for line in lines.map(str::trim) {
        let field = match line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')) {
            _ if line.starts_with("pub struct ") && !is_inside => {
                is_inside = true;
                ""
            }
            Some((field, _)) => {
                names.iter().find(|(known, _)| *known == field).map_or(field, |(_, wire)| *wire)
            }
            None if line == "}" && is_inside => return,
            None => {
                let text = line.strip_prefix("///").map(|text| text.strip_prefix(' ').unwrap_or(text));
                comment.extend(text.map(|text| text.replace('\\', "\\\\").replace('\t', " ")));
                continue;
            }
        };
        if !comment.is_empty() {
            out.push_str(&format!("{name}\t{field}\t{}\n", comment.join("\\n")));
            comment.clear();
        }
    }
}

/// Rust's names of the fields and the API's, as the code that reads them has both: `"hostIPC" => Field::Key_host_ipc`.
fn wire_names(source: &str) -> Vec<(&str, &str)> {
    source.lines().filter_map(wire_name).collect()
}

fn wire_name(line: &str) -> Option<(&str, &str)> {
    let (wire, field) = line.trim().split_once("\" => Field::Key_")?;
    Some((field.trim_end_matches(','), wire.strip_prefix('"')?))
}
