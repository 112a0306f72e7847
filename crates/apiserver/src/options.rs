//! The typed options that a URL's query spells: how to write, list, watch and delete.

use coracle_api::Status;
use coracle_api::field::{Errors, Path};
use coracle_api::path::Query;
use serde_json::{Value, json};

/// The first value of `key`, or "".
pub fn text<'a>(q: &'a Query, key: &str) -> &'a str {
    q.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str())
}

fn has(q: &Query, key: &str) -> bool {
    q.get(key).is_some()
}

/// An integer option, or the reference's refusal.
pub fn integer(q: &Query, key: &str) -> Result<Option<i64>, Status> {
    match text(q, key) {
        "" => Ok(None),
        v => v.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing {}: invalid syntax",
                coracle_api::field::go_quote(v)
            ))
        }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// What create, update and patch share.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// Of a server-side apply.
    pub force: Option<bool>,
    /// Whether the write is a server-side apply, which keeps its own account of who owns what.
    pub is_applied: bool,
}

/// The longest name of a field manager, as the reference's `FieldManagerMaxLength`.
const MAX_MANAGER_LENGTH: usize = 128;

impl WriteOptions {
    /// `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`, for the words of a refusal.
    pub fn parse(q: &Query, kind: &str) -> Result<WriteOptions, Status> {
        let mut errs = Errors::default();
        let manager = text(q, "fieldManager").to_owned();
        if manager.len() > MAX_MANAGER_LENGTH {
            errs.too_long(&Path::new("fieldManager"), MAX_MANAGER_LENGTH);
        }
        if manager.chars().any(char::is_control) {
            errs.invalid(
                &Path::new("fieldManager"),
                &json!(manager),
                "should not contain non-printable characters",
            );
        }
        let dry_run = dry_run(q, &mut errs);
        let field_validation = match text(q, "fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let known = ["", "Ignore", "Strict", "Warn"];
                errs.not_supported(&Path::new("fieldValidation"), &json!(other), &known);
                FieldValidation::Warn
            }
        };
        let force = has(q, "force").then(|| q.flag("force"));
        refuse("meta.k8s.io", kind, &errs)?;
        Ok(WriteOptions { dry_run, field_manager: manager, field_validation, force, is_applied: false })
    }
}

fn dry_run(q: &Query, errs: &mut Errors) -> bool {
    let asked: Vec<&str> = q.all("dryRun").filter(|v| !v.is_empty()).collect();
    check_dry_run(&asked, errs)
}

/// Whether a `dryRun` list asks for one; `All` is the only word.
pub fn check_dry_run(asked: &[&str], errs: &mut Errors) -> bool {
    if asked.iter().any(|v| *v != "All") {
        errs.not_supported(&Path::new("dryRun"), &json!(asked), &["All"]);
    }
    !asked.is_empty()
}

/// `Err` where there is something to say.
pub fn refuse(group: &str, kind: &str, errs: &Errors) -> Result<(), Status> {
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid(group, kind, "", errs)) }
}

/// How a list or watch names the version that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Match {
    #[default]
    Unset,
    Exact,
    NotOlderThan,
}

#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
    pub watch: bool,
    pub bookmarks: bool,
    pub send_initial_events: Option<bool>,
    pub resource_version: String,
    pub version_match: Match,
    pub limit: i64,
    pub continue_token: String,
    pub timeout_seconds: Option<i64>,
}

impl ListOptions {
    pub fn parse(q: &Query) -> Result<ListOptions, Status> {
        let mut errs = Errors::default();
        let given = text(q, "resourceVersionMatch");
        let version_match = match given {
            "Exact" => Match::Exact,
            "NotOlderThan" => Match::NotOlderThan,
            _ => Match::Unset,
        };
        let options = ListOptions {
            label_selector: text(q, "labelSelector").into(),
            field_selector: text(q, "fieldSelector").into(),
            watch: q.flag("watch"),
            bookmarks: q.flag("allowWatchBookmarks"),
            send_initial_events: has(q, "sendInitialEvents").then(|| q.flag("sendInitialEvents")),
            resource_version: text(q, "resourceVersion").into(),
            version_match,
            limit: integer(q, "limit")?.unwrap_or(0),
            continue_token: text(q, "continue").into(),
            timeout_seconds: integer(q, "timeoutSeconds")?,
        };
        options.check(given, &mut errs);
        refuse("meta.k8s.io", "ListOptions", &errs)?;
        Ok(options)
    }

    /// As [`ListOptions::parse`], for a watch that the path and not the query asks for.
    pub fn parse_watch(q: &Query) -> Result<ListOptions, Status> {
        let mut q = q.clone();
        q.0.retain(|(k, _)| k != "watch");
        q.0.push(("watch".into(), "true".into()));
        ListOptions::parse(&q)
    }

    /// As `ValidateListOptions` of apimachinery, with the WatchList feature on.
    fn check(&self, given: &str, errs: &mut Errors) {
        let at = Path::new("resourceVersionMatch");
        if self.watch {
            return self.check_watch(given, errs);
        }
        if self.send_initial_events.is_some() {
            errs.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
        if given.is_empty() {
            return;
        }
        if !self.continue_token.is_empty() {
            errs.forbidden(&at, "resourceVersionMatch is forbidden when continue is provided");
        }
        if self.resource_version.is_empty() {
            errs.forbidden(&at, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if self.version_match == Match::Unset {
            errs.not_supported(&at, &json!(given), &["Exact", "NotOlderThan", ""]);
        }
        if self.version_match == Match::Exact && self.resource_version == "0" {
            errs.forbidden(&at, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }

    fn check_watch(&self, given: &str, errs: &mut Errors) {
        let at = Path::new("resourceVersionMatch");
        if self.send_initial_events.is_some() {
            if given.is_empty() {
                errs.forbidden(
                    &at,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            } else if self.version_match != Match::NotOlderThan {
                errs.not_supported(&at, &json!(given), &["NotOlderThan"]);
            }
        } else if !given.is_empty() {
            errs.forbidden(
                &at,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if !self.continue_token.is_empty() {
            errs.forbidden(&Path::new("continue"), "continue is forbidden for watch");
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    pub grace_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// The old spelling, still sent by some clients.
    pub orphan_dependents: Option<bool>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// From the body where there is one, else from the query.
    pub fn parse(q: &Query, body: Option<&Value>) -> Result<DeleteOptions, Status> {
        let from_query;
        let v = match body {
            Some(v) => v,
            None => {
                from_query = query_as_body(q)?;
                &from_query
            }
        };
        let mut errs = Errors::default();
        let asked: Vec<&str> = match v.get("dryRun").and_then(Value::as_array) {
            Some(words) => words.iter().filter_map(Value::as_str).collect(),
            None => q.all("dryRun").filter(|w| !w.is_empty()).collect(),
        };
        let dry_run = check_dry_run(&asked, &mut errs);
        let word = v.get("propagationPolicy").and_then(Value::as_str);
        let orphan_dependents = v.get("orphanDependents").and_then(Value::as_bool);
        let propagation = propagation(word, orphan_dependents, &mut errs);
        refuse("meta.k8s.io", "DeleteOptions", &errs)?;
        let pre = |k: &str| {
            v.get("preconditions").and_then(|p| p.get(k)).and_then(Value::as_str).map(str::to_owned)
        };
        Ok(DeleteOptions {
            grace_seconds: v.get("gracePeriodSeconds").and_then(Value::as_i64),
            propagation,
            orphan_dependents,
            uid: pre("uid"),
            resource_version: pre("resourceVersion"),
            dry_run,
        })
    }
}

fn propagation(word: Option<&str>, orphan: Option<bool>, errs: &mut Errors) -> Option<Propagation> {
    let at = Path::new("propagationPolicy");
    if word.is_some() && orphan.is_some() {
        errs.invalid(&at, &json!(word), "orphanDependents and deletionPropagation cannot be both set");
    }
    match word {
        None => None,
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            errs.not_supported(&at, &json!(other), &["Foreground", "Background", "Orphan", "nil"]);
            None
        }
    }
}

fn query_as_body(q: &Query) -> Result<Value, Status> {
    let mut v = json!({});
    if let Some(seconds) = integer(q, "gracePeriodSeconds")? {
        v["gracePeriodSeconds"] = json!(seconds);
    }
    if !text(q, "propagationPolicy").is_empty() {
        v["propagationPolicy"] = json!(text(q, "propagationPolicy"));
    }
    if has(q, "orphanDependents") {
        v["orphanDependents"] = json!(q.flag("orphanDependents"));
    }
    Ok(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_options_are_refused_in_the_recorded_words() {
        let said = |q: &str| ListOptions::parse(&Query::parse(q)).unwrap_err().message;
        assert_eq!(
            said("resourceVersionMatch=Exact"),
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is \
             forbidden unless resourceVersion is provided"
        );
        assert_eq!(said("limit=x"), "strconv.ParseInt: parsing \"x\": invalid syntax");
    }
}
