//! metadata.managedFields on the write path: who is put down as the writer of what.

use std::sync::Arc;

use coracle_api::patch::apply;
use coracle_api::patch::managed::{self, Elsewhere, Writer};
use coracle_api::{Kind, Status, Subresource, object};
use serde_json::Value;

use crate::crd::versions;
use crate::options::WriteOptions;
use crate::registry::Call;
use crate::server::Core;

/// Follow a create.
pub(crate) fn created(core: &Core, call: &Call, kind: &Kind, obj: &mut Value, options: &WriteOptions) {
    follow(core, call, kind, (None, obj), options, &[]);
}

/// Follow an update or a patch.
pub(crate) async fn updated(
    core: &Core,
    call: &Call,
    kind: &Kind,
    obj: &mut Value,
    old: &Value,
    options: &WriteOptions,
) -> Result<(), Status> {
    let elsewhere = versions::elsewhere(core, kind, old, obj).await?;
    follow(core, call, kind, (Some(old), obj), options, &elsewhere);
    Ok(())
}

/// A manager's wishes laid over what is there, with the account of who owns what.
pub(crate) fn applied(
    core: &Core,
    call: &Call,
    old: Option<&Value>,
    wishes: &Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let kind = &call.kind;
    let (api_version, now) = (kind.api_version(), core.clock.now_rfc3339());
    let by = writer(call, kind, &options.field_manager, &api_version, &now);
    let force = options.force.unwrap_or(false);
    Ok(apply::apply(core.schemas.of(kind), old, wishes, by, force)?)
}

fn follow(
    core: &Core,
    call: &Call,
    kind: &Kind,
    (old, obj): (Option<&Value>, &mut Value),
    options: &WriteOptions,
    elsewhere: &[(Arc<Kind>, Value, Value)],
) {
    if options.is_applied {
        return;
    }
    let manager = managed::manager_name(&options.field_manager, &call.user_agent);
    let api_version = kind.api_version();
    let now = core.clock.now_rfc3339();
    let by = writer(call, kind, &manager, &api_version, &now);
    let versions: Vec<String> = elsewhere.iter().map(|(row, ..)| row.api_version()).collect();
    let elsewhere: Vec<_> = elsewhere
        .iter()
        .zip(&versions)
        .map(|((row, live, new), api_version)| Elsewhere {
            api_version,
            facts: core.schemas.of(row),
            live,
            new,
        })
        .collect();
    managed::update_with(core.schemas.of(kind), old, obj, by, &elsewhere);
}

fn writer<'a>(call: &Call, kind: &Kind, manager: &'a str, api_version: &'a str, now: &'a str) -> Writer<'a> {
    let ignored: &[&str] = match call.sub {
        None if kind.has(Subresource::Status) => &["status"],
        Some(Subresource::Status) => &["spec", "metadata"],
        _ => &[],
    };
    Writer { manager, subresource: call.sub.map_or("", |s| s.name()), api_version, now, ignored }
}

/// Whether two objects are the same but for the times at which their fields were last written: a write that changes
/// only these changes nothing. Compared where they stand, since this looks at the whole of every object that is written.
pub(crate) fn is_same_but_times(a: &Value, b: &Value) -> bool {
    same_members(a, b, |key, a, b| match key {
        "metadata" => same_members(a, b, |key, a, b| match key {
            "managedFields" => same_entries(a, b),
            _ => object::equal(a, b),
        }),
        _ => object::equal(a, b),
    })
}

fn same_members(a: &Value, b: &Value, same: impl Fn(&str, &Value, &Value) -> bool) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => object::alike(a, b, same),
        _ => a == b,
    }
}

fn same_entries(a: &Value, b: &Value) -> bool {
    let same = |key: &str, a: &Value, b: &Value| key == "time" || object::equal(a, b);
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_members(a, b, same))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_alone_is_no_change() {
        let pod = |time: &str, manager: &str, label: &str| {
            json!({"kind": "Pod", "metadata": {"name": "p", "labels": {"l": label}, "managedFields": [
                {"manager": manager, "time": time, "fieldsV1": {"f:spec": {}}}
            ]}})
        };
        let was = pod("T1", "m", "1");
        for (now, same) in [
            (pod("T1", "m", "1"), true),
            (pod("T2", "m", "1"), true),
            (pod("T1", "n", "1"), false),
            (pod("T1", "m", "2"), false),
        ] {
            assert_eq!(is_same_but_times(&now, &was), same, "{now}");
        }
        assert!(!is_same_but_times(&json!({"kind": "Pod"}), &was));
    }
}
