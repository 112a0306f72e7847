//! Levels and versions of the Pod security standards, and what a Namespace's labels say of them.

use std::fmt::{self, Display};

use coracle_api::field::{Errors, Path};
use coracle_api::object::at;
use serde_json::{Value, json};

pub(super) const PREFIX: &str = "pod-security.kubernetes.io/";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Level> {
        [Level::Privileged, Level::Baseline, Level::Restricted].into_iter().find(|l| l.to_string() == text)
    }
}

impl Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })
    }
}

/// `v1.x`, or whatever is newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Minor(u32),
    Latest,
}

impl Version {
    fn parse(text: &str) -> Option<Version> {
        if text == "latest" {
            return Some(Version::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let is_number =
            minor.bytes().all(|b| b.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
        minor.parse().ok().filter(|_| is_number).map(Version::Minor)
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Minor(minor) => write!(f, "v1.{minor}"),
            Version::Latest => f.write_str("latest"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub level: Level,
    pub version: Version,
}

impl Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a Namespace asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub enforce: Bound,
    pub audit: Bound,
    pub warn: Bound,
}

impl Policy {
    /// By a Namespace's labels. What cannot be read is taken strictly where it is enforced, and else for nothing.
    pub(super) fn of(namespace: &Value) -> (Policy, Errors) {
        let mut errs = Errors::default();
        let mut of = |mode: &str, otherwise: Level| {
            let level = read(namespace, mode, Level::parse, WHAT_LEVELS, &mut errs);
            let version =
                read(namespace, &format!("{mode}-version"), Version::parse, WHAT_VERSIONS, &mut errs);
            Bound {
                level: level.map_or(Level::Privileged, |l| l.unwrap_or(otherwise)),
                version: version.flatten().unwrap_or(Version::Latest),
            }
        };
        let enforce = of("enforce", Level::Restricted);
        let audit = of("audit", Level::Privileged);
        let warn = of("warn", Level::Privileged);
        (Policy { enforce, audit, warn }, errs)
    }

    pub(super) fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|b| b.level == Level::Privileged)
    }
}

const WHAT_LEVELS: &str = "must be one of privileged, baseline, restricted";
const WHAT_VERSIONS: &str = "must be \"latest\" or \"v1.x\"";

/// `None` where there is no such label, `Some(None)` where it makes no sense.
fn read<T>(
    namespace: &Value,
    label: &str,
    parse: fn(&str) -> Option<T>,
    what: &str,
    errs: &mut Errors,
) -> Option<Option<T>> {
    let label = format!("{PREFIX}{label}");
    let said = at(namespace, &["metadata", "labels", &label]).as_str()?;
    let parsed = parse(said);
    if parsed.is_none() {
        errs.invalid(&Path::new("metadata.labels").key(&label), &json!(said), what);
    }
    Some(parsed)
}
