//! Every Pod runs as a service account, and gets that account's token mounted unless somebody says no.

use std::time::Duration;

use coracle_api::{Kind, Status, Subresource, object};
use serde_json::{Value, json};

use super::{Admit, Operation, Plugin};
use crate::registry::create;
use crate::server::Core;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// A life of an hour and 7 s, by which the token endpoint tells these tokens from those that Pods ask for themselves.
const TOKEN_SECONDS: i64 = 3607;
/// A volume is readable by whatever user a container runs as.
const DEFAULT_MODE: i64 = 0o644;
const ROOT_CA: &str = "kube-root-ca.crt";
/// What Go reads as true.
const GO_TRUE: [&str; 6] = ["1", "t", "T", "true", "TRUE", "True"];
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// How often, and how long, a Pod waits for the account `default` of a namespace that has just been made.
const WAIT_TRIES: u32 = 10;
const WAIT_STEP: Duration = Duration::from_millis(150);

/// A new namespace's account `default` comes from a controller, a moment later: a Pod that is as quick waits for it.
pub(crate) async fn wait_for_default(core: &Core, kind: &Kind, pod: &Value) {
    if kind.kind != "Pod" || !kind.group.is_empty() || account_name(pod) != "default" {
        return;
    }
    let namespace = object::namespace(pod);
    for _ in 0..WAIT_TRIES {
        let there = core.stored("", "serviceaccounts", namespace, "default").is_some();
        if there || core.stored("", "namespaces", "", namespace).is_none() {
            return;
        }
        core.clock.sleep(WAIT_STEP).await;
    }
}

fn account_name(pod: &Value) -> &str {
    match object::text(pod, &["spec", "serviceAccountName"]) {
        "" => match object::text(pod, &["spec", "serviceAccount"]) {
            "" => "default",
            old => old,
        },
        name => name,
    }
}

pub(crate) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn mutate(&self, admit: &Admit<'_>, pod: &mut Value) -> Result<(), Status> {
        if !admit.creates_pod() || object::annotation(pod, MIRROR).is_some() {
            return Ok(());
        }
        let name = account_name(pod).to_owned();
        let spec = object::map_at_mut(pod, &["spec"]);
        spec.insert("serviceAccountName".into(), json!(name));
        spec.insert("serviceAccount".into(), json!(name));
        let account = account(admit, pod, &name)?;
        if automounts(pod, &account) {
            mount(pod);
        }
        let has_own = !object::items(pod, &["spec", "imagePullSecrets"]).is_empty();
        let of_account = object::items(&account, &["imagePullSecrets"]);
        if !has_own && !of_account.is_empty() {
            object::map_at_mut(pod, &["spec"]).insert("imagePullSecrets".into(), json!(of_account));
        }
        Ok(())
    }

    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let adds_ephemeral = admit.operation == Operation::Update
            && admit.sub == Some(Subresource::EphemeralContainers)
            && admit.is_kind("", "Pod");
        let Some(pod) = obj.filter(|_| admit.creates_pod() || adds_ephemeral) else { return Ok(()) };
        if object::annotation(pod, MIRROR).is_some() {
            return check_mirror(admit, pod);
        }
        let account = account(admit, pod, account_name(pod))?;
        if !object::annotation(&account, ENFORCE).is_some_and(|said| GO_TRUE.contains(&said)) {
            return Ok(());
        }
        check_secrets(admit, pod, &account, adds_ephemeral)
    }
}

fn account(admit: &Admit<'_>, pod: &Value, name: &str) -> Result<Value, Status> {
    let why = || {
        format!(
            "error looking up service account {}/{name}: serviceaccount {name:?} not found",
            admit.namespace
        )
    };
    let found = admit.core.object("", "serviceaccounts", admit.namespace, name);
    found.ok_or_else(|| admit.forbidden(object::name(pod), &why()))
}

/// The Pod's word, else its account's, else yes.
fn automounts(pod: &Value, account: &Value) -> bool {
    object::at(pod, &["spec", "automountServiceAccountToken"])
        .as_bool()
        .or_else(|| account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true)
}

fn mount(pod: &mut Value) {
    let existing = object::items(pod, &["spec", "volumes"])
        .iter()
        .map(|v| object::text(v, &["name"]))
        .find(|n| n.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| create::generated(VOLUME_PREFIX));
    let spec = object::map_at_mut(pod, &["spec"]);
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            needed |= mount_into(container, &name);
        }
    }
    if needed && existing.is_none() {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(list) = volumes.as_array_mut() {
            list.push(volume(&name));
        }
    }
}

fn mount_into(container: &mut Value, volume: &str) -> bool {
    let mounts = object::items(container, &["volumeMounts"]);
    if mounts.iter().any(|m| object::text(m, &["mountPath"]) == MOUNT_PATH) {
        return false;
    }
    let list = object::map_mut(container).entry("volumeMounts").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
    }
    true
}

fn volume(name: &str) -> Value {
    json!({"name": name, "projected": {"sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
        ]}},
    ], "defaultMode": DEFAULT_MODE}})
}

/// A Pod that a kubelet reports (a mirror of a static one) has no identity of its own.
fn check_mirror(admit: &Admit<'_>, pod: &Value) -> Result<(), Status> {
    let refuse = |why: &str| Err(admit.forbidden(object::name(pod), why));
    if !object::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return refuse("a mirror pod may not reference service accounts");
    }
    for volume in object::items(pod, &["spec", "volumes"]) {
        if !object::at(volume, &["secret"]).is_null() {
            return refuse("a mirror pod may not reference secrets");
        }
        let sources = object::items(volume, &["projected", "sources"]);
        if sources.iter().any(|s| !object::at(s, &["serviceAccountToken"]).is_null()) {
            return refuse("a mirror pod may not use ServiceAccountToken volume projections");
        }
    }
    Ok(())
}

/// An account may limit its Pods to the secrets that it lists. An ephemeral container is judged when it is added.
fn check_secrets(
    admit: &Admit<'_>,
    pod: &Value,
    account: &Value,
    adds_ephemeral: bool,
) -> Result<(), Status> {
    let listed = |key: &str, name: &str| {
        object::items(account, &[key]).iter().any(|s| object::text(s, &["name"]) == name)
    };
    let sa = object::name(account);
    let refuse = |what: String, noun: &str| {
        let why =
            format!("{what} is not allowed because service account {sa} does not reference that {noun}");
        Err(admit.forbidden(object::name(pod), &why))
    };
    let check_containers = |list: &str, word: &str| {
        let containers = object::items(pod, &["spec", list]).iter();
        let mut named = containers.flat_map(|c| secrets_of(c).map(move |found| (c, found)));
        let Some((container, (by, secret))) = named.find(|(_, (_, secret))| !listed("secrets", secret))
        else {
            return Ok(());
        };
        let name = object::text(container, &["name"]);
        refuse(format!("{word} {name} with {by} referencing secret.secretName=\"{secret}\""), "secret")
    };
    if adds_ephemeral {
        return check_containers("ephemeralContainers", "ephemeral container");
    }
    for volume in object::items(pod, &["spec", "volumes"]) {
        let secret = object::text(volume, &["secret", "secretName"]);
        if !secret.is_empty() && !listed("secrets", secret) {
            return refuse(format!("volume with secret.secretName=\"{secret}\""), "secret");
        }
    }
    check_containers("initContainers", "init container")?;
    check_containers("containers", "container")?;
    for (i, pull) in object::items(pod, &["spec", "imagePullSecrets"]).iter().enumerate() {
        let name = object::text(pull, &["name"]);
        if !listed("imagePullSecrets", name) {
            return refuse(format!("imagePullSecrets[{i}].name=\"{name}\""), "imagePullSecret");
        }
    }
    Ok(())
}

/// The secrets that a container's environment is made of, and how it names them.
fn secrets_of(container: &Value) -> impl Iterator<Item = (String, &str)> {
    let env = object::items(container, &["env"]).iter().map(|e| {
        let by = format!("envVar {}", object::text(e, &["name"]));
        (by, object::text(e, &["valueFrom", "secretKeyRef", "name"]))
    });
    let from = object::items(container, &["envFrom"]).iter();
    let from = from.map(|e| ("envFrom".to_owned(), object::text(e, &["secretRef", "name"])));
    env.chain(from).filter(|(_, secret)| !secret.is_empty())
}
