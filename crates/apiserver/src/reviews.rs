//! The kinds that are only asked: access reviews, token reviews and who-am-I, which nothing stores.

use bytes::Bytes;
use coracle_api::{Status, object};
use coracle_auth::review::{self, Review};
use serde_json::{Map, Value, json};

use crate::options::WriteOptions;
use crate::registry::{Call, decode};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::subresources::binding;

pub(crate) async fn create(core: &Core, call: &Call, body: Bytes) -> Result<Answer, Status> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let mut asked = decode::object(core, call, &call.kind, &body, options.field_validation)?;
    check_namespace(call, &mut asked)?;
    let status = match &*call.kind.kind {
        "SubjectAccessReview" => access(core, call, Review::SubjectAccess, &asked)?,
        "SelfSubjectAccessReview" => access(core, call, Review::SelfSubjectAccess, &asked)?,
        "LocalSubjectAccessReview" => access(core, call, Review::LocalSubjectAccess, &asked)?,
        "SelfSubjectRulesReview" => rules(core, call, &asked)?,
        "SelfSubjectReview" => json!({"userInfo": user_info(call.user())}),
        "TokenReview" => token(core, &asked)?,
        "Binding" => return binding::create_for(core, call, asked, &options).await,
        _ => return Err(Status::method_not_allowed()),
    };
    if call.kind.kind == "SelfSubjectReview" {
        object::metadata_mut(&mut asked).insert("creationTimestamp".into(), json!(core.clock.now_rfc3339()));
    }
    object::map_mut(&mut asked).insert("status".into(), status);
    Ok(respond::value(201, &asked, call.format))
}

fn check_namespace(call: &Call, asked: &mut Value) -> Result<(), Status> {
    if !call.kind.is_namespaced() {
        return Ok(());
    }
    let said = object::namespace(asked);
    if !said.is_empty() && said != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    object::metadata_mut(asked).insert("namespace".into(), json!(call.namespace));
    Ok(())
}

fn access(core: &Core, call: &Call, review: Review, asked: &Value) -> Result<Value, Status> {
    let attributes = review::attributes(review, asked, call.user())?;
    Ok(review::answer(&core.authorizer, attributes))
}

fn rules(core: &Core, call: &Call, asked: &Value) -> Result<Value, Status> {
    let namespace = object::text(asked, &["spec", "namespace"]);
    review::rules(&core.authorizer, call.user(), namespace)
}

fn user_info(user: &coracle_api::User) -> Value {
    let mut out = Map::new();
    out.insert("username".into(), json!(user.name));
    if !user.uid.is_empty() {
        out.insert("uid".into(), json!(user.uid));
    }
    if !user.groups.is_empty() {
        out.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        out.insert("extra".into(), json!(user.extra));
    }
    Value::Object(out)
}

fn token(core: &Core, asked: &Value) -> Result<Value, Status> {
    let token = object::text(asked, &["spec", "token"]);
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let mut audiences: Vec<String> = object::items(asked, &["spec", "audiences"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences = core.tokens.api_audiences().to_vec();
    }
    let verified = core.tokens.verify(token, &audiences, core.authorizer.directory());
    Ok(match verified {
        Ok(v) => json!({"authenticated": true, "user": user_info(&v.user), "audiences": v.audiences}),
        Err(why) => json!({"user": {}, "error": why.to_string()}),
    })
}
