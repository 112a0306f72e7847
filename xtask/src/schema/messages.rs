//! Field numbers, and the order of Go's structs, from the generated messages of the crate `k8s-pb` and, for fields that
//! are newer than it, from `xtask/data/numbers.txt`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The messages of all packages, read as they are asked for.
#[derive(Debug)]
pub(crate) struct Messages {
    source: PathBuf,
    packages: HashMap<String, Package>,
    /// By definition: fields that the crate does not know.
    newer: HashMap<String, Vec<Field>>,
}

/// Messages by squashed name.
type Package = HashMap<String, Vec<Field>>;

#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// Letters and digits only, in lower case: Rust, protobuf and JSON spell one name in three ways.
    pub(crate) name: String,
    pub(crate) number: String,
    /// The squashed name of a single message's type.
    message: Option<String>,
}

pub(crate) fn squash(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl Messages {
    pub(crate) fn new(source: PathBuf, newer: &Path) -> Result<Messages> {
        Ok(Messages { source, packages: HashMap::new(), newer: read_newer(newer)? })
    }

    /// The fields of a definition in order. A message that JSON does not name is embedded: its fields stand in its
    /// place, their numbers a path.
    pub(crate) fn fields(&mut self, definition: &str, is_json: impl Fn(&str) -> bool) -> Result<Vec<Field>> {
        let (package, message) = definition.rsplit_once('.').context("a definition has a package")?;
        // A message that has only just become GA may be known by its beta alone; the two are the same.
        let beta = format!("{package}beta1");
        let mut found = package;
        for candidate in [package, &beta] {
            self.load(candidate)?;
            if self.packages[candidate].contains_key(&squash(message)) {
                found = candidate;
                break;
            }
        }
        let messages = &self.packages[found];
        let mut out = Vec::new();
        for field in messages.get(&squash(message)).into_iter().flatten() {
            let embedded = field.message.as_ref().and_then(|m| messages.get(m));
            match embedded.filter(|_| !is_json(&field.name)) {
                Some(inner) => flatten(messages, field, inner, &is_json, &mut out),
                None => out.push(field.clone()),
            }
        }
        for field in self.newer.remove(definition).into_iter().flatten() {
            ensure!(out.iter().all(|f| f.name != field.name), "numbers.txt: k8s-pb knows {}", field.name);
            out.push(field);
        }
        Ok(out)
    }

    /// Fails where a newer field was never asked for.
    pub(crate) fn check(&self) -> Result<()> {
        let stale: Vec<_> = self.newer.keys().collect();
        ensure!(stale.is_empty(), "numbers.txt: there are no such definitions: {stale:?}");
        Ok(())
    }

    fn load(&mut self, package: &str) -> Result<()> {
        if self.packages.contains_key(package) {
            return Ok(());
        }
        let folder = package.trim_start_matches("io.k8s.").replace('-', "_").replace('.', "/");
        let file = self.source.join(folder).join("mod.rs");
        // Some packages (version) have no messages at all.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        self.packages.insert(package.to_owned(), parse(&text));
        Ok(())
    }
}

/// The file's head explains its form.
fn read_newer(file: &Path) -> Result<HashMap<String, Vec<Field>>> {
    let mut out: HashMap<String, Vec<Field>> = HashMap::new();
    let mut definition = String::new();
    for line in std::fs::read_to_string(file)?.lines().filter(|l| !l.starts_with('#')) {
        match line.strip_prefix(' ') {
            None => definition = line.to_owned(),
            Some(field) => {
                let (name, number) =
                    field.split_once(' ').with_context(|| format!("cannot read {line:?}"))?;
                let field = Field { name: squash(name), number: number.to_owned(), message: None };
                out.entry(definition.clone()).or_default().push(field);
            }
        }
    }
    Ok(out)
}

fn flatten(
    messages: &Package,
    outer: &Field,
    inner: &[Field],
    is_json: &impl Fn(&str) -> bool,
    out: &mut Vec<Field>,
) {
    for field in inner {
        let field = Field { number: format!("{}.{}", outer.number, field.number), ..field.clone() };
        match field.message.as_ref().and_then(|m| messages.get(m)).filter(|_| !is_json(&field.name)) {
            Some(deeper) => flatten(messages, &field, deeper, is_json, out),
            None => out.push(field),
        }
    }
}

fn parse(text: &str) -> Package {
    let mut out = Package::new();
    let (mut message, mut number) = (String::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            message = squash(rest.trim_end_matches('{').trim());
            out.insert(message.clone(), Vec::new());
        } else if let Some(rest) = line.strip_prefix("#[prost(") {
            number = rest
                .split("tag = \"")
                .nth(1)
                .or_else(|| rest.split("tag=\"").nth(1))
                .and_then(|t| t.split('"').next())
                .unwrap_or("")
                .to_owned();
        } else if let Some((name, ty)) = line.strip_prefix("pub ").and_then(|l| l.split_once(":")) {
            // A long type stands on the next line; those are never embedded.
            let ty = ty.trim();
            let is_single = ty.starts_with("::core::option::Option<");
            let inner = ty.rsplit('<').next().unwrap_or("").trim_end_matches([',', '>']);
            out.entry(message.clone()).or_default().push(Field {
                name: squash(name.trim_start_matches("r#")),
                number: std::mem::take(&mut number),
                message: (is_single && !inner.contains("::")).then(|| squash(inner)),
            });
        }
    }
    out
}
