//! `metadata.managedFields`: who wrote which field. This half follows creates, updates and non-apply patches.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::compare::{self, Diff};
use super::facts::Facts;
use super::fieldset::Set;
use crate::object;

/// How many entries of operation `Update` an object keeps before the oldest are folded into one: the reference's own
/// bound, so that one write a controller cannot grow an object for ever.
pub const MAX_UPDATE_MANAGERS: usize = 10;

/// Under this name the entries beyond [`MAX_UPDATE_MANAGERS`] are folded.
const ANCIENT: &str = "ancient-changes";

/// The longest manager name: what the reference takes of a User-Agent.
const MAX_MANAGER_BYTES: usize = 128;

/// Fields that belong to the system: nobody owns them.
const STRIPPED: [&str; 12] = [
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
];

/// Who writes, where and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub api_version: &'a str,
    /// RFC 3339, whole seconds.
    pub now: &'a str,
    /// Paths that this write cannot change (`status` of the object itself, `spec` of its status).
    pub ignored: &'a [&'a str],
}

/// The manager's name: the one that was asked for, or the User-Agent up to its first slash.
pub fn manager_name(field_manager: &str, user_agent: &str) -> String {
    if !field_manager.is_empty() {
        return field_manager.to_owned();
    }
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or("").chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MAX_MANAGER_BYTES {
            break;
        }
        name.push(c);
    }
    name
}

/// One entry, with its fields read.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) manager: Cow<'a, str>,
    pub(super) applied: bool,
    pub(super) api_version: Cow<'a, str>,
    pub(super) time: Cow<'a, str>,
    pub(super) subresource: Cow<'a, str>,
    pub(super) fields: Set<'a>,
    /// What it was read from, as long as it still says that. Taking it over costs half of writing it anew.
    pub(super) source: Option<&'a Value>,
}

impl<'a> Entry<'a> {
    fn read(v: &'a Value) -> Option<Entry<'a>> {
        let text = |key| Cow::Borrowed(object::text(v, &[key]));
        let applied = match object::text(v, &["operation"]) {
            "Apply" => true,
            "Update" => false,
            _ => return None,
        };
        if object::text(v, &["fieldsType"]) != "FieldsV1" {
            return None;
        }
        Some(Entry {
            manager: text("manager"),
            applied,
            api_version: text("apiVersion"),
            time: text("time"),
            subresource: text("subresource"),
            fields: match object::at(v, &["fieldsV1"]) {
                Value::Null => Set::default(),
                fields => Set::parse(fields)?,
            },
            source: Some(v),
        })
    }

    /// To be changed from what was read.
    fn changed(&mut self) -> &mut Entry<'a> {
        self.source = None;
        self
    }

    pub(super) fn is(&self, manager: &str, applied: bool, api_version: &str, subresource: &str) -> bool {
        // What somebody applies has one entry, in the version of the last time.
        self.manager == manager
            && self.applied == applied
            && (applied || self.api_version == api_version)
            && self.subresource == subresource
    }

    fn write(&self) -> Value {
        if let Some(source) = self.source {
            return source.clone();
        }
        let mut out = Map::with_capacity(7);
        out.insert("manager".to_owned(), json!(self.manager));
        out.insert("operation".to_owned(), json!(if self.applied { "Apply" } else { "Update" }));
        out.insert("apiVersion".to_owned(), json!(self.api_version));
        if !self.time.is_empty() {
            out.insert("time".to_owned(), json!(self.time));
        }
        out.insert("fieldsType".to_owned(), json!("FieldsV1"));
        out.insert("fieldsV1".to_owned(), self.fields.encode());
        if !self.subresource.is_empty() {
            out.insert("subresource".to_owned(), json!(self.subresource));
        }
        Value::Object(out)
    }

    /// The order in which entries are kept.
    fn order(&self, other: &Entry<'_>) -> Ordering {
        // Apply comes before Update. RFC 3339 in UTC sorts as the times do.
        (other.applied, &self.time, &self.manager, &self.api_version, &self.subresource).cmp(&(
            self.applied,
            &other.time,
            &other.manager,
            &other.api_version,
            &other.subresource,
        ))
    }
}

/// An object's entries; `None` where one of them cannot be read.
pub(super) fn read<'a>(obj: &'a Value) -> Option<Vec<Entry<'a>>> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for item in object::items(obj, &["metadata", "managedFields"]) {
        let entry = Entry::read(item)?;
        // Two entries for one manager: the later one counts.
        entries.retain(|e| !e.is(&entry.manager, entry.applied, &entry.api_version, &entry.subresource));
        entries.push(entry);
    }
    Some(entries)
}

pub(super) fn write(mut entries: Vec<Entry<'_>>) -> Value {
    entries.sort_by(Entry::order);
    Value::Array(entries.iter().map(Entry::write).collect())
}

/// [`STRIPPED`] as a set.
pub(super) static NOBODYS: LazyLock<Set<'static>> = LazyLock::new(|| of_paths(&STRIPPED));

/// What a write cannot change: the writer's own such paths, and the account itself.
pub(super) fn ignored<'a>(paths: &[&'a str]) -> Set<'a> {
    of_paths(paths).union(Set::of_path("metadata.managedFields"))
}

fn of_paths<'a>(paths: &[&'a str]) -> Set<'a> {
    paths.iter().fold(Set::default(), |all, path| all.union(Set::of_path(path)))
}

/// Follows a create (`live` is `None`), an update or a patch into `new`'s managedFields.
///
/// To be called on the decoded and defaulted object, before admission changes it: what admission and the kind's rules
/// add has no owner. An object that nobody followed so far stays that way.
/// A kind without a schema has no facts: its maps are taken apart and its lists are not.
pub fn update<F: Facts>(facts: Option<F>, live: Option<&Value>, new: &mut Value, by: Writer<'_>) {
    update_with(facts, live, new, by, &[]);
}

/// A write as another version of the kind has it: by this the fields of those are judged who wrote in that one.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere<'a, F> {
    pub api_version: &'a str,
    pub facts: Option<F>,
    pub live: &'a Value,
    pub new: &'a Value,
}

/// As [`update`], of a kind whose fields have other names in other versions.
pub fn update_with<F: Facts>(
    facts: Option<F>,
    live: Option<&Value>,
    new: &mut Value,
    by: Writer<'_>,
    elsewhere: &[Elsewhere<'_, F>],
) {
    let sent = object::metadata_mut(new).shift_remove("managedFields");
    let sent = Value::Object(Map::from_iter([("metadata".to_owned(), json!({"managedFields": sent}))]));
    let after = follow(facts, live, &sent, new, by, elsewhere);
    if let Some(Value::Array(entries)) = after
        && !entries.is_empty()
    {
        set_managed_fields(new, Value::Array(entries));
    }
}

pub(super) fn set_managed_fields(obj: &mut Value, entries: Value) {
    object::metadata_mut(obj).insert("managedFields".to_owned(), entries);
}

/// The entries to start from. A client that sends none means the ones that are there; one empty entry means none.
fn starting<'a>(live: Option<&'a Value>, sent: &'a Value, subresource: &str) -> Vec<Entry<'a>> {
    let at = ["metadata", "managedFields"];
    let list = object::items(sent, &at);
    let known = live.map_or(&[][..], |live| object::items(live, &at));
    let live = || live.and_then(read).unwrap_or_default();
    // Most clients send back what they have read, and what is stored is in the order of sets already.
    let is_known = list.len() == known.len() && list.iter().zip(known).all(|(a, b)| object::equal(a, b));
    if !subresource.is_empty() || is_known {
        return live();
    }
    if let [Value::Object(only)] = list
        && only.values().all(|v| v.as_str() == Some("") || v.is_null())
    {
        return Vec::new();
    }
    match read(sent) {
        Some(mut entries) if !entries.is_empty() => {
            // The client's order may be any.
            entries.iter_mut().for_each(|entry| entry.source = None);
            entries
        }
        _ => live(),
    }
}

fn follow<F: Facts>(
    facts: Option<F>,
    live: Option<&Value>,
    sent: &Value,
    new: &Value,
    by: Writer<'_>,
    elsewhere: &[Elsewhere<'_, F>],
) -> Option<Value> {
    let mut entries = starting(live, sent, by.subresource);
    if entries.is_empty() && live.is_some() {
        return None;
    }
    let ignored = ignored(by.ignored);
    let diff = difference(facts, live, new, &ignored);
    let others: Vec<(&str, Diff<'_>)> = elsewhere
        .iter()
        .map(|e| (e.api_version, difference(e.facts, Some(e.live), e.new, &ignored)))
        .collect();
    let other = |e: &Entry<'_>| others.iter().find(|(version, _)| *version == e.api_version);
    take_from(&mut entries, |entry| other(entry).map_or(&diff, |(_, diff)| diff));
    let own = diff.changed.minus(&NOBODYS);
    give(&mut entries, own, by);
    cap(&mut entries);
    Some(write(entries))
}

/// What a write changes of the fields that it may change. An object that is not there yet is the type's zero value.
pub(super) fn difference<'a, F: Facts>(
    facts: Option<F>,
    live: Option<&'a Value>,
    new: &'a Value,
    ignored: &Set<'_>,
) -> Diff<'a> {
    let diff = compare::compare(facts, Some(live.unwrap_or(&Value::Null)), Some(new));
    Diff { changed: diff.changed.minus_below(ignored), removed: diff.removed.minus_below(ignored) }
}

/// Takes changed and removed fields from everyone; who has nothing left is gone.
pub(super) fn take_from<'d, 's: 'd>(
    entries: &mut Vec<Entry<'_>>,
    difference: impl Fn(&Entry<'_>) -> &'d Diff<'s>,
) {
    for entry in entries.iter_mut() {
        let diff = difference(entry);
        if !entry.fields.meets(&diff.changed) && !entry.fields.meets(&diff.removed) {
            continue;
        }
        let entry = entry.changed();
        let fields = std::mem::take(&mut entry.fields);
        entry.fields = fields.minus(&diff.changed).minus(&diff.removed);
    }
    entries.retain(|e| !e.fields.is_empty());
}

/// Adds fields to the writer's entry, which is made where it is missing. Nothing new leaves the time as it was.
fn give<'a>(entries: &mut Vec<Entry<'a>>, own: Set<'a>, by: Writer<'a>) {
    if own.is_empty() {
        return;
    }
    let mine = |e: &&mut Entry<'a>| e.is(by.manager, false, by.api_version, by.subresource);
    match entries.iter_mut().find(mine) {
        Some(entry) => {
            let entry = entry.changed();
            entry.fields = std::mem::take(&mut entry.fields).union(own);
            entry.time = Cow::Borrowed(by.now);
        }
        None => entries.push(Entry {
            manager: Cow::Borrowed(by.manager),
            applied: false,
            api_version: Cow::Borrowed(by.api_version),
            time: Cow::Borrowed(by.now),
            subresource: Cow::Borrowed(by.subresource),
            fields: own,
            source: None,
        }),
    }
}

/// Folds the oldest updaters of one version into a common entry while there are too many.
fn cap(entries: &mut Vec<Entry<'_>>) {
    let mut count = entries.iter().filter(|e| !e.applied).count();
    if count <= MAX_UPDATE_MANAGERS {
        return;
    }
    entries.sort_by(Entry::order);
    let first = entries.iter().position(|e| !e.applied).unwrap_or(0);
    let mut updaters = entries.split_off(first);
    let mut i = 0;
    while i < updaters.len() && count > MAX_UPDATE_MANAGERS {
        let version = updaters[i].api_version.clone();
        match updaters[..i].iter().position(|e| e.api_version == version) {
            None => i += 1,
            Some(bucket) => {
                let folded = updaters.remove(i);
                let bucket = updaters[bucket].changed();
                bucket.manager = Cow::Borrowed(ANCIENT);
                bucket.subresource = Cow::Borrowed("");
                bucket.time = folded.time;
                bucket.fields = std::mem::take(&mut bucket.fields).union(folded.fields);
                count -= 1;
            }
        }
    }
    entries.append(&mut updaters);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::model::{Model, schema};

    fn by<'a>(manager: &'a str, now: &'a str) -> Writer<'a> {
        Writer { manager, subresource: "", api_version: "v1", now, ignored: &["status"] }
    }

    fn write_as(live: Option<&Value>, new: &Value, by: Writer<'_>) -> Value {
        let schema = schema();
        let mut new = new.clone();
        update(Some(Model(&schema)), live, &mut new, by);
        new
    }

    fn gist(obj: &Value) -> Vec<String> {
        let line = |e: &Value| {
            let at = |k: &str| e[k].as_str().unwrap_or("").to_owned();
            format!(
                "{} {} {} {} {}",
                at("manager"),
                at("operation"),
                at("subresource"),
                at("time"),
                e["fieldsV1"]
            )
        };
        object::items(obj, &["metadata", "managedFields"]).iter().map(line).collect()
    }

    #[test]
    fn a_create_owns_what_it_sets() {
        let cm = json!({"kind": "ConfigMap", "metadata": {"name": "a", "uid": "u", "labels": {"l": "1"}}, "data": {"x": "1"}});
        let cm = write_as(None, &cm, by("contract", "T1"));
        let want = r#"{"f:data":{".":{},"f:x":{}},"f:metadata":{"f:labels":{".":{},"f:l":{}}}}"#;
        assert_eq!(gist(&cm), [format!("contract Update  T1 {want}")]);
        let entry = &cm["metadata"]["managedFields"][0];
        let keys: Vec<_> = entry.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]);
    }

    #[test]
    fn structs_that_are_always_there_are_nobodys() {
        let d = json!({"kind": "Deployment", "metadata": {"name": "d"}, "status": {"phase": "x"}, "spec": {"replicas": 1,
            "selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "R", "rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"k": "v"}, "containers": [
                {"name": "main", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {}}]}}}});
        let d = write_as(None, &d, by("kubectl", "T1"));
        let ports = json!({".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}}});
        let main = json!({".": {}, "f:image": {}, "f:name": {}, "f:ports": ports, "f:resources": {}});
        let want = json!({"f:spec": {
            "f:replicas": {}, "f:selector": {}, "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {
                "f:containers": {"k:{\"name\":\"main\"}": main}, "f:nodeSelector": {}}}}});
        assert_eq!(d["metadata"]["managedFields"][0]["fieldsV1"], want);
    }

    #[test]
    fn changes_move_between_managers_and_nothing_keeps_the_time() {
        let v1 = write_as(
            None,
            &json!({"metadata": {"name": "a", "uid": "u"}, "data": {"x": "1", "y": "1"}}),
            by("one", "T1"),
        );
        // A client that knows nothing of managedFields changes x and drops y.
        let mut v2 = v1.clone();
        v2["metadata"].as_object_mut().unwrap().remove("managedFields");
        v2["data"] = json!({"x": "2"});
        let v2 = write_as(Some(&v1), &v2, by("two", "T2"));
        assert_eq!(gist(&v2), [r#"one Update  T1 {"f:data":{}}"#, r#"two Update  T2 {"f:data":{"f:x":{}}}"#]);
        let v3 = write_as(Some(&v2), &v2.clone(), by("three", "T3"));
        assert_eq!(v3, v2);
        // The status belongs to another write; a manager that loses everything is gone.
        let mut v4 = v3.clone();
        v4["data"] = json!({"x": "3"});
        v4["status"] = json!({"phase": "Running"});
        let v4 = write_as(Some(&v3), &v4, by("one", "T4"));
        assert_eq!(gist(&v4), [r#"one Update  T4 {"f:data":{".":{},"f:x":{}}}"#]);
        let mut v5 = v4.clone();
        v5["status"] = json!({"phase": "Failed"});
        let status = Writer { subresource: "status", ignored: &["spec"], ..by("one", "T5") };
        assert_eq!(
            gist(&write_as(Some(&v4), &v5, status))[1],
            r#"one Update status T5 {"f:status":{"f:phase":{}}}"#
        );
    }

    #[test]
    fn an_untracked_object_stays_so_and_a_reset_clears() {
        let v1 = json!({"metadata": {"name": "a", "uid": "u"}, "data": {"x": "1"}});
        let v2 = json!({"metadata": {"name": "a", "uid": "u"}, "data": {"x": "2"}});
        assert!(gist(&write_as(Some(&v1), &v2, by("one", "T1"))).is_empty());
        let v1 = write_as(None, &v1, by("one", "T1"));
        let mut reset = v1.clone();
        reset["metadata"]["managedFields"] = json!([{}]);
        assert!(gist(&write_as(Some(&v1), &reset, by("one", "T2"))).is_empty());
    }

    #[test]
    fn old_updaters_are_folded() {
        let mut live = write_as(
            None,
            &json!({"metadata": {"name": "a", "uid": "u"}, "data": {"k": "v"}}),
            by("m00", "T00"),
        );
        for i in 1..=12 {
            let mut new = live.clone();
            new["data"][format!("k{i}")] = json!("v");
            live = write_as(Some(&live), &new, by(&format!("m{i:02}"), &format!("T{i:02}")));
        }
        let managers: Vec<String> =
            gist(&live).iter().map(|l| l.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(managers.len(), MAX_UPDATE_MANAGERS);
        assert_eq!(managers[0], ANCIENT);
        assert_eq!(managers[9], "m12");
    }

    #[test]
    fn names_a_manager_by_its_user_agent() {
        assert_eq!(manager_name("", "kubectl/v1.36 (linux)"), "kubectl");
        assert_eq!(manager_name("me", "kubectl/v1.36"), "me");
        assert_eq!(manager_name("", &"x".repeat(200)).len(), MAX_MANAGER_BYTES);
    }

    #[test]
    fn owns_what_the_reference_recorded() {
        let Some(answers) = crate::golden::answers() else { return };
        let schemas = crate::schema::Schemas::builtin();
        let mut checked = 0;
        for case in [
            "inpod/role",
            "inpod/role-binding",
            "rbac/sa-without-namespace",
            "rbac/user-default-group",
            "rbac/grant-not-held",
            "rbac/bind-missing-role",
            "crud/create",
            "crud/dry-run-create",
            "kinds/namespace",
        ] {
            let want = &answers[case]["body"];
            if want["kind"] == "Status" {
                continue;
            }
            let kind = crate::kinds::KINDS.iter().find(|k| *k.kind == want["kind"]).unwrap();
            let mut obj = want.clone();
            object::metadata_mut(&mut obj).shift_remove("managedFields");
            if case == "kinds/namespace" {
                // The finalizer came after the request was followed, from the kind's own preparation.
                obj["spec"] = json!({});
            }
            let api_version = kind.api_version();
            let by = Writer { api_version: &api_version, ..by("contract", "<time>") };
            update(schemas.of(kind), None, &mut obj, by);
            assert_eq!(obj["metadata"]["managedFields"], want["metadata"]["managedFields"], "{case}");
            checked += 1;
        }
        assert!(checked > 4, "{checked}");
    }
}
