//! The rules of Events, in the core group and in events.k8s.io: two views of the same objects.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::at::At;
use crate::field::Errors;
use crate::names;
use crate::object::{at, map_mut, text};
use crate::rules::{Cx, Rules, Write, facts, selectable};

/// `v1` Events.
#[derive(Debug)]
pub struct Event;

/// `events.k8s.io/v1` Events.
#[derive(Debug)]
pub struct NewEvent;

/// The longest reason, action, reporting instance and note.
const REASON_MAX: usize = 128;
const ACTION_MAX: usize = 128;
const INSTANCE_MAX: usize = 128;
const NOTE_MAX: usize = 1024;

/// kube-apiserver's `--event-ttl`.
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

/// The old name and the new one of what both views have.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

impl Rules for Event {
    fn time_to_live(&self) -> Option<Duration> {
        Some(TIME_TO_LIVE)
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let event = At::root(obj);
        involved_namespace(&event, errs);
        if event.peek("eventTime").is_null() {
            return;
        }
        let controller = event.get("reportingComponent");
        if controller.is_empty() {
            errs.required(&controller.path, "");
        }
        errs.bad_texts(&controller, names::qualified(controller.text()));
        limits(&event, errs);
    }

    selectable![
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type"
    ];

    fn field(&self, obj: &Value, path: &str) -> String {
        field(obj, path)
    }

    facts!(uncounted, upsert);
}

impl Rules for NewEvent {
    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let event = At::root(obj);
        let is_new = text(obj, &["metadata", "resourceVersion"]).is_empty();
        // Events that came in the old way need not be what new ones must be.
        if is_new {
            strict(&event, errs);
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) {
        if write != Write::Main {
            return;
        }
        let new = At::root(obj);
        for key in ["regarding", "reason", "action", "reportingController", "reportingInstance", "type"] {
            errs.immutable(&new.get(key), at(old, &[key]));
        }
    }

    fn prepare_create(&self, _cx: &Cx, _obj: &mut Value) {}

    selectable![
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type"
    ];

    fn field(&self, obj: &Value, path: &str) -> String {
        field(obj, path)
    }

    fn to_served(&self, obj: &mut Value) {
        let map = map_mut(obj);
        for (old, new) in RENAMED {
            rename(map, old, new);
        }
        // What this view always has, and what it leaves out where it is empty.
        map.entry("deprecatedSource").or_insert_with(|| json!({}));
        for time in ["eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
            map.entry(time).or_insert(Value::Null);
        }
        if map.get("reportingInstance").and_then(Value::as_str) == Some("") {
            map.shift_remove("reportingInstance");
        }
        map.insert("apiVersion".into(), "events.k8s.io/v1".into());
    }

    fn to_stored(&self, obj: &mut Value) {
        let map = map_mut(obj);
        for (old, new) in RENAMED {
            rename(map, new, old);
        }
        map.insert("apiVersion".into(), "v1".into());
    }

    facts!(uncounted, upsert);
}

/// What is empty in one view is left out of the other, whose defaults differ.
fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.shift_remove(from) {
        let empty = value.is_null() || value.as_str() == Some("") || value.as_i64() == Some(0);
        if !empty {
            map.insert(to.to_owned(), value);
        }
    }
}

/// The value by its old or its new name, whichever form the object is in.
fn field(obj: &Value, path: &str) -> String {
    let (head, rest) = path.split_once('.').unwrap_or((path, ""));
    let other = RENAMED
        .iter()
        .find_map(|(old, new)| (*old == head).then_some(*new).or((*new == head).then_some(*old)));
    let top = obj.get(head).or_else(|| obj.get(other?)).unwrap_or(&Value::Null);
    match head {
        "source" => {
            let component = text(top, &["component"]);
            if component.is_empty() { field(obj, "reportingComponent") } else { component.to_owned() }
        }
        _ if rest.is_empty() => top.as_str().unwrap_or("").to_owned(),
        _ => text(top, &[rest]).to_owned(),
    }
}

/// An event lives where its object lives; that of an object without a namespace in `default`.
fn involved_namespace(event: &At<'_>, errs: &mut Errors) {
    let involved = event.get("involvedObject").get("namespace");
    let own = event.get("metadata").peek_text("namespace");
    let right = if involved.is_empty() { ["", "default"].contains(&own) } else { own == involved.text() };
    if !right {
        errs.bad_text(&involved, "does not match event.namespace");
    }
}

fn limits(event: &At<'_>, errs: &mut Errors) {
    for (key, max) in [("reportingInstance", INSTANCE_MAX), ("action", ACTION_MAX), ("reason", REASON_MAX)] {
        let value = event.get(key);
        if value.is_empty() {
            errs.required(&value.path, "");
        }
        if value.text().len() > max {
            errs.bad_text(&value, format!("can have at most {max} characters"));
        }
    }
    if event.peek_text("message").len() > NOTE_MAX {
        errs.bad_text(&event.get("message"), format!("can have at most {NOTE_MAX} characters"));
    }
}

fn strict(event: &At<'_>, errs: &mut Errors) {
    if event.peek("eventTime").is_null() {
        errs.required(&event.get("eventTime").path, "");
    }
    let kind = event.get("type");
    if !["Normal", "Warning"].contains(&kind.text()) {
        errs.bad_text(&kind, "has invalid value: ");
    }
    for key in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
        let time = event.get(key);
        if time.is_set() {
            let name = key.trim_start_matches("deprecated");
            let path = crate::field::Path::new(&format!("{}{}", name[..1].to_lowercase(), &name[1..]));
            errs.invalid(&path, time.value, "needs to be unset");
        }
    }
    let controller = event.get("reportingController");
    if controller.is_empty() {
        errs.required(&controller.path, "");
    } else {
        errs.bad_texts(&controller, names::qualified(controller.text()));
    }
    limits(event, errs);
    if event.peek_text("note").len() > NOTE_MAX {
        errs.bad_text(&event.get("note"), format!("can have at most {NOTE_MAX} characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_event_reads_as_a_new_one_as_recorded() {
        let mut event = json!({
            "kind": "Event", "apiVersion": "v1", "involvedObject": {"kind": "Pod", "namespace": "n", "name": "p"},
            "reason": "Test", "message": "hi", "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "type": "Normal", "eventTime": null, "reportingComponent": "", "reportingInstance": "",
        });
        assert_eq!(NewEvent.field(&event, "involvedObject.name"), "p");
        NewEvent.to_served(&mut event);
        let recorded = json!({
            "kind": "Event", "apiVersion": "events.k8s.io/v1", "eventTime": null, "reason": "Test",
            "regarding": {"kind": "Pod", "namespace": "n", "name": "p"}, "note": "hi", "type": "Normal",
            "deprecatedSource": {}, "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null,
        });
        assert_eq!(event, recorded);
        assert_eq!(NewEvent.field(&event, "involvedObject.name"), "p");
    }
}
