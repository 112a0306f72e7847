//! The webhook that converts objects of a custom resource between its versions, and how its answers are judged.

use std::time::Duration;

use coracle_api::at::At;
use coracle_api::field::{Errors, Path, go_quote};
use coracle_api::status::aggregate;
use coracle_api::{meta, object};
use serde_json::{Map, Value, json};

use crate::server::Core;
use crate::webhook::Endpoint;

/// How long a conversion may take, as in the reference.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A definition's `spec.conversion.webhook`.
#[derive(Debug)]
pub(super) struct Webhook {
    endpoint: Endpoint,
    /// The first version of ConversionReview that it knows and that is known here.
    version: Option<&'static str>,
}

impl Webhook {
    pub(super) fn read(of: &Value) -> Webhook {
        let known = |v: &Value| ["v1", "v1beta1"].into_iter().find(|known| v == known);
        Webhook {
            endpoint: Endpoint::read(object::at(of, &["clientConfig"])),
            version: object::items(of, &["conversionReviewVersions"]).iter().find_map(known),
        }
    }

    /// The objects as the webhook makes them in `desired` (`group/version`), in the same order. All are of one kind and
    /// none of them is in that version already. `Err` is what the reference says.
    pub(super) async fn convert(
        &self,
        core: &Core,
        objects: &[Value],
        desired: &str,
    ) -> Result<Vec<Value>, String> {
        let Some(first) = objects.first() else { return Ok(Vec::new()) };
        let Some(version) = self.version else {
            return Err("no supported conversion review versions".to_owned());
        };
        let of = kind_of(first);
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
            "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
        });
        let answer = self.endpoint.post(core, &review, TIMEOUT).await;
        let converted = answer.and_then(|answer| converted(answer, version, &uid));
        let converted = converted.map_err(|why| format!("conversion webhook for {of} failed: {why}"))?;
        if converted.len() != objects.len() {
            let (got, wanted) = (converted.len(), objects.len());
            return Err(format!("conversion webhook for {of} returned {got} objects, expected {wanted}"));
        }
        let pairs = objects.iter().zip(converted).enumerate();
        let checked = pairs.map(|(i, (old, new))| checked(i, old, new, desired));
        checked.collect::<Result<_, _>>().map_err(|why| format!("conversion webhook for {of} returned {why}"))
    }
}

/// `example.com/v1, Kind=Thing`; of the core group `/v1, Kind=Thing`.
fn kind_of(object: &Value) -> String {
    let version = object::text(object, &["apiVersion"]);
    let core = if version.contains('/') { "" } else { "/" };
    format!("{core}{version}, Kind={}", object::text(object, &["kind"]))
}

/// The objects of an answer, if it is one to this request.
fn converted(mut answer: Value, version: &str, uid: &str) -> Result<Vec<Value>, String> {
    // As in the reference, nothing but the outcome is looked at in the old version.
    let is_strict = version == "v1";
    let (found, wanted) = (kind_of(&answer), "apiextensions.k8s.io/v1, Kind=ConversionReview");
    if is_strict && found != wanted {
        return Err(format!("expected webhook response of {wanted}, got {found}"));
    }
    let mut response = answer["response"].take();
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    let said = object::text(&response, &["uid"]);
    if is_strict && said != uid {
        return Err(format!("expected response.uid={}, got {}", go_quote(uid), go_quote(said)));
    }
    let (status, message) =
        (object::text(&response, &["result", "status"]), object::text(&response, &["result", "message"]));
    if status != "Success" {
        return Err(match message {
            "" => format!("response.result.status was '{status}', not 'Success'"),
            words => words.to_owned(),
        });
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// A converted object, if it is still the same one. Of its metadata the webhook may change labels and annotations alone.
fn checked(i: usize, old: &Value, mut new: Value, desired: &str) -> Result<Value, String> {
    let wrong = |what: &str, wanted: &str, got: &str| {
        Err(format!("invalid object at index {i}: invalid {what} (expected {wanted}, received {got})"))
    };
    let version = object::text(&new, &["apiVersion"]);
    if version != desired {
        return wrong("groupVersion", desired, version);
    }
    let (kind, was) = (object::text(&new, &["kind"]), object::text(old, &["kind"]));
    if kind != was {
        return wrong("kind", was, kind);
    }
    for (key, word) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (was, is) = (object::text(old, &["metadata", key]), object::text(&new, &["metadata", key]));
        if was != is {
            return Err(format!("invalid object: must have the same {word}: {was} != {is}"));
        }
    }
    let metadata = metadata(old, &new).map_err(|why| format!("invalid metadata: {why}"))?;
    new["metadata"] = metadata;
    Ok(new)
}

/// The old object's metadata with the new one's labels and annotations.
fn metadata(old: &Value, new: &Value) -> Result<Value, String> {
    let Some(said) = new.get("metadata") else {
        return Err("missing metadata in converted object".to_owned());
    };
    let Some(said) = said.as_object() else {
        return Err(format!("invalid metadata of type {} in converted object", go_type(said)));
    };
    let mut metadata = object::metadata(old).clone();
    for key in ["labels", "annotations"] {
        let map = object::map_mut(&mut metadata);
        match said.get(key).filter(|v| !v.is_null()) {
            None => drop(map.shift_remove(key)),
            Some(Value::Object(pairs)) => {
                if map.get(key).and_then(Value::as_object) != Some(pairs) {
                    check_pairs(key, pairs)?;
                }
                map.insert(key.to_owned(), Value::Object(pairs.clone()));
            }
            Some(other) => {
                return Err(format!("invalid metadata.{key} of type {} in converted object", go_type(other)));
            }
        }
    }
    Ok(metadata)
}

fn check_pairs(key: &str, pairs: &Map<String, Value>) -> Result<(), String> {
    if let Some((name, value)) = pairs.iter().find(|(_, v)| !v.is_string()) {
        let found = go_type(value);
        return Err(format!("metadata.{key}[{name}] must be a string, but is {found} in converted object"));
    }
    let (pairs, mut errs) = (Value::Object(pairs.clone()), Errors::default());
    if key == "labels" {
        meta::labels(&At::new(&pairs, Path::new("metadata.labels")), &mut errs);
    } else {
        meta::annotations(&At::new(&pairs, Path::new("metadata.annotation")), &mut errs);
    }
    if errs.is_empty() {
        return Ok(());
    }
    Err(aggregate(errs.0.iter().map(ToString::to_string).collect()))
}

/// What Go calls the type of a value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({"apiVersion": format!("example.com/{version}"), "kind": "Thing",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"x": "y"}}})
    }

    fn answer(version: &str, response: Value) -> Value {
        let version = format!("apiextensions.k8s.io/{version}");
        json!({"apiVersion": version, "kind": "ConversionReview", "response": response})
    }

    #[test]
    fn answers_are_judged_as_in_the_reference() {
        let judged = |response: Value, uid: &str| converted(answer("v1", response), "v1", uid);
        let good = json!({"uid": "1", "result": {"status": "Success"}, "convertedObjects": [object("v2")]});
        assert_eq!(judged(good.clone(), "1"), Ok(vec![object("v2")]));
        assert_eq!(judged(good.clone(), "2").unwrap_err(), "expected response.uid=\"2\", got \"1\"");
        assert_eq!(converted(answer("v1beta1", good), "v1beta1", "2"), Ok(vec![object("v2")]));
        assert_eq!(judged(Value::Null, "1").unwrap_err(), "no response provided");
        let failed = |result: Value| judged(json!({"uid": "1", "result": result}), "1").unwrap_err();
        assert_eq!(failed(json!({"status": "Failure", "message": "cannot"})), "cannot");
        assert_eq!(failed(json!({})), "response.result.status was '', not 'Success'");
        assert_eq!(
            converted(json!({"apiVersion": "v1", "kind": "Pod"}), "v1", "1").unwrap_err(),
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /v1, Kind=Pod"
        );
    }

    #[test]
    fn a_converted_object_is_the_same_object() {
        let judged = |change: &dyn Fn(&mut Value)| {
            let mut new = object("v2");
            change(&mut new);
            checked(0, &object("v1"), new, "example.com/v2")
        };
        let kept = judged(&|o| {
            o["metadata"] = json!({"name": "a", "uid": "u", "labels": {"x": "z"}, "generation": 9})
        });
        let wanted = json!({"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"x": "z"}});
        assert_eq!(kept.unwrap()["metadata"], wanted);
        type Change = dyn Fn(&mut Value);
        let cases: [(&Change, &str); 8] = [
            (&|o| o["metadata"]["name"] = json!("b"), "invalid object: must have the same name: a != b"),
            (&|o| o["metadata"]["uid"] = json!("v"), "invalid object: must have the same UID: u != v"),
            (
                &|o| o["apiVersion"] = json!("example.com/v1"),
                "invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v1)",
            ),
            (
                &|o| o["kind"] = json!("Other"),
                "invalid object at index 0: invalid kind (expected Thing, received Other)",
            ),
            (
                &|o| o["metadata"]["labels"] = json!(["x"]),
                "invalid metadata: invalid metadata.labels of type []interface {} in converted object",
            ),
            (
                &|o| o["metadata"]["labels"] = json!({"x": 1}),
                "invalid metadata: metadata.labels[x] must be a string, but is int64 in converted object",
            ),
            (
                &|o| o["metadata"]["annotations"] = json!({"x": null}),
                "invalid metadata: metadata.annotations[x] must be a string, but is <nil> in converted object",
            ),
            (
                &|o| o["metadata"]["labels"] = json!({"x": "a b"}),
                "invalid metadata: metadata.labels: Invalid value: ",
            ),
        ];
        for (change, words) in cases {
            let why = judged(change).unwrap_err();
            assert!(why.starts_with(words), "{why}");
        }
    }
}
