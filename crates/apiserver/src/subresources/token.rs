//! serviceaccounts/token: a bound token for whoever may create one.

use bytes::Bytes;
use coracle_api::{Status, object};
use coracle_auth::tokens::{self, Bound, Order, Ref};
use serde_json::{Value, json};

use super::bodies;
use crate::admission::{self, Admit};
use crate::options::WriteOptions;
use crate::registry::{Call, decode};
use crate::respond::{self, Answer};
use crate::server::Core;

pub(crate) async fn create(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let kind = bodies::token_request();
    let mut request = decode::object(core, call, &kind, &body, options.field_validation)?;
    place(call, &mut request)?;
    let account =
        core.object("", "serviceaccounts", &call.namespace, &call.name).ok_or_else(|| call.not_found())?;
    // Before the audiences are filled in: a node may ask for those that its Pod names, of which none is one.
    let admit = Admit::create(core, call, &kind).for_dry_run(options.dry_run);
    admission::validate(&admit, Some(&request)).await?;
    fill_in(core, &mut request);
    tokens::validate_request(&request)?;
    let bound = bound(core, call, &request)?;
    if options.dry_run {
        return answer(call, &account, request, "", core.clock.unix_seconds());
    }
    let order = Order {
        namespace: call.namespace.clone(),
        service_account: Ref { name: call.name.clone(), uid: object::uid(&account).to_owned() },
        bound,
        audiences: audiences(&request),
        expiration_seconds: seconds(&request),
    };
    let issued = core.tokens.issue(order).await?;
    if let Some(words) = issued.warning {
        call.warn(words);
    }
    request["spec"]["expirationSeconds"] = json!(issued.expiration_seconds);
    answer(call, &account, request, &issued.token, issued.expires)
}

/// The request's name and namespace are the account's.
fn place(call: &Call, request: &mut Value) -> Result<(), Status> {
    let mut errs = coracle_api::field::Errors::default();
    for (key, of_path) in [("name", &call.name), ("namespace", &call.namespace)] {
        let said = object::text(request, &["metadata", key]);
        if !said.is_empty() && said != of_path.as_str() {
            let at = coracle_api::field::Path::new("metadata").child(key);
            let what = if key == "name" { "service account name" } else { "service account namespace" };
            errs.invalid(&at, &json!(said), format!("must match the {what} if specified"));
        }
    }
    if !errs.is_empty() {
        return Err(Status::invalid("authentication.k8s.io", "TokenRequest", &call.name, &errs));
    }
    let m = object::metadata_mut(request);
    m.insert("name".into(), json!(call.name));
    m.insert("namespace".into(), json!(call.namespace));
    Ok(())
}

fn fill_in(core: &Core, request: &mut Value) {
    let spec = object::map_at_mut(request, &["spec"]);
    if spec.get("audiences").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("audiences".into(), json!(core.tokens.api_audiences()));
    }
    if spec.get("expirationSeconds").is_none_or(Value::is_null) {
        spec.insert("expirationSeconds".into(), json!(tokens::DEFAULT_SECONDS));
    }
}

fn audiences(request: &Value) -> Vec<String> {
    object::items(request, &["spec", "audiences"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn seconds(request: &Value) -> i64 {
    object::at(request, &["spec", "expirationSeconds"]).as_i64().unwrap_or(tokens::DEFAULT_SECONDS)
}

/// What the token is bound to, looked up and compared with what the request says of it.
fn bound(core: &Core, call: &Call, request: &Value) -> Result<Option<Bound>, Status> {
    let Some(binding) = tokens::bound_object(request)? else { return Ok(None) };
    let plural = match binding.kind {
        tokens::BindingKind::Pod => "pods",
        tokens::BindingKind::Node => "nodes",
        tokens::BindingKind::Secret => "secrets",
    };
    let kind = core.builtin("", plural)?;
    let namespace = if kind.is_namespaced() { &*call.namespace } else { "" };
    let found = core
        .object("", plural, namespace, binding.name)
        .ok_or_else(|| Status::not_found(kind.resource(), binding.name))?;
    if plural == "pods" {
        binding.check_pod_account(&found, &call.name)?;
    }
    binding.check_uid(object::uid(&found))?;
    let reference = |v: &Value| Ref { name: object::name(v).to_owned(), uid: object::uid(v).to_owned() };
    Ok(Some(match binding.kind {
        tokens::BindingKind::Node => Bound::Node(reference(&found)),
        tokens::BindingKind::Secret => Bound::Secret(reference(&found)),
        tokens::BindingKind::Pod => Bound::Pod(reference(&found), node_of(core, &found)),
    }))
}

fn node_of(core: &Core, pod: &Value) -> Option<Ref> {
    let name = object::text(pod, &["spec", "nodeName"]);
    if name.is_empty() {
        return None;
    }
    let node = core.object("", "nodes", "", name);
    let uid = node.as_ref().map(object::uid).unwrap_or_default().to_owned();
    Some(Ref { name: name.to_owned(), uid })
}

fn answer(call: &Call, account: &Value, request: Value, token: &str, expires: i64) -> Result<Answer, Status> {
    let expires = jiff::Timestamp::from_second(expires).unwrap_or(jiff::Timestamp::MAX);
    let spec = &request["spec"];
    let body = json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": call.name,
            "namespace": call.namespace,
            "uid": object::uid(account),
            "creationTimestamp": object::text(account, &["metadata", "creationTimestamp"]),
        },
        "spec": {
            "audiences": spec["audiences"],
            "expirationSeconds": spec["expirationSeconds"],
            "boundObjectRef": spec["boundObjectRef"],
        },
        "status": {
            "token": token,
            "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
    });
    Ok(respond::value(201, &body, call.format))
}
