//! Manifests: files, directories and standard input, YAML or JSON, one document after another.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// More than this is no manifest (the API takes 3 MiB an object).
const BYTES_MAX: u64 = 64 << 20;

/// An object and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub object: Value,
    pub source: String,
}

impl Manifest {
    pub(crate) fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or("")
    }

    pub(crate) fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or("")
    }

    pub(crate) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or("")
    }

    /// The object's own namespace; another one than asked for is refused.
    pub(crate) fn namespace(&self, asked: Option<&str>, default: &str) -> Result<String, Error> {
        let own = self.object["metadata"]["namespace"].as_str().filter(|n| !n.is_empty());
        match (own, asked) {
            (Some(own), Some(asked)) if own != asked => Err(Error::local(format!(
                "the namespace from the provided object \"{own}\" does not match the namespace \"{asked}\". You must \
                 pass '--namespace={own}' to perform this operation."
            ))),
            (Some(own), _) => Ok(own.to_owned()),
            (None, asked) => Ok(asked.unwrap_or(default).to_owned()),
        }
    }
}

pub(crate) fn read_all(paths: &[String], recursive: bool) -> Result<Vec<Manifest>, Error> {
    if paths.is_empty() {
        return Err(Error::local("must specify one of -f and -k"));
    }
    let mut found = Vec::new();
    for path in paths.iter().flat_map(|p| p.split(',')) {
        if path == "-" {
            let mut text = String::new();
            std::io::stdin().take(BYTES_MAX).read_to_string(&mut text)?;
            parse(&text, "STDIN", &mut found)?;
            continue;
        }
        for file in files(Path::new(path), recursive)? {
            let shown = file.display().to_string();
            let text = std::fs::read_to_string(&file)
                .map_err(|e| Error::local(format!("cannot read \"{shown}\": {e}")))?;
            parse(&text, &shown, &mut found)?;
        }
    }
    if found.is_empty() {
        return Err(Error::local("no objects passed to apply"));
    }
    Ok(found)
}

fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Error> {
    let shown = path.display();
    if !path.exists() {
        return Err(Error::local(format!("the path \"{shown}\" does not exist")));
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?.flatten().map(|e| e.path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let known = entry.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if entry.is_dir() && recursive {
            found.extend(files(&entry, true)?);
        } else if entry.is_file() && known {
            found.push(entry);
        }
    }
    Ok(found)
}

fn parse(text: &str, source: &str, found: &mut Vec<Manifest>) -> Result<(), Error> {
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|e| {
            Error::local(format!("error parsing {source}: error converting YAML to JSON: {e}"))
        })?;
        push(value, source, found)?;
    }
    Ok(())
}

fn push(value: Value, source: &str, found: &mut Vec<Manifest>) -> Result<(), Error> {
    if value.is_null() {
        return Ok(());
    }
    if value["kind"].as_str().is_some_and(|k| k.ends_with("List")) && value["items"].is_array() {
        for item in value["items"].as_array().into_iter().flatten() {
            push(item.clone(), source, found)?;
        }
        return Ok(());
    }
    for (field, shown) in [("apiVersion", "apiVersion not set"), ("kind", "kind not set")] {
        if value[field].as_str().unwrap_or("").is_empty() {
            return Err(Error::local(format!(
                "error validating \"{source}\": error validating data: {shown}; if you choose to ignore these errors, \
                 turn validation off with --validate=false"
            )));
        }
    }
    found.push(Manifest { object: value, source: source.to_owned() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_unfolded() {
        let mut found = Vec::new();
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: b}\n";
        parse(text, "x", &mut found).unwrap();
        let names: Vec<_> = found.iter().map(|m| (m.kind(), m.name())).collect();
        assert_eq!(names, [("ConfigMap", "a"), ("Secret", "b")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut found = Vec::new();
        let error = parse("kind: Pod\n", "p.yaml", &mut found).unwrap_err().to_string();
        assert!(error.contains("\"p.yaml\"") && error.contains("apiVersion not set"), "{error}");
        let error = parse("a: [", "p.yaml", &mut found).unwrap_err().to_string();
        assert!(error.contains("line"), "{error}");
    }
}
