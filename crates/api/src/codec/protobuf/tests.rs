//! Tests of the transcoder, on bodies that kubectl 1.33 sent.

use serde_json::{Value, json};

use super::*;
use crate::Catalog;

/// A line each: the body of `kubectl create …` in hex, and what the same command prints with `--dry-run=client -o json`.
const KUBECTL: &str = include_str!("kubectl.txt");

fn bodies() -> impl Iterator<Item = (Vec<u8>, Value)> {
    KUBECTL.lines().map(|line| {
        let (hex, json) = line.split_once('\t').unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
        (bytes.collect(), serde_json::from_str(json).unwrap())
    })
}

fn shaped(object: Value) -> Value {
    let kind = Catalog::builtin()
        .by_api_version(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap())
        .unwrap();
    Schemas::builtin().shape(&kind, object).unwrap().value
}

#[test]
fn a_body_of_kubectls_is_the_object_that_kubectl_prints() {
    for (body, printed) in bodies() {
        let object = decode(&Schemas::builtin(), &body, "").unwrap();
        assert_eq!(shaped(object).to_string(), shaped(printed).to_string());
    }
    assert_eq!(bodies().count(), 13);
}

#[test]
fn what_is_encoded_decodes_to_itself() {
    let schemas = Schemas::builtin();
    for (_, printed) in bodies() {
        let object = shaped(printed);
        let body = encode(&schemas, &object).unwrap();
        assert_eq!(shaped(decode(&schemas, &body, "").unwrap()), object);
    }
}

#[test]
fn every_type_goes_there_and_back() {
    let schemas = Schemas::builtin();
    let objects = [
        json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": "l", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"renewTime": "2026-01-02T03:04:05.000006Z", "leaseDurationSeconds": -1}}),
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"labels": {"a": "b", "c": ""}, "managedFields": [{"manager": "m", "fieldsV1": {"f:a": {}}}]},
            "spec": {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": "web"}, "periodSeconds": 3}}],
                "volumes": [{"name": "v", "emptyDir": {}}], "securityContext": {"supplementalGroups": [1, 2]}, "enableServiceLinks": false}}),
        json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"user": "u", "extra": {"a": ["b", "c"]}, "resourceAttributes": {"verb": "get"}}}),
        json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "x"},
            "spec": {"group": "g", "names": {"plural": "xs", "kind": "X"}, "scope": "Namespaced", "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "maximum": 1.5, "default": {"a": [1]}, "properties": {
                    "l": {"type": "array", "items": {"type": "string"}}, "m": {"additionalProperties": {"type": "integer"}}, "n": {"additionalProperties": true}}}}}]}}),
    ];
    for object in objects {
        let object = shaped(object);
        let body = encode(&schemas, &object).unwrap();
        assert_eq!(shaped(decode(&schemas, &body, "").unwrap()).to_string(), object.to_string());
    }
}

#[test]
fn damage_is_refused() {
    let schemas = Schemas::builtin();
    let said = |body: &[u8]| decode(&schemas, body, "").unwrap_err();
    assert!(said(b"{}").to_string().starts_with("provided data does not appear to be a protobuf message"));
    assert!(matches!(said(b"k8s\0"), Error::UnknownKind { .. }));
    let (body, _) = bodies().next().unwrap();
    for end in 4..body.len() {
        // Cut anywhere, a body is an error or less of the object, never a panic.
        let _ = decode(&schemas, &body[..end], "io.k8s.api.core.v1.Pod");
    }
    assert_eq!(said(b"k8s\0\x0a\x7f"), Error::Truncated);
    assert_eq!(said(b"k8s\0\x00"), Error::Tag(0));
}
