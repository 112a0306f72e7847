//! metadata.managedFields on the write path: who is put down as the writer of what.

use coracle_api::patch::apply;
use coracle_api::patch::managed::{self, Writer};
use coracle_api::{Kind, Status, Subresource, object};
use serde_json::Value;

use crate::options::WriteOptions;
use crate::registry::Call;
use crate::server::Core;

/// Follow a create.
pub(crate) fn created(core: &Core, call: &Call, kind: &Kind, obj: &mut Value, options: &WriteOptions) {
    follow(core, call, kind, None, obj, options);
}

/// Follow an update or a patch.
pub(crate) fn updated(
    core: &Core,
    call: &Call,
    kind: &Kind,
    obj: &mut Value,
    old: &Value,
    options: &WriteOptions,
) {
    follow(core, call, kind, Some(old), obj, options);
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
    old: Option<&Value>,
    obj: &mut Value,
    options: &WriteOptions,
) {
    if options.is_applied {
        return;
    }
    let manager = managed::manager_name(&options.field_manager, &call.user_agent);
    let api_version = kind.api_version();
    let now = core.clock.now_rfc3339();
    let by = writer(call, kind, &manager, &api_version, &now);
    managed::update(core.schemas.of(kind), old, obj, by);
}

fn writer<'a>(call: &Call, kind: &Kind, manager: &'a str, api_version: &'a str, now: &'a str) -> Writer<'a> {
    let ignored: &[&str] = match call.sub {
        None if kind.has(Subresource::Status) => &["status"],
        Some(Subresource::Status) => &["spec", "metadata"],
        _ => &[],
    };
    Writer { manager, subresource: call.sub.map_or("", |s| s.name()), api_version, now, ignored }
}

/// An object but for the times at which its fields were last written: a write that changes only these changes nothing.
pub(crate) fn without_times(obj: &Value) -> Value {
    let mut v = obj.clone();
    let entries = object::metadata_mut(&mut v).get_mut("managedFields").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
        entry.shift_remove("time");
    }
    v
}
