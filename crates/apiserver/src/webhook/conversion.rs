//! The webhook that converts objects of a custom resource between its versions.

use std::time::Duration;

use coracle_api::field::go_quote;
use coracle_api::object;
use serde_json::{Value, json};

use super::Endpoint;
use crate::server::Core;

/// How long a conversion may take, as in the reference.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The objects as their webhook makes them in `desired` (`group/version`), in the same order. All are of one kind; one
/// that is in that version already need not be sent. `Err` is what the reference says.
pub(crate) async fn convert(
    core: &Core,
    endpoint: &Endpoint,
    objects: Vec<Value>,
    desired: &str,
) -> Result<Vec<Value>, String> {
    let Some(first) = objects.first() else { return Ok(objects) };
    let of = kind_of(first);
    let uid = uuid::Uuid::new_v4().to_string();
    let request = json!({"uid": uid, "desiredAPIVersion": desired, "objects": objects});
    let review =
        json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "request": request});
    let answer = endpoint.post(core, &review, TIMEOUT).await;
    let converted = answer.and_then(|answer| converted(answer, &uid));
    let converted = converted.map_err(|why| format!("conversion webhook for {of} failed: {why}"))?;
    if converted.len() != objects.len() {
        return Err(format!(
            "conversion webhook for {of} returned {} objects, expected {}",
            converted.len(),
            objects.len()
        ));
    }
    let pairs = objects.iter().zip(converted).enumerate();
    pairs.map(|(i, (old, new))| checked(&of, i, old, new, desired)).collect()
}

/// `example.com/v1, Kind=Thing`
fn kind_of(object: &Value) -> String {
    format!("{}, Kind={}", object::text(object, &["apiVersion"]), object::text(object, &["kind"]))
}

/// The objects of an answer, if it is one to this request.
fn converted(mut answer: Value, uid: &str) -> Result<Vec<Value>, String> {
    let found = kind_of(&answer);
    if found != "apiextensions.k8s.io/v1, Kind=ConversionReview" {
        return Err(format!(
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {found}"
        ));
    }
    let mut response = answer["response"].take();
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    let said = object::text(&response, &["uid"]);
    if said != uid {
        return Err(format!("expected response.uid={}, got {}", go_quote(uid), go_quote(said)));
    }
    let text = |key: &str| object::text(&response, &["result", key]);
    if text("status") != "Success" {
        return Err(match (text("message"), text("reason")) {
            ("", "") => {
                format!("response.result.status was {}, expected \"Success\"", go_quote(text("status")))
            }
            ("", reason) => reason.to_owned(),
            (message, _) => message.to_owned(),
        });
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// A converted object, if it is still the same one. Of its metadata the webhook may change labels and annotations alone.
fn checked(of: &str, i: usize, old: &Value, mut new: Value, desired: &str) -> Result<Value, String> {
    let wrong = |what: &str, wanted: &str, got: &str| {
        format!(
            "conversion webhook for {of} returned invalid converted object at index {i}: invalid {what} (expected \
             {wanted}, received {got})"
        )
    };
    let version = object::text(&new, &["apiVersion"]);
    if version != desired {
        return Err(wrong("groupVersion", desired, version));
    }
    for path in [&["kind"][..], &["metadata", "name"], &["metadata", "namespace"], &["metadata", "uid"]] {
        let (wanted, got) = (object::text(old, path), object::text(&new, path));
        if wanted != got {
            return Err(wrong(&path.join("."), wanted, got));
        }
    }
    let mut metadata = object::metadata(old).clone();
    for key in ["labels", "annotations"] {
        let map = object::map_mut(&mut metadata);
        map.shift_remove(key);
        if let Some(changed) = object::metadata(&new).get(key) {
            map.insert(key.to_owned(), changed.clone());
        }
    }
    new["metadata"] = metadata;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({"apiVersion": format!("example.com/{version}"), "kind": "Thing",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"x": "y"}}})
    }

    #[test]
    fn answers_are_judged_as_in_the_reference() {
        let answer = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let good = json!({"uid": "1", "result": {"status": "Success"}, "convertedObjects": [object("v2")]});
        assert_eq!(converted(answer(good.clone()), "1"), Ok(vec![object("v2")]));
        assert_eq!(converted(answer(good), "2").unwrap_err(), "expected response.uid=\"2\", got \"1\"");
        assert_eq!(converted(answer(Value::Null), "1").unwrap_err(), "no response provided");
        let failed = json!({"uid": "1", "result": {"status": "Failure", "message": "cannot"}});
        assert_eq!(converted(answer(failed), "1").unwrap_err(), "cannot");
        assert_eq!(
            converted(json!({"apiVersion": "v1", "kind": "Pod"}), "1").unwrap_err(),
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got v1, Kind=Pod"
        );
    }

    #[test]
    fn a_converted_object_is_the_same_object() {
        let of = "example.com/v1, Kind=Thing";
        let mut new = object("v2");
        new["metadata"] = json!({"name": "a", "uid": "u", "labels": {"x": "z"}, "generation": 9});
        let kept = checked(of, 0, &object("v1"), new, "example.com/v2").unwrap();
        assert_eq!(
            kept["metadata"],
            json!({"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"x": "z"}})
        );
        let mut renamed = object("v2");
        renamed["metadata"]["name"] = json!("b");
        assert_eq!(
            checked(of, 0, &object("v1"), renamed, "example.com/v2").unwrap_err(),
            "conversion webhook for example.com/v1, Kind=Thing returned invalid converted object at index 0: invalid metadata.name (expected a, received b)"
        );
        assert!(
            checked(of, 0, &object("v1"), object("v1"), "example.com/v2")
                .unwrap_err()
                .contains("invalid groupVersion")
        );
    }
}
