//! What Go's struct tags say and OpenAPI does not: `xtask/data/go.txt`, whose head explains it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

#[derive(Debug, Default)]
pub(crate) struct Notes(HashMap<(String, String), Note>);

#[derive(Debug, Clone)]
pub(crate) struct Note {
    /// How the field is written, where it is not by the rule.
    pub(crate) emit: Option<char>,
    /// The type as errors name it, where it does not follow from the schema.
    pub(crate) type_name: Option<String>,
}

impl Notes {
    pub(crate) fn read(file: &Path) -> Result<Notes> {
        let mut notes = Notes::default();
        let mut definition = String::new();
        for line in std::fs::read_to_string(file)?.lines().filter(|l| !l.starts_with('#')) {
            let Some(field) = line.strip_prefix(' ') else {
                definition = line.to_owned();
                continue;
            };
            let words: Vec<&str> = field.split(' ').collect();
            let [name, emit, rest @ ..] = words.as_slice() else {
                bail!("{definition}: cannot read {line:?}")
            };
            let emit = emit.chars().next().filter(|c| *c != '-');
            let type_name = rest.first().map(|t| (*t).to_owned());
            notes.0.insert((definition.clone(), (*name).to_owned()), Note { emit, type_name });
        }
        Ok(notes)
    }

    pub(crate) fn of(&self, definition: &str, field: &str) -> Option<&Note> {
        self.0.get(&(definition.to_owned(), field.to_owned()))
    }

    /// Fails where a note is about a field that is not there, so that the file cannot go stale.
    pub(crate) fn check(&self, is_field: impl Fn(&str, &str) -> bool) -> Result<()> {
        let stale = self.0.keys().find(|(d, f)| !is_field(d, f));
        stale.map_or(Ok(()), |(d, f)| None.with_context(|| format!("go.txt: there is no field {f} in {d}")))
    }
}
