//! What a Pod, or a template of one, says where its author said nothing.

use serde_json::{Map, Value, json};

use super::image;
use crate::object::{find, find_mut, map_at_mut, map_mut};

/// The grace a Pod gets to end by itself, in seconds.
pub const GRACE_SECONDS: i64 = 30;
/// The mode of files in a volume: 0644.
const FILE_MODE: i64 = 0o644;
/// How long a projected token lives, in seconds.
const TOKEN_SECONDS: i64 = 3600;

pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Set where the key is missing, null, "" or 0: the zero values of Go.
pub fn set(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    let missing = match find(map, key) {
        None | Some(Value::Null) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(Value::Number(n)) => n.as_i64() == Some(0),
        Some(_) => false,
    };
    if missing {
        map.insert(key.to_owned(), value.into());
    }
}

/// Set where the key is missing or null: a pointer in Go.
pub fn set_pointer(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    if find(map, key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

/// The child's map, where there is a child.
pub fn child<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    find_mut(map, key)?.as_object_mut()
}

/// The maps in the list at `key`.
pub fn children<'a>(
    map: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    find_mut(map, key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The defaults of a Pod itself, which its templates do not get.
pub fn pod(obj: &mut Value) {
    let spec = map_at_mut(obj, &["spec"]);
    pod_spec(spec);
    for list in ["containers", "initContainers"] {
        for container in children(spec, list) {
            requests_from_limits(container);
        }
    }
    pod_level_requests(spec);
    set_pointer(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        for list in ["containers", "initContainers"] {
            for container in children(spec, list) {
                host_ports(container);
            }
        }
    }
}

/// The defaults of a template: `{metadata, spec}`.
pub fn template(template: &mut Value) {
    map_mut(template).entry("metadata").or_insert_with(|| json!({}));
    pod_spec(map_at_mut(template, &["spec"]));
}

pub fn pod_spec(spec: &mut Map<String, Value>) {
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set_pointer(spec, "securityContext", json!({}));
    set_pointer(spec, "terminationGracePeriodSeconds", GRACE_SECONDS);
    set(spec, "schedulerName", "default-scheduler");
    service_account_mirror(spec);
    for list in CONTAINER_LISTS {
        for c in children(spec, list) {
            container(c);
        }
    }
    for v in children(spec, "volumes") {
        volume(v);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are served.
fn service_account_mirror(spec: &mut Map<String, Value>) {
    let said = |spec: &Map<String, Value>, key: &str| {
        spec.get(key).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned)
    };
    match (said(spec, "serviceAccountName"), said(spec, "serviceAccount")) {
        (Some(name), _) => {
            spec.insert("serviceAccount".into(), name.into());
        }
        (None, Some(old)) => {
            spec.insert("serviceAccountName".into(), old.into());
        }
        (None, None) => {}
    }
}

pub fn container(c: &mut Map<String, Value>) {
    let policy = match c.get("image").and_then(Value::as_str) {
        Some(image) if image::wants_latest(image) => "Always",
        _ => "IfNotPresent",
    };
    set(c, "imagePullPolicy", policy);
    set(c, "terminationMessagePath", "/dev/termination-log");
    set(c, "terminationMessagePolicy", "File");
    set_pointer(c, "resources", json!({}));
    for port in children(c, "ports") {
        set(port, "protocol", "TCP");
    }
    for env in children(c, "env") {
        if let Some(from) = child(env, "valueFrom") {
            field_ref(from);
            if let Some(file) = child(from, "fileKeyRef") {
                set_pointer(file, "optional", false);
            }
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = child(c, name) {
            probe(p);
        }
    }
    if let Some(lifecycle) = child(c, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(get) = child(lifecycle, hook).and_then(|h| child(h, "httpGet")) {
                http_get(get);
            }
        }
    }
}

fn probe(p: &mut Map<String, Value>) {
    set(p, "timeoutSeconds", 1);
    set(p, "periodSeconds", 10);
    set(p, "successThreshold", 1);
    set(p, "failureThreshold", 3);
    if let Some(get) = child(p, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = child(p, "grpc") {
        set_pointer(grpc, "service", "");
    }
}

fn http_get(get: &mut Map<String, Value>) {
    set(get, "path", "/");
    set(get, "scheme", "HTTP");
}

fn field_ref(holder: &mut Map<String, Value>) {
    if let Some(field) = child(holder, "fieldRef") {
        set(field, "apiVersion", "v1");
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = child(container, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let requests = map_mut(resources.entry("requests").or_insert_with(|| json!({})));
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

/// Limits of the Pod as a whole ask for as much, where neither it nor a container asks for something.
fn pod_level_requests(spec: &mut Map<String, Value>) {
    let asked: Vec<String> = CONTAINER_LISTS
        .iter()
        .filter_map(|list| spec.get(*list)?.as_array())
        .flatten()
        .filter_map(|c| c.get("resources")?.get("requests")?.as_object())
        .flat_map(|requests| requests.keys().cloned())
        .collect();
    let Some(resources) = child(spec, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    for (name, amount) in limits.into_iter().filter(|(name, _)| !asked.contains(name)) {
        let requests = map_mut(resources.entry("requests").or_insert_with(|| json!({})));
        requests.entry(name).or_insert(amount);
    }
}

fn host_ports(container: &mut Map<String, Value>) {
    for port in children(container, "ports") {
        if let Some(number) = port.get("containerPort").cloned() {
            set(port, "hostPort", number);
        }
    }
}

/// The sources of a volume are all the keys but its name.
fn volume(v: &mut Map<String, Value>) {
    if v.iter().all(|(k, source)| k == "name" || source.is_null()) {
        v.insert("emptyDir".into(), json!({}));
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = child(v, kind) {
            set_pointer(source, "defaultMode", FILE_MODE);
            items_field_refs(source);
        }
    }
    if let Some(projected) = child(v, "projected") {
        for source in children(projected, "sources") {
            if let Some(token) = child(source, "serviceAccountToken") {
                set_pointer(token, "expirationSeconds", TOKEN_SECONDS);
            }
            if let Some(downward) = child(source, "downwardAPI") {
                items_field_refs(downward);
            }
        }
    }
    if let Some(host) = child(v, "hostPath") {
        set_pointer(host, "type", "");
    }
    if let Some(image) = child(v, "image") {
        let latest = image.get("reference").and_then(Value::as_str).is_some_and(image::wants_latest);
        set(image, "pullPolicy", if latest { "Always" } else { "IfNotPresent" });
    }
    if let Some(claim) = child(v, "ephemeral").and_then(|e| child(e, "volumeClaimTemplate")) {
        claim_spec(claim.entry("spec").or_insert_with(|| json!({})));
    }
    network_volume(v);
}

/// The sources that name a disk or a server somewhere else.
pub fn network_volume(v: &mut Map<String, Value>) {
    if let Some(iscsi) = child(v, "iscsi") {
        set(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = child(v, "rbd") {
        set(rbd, "pool", "rbd");
        set(rbd, "user", "admin");
        set(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = child(v, "azureDisk") {
        set_pointer(disk, "cachingMode", "ReadWrite");
        set_pointer(disk, "kind", "Shared");
        set_pointer(disk, "fsType", "ext4");
        set_pointer(disk, "readOnly", false);
    }
    if let Some(scale_io) = child(v, "scaleIO") {
        set(scale_io, "storageMode", "ThinProvisioned");
        set(scale_io, "fsType", "xfs");
    }
}

/// The spec of a claim for storage, on its own or inside of a Pod.
pub fn claim_spec(spec: &mut Value) {
    let spec = map_mut(spec);
    set_pointer(spec, "volumeMode", "Filesystem");
    set_pointer(spec, "resources", json!({}));
}

fn items_field_refs(source: &mut Map<String, Value>) {
    for item in children(source, "items") {
        field_ref(item);
    }
}
