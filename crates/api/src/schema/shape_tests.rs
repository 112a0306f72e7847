//! Tests of [`super::shape`], mostly against recorded answers.

use serde_json::{Value, json};

use crate::Catalog;
use crate::golden;
use crate::schema::{Schemas, Shaped};

fn refusal(definition: &str, value: Value) -> String {
    Schemas::builtin().shape_as(definition, value).unwrap_err().to_string()
}

const POD: &str = "io.k8s.api.core.v1.Pod";

#[test]
fn a_recorded_object_stays_as_it_is() {
    let Some(answers) = golden::answers() else { return };
    let (catalog, schemas) = (Catalog::builtin(), Schemas::builtin());
    let (mut seen, mut wrong) = (0, Vec::new());
    for (case, answer) in &answers {
        let mut bodies = vec![&answer["body"]];
        bodies.extend(answer["body"]["items"].as_array().into_iter().flatten());
        for body in bodies {
            let (api_version, kind) = (body["apiVersion"].as_str(), body["kind"].as_str());
            let Some(row) = catalog.by_api_version(api_version.unwrap_or(""), kind.unwrap_or("")) else {
                continue;
            };
            seen += 1;
            let mut want = body.clone();
            unmask(&mut want);
            let said = match schemas.shape(&row, want.clone()) {
                Ok(shaped) => as_recorded(shaped, &want),
                Err(e) => e.to_string(),
            };
            let recorded = want.to_string();
            if said != recorded {
                wrong.push(format!("{case}:\nwant {recorded}\ngot  {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen > 30, "only {seen} objects recorded");
}

/// Some recordings leave out the metadata and the status, which are always written.
fn as_recorded(mut shaped: Shaped, recorded: &Value) -> String {
    assert_eq!(shaped.unknown, [""; 0]);
    for part in ["metadata", "status"] {
        if recorded.get(part).is_none() {
            shaped.value.as_object_mut().unwrap().shift_remove(part);
        }
    }
    shaped.value.to_string()
}

/// Puts values of the right types in the place of the recording's placeholders.
fn unmask(v: &mut Value) {
    match v {
        Value::String(s) if s == "<time>" => *s = "2026-01-02T03:04:05Z".to_owned(),
        Value::Array(items) => items.iter_mut().for_each(unmask),
        Value::Object(map) => {
            map.values_mut().for_each(unmask);
            for micro in ["acquireTime", "renewTime"] {
                if map.contains_key(micro) {
                    map.insert(micro.into(), json!("2026-01-02T03:04:05.000000Z"));
                }
            }
            if map.get("nodePort").is_some_and(Value::is_string) {
                map.insert("nodePort".into(), json!(30000));
            }
            // The recording leaves this out with a null of its own.
            if map.get("managedFields").is_some_and(Value::is_null) {
                map.shift_remove("managedFields");
            }
        }
        _ => {}
    }
}

#[test]
fn a_wrong_type_is_blamed_as_go_does() {
    let pod = |container: Value| json!({"spec": {"containers": [container]}});
    #[rustfmt::skip]
    let cases = [
        ("io.k8s.api.core.v1.ConfigMap", json!({"data": {"a": 1}}), "number into Go struct field ConfigMap.data of type string"),
        (POD, json!([]), "array into Go value of type v1.Pod"),
        (POD, json!({"spec": 5}), "number into Go struct field Pod.spec of type v1.PodSpec"),
        (POD, json!({"metadata": {"labels": {"a": true}}}), "bool into Go struct field ObjectMeta.metadata.labels of type string"),
        (POD, pod(json!({"name": {}})), "object into Go struct field Container.spec.containers.name of type string"),
        (POD, pod(json!({"imagePullPolicy": 1})), "number into Go struct field Container.spec.containers.imagePullPolicy of type v1.PullPolicy"),
        (POD, pod(json!({"args": "x"})), "string into Go struct field Container.spec.containers.args of type []string"),
        (POD, pod(json!({"args": [1]})), "number into Go struct field Container.spec.containers.args of type string"),
        (POD, pod(json!({"ports": [{"containerPort": 1.5}]})), "number 1.5 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"),
        (POD, pod(json!({"ports": [{"containerPort": 4294967296_u64}]})), "number 4294967296 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"),
        (POD, pod(json!({"securityContext": {"capabilities": {"add": [1]}}})), "number into Go struct field Capabilities.spec.containers.securityContext.capabilities.add of type v1.Capability"),
        (POD, pod(json!({"livenessProbe": {"httpGet": {"port": true}}})), "bool into Go value of type int32"),
        (POD, json!({"metadata": {"creationTimestamp": 5}}), "number into Go value of type string"),
        (POD, json!({"spec": {"hostNetwork": "yes"}}), "string into Go struct field PodSpec.spec.hostNetwork of type bool"),
    ];
    for (definition, value, want) in cases {
        assert_eq!(refusal(definition, value), format!("json: cannot unmarshal {want}"));
    }
}

#[test]
fn types_with_decoders_of_their_own_say_it_their_way() {
    assert_eq!(
        refusal("io.k8s.api.core.v1.Secret", json!({"data": {"a": "%%"}})),
        "illegal base64 data at input byte 0"
    );
    assert_eq!(
        refusal("io.k8s.api.core.v1.Secret", json!({"data": {"a": "YWJ"}})),
        "illegal base64 data at input byte 0"
    );
    assert_eq!(
        refusal("io.k8s.api.core.v1.Secret", json!({"data": {"a": "YWJj=="}})),
        "illegal base64 data at input byte 4"
    );
    let limits = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}});
    assert!(refusal(POD, limits).starts_with("quantities must match the regular expression"));
}

#[test]
fn unknown_fields_are_reported_in_the_order_of_the_body() {
    let body = json!({"kind": "Pod", "spec": {"frob": 1, "containers": [
        {"name": "a", "imagePulPolicy": "x", "env": [{"name": "a", "valu": "b"}]}]}, "Status": {}});
    let shaped = Schemas::builtin().shape_as(POD, body).unwrap();
    let want = ["spec.frob", "spec.containers[0].imagePulPolicy", "spec.containers[0].env[0].valu", "Status"];
    assert_eq!(shaped.unknown, want);
    let want = r#"{"kind":"Pod","metadata":{},"spec":{"containers":[{"name":"a","env":[{"name":"a"}],"resources":{}}]},"status":{}}"#;
    assert_eq!(shaped.value.to_string(), want);
}

#[test]
fn empty_values_go_and_zero_values_come() {
    let shape = |definition: &str, value: Value| {
        Schemas::builtin().shape_as(definition, value).unwrap().value.to_string()
    };
    assert_eq!(
        shape(
            "io.k8s.api.rbac.v1.Role",
            json!({"rules": [], "metadata": {"labels": {}, "name": "", "uid": null}})
        ),
        r#"{"metadata":{},"rules":null}"#
    );
    assert_eq!(
        shape("io.k8s.api.core.v1.ConfigMap", json!({"data": {"b": "", "a": null}, "immutable": false})),
        r#"{"metadata":{},"immutable":false,"data":{"a":"","b":""}}"#
    );
    let spec = json!({"spec": {"hostNetwork": false, "automountServiceAccountToken": false, "volumes": [{"name": "e", "emptyDir": {}}],
        "securityContext": {}, "terminationGracePeriodSeconds": 0, "nodeName": "", "priority": 0}});
    assert_eq!(
        shape(POD, spec),
        r#"{"metadata":{},"spec":{"volumes":[{"name":"e","emptyDir":{}}],"containers":null,"terminationGracePeriodSeconds":0,"automountServiceAccountToken":false,"securityContext":{},"priority":0},"status":{}}"#
    );
}

#[test]
fn shaping_twice_is_shaping_once() {
    let schemas = Schemas::builtin();
    for kind in Catalog::builtin().kinds() {
        let once = schemas.shape(kind, json!({"metadata": {"name": "x"}})).unwrap().value;
        let twice = schemas.shape(kind, once.clone()).unwrap();
        assert_eq!(twice.value, once, "{kind:?}");
        assert!(twice.unknown.is_empty());
    }
}
