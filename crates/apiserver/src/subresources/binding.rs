//! pods/binding: the scheduler's word on where a Pod runs.

use bytes::Bytes;
use coracle_api::field::{Errors, Path};
use coracle_api::{Status, object};
use serde_json::{Value, json};

use super::bodies;
use crate::admission::{self, Admit};
use crate::options::WriteOptions;
use crate::registry::{Call, decode, update};
use crate::respond::{self, Answer};
use crate::server::Core;

pub(crate) async fn create(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let binding = decode::object(core, call, &bodies::binding(), &body, options.field_validation)?;
    bind(core, call, &binding, &options).await
}

/// The same through the old resource `bindings`, which names its Pod in its metadata.
pub(crate) async fn create_for(
    core: &Core,
    call: &Call,
    binding: Value,
    options: &WriteOptions,
) -> Result<Answer, Status> {
    let mut of_pod = call.clone_for(object::name(&binding));
    of_pod.kind = core.builtin("", "pods")?;
    bind(core, &of_pod, &binding, options).await
}

async fn bind(core: &Core, call: &Call, binding: &Value, options: &WriteOptions) -> Result<Answer, Status> {
    let kind = bodies::binding();
    let admit = Admit::create(core, call, &kind).for_dry_run(options.dry_run);
    let mut binding = binding.clone();
    admission::mutate(&admit, &mut binding).await?;
    check(call, &binding)?;
    admission::validate(&admit, Some(&binding)).await?;
    let binding = &binding;
    update::change(core, call, options, |pod| assigned(core, call, pod, binding)).await?;
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::value(201, &done, call.format))
}

fn check(call: &Call, binding: &Value) -> Result<(), Status> {
    let name = object::name(binding);
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let mut errs = Errors::default();
    let target = object::at(binding, &["target"]);
    let kind = object::text(target, &["kind"]);
    if !kind.is_empty() && kind != "Node" {
        errs.not_supported(&Path::new("target.kind"), &json!(kind), &["Node", "<empty>"]);
    }
    if object::text(target, &["name"]).is_empty() {
        errs.required(&Path::new("target.name"), "");
    }
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid("", "Binding", name, &errs)) }
}

fn assigned(core: &Core, call: &Call, pod: &Value, binding: &Value) -> Result<Value, Status> {
    let named = coracle_api::status::Resource { group: "", resource: "pods/binding" };
    let refuse = |why: String| Err(Status::conflict(named, &call.name, &why));
    let uid = object::uid(binding);
    if !uid.is_empty() && uid != object::uid(pod) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::uid(pod)
        );
        return refuse(why);
    }
    if object::is_deleting(pod) {
        return refuse(format!("pod {} is being deleted, cannot be assigned to a host", call.name));
    }
    let node = object::text(pod, &["spec", "nodeName"]);
    if !node.is_empty() {
        return refuse(format!("pod {} is already assigned to node {node:?}", call.name));
    }
    if !object::items(pod, &["spec", "schedulingGates"]).is_empty() {
        return refuse(format!("pod {} has non-empty .spec.schedulingGates", call.name));
    }
    let mut new = pod.clone();
    let target = object::text(binding, &["target", "name"]);
    object::map_at_mut(&mut new, &["spec"]).insert("nodeName".into(), json!(target));
    for field in ["annotations", "labels"] {
        for (k, v) in object::pairs(object::at(binding, &["metadata", field])) {
            object::map_at_mut(&mut new, &["metadata", field]).insert(k.into(), json!(v));
        }
    }
    set_scheduled(core, &mut new);
    Ok(new)
}

fn set_scheduled(core: &Core, pod: &mut Value) {
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": core.clock.now_rfc3339()
    });
    let status = object::map_at_mut(pod, &["status"]);
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else { return };
    match list.iter_mut().find(|c| c["type"] == "PodScheduled") {
        Some(old) => *old = condition,
        None => list.push(condition),
    }
}
