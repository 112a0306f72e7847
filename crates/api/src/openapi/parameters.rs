//! The parameters of operations: which verbs take which, and how they are written.

use serde_json::{Map, Value, json};

use super::Edition;

/// A query parameter and its type.
type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter = ("pretty", "string", "'true' asks for indented output");
const DRY_RUN: Parameter = ("dryRun", "string", "'All' goes through every step and stores nothing");
const FIELD_MANAGER: Parameter =
    ("fieldManager", "string", "the name under which the fields set here are managed");
const FIELD_VALIDATION: Parameter =
    ("fieldValidation", "string", "what unknown and doubled fields lead to: Ignore, Warn or Strict");
const FORCE: Parameter = ("force", "boolean", "take fields over from other managers; only for apply patches");
const LABEL_SELECTOR: Parameter = ("labelSelector", "string", "only objects whose labels fit");
const FIELD_SELECTOR: Parameter = ("fieldSelector", "string", "only objects whose fields fit");
const LIMIT: Parameter = ("limit", "integer", "the most items to answer with at a time");
const CONTINUE: Parameter = ("continue", "string", "the token with which the page before ended");
const RESOURCE_VERSION: Parameter = ("resourceVersion", "string", "the version to answer from");
const RESOURCE_VERSION_MATCH: Parameter =
    ("resourceVersionMatch", "string", "how resourceVersion is meant: Exact or NotOlderThan");
const SEND_INITIAL_EVENTS: Parameter =
    ("sendInitialEvents", "boolean", "begin the watch with the objects that there are");
const TIMEOUT_SECONDS: Parameter = ("timeoutSeconds", "integer", "how long a list or watch may take");
const ALLOW_WATCH_BOOKMARKS: Parameter =
    ("allowWatchBookmarks", "boolean", "send events that only tell how far the watch has come");
const WATCH: Parameter = ("watch", "boolean", "stream what changes");
const GRACE: Parameter = ("gracePeriodSeconds", "integer", "how long the object may take to go");
const ORPHAN: Parameter = ("orphanDependents", "boolean", "older form of propagationPolicy");
const PROPAGATION: Parameter =
    ("propagationPolicy", "string", "what becomes of dependents: Orphan, Background or Foreground");
const IGNORE_READ_ERROR: Parameter = (
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "boolean",
    "delete even what cannot be read from the store",
);

/// The query parameters of an action, as `x-kubernetes-action` names it.
pub(super) fn of_action(edition: Edition, action: &str) -> Vec<Value> {
    let list = [
        ALLOW_WATCH_BOOKMARKS,
        CONTINUE,
        FIELD_SELECTOR,
        LABEL_SELECTOR,
        LIMIT,
        RESOURCE_VERSION,
        RESOURCE_VERSION_MATCH,
        SEND_INITIAL_EVENTS,
        TIMEOUT_SECONDS,
        WATCH,
    ];
    let delete = [DRY_RUN, GRACE, IGNORE_READ_ERROR, ORPHAN, PROPAGATION];
    let chosen: Vec<Parameter> = match action {
        "list" | "watch" | "watchlist" => list.to_vec(),
        "post" | "put" => vec![DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION],
        "patch" => vec![DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE],
        "delete" => delete.to_vec(),
        "deletecollection" => {
            let lists = list.into_iter().filter(|p| !matches!(p.0, "allowWatchBookmarks" | "watch"));
            lists.chain(delete).collect()
        }
        _ => Vec::new(),
    };
    chosen.into_iter().map(|p| query(edition, p)).collect()
}

pub(super) fn pretty(edition: Edition) -> Value {
    query(edition, PRETTY)
}

/// A parameter of the path itself: `name`, `namespace`, or the rest of a proxied `path`.
pub(super) fn in_path(edition: Edition, name: &str, description: &str) -> Value {
    parameter(edition, "path", (name, "string", description))
}

fn query(edition: Edition, p: Parameter) -> Value {
    parameter(edition, "query", p)
}

fn parameter(edition: Edition, place: &str, (name, ty, description): (&str, &str, &str)) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), json!(name));
    out.insert("in".into(), json!(place));
    out.insert("description".into(), json!(description));
    if place == "path" {
        out.insert("required".into(), json!(true));
    }
    match edition {
        Edition::V2 => out.insert("type".into(), json!(ty)),
        Edition::V3 => out.insert("schema".into(), json!({"type": ty})),
    };
    Value::Object(out)
}
