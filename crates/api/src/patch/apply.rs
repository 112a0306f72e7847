//! Server-side apply: lay a manager's wishes over the live object, find whom that contradicts, drop what the manager no
//! longer wishes for.

use std::borrow::Cow;

use serde_json::Value;

use super::facts::Facts;
use super::fieldset::Set;
use super::managed::{self, Entry, Writer};
use super::typed;
use crate::field::go_quote;
use crate::object;
use crate::status::{Cause, Details, Status};

/// Who owns what was there before an object was first followed.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The applied object cannot be what it is.
    #[error("{0}")]
    Refused(String),
    /// The applied object does not fit its type; the reference answers 500.
    #[error("{0}")]
    NotTyped(String),
}

/// A path that another manager holds at another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// As messages name it: `"hpa" with subresource "scale" using apps/v1`.
    pub manager: String,
    pub path: String,
}

impl From<ApplyError> for Status {
    fn from(e: ApplyError) -> Status {
        let message = e.to_string();
        match e {
            ApplyError::Refused(_) => Status::bad_request(message),
            ApplyError::NotTyped(_) => Status::new(500, "", message),
            ApplyError::Conflicts(conflicts) => {
                let cause = |c: Conflict| Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    message: format!("conflict with {}", c.manager),
                    field: c.path,
                };
                let causes = conflicts.into_iter().map(cause).collect();
                Status::new(409, "Conflict", message).with_details(Details { causes, ..Details::default() })
            }
        }
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.path);
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.path));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

fn named(entry: &Entry<'_>) -> String {
    let mut name = go_quote(&entry.manager);
    if !entry.subresource.is_empty() {
        name.push_str(&format!(" with subresource {}", go_quote(&entry.subresource)));
    }
    if !entry.applied {
        name.push_str(&format!(" using {}", entry.api_version));
    }
    name
}

/// Applies `applied` for a manager: the new object with its managedFields, which the caller shapes, defaults, admits and
/// validates like any other. `live` is `None` where the object is not there yet. Takes conflicting fields if `force`.
pub fn apply<F: Facts>(
    facts: Option<F>,
    live: Option<&Value>,
    applied: &Value,
    by: Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    check(facts, applied, by)?;
    let mut merged = live.map_or_else(|| Value::Object(serde_json::Map::new()), without_managed_fields);
    let tracked = live.map(|live| tracked(facts, live, by));
    let mut entries = tracked.as_deref().and_then(managed::read).unwrap_or_default();
    let last = take_entry(&mut entries, by);

    let ignored = managed::ignored(by.ignored);
    let own = typed::field_set(facts, applied).minus_below(&ignored);
    typed::merge(facts, &mut merged, applied);
    let mut new = match &last {
        Some(last) => prune(facts, merged, &last.fields, &own, &entries),
        None => merged,
    };
    let diff = managed::difference(facts, live, &new, &ignored);
    if !force {
        let conflicts = conflicts(&entries, &diff.changed);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    managed::take_from(&mut entries, |_| &diff);

    let own = own.minus(&managed::NOBODYS);
    let unchanged = diff.changed.is_empty() && diff.removed.is_empty();
    let time = match last {
        Some(last) if unchanged && last.fields == own => last.time,
        _ => by.now.into(),
    };
    if !own.is_empty() {
        entries.push(Entry {
            manager: by.manager.into(),
            applied: true,
            api_version: by.api_version.into(),
            time,
            subresource: by.subresource.into(),
            fields: own,
            source: None,
        });
    }
    let entries = managed::write(entries);
    managed::set_managed_fields(&mut new, entries);
    Ok(new)
}

fn check<F: Facts>(facts: Option<F>, applied: &Value, by: Writer<'_>) -> Result<(), ApplyError> {
    let version = object::text(applied, &["apiVersion"]);
    if version != by.api_version {
        return Err(ApplyError::Refused(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            by.api_version
        )));
    }
    if !object::at(applied, &["metadata", "managedFields"]).is_null() {
        return Err(ApplyError::Refused("metadata.managedFields must be nil".to_owned()));
    }
    let errors = facts.map_or_else(Vec::new, |facts| typed::check(facts, applied));
    if errors.is_empty() {
        return Ok(());
    }
    let said = match errors.as_slice() {
        [only] => only.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Err(ApplyError::NotTyped(format!(
        "failed to create typed patch object ({}/{}; {group}/{version}, Kind={}): {said}",
        object::namespace(applied),
        object::name(applied),
        object::text(applied, &["kind"]),
    )))
}

/// The live object without the account of who owns what, which is as long as the rest.
fn without_managed_fields(live: &Value) -> Value {
    let Value::Object(members) = live else { return live.clone() };
    let copied = |(key, value): (&String, &Value)| match value {
        Value::Object(metadata) if key == "metadata" => {
            let kept = metadata.iter().filter(|(name, _)| *name != "managedFields");
            (key.clone(), Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
        }
        _ => (key.clone(), value.clone()),
    };
    Value::Object(members.iter().map(copied).collect())
}

/// The live object; where nobody has followed it so far, everything in it gets an owner.
fn tracked<'a, F: Facts>(facts: Option<F>, live: &'a Value, by: Writer<'_>) -> Cow<'a, Value> {
    if !object::items(live, &["metadata", "managedFields"]).is_empty() {
        return Cow::Borrowed(live);
    }
    let mut live = live.clone();
    managed::update(facts, None, &mut live, Writer { manager: BEFORE_FIRST_APPLY, ..by });
    Cow::Owned(live)
}

/// Takes the manager's own entry out.
fn take_entry<'a>(entries: &mut Vec<Entry<'a>>, by: Writer<'_>) -> Option<Entry<'a>> {
    let at = entries.iter().position(|e| e.is(by.manager, true, by.api_version, by.subresource))?;
    Some(entries.remove(at))
}

/// Drops what the manager owned and no longer applies, unless someone else owns it.
fn prune<F: Facts>(
    facts: Option<F>,
    merged: Value,
    last: &Set<'_>,
    own: &Set<'_>,
    others: &[Entry<'_>],
) -> Value {
    // Who still wishes for all that he had, takes nothing away: it is all in what is applied, with all that it hangs on.
    if last.clone().minus(own).is_empty() {
        return merged;
    }
    pruned(facts, &merged, last, own, others)
}

fn pruned<F: Facts>(
    facts: Option<F>,
    merged: &Value,
    last: &Set<'_>,
    own: &Set<'_>,
    others: &[Entry<'_>],
) -> Value {
    let with_named = |set| typed::with_named_fields(facts, set);
    let last = with_named(last.clone());
    let all = with_named(typed::field_set(facts, merged));
    // Without all that the manager had …
    let bare = typed::without(facts, merged, &last);
    // … but with what anyone owns now …
    let kept = with_named(typed::field_set(facts, &bare));
    let owned = others.iter().fold(own.clone(), |sum, e| sum.union(e.fields.clone()));
    let gone = all.clone().minus(&kept).minus(&with_named(owned));
    let restored = typed::without(facts, merged, &gone);
    // … and with what fell away although the manager never had it.
    let kept = with_named(typed::field_set(facts, &restored));
    let gone = all.minus(&kept).intersection(&last);
    match typed::without(facts, merged, &gone) {
        Value::Null => Value::Object(serde_json::Map::new()),
        new => new,
    }
}

fn conflicts(others: &[Entry<'_>], changed: &Set<'_>) -> Vec<Conflict> {
    let mut found: Vec<Conflict> = Vec::new();
    for entry in others {
        let manager = named(entry);
        let paths = entry.fields.intersection(changed).paths();
        found.extend(paths.into_iter().map(|path| Conflict { manager: manager.clone(), path }));
    }
    found.sort_by(|a, b| a.manager.cmp(&b.manager));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Schemas;

    /// One object, applied and patched as the recorded suite does it.
    struct Story {
        kind: &'static crate::kinds::Kind,
        live: Option<Value>,
    }

    impl Story {
        fn of(kind: &str) -> Story {
            Story { kind: crate::kinds::KINDS.iter().find(|k| k.kind == kind).unwrap(), live: None }
        }

        /// What the server answers: data or containers, and each manager's fields.
        fn apply(&mut self, manager: &str, applied: Value, force: bool) -> Value {
            let schemas = Schemas::builtin();
            let api_version = self.kind.api_version();
            let by = Writer {
                manager,
                subresource: "",
                api_version: &api_version,
                now: "2026-01-01T00:00:00Z",
                ignored: &["status"],
            };
            match apply(schemas.of(self.kind), self.live.as_ref(), &applied, by, force) {
                Ok(new) => self.store(new),
                Err(e) => Status::from(e).to_value(),
            }
        }

        fn update(&mut self, manager: &str, subresource: &str, change: impl FnOnce(&mut Value)) -> Value {
            let schemas = Schemas::builtin();
            let api_version = self.kind.api_version();
            let by = Writer {
                manager,
                subresource,
                api_version: &api_version,
                now: "2026-01-01T00:00:00Z",
                ignored: &["status"],
            };
            let mut new = self.live.clone().unwrap();
            change(&mut new);
            managed::update(schemas.of(self.kind), self.live.as_ref(), &mut new, by);
            self.store(new)
        }

        fn store(&mut self, new: Value) -> Value {
            let mut shaped = Schemas::builtin().shape(self.kind, new).unwrap().value;
            // The one default that matters here.
            let containers =
                shaped.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                    port["protocol"] = json!("TCP");
                }
            }
            shaped["metadata"]["uid"] = json!("u");
            self.live = Some(shaped.clone());
            shaped
        }
    }

    fn cm(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
    }

    fn gist(answer: &Value) -> Value {
        if answer["kind"] == "Status" {
            return answer.clone();
        }
        let entry = |e: &Value| json!({"manager": e["manager"], "operation": e["operation"], "fieldsV1": e["fieldsV1"]});
        let managed: Vec<Value> =
            object::items(answer, &["metadata", "managedFields"]).iter().map(entry).collect();
        json!({"data": answer["data"], "managed": managed})
    }

    /// Compares with the recording, which names the subresource too.
    fn check(answers: &serde_json::Map<String, Value>, case: &str, got: &Value) {
        let mut want = answers[case]["body"].clone();
        for entry in want.get_mut("managed").and_then(Value::as_array_mut).into_iter().flatten() {
            entry.as_object_mut().unwrap().shift_remove("subresource");
        }
        assert_eq!(gist(got), want, "{case}");
    }

    #[test]
    fn a_config_map_goes_through_the_recorded_story() {
        let Some(answers) = crate::golden::answers() else { return };
        let mut s = Story::of("ConfigMap");
        for (case, manager, data, force) in [
            ("creates", "one", json!({"x": "1", "y": "1"}), false),
            ("same-again", "one", json!({"x": "1", "y": "1"}), false),
            ("drops-owned", "one", json!({"x": "1"}), false),
            ("second-manager", "two", json!({"z": "1"}), false),
            ("shared-value", "two", json!({"x": "1", "z": "1"}), false),
            ("conflict", "two", json!({"x": "2", "z": "1"}), false),
            ("forced", "two", json!({"x": "2", "z": "1"}), true),
        ] {
            check(&answers, &format!("apply/{case}"), &s.apply(manager, cm(data), force));
        }
        // The recording's helper sends `{"k": "v"}` for an empty map.
        check(&answers, "apply/loser-lets-go", &s.apply("one", cm(json!({"k": "v"})), false));
        check(&answers, "apply/update-takes-over", &s.update("three", "", |o| o["data"]["x"] = json!("5")));
        check(&answers, "apply/conflict-with-update", &s.apply("two", cm(json!({"x": "6"})), false));
        let mut sent = cm(json!({}));
        sent["metadata"]["managedFields"] = json!([]);
        check(&answers, "apply/managed-fields-sent", &s.apply("two", sent, true));
        let mut unknown = cm(json!({"k": "v"}));
        unknown["frob"] = json!(1);
        check(&answers, "apply/unknown-field", &s.apply("two", unknown, true));
    }

    fn deployment(containers: Value, mut spec: Value) -> Value {
        spec["template"]["spec"]["containers"] = containers;
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
    }

    #[test]
    fn a_deployment_goes_through_the_recorded_story() {
        let Some(answers) = crate::golden::answers() else { return };
        let whole = || json!({"replicas": 0, "selector": {"matchLabels": {"a": "d"}}, "template": {"metadata": {"labels": {"a": "d"}}}});
        let mut s = Story::of("Deployment");
        let compare = |case: &str, got: Value| {
            let want = &answers[&format!("apply/{case}")]["body"];
            if want["kind"] == "Status" {
                assert_eq!(&got, want, "{case}");
                return;
            }
            assert_eq!(gist(&got)["managed"], want["managed"], "{case}");
            let shown = object::items(&got, &["spec", "template", "spec", "containers"]);
            let shown: Vec<Value> =
                shown.iter().map(|c| json!([c["name"], c["image"], c["ports"], c["env"]])).collect();
            assert_eq!(json!(shown), want["c"], "{case}");
        };
        let with_port = json!([{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}]);
        let plain = json!([{"name": "a", "image": "a:1"}]);
        compare("list-map", s.apply("one", deployment(with_port, whole()), false));
        compare(
            "list-map-merge",
            s.apply("two", deployment(json!([{"name": "side", "image": "s:1"}]), json!({})), false),
        );
        compare(
            "list-map-conflict",
            s.apply("two", deployment(json!([{"name": "a", "image": "a:2"}]), json!({})), false),
        );
        compare("list-map-remove", s.apply("one", deployment(plain.clone(), whole()), false));
        s.update("hpa", "scale", |o| o["spec"]["replicas"] = json!(3));
        compare("replicas-owned-by-scale", s.apply("one", deployment(plain, whole()), false));
    }

    #[test]
    fn an_untracked_object_gets_an_owner_first() {
        let mut s = Story::of("ConfigMap");
        s.live = Some(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}, "data": {"x": "1"}}),
        );
        let said = s.apply("one", cm(json!({"x": "2"})), false)["message"].clone();
        assert_eq!(
            said,
            "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x"
        );
    }

    /// Some of a Deployment's parts: one for each bit.
    fn parts(bits: u32) -> Value {
        let has = |bit: u32| bits & (1 << bit) != 0;
        let mut containers = Vec::new();
        if has(0) {
            let mut main = json!({"name": "a", "image": "a:1"});
            if has(1) {
                main["ports"] = json!([{"containerPort": 80, "protocol": "TCP"}]);
            }
            if has(2) {
                main["resources"] = json!({});
            }
            containers.push(main);
        }
        if has(3) {
            containers.push(json!({"name": "b"}));
        }
        let mut new = deployment(json!(containers), json!({}));
        if has(4) {
            new["spec"]["replicas"] = json!(2);
        }
        if has(5) {
            new["spec"]["template"]["metadata"] = json!({"labels": {"a": "b"}, "annotations": {}});
        }
        if has(6) {
            new["metadata"]["finalizers"] = json!(["example.com/f"]);
        }
        new
    }

    #[test]
    fn who_still_wishes_for_all_he_had_takes_nothing_away() {
        let kind = crate::kinds::KINDS.iter().find(|k| k.kind == "Deployment").unwrap();
        let schemas = Schemas::builtin();
        let facts = schemas.of(kind);
        let live = json!({"metadata": {"uid": "u", "finalizers": ["example.com/g"]}, "spec": {"paused": true,
            "template": {"spec": {"nodeName": "n", "containers": [
                {"name": "a", "stdin": true, "resources": {"limits": {"cpu": "1"}}, "ports": [
                    {"containerPort": 80, "protocol": "TCP", "hostPort": 8080},
                    {"containerPort": 81, "protocol": "TCP"}]},
                {"name": "c", "image": "c:1"}]}}}});
        let mut looked = 0;
        for now in 0..1 << 7 {
            let applied = parts(now);
            let own = typed::field_set(facts, &applied);
            let mut merged = live.clone();
            typed::merge(facts, &mut merged, &applied);
            for before in (0..1 << 7).filter(|before| before & now == *before) {
                let had = parts(before);
                let last = typed::field_set(facts, &had).minus(&managed::NOBODYS);
                if last.clone().minus(&own).is_empty() {
                    assert_eq!(pruned(facts, &merged, &last, &own, &[]), merged, "{had} then {applied}");
                    looked += 1;
                }
            }
        }
        assert!(looked > 1000, "{looked}");
    }
}
