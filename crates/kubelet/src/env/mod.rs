//! The environment of a container: literals, references, whole ConfigMaps and Secrets, and Service variables.

mod expand;
mod services;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, Container, EnvFromSource, EnvVar, EnvVarSource, Pod, SecretKeySelector, Service,
};

pub(crate) use expand::expand;

use crate::fields::{self, FieldError, Surroundings};
use crate::objects::{Objects, ReadError};

/// Why a container cannot be configured; its message is what the user sees beside `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("{kind} \"{name}\" not found")]
    NoObject { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { key: String, kind: &'static str, namespace: String, name: String },
    #[error("secret {namespace}/{name} key {key} is not valid UTF-8")]
    NotText { namespace: String, name: String, key: String },
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("{0}")]
    Read(String),
}

/// Variables in the order in which they were set; a later one replaces an earlier one in place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name, value)),
        }
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Everything that the environment of one container is made of.
#[derive(Debug)]
pub(crate) struct EnvInputs<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) services: &'a [Service],
    pub(crate) around: &'a Surroundings,
    pub(crate) objects: &'a dyn Objects,
}

pub(crate) async fn environment(inputs: &EnvInputs<'_>) -> Result<Environment, EnvError> {
    let spec = inputs.pod.spec.as_ref();
    let links = spec.and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let service_env = services::service_env(inputs.services, namespace(inputs.pod), links);
    let mut env = Environment::default();
    for source in inputs.container.env_from.iter().flatten() {
        add_whole_object(inputs, source, &mut env).await?;
    }
    for variable in inputs.container.env.iter().flatten() {
        if let Some(value) = variable_value(inputs, variable, &env, &service_env).await? {
            env.set(variable.name.clone(), value);
        }
    }
    for (name, value) in service_env {
        if env.get(&name).is_none() {
            env.set(name, value);
        }
    }
    Ok(env)
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

async fn variable_value(
    inputs: &EnvInputs<'_>,
    variable: &EnvVar,
    env: &Environment,
    service_env: &[(String, String)],
) -> Result<Option<String>, EnvError> {
    match (&variable.value, &variable.value_from) {
        (_, Some(source)) => referenced_value(inputs, source).await,
        (value, None) => {
            let lookup = |name: &str| {
                let service =
                    || service_env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
                env.get(name).or_else(service).map(str::to_owned)
            };
            Ok(Some(expand(value.as_deref().unwrap_or_default(), lookup)))
        }
    }
}

async fn referenced_value(inputs: &EnvInputs<'_>, source: &EnvVarSource) -> Result<Option<String>, EnvError> {
    if let Some(field) = &source.field_ref {
        return Ok(Some(fields::pod_field(inputs.pod, &field.field_path, inputs.around)?));
    }
    if let Some(selector) = &source.resource_field_ref {
        let value = fields::resource_field(inputs.pod, Some(inputs.container), selector, inputs.around)?;
        return Ok(Some(value));
    }
    if let Some(selector) = &source.config_map_key_ref {
        return config_map_key(inputs, selector).await;
    }
    if let Some(selector) = &source.secret_key_ref {
        return secret_key(inputs, selector).await;
    }
    Ok(None)
}

async fn config_map_key(
    inputs: &EnvInputs<'_>,
    selector: &ConfigMapKeySelector,
) -> Result<Option<String>, EnvError> {
    let namespace = namespace(inputs.pod);
    let optional = selector.optional == Some(true);
    let found = match inputs.objects.config_map(namespace, &selector.name).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() && optional => return Ok(None),
        Err(error) => return Err(missing("configmap", &selector.name, error)),
    };
    match found.data.unwrap_or_default().remove(&selector.key) {
        Some(value) => Ok(Some(value)),
        None if optional => Ok(None),
        None => Err(no_key("ConfigMap", namespace, &selector.name, &selector.key)),
    }
}

async fn secret_key(
    inputs: &EnvInputs<'_>,
    selector: &SecretKeySelector,
) -> Result<Option<String>, EnvError> {
    let namespace = namespace(inputs.pod);
    let optional = selector.optional == Some(true);
    let found = match inputs.objects.secret(namespace, &selector.name).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() && optional => return Ok(None),
        Err(error) => return Err(missing("secret", &selector.name, error)),
    };
    match found.data.unwrap_or_default().remove(&selector.key) {
        Some(value) => text(namespace, &selector.name, &selector.key, value.0).map(Some),
        None if optional => Ok(None),
        None => Err(no_key("Secret", namespace, &selector.name, &selector.key)),
    }
}

fn no_key(kind: &'static str, namespace: &str, name: &str, key: &str) -> EnvError {
    EnvError::NoKey { key: key.to_owned(), kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

fn missing(kind: &'static str, name: &str, error: ReadError) -> EnvError {
    match error {
        ReadError::NotFound(_) => EnvError::NoObject { kind, name: name.to_owned() },
        ReadError::Other(message) => EnvError::Read(message),
    }
}

fn text(namespace: &str, name: &str, key: &str, value: Vec<u8>) -> Result<String, EnvError> {
    String::from_utf8(value).map_err(|_| EnvError::NotText {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
    })
}

async fn add_whole_object(
    inputs: &EnvInputs<'_>,
    source: &EnvFromSource,
    env: &mut Environment,
) -> Result<(), EnvError> {
    let namespace = namespace(inputs.pod);
    let mut data: BTreeMap<String, String> = BTreeMap::new();
    if let Some(reference) = &source.config_map_ref {
        match inputs.objects.config_map(namespace, &reference.name).await {
            Ok(found) => data.extend(found.data.unwrap_or_default()),
            Err(error) if error.is_not_found() && reference.optional == Some(true) => {}
            Err(error) => return Err(missing("configmap", &reference.name, error)),
        }
    } else if let Some(reference) = &source.secret_ref {
        match inputs.objects.secret(namespace, &reference.name).await {
            Ok(found) => {
                for (key, value) in found.data.unwrap_or_default() {
                    let value = text(namespace, &reference.name, &key, value.0)?;
                    data.insert(key, value);
                }
            }
            Err(error) if error.is_not_found() && reference.optional == Some(true) => {}
            Err(error) => return Err(missing("secret", &reference.name, error)),
        }
    }
    let prefix = source.prefix.as_deref().unwrap_or_default();
    for (key, value) in data {
        env.set(format!("{prefix}{key}"), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use crate::objects::fixed::FixedObjects;

    async fn run(container: Value) -> Result<String, EnvError> {
        let objects = FixedObjects::default();
        *objects.config_maps.lock().unwrap() = serde_json::from_value(json!([
            {"metadata": {"name": "cm", "namespace": "n"}, "data": {"k": "v", "z": "zz"}},
        ]))
        .unwrap();
        *objects.secrets.lock().unwrap() = serde_json::from_value(json!([
            {"metadata": {"name": "s", "namespace": "n"}, "data": {"pw": "c2VjcmV0"}},
        ]))
        .unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"enableServiceLinks": false, "containers": [container]},
        }))
        .unwrap();
        let around = Surroundings::default();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let inputs = EnvInputs { pod: &pod, container, services: &[], around: &around, objects: &objects };
        let env = environment(&inputs).await?;
        Ok(env.into_pairs().iter().map(|(k, v)| format!("{k}={v}\n")).collect())
    }

    async fn check(container: Value, want: Expect) {
        want.assert_eq(&match run(container).await {
            Ok(text) => text,
            Err(error) => format!("error: {error}\n"),
        });
    }

    #[tokio::test]
    async fn values_are_expanded_in_order() {
        check(
            json!({"name": "c", "env": [
                {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)"}, {"name": "C", "value": "3"},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ]}),
            expect![[r#"
                A=1
                B=1-$(C)
                C=3
                N=p
            "#]],
        )
        .await;
    }

    #[tokio::test]
    async fn keys_and_whole_objects() {
        check(
            json!({"name": "c",
                "envFrom": [{"prefix": "X_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "gone", "optional": true}}],
                "env": [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
                        {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "none", "optional": true}}},
                        {"name": "U", "value": "$(X_k)"}]}),
            expect![[r#"
                X_k=v
                X_z=zz
                PW=secret
                U=v
            "#]],
        )
        .await;
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let key = |name: &str, key: &str| json!({"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]});
        check(
            key("gone", "k"),
            expect![[r#"
            error: secret "gone" not found
        "#]],
        )
        .await;
        check(
            key("s", "k"),
            expect![[r#"
            error: couldn't find key k in Secret n/s
        "#]],
        )
        .await;
    }
}
