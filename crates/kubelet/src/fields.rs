//! The downward API: values of a Pod's own fields and of a container's resources.

use std::collections::BTreeMap;

use coracle_api::quantity::Quantity as Amount;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FieldError {
    #[error("unsupported fieldPath: {0}")]
    Unsupported(String),
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("container {0} not found")]
    Container(String),
    #[error("failed to parse divisor {0}")]
    Divisor(String),
}

/// What is known about the Pod's surroundings when one of its fields is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    pub(crate) host_ip: String,
    pub(crate) pod_ips: Vec<String>,
    /// Stands in for a limit that a container does not set.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
}

pub(crate) fn pod_field(pod: &Pod, path: &str, around: &Surroundings) -> Result<String, FieldError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((which, key)) = subscript(path) {
        let map = match which {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(FieldError::Unsupported(path.to_owned())),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(format_map(meta.labels.as_ref())),
        "metadata.annotations" => Some(format_map(meta.annotations.as_ref())),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" | "status.hostIPs" => Some(around.host_ip.clone()),
        "status.podIP" => around.pod_ips.first().cloned(),
        "status.podIPs" => Some(around.pod_ips.join(",")),
        _ => return Err(FieldError::Unsupported(path.to_owned())),
    };
    Ok(value.unwrap_or_default())
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (which, rest) = path.split_once("['")?;
    Some((which, rest.strip_suffix("']")?))
}

fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quote(v))).collect();
    lines.join("\n")
}

/// Go's `%q`.
fn quote(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn containers_of(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    init.iter().chain(main)
}

/// The value of a `resourceFieldRef`, in units of its divisor, rounded up.
pub(crate) fn resource_field(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    around: &Surroundings,
) -> Result<String, FieldError> {
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => containers_of(pod)
            .find(|container| container.name == name)
            .ok_or_else(|| FieldError::Container(name.to_owned()))?,
        None => own.ok_or_else(|| FieldError::Container(String::new()))?,
    };
    let unsupported = || FieldError::Resource(selector.resource.clone());
    let (kind, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.as_ref();
    let set = match kind {
        "limits" => resources.and_then(|it| it.limits.as_ref()).and_then(|map| map.get(resource)),
        "requests" => resources.and_then(|it| it.requests.as_ref()).and_then(|map| map.get(resource)),
        _ => return Err(unsupported()),
    };
    let known =
        matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    if !known {
        return Err(unsupported());
    }
    let fallback = (kind == "limits").then(|| around.allocatable.get(resource)).flatten();
    let amount = set.or(fallback).map_or("0", |quantity| quantity.0.as_str());
    let divisor = selector.divisor.as_ref().map(|it| it.0.as_str()).filter(|it| !matches!(*it, "" | "0"));
    let divisor = divisor.unwrap_or("1");
    let bad = || FieldError::Divisor(divisor.to_owned());
    let by = Amount::parse(divisor).ok().map(Amount::nano).filter(|by| *by > 0);
    let by = by.ok_or_else(bad)?;
    let amount = Amount::parse(amount).map_or(0, Amount::nano);
    Ok((amount.div_euclid(by) + i128::from(amount.rem_euclid(by) != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "1", "b": "say \"hi\"\n"}},
            "spec": {"nodeName": "node", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}},
                {"name": "bare"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn fields_of_the_pod() {
        let around = Surroundings {
            host_ip: "10.0.0.1".into(),
            pod_ips: vec!["10.244.0.7".into()],
            ..Surroundings::default()
        };
        for (path, want) in [
            ("metadata.name", "p"),
            ("metadata.uid", "u"),
            ("metadata.labels['a']", "1"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "a=\"1\"\nb=\"say \\\"hi\\\"\\n\""),
            ("spec.nodeName", "node"),
            ("status.podIP", "10.244.0.7"),
            ("status.hostIP", "10.0.0.1"),
        ] {
            assert_eq!(pod_field(&pod(), path, &around).as_deref(), Ok(want), "{path}");
        }
        assert!(pod_field(&pod(), "spec.hostname", &around).is_err());
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let pod = pod();
        let mut around = Surroundings::default();
        around.allocatable.insert("memory".into(), Quantity("1Gi".into()));
        let get = |container: &str, resource: &str, divisor: &str| {
            let selector = ResourceFieldSelector {
                container_name: Some(container.into()),
                resource: resource.into(),
                divisor: Some(Quantity(divisor.into())),
            };
            resource_field(&pod, None, &selector, &around).unwrap()
        };
        assert_eq!(get("c", "limits.cpu", "1"), "2");
        assert_eq!(get("c", "limits.cpu", "1m"), "1500");
        assert_eq!(get("c", "limits.memory", "1Mi"), "64");
        assert_eq!(get("c", "requests.cpu", "0"), "1");
        assert_eq!(get("bare", "limits.memory", "0"), (1 << 30).to_string());
        assert_eq!(get("bare", "requests.memory", "0"), "0");
    }
}
